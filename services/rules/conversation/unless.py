"""Judges the ``unless`` of a step once more for a message that has not gone: where it holds by now, none is sent.

A held message is judged when it is released. One that waits in the dispatcher, as for its template, a limit or the end
of an outage, is judged when an event changes the facts of its work or rights record, or takes the place of the event of
its chain; and at the midnight at which time alone makes its ``unless`` true, as with ``days_to``, for which its chain
is due then. A copy goes with the messages that it tells of: where none of them goes, it does not either.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from services.rules.conversation import outbound
from services.rules.conversation.chain import IN_DISPATCHER, Chain, ChainMessage, DeliveryState, earlier
from services.rules.conversation.completion import recount_after_exclusion
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.document import changes_by_day
from services.rules.conversation.handover import withdraw_offer
from services.rules.conversation.recipients import is_excepted, judged_for_each
from services.rules.conversation.send_hours import expiry_of
from services.rules.identity_cache import cached_by_identity
from services.rules.rulebook.model import Condition, Verb, mentioned_fields
from shared.contracts.messages import WithdrawMessage


def unless_holds(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """Whether the ``unless`` of the step that a message belongs to holds now; what follows an answer has none."""
    step = context.rule_of(chain).steps[message.step]
    if step.unless is None:
        return False
    if outbound.is_copy(message):
        return _tells_of_nothing(context, chain, message)
    if message.answer is not None:
        return False
    if judged_for_each(step) is None:
        return context.holds(step.unless, chain)
    person = context.facts.people.get(message.person_id)
    return person is not None and is_excepted(context, chain, step, person, message.role)


def _tells_of_nothing(context: DecisionContext, chain: Chain, copy: ChainMessage) -> bool:
    """Whether none of the messages that a copy tells of goes. One in the dispatcher may have gone until it reports."""
    source = (copy.step, copy.occurrence, None)
    told = [message for message in chain.messages if (message.step, message.occurrence, message.answer) == source]
    return bool(told) and all(
        one.delivery is DeliveryState.WITHDRAWN
        or (one.delivery is DeliveryState.HELD and unless_holds(context, chain, one))
        for one in told
    )


def leave_out(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    """The message never goes: its person takes no part in a hand-over, and the answers of the others may be enough.

    Nor do its copies go.
    """
    chain = chain.with_message(message.replace(delivery=DeliveryState.WITHDRAWN))
    if outbound.is_copy(message):
        return chain
    if judged_for_each(context.rule_of(chain).steps[message.step]) is not None:
        chain = outbound.exclude_excepted(context, chain, message.person_id, message.step)
    if message.verb is Verb.HAND_OVER:
        chain = withdraw_offer(chain, message)
    is_answered = chain.active and any(given.final for given in chain.answers)
    chain = recount_after_exclusion(context, chain, message) if is_answered else chain
    return withdraw_excepted(context, chain)


def withdraw_by_facts(context: DecisionContext, tags: Iterable[str]) -> None:
    """Withdraw what waits in the dispatcher and whose ``unless`` holds by the facts of now, of ended chains too."""
    for chain in context.facts.chains_depending_on(tags):
        judged = with_next_turn(context, withdraw_excepted(context, chain))
        if judged is not chain:
            context.save_chain(judged)


def withdraw_excepted(context: DecisionContext, chain: Chain) -> Chain:
    """Withdraw those messages of one chain. The dispatcher reports whether it was in time (``leave_out`` follows then).

    What remains of a digest goes then (``release.send_rest``).
    """
    for message in chain.messages:
        is_new = message.message_id in context.drafted
        if _waits(message) and not is_new and unless_holds(context, chain, message):
            context.add_reason(Reason.UNLESS, chain, str(message.step))
            reason = str(Reason.UNLESS)
            sent_as = message.digest or message.message_id
            context.request_withdrawal(WithdrawMessage(message_id=sent_as, person_id=message.person_id, reason=reason))
            chain = chain.with_message(message.replace(unwanted=reason))
    return chain


def with_next_turn(context: DecisionContext, chain: Chain) -> Chain:
    """The chain due at the next such midnight, if it is not due before."""
    due = earlier(chain.next_due, next_turn(context, chain))
    return chain if due == chain.next_due else chain.replace(next_due=due)


def next_turn(context: DecisionContext, chain: Chain) -> datetime | None:
    """The next midnight at which time alone makes the ``unless`` of a message true that waits in the dispatcher.

    It is found by the facts of now, and anew where they change.
    """
    steps, turn = context.rule_of(chain).steps, None
    for message in chain.messages:
        condition = steps[message.step].unless if message.answer is None and _waits(message) else None
        if condition is not None and _changes_by_day(condition):
            turn = earlier(turn, _turn_of(context, chain, message))
    return turn


def _waits(message: ChainMessage) -> bool:
    return message.delivery in IN_DISPATCHER and message.unwanted is None


@cached_by_identity(most=4096)
def _changes_by_day(condition: Condition) -> bool:
    return any(map(changes_by_day, mentioned_fields(condition)))


def _turn_of(context: DecisionContext, chain: Chain, message: ChainMessage) -> datetime | None:
    """None where the ``unless`` will not hold before the message expires."""
    office = context.rulebook.calendar.office
    day, last = context.today, office.local_date(expiry_of(context, message))
    while day < last:
        day += timedelta(days=1)
        midnight = office.start_of_day(day)
        then = replace(context, now=midnight, observe_condition=None, _cached=None)
        if unless_holds(then, chain, message):
            return midnight
    return None
