"""When a step is due by its ``after`` or ``at`` time, which one is due now, and when a chain is due next.

All in business time.
"""

from datetime import datetime

from services.rules.conversation.chain import Chain, DeliveryState, StepStatus, earlier
from services.rules.conversation.chain_messages import awaited_people
from services.rules.conversation.context import DecisionContext, is_due
from services.rules.conversation.people import working_hours
from services.rules.conversation.recipients import resolve_recipients
from services.rules.conversation.send_hours import AWAITED_FOR, lapse_of, moment_of
from services.rules.rulebook.model import After, At, Step, Verb
from shared.clients.working_calendar import WorkingCalendar
from shared.contracts.ids import PersonId

# ------------------------------------------------------------------ the steps of a chain


def runnable_step(context: DecisionContext, chain: Chain) -> Step | None:
    """The step to run now. A due ``at`` step overtakes ``after`` steps before it; an assigned chain waits.

    A chain whose rule an operator has paused waits too.

    A step that follows at once from the one before needs no time to pass (``is_due``).
    """
    if chain.assignment is not None or context.facts.is_paused(chain.rule):
        return None
    steps = context.rule_of(chain).steps
    due_at = [s for s in steps if _is_due_at(context, chain, s)]
    if due_at:
        return due_at[-1]
    step = _next_in_line(chain, steps)
    if step is None or isinstance(step.timing, At):
        return None
    due = due_of(context, chain, step)
    at_once = _follows_at_once(chain, step) and due is not None and due <= context.now
    return step if at_once or is_due(context, chain, due) else None


def _is_due_at(context: DecisionContext, chain: Chain, step: Step) -> bool:
    if not isinstance(step.timing, At) or chain.steps[step.index].status is not StepStatus.PENDING:
        return False
    return is_due(context, chain, due_of(context, chain, step))


def _next_in_line(chain: Chain, steps: tuple[Step, ...]) -> Step | None:
    """The first pending step after completed ones; a step without a time needs only that those before it have begun."""
    is_one_running = False
    for step in steps:
        status = chain.steps[step.index].status
        if status is StepStatus.PENDING:
            return step if step.timing is None or not is_one_running else None
        is_one_running = is_one_running or status is StepStatus.RUNNING
    return None


def due_of(context: DecisionContext, chain: Chain, step: Step) -> datetime | None:
    """When a pending step is due; None where its field has no date. A step that reached no person takes no time.

    A form begins in the open hours of its person, or within the time in which they wait for a reply.
    """
    timing = step.timing
    if isinstance(timing, At):
        due = _due_at(context, chain, step, timing)
    elif timing is None or _follows_at_once(chain, step):
        due = chain.base_at
    else:
        due = _latest(context, chain, timing)
    return due if due is None or step.verb is not Verb.COLLECT else _in_hours_of_sender(context, chain, due)


def _in_hours_of_sender(context: DecisionContext, chain: Chain, due: datetime) -> datetime:
    sender = context.document(chain).sender
    person = context.facts.people.get(sender) if sender is not None else None
    wrote_at = max((joined.at for joined in chain.joined), default=chain.started_at)
    if person is None or max(due, context.now) - wrote_at <= AWAITED_FOR:
        return due
    hours = working_hours(context.rulebook, person)
    opens, opens_next = hours.next_open(due), hours.next_open(context.now)
    return max(opens, opens_next) if opens_next > context.now else opens


def _follows_at_once(chain: Chain, step: Step) -> bool:
    """Whether the step has no time of its own, or there is no person to wait for."""
    return step.timing is None or (step.index > 0 and chain.steps[step.index - 1].unreached)


def _latest(context: DecisionContext, chain: Chain, timing: After) -> datetime:
    """Working time and clock times count in the calendars of the awaited people; the latest result counts."""
    if timing.clock is None and timing.duration.fixed_length is not None:
        return chain.base_at + timing.duration.fixed_length
    return max(add_duration(chain.base_at, timing, c) for c in _calendars_of(context, awaited_people(chain)))


def _calendars_of(context: DecisionContext, people: tuple[PersonId, ...]) -> list[WorkingCalendar]:
    """The working hours of these people, else those of the office."""
    known = [person for person in map(context.facts.people.get, people) if person is not None]
    return [working_hours(context.rulebook, person) for person in known] or [context.rulebook.calendar.office]


def _due_at(context: DecisionContext, chain: Chain, step: Step, timing: At) -> datetime | None:
    """The due time in the house's calendar, or the earliest of the receivers'; each message waits for its own."""
    value = context.document(chain).get(timing.field)
    dues = (moment_of(value, timing, calendar) for calendar in _calendars(context, chain, step, timing))
    return min((due for due in dues if due is not None), default=None)


def _calendars(context: DecisionContext, chain: Chain, step: Step, timing: At) -> list[WorkingCalendar]:
    office = [context.rulebook.calendar.office]
    if not timing.theirs:
        return office
    receivers = resolve_recipients(context, chain, step.who).recipients
    return [working_hours(context.rulebook, receiver.person) for receiver in receivers] or office


def has_lapsed(context: DecisionContext, chain: Chain, step: Step) -> bool:
    """Whether an ``at`` time has passed for all receivers; a day has passed once the office has opened on it."""
    timing = step.timing
    if not isinstance(timing, At):
        return False
    value = context.document(chain).get(timing.field)
    calendars = _calendars(context, chain, step, timing)
    lapses = [lapse for calendar in calendars if (lapse := lapse_of(value, timing, calendar)) is not None]
    return bool(lapses) and max(lapses) < context.now


def skip_past(context: DecisionContext, chain: Chain) -> Chain:
    """Skip the ``at`` steps that have passed when the chain starts."""
    for step in context.rule_of(chain).steps:
        if has_lapsed(context, chain, step):
            chain = chain.skip_step(step.index)
    return chain


def next_due(context: DecisionContext, chain: Chain) -> datetime | None:
    due = None
    for message in chain.messages:
        if message.delivery is DeliveryState.HELD:
            due = earlier(due, message.held_until)
    if not chain.active:
        return due
    if chain.assignment is None:
        due = earlier(due, _next_step_due(context, chain))
    return earlier(due, idle_due(context, chain))


def _next_step_due(context: DecisionContext, chain: Chain) -> datetime | None:
    steps = context.rule_of(chain).steps
    due = None
    for step in steps:
        if isinstance(step.timing, At) and chain.steps[step.index].status is StepStatus.PENDING:
            due = earlier(due, due_of(context, chain, step))
    following = _next_in_line(chain, steps)
    return (
        due
        if following is None or isinstance(following.timing, At)
        else earlier(due, due_of(context, chain, following))
    )


def idle_due(context: DecisionContext, chain: Chain) -> datetime | None:
    """The instant at which the person who has the matter, or may take the last offer, has done nothing for
    ``taken_for``.
    """
    if chain.assignment is not None:
        return _idle_after(context, chain.assignment.at, (chain.assignment.person_id,))
    waiting = chain.handovers[-1] if chain.handovers else None
    if waiting is None or any(not s.over for s in chain.steps):
        return None
    return _idle_after(context, waiting.at, waiting.undecided)


def _idle_after(context: DecisionContext, since: datetime, people: tuple[PersonId, ...]) -> datetime:
    span = context.rulebook.tenant.taken_for
    return max(calendar.add(since, span) for calendar in _calendars_of(context, people))


def add_duration(base: datetime, timing: After, calendar: WorkingCalendar) -> datetime:
    """The instant (UTC) that an ``after`` time gives from ``base``: at its clock time of that day, where it has one."""
    if timing.clock is None:
        return calendar.add(base, timing.duration)
    return calendar.instant_of(calendar.day_after(base, timing.duration), timing.clock)
