"""The effect of an event on chains: ``until`` lines end them, and matching rules start or replan them."""

from collections.abc import Callable, Collection, Iterable

from msgspec import Raw, Struct

from services.rules.conversation import outbound, release, writes
from services.rules.conversation.chain import Chain, ChainMessage, JoinedEvent, StepState, StepStatus
from services.rules.conversation.chain_messages import is_of_handover, is_open_question
from services.rules.conversation.completion import end_by_until
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.document import Document, item_id, newest_data, read_data
from services.rules.conversation.event_rules import End, rules_of_event, start_key, subject_of, tags_of, tags_of_ends
from services.rules.conversation.fact_values import RecentStarts
from services.rules.conversation.question_lookup import answer_of, answers_to_steps
from services.rules.conversation.rule_changes import review_chain
from services.rules.conversation.schedule import due_of, has_lapsed, skip_past
from services.rules.conversation.steps import advance
from services.rules.conversation.template_calls import template_of
from services.rules.rulebook.model import At, OnRepeat, Rule, Verb
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, EventId, Line, MessageId, derive_id
from shared.contracts.values import encode


class RuleTrigger(Struct, frozen=True):
    """An event as rules see it: its short name, and the document that conditions are evaluated on."""

    event: Event
    name: str
    document: Document
    line: Line | None = None

    def data_json(self) -> Raw:
        """The data of the event, as a chain stores it."""
        return Raw(encode(self.event.data))


Ends = Callable[[Chain, int, str, Document], bool]
"""Whether the ``until`` line at an index of a chain's rule holds for an event name and a document."""


def end_chains(context: DecisionContext, trigger: RuleTrigger, ends: Ends) -> None:
    """End every live chain that has an ``until`` line which this event makes true.

    A chain of an earlier rulebook has the lines of that one, also where the rule is gone or has others now.
    """
    books = (context.rulebook, *map(context.rulebook_at, context.facts.revisions - {context.rulebook.revision}))
    lines = frozenset[End]().union(*(rules_of_event(book, trigger.name).ends for book in books))
    tags = tags_of_ends(lines, trigger.document, trigger.event.id)
    for found in context.facts.chains_with_tags(tags) if tags else ():
        chain = _by_changed_rule(context, found, lambda rule: {until.event for until in rule.until}, trigger.name)
        if not chain.active or chain.rule not in context.rulebook_of(chain).rules:
            continue
        index = _matching_until(context, chain, trigger, ends)
        if index is not None:
            context.add_reason(Reason.UNTIL, chain)
            advance(context, end_by_until(context, chain, index, trigger.data_json()))


def _matching_until(context: DecisionContext, chain: Chain, trigger: RuleTrigger, ends: Ends) -> int | None:
    rule = context.rule_of(chain)
    for index, until in enumerate(rule.until):
        if until.event != trigger.name or not _same_subject(context, chain, rule, until.same, trigger):
            continue
        document = Document(
            trigger.document.data,
            context.facts,
            context.rulebook.calendar,
            context.now,
            chain=chain,
            sender=trigger.document.sender,
        )
        if ends(chain, index, trigger.name, document):
            return index
    return None


def _same_subject(context: DecisionContext, chain: Chain, rule: Rule, same: str | None, trigger: RuleTrigger) -> bool:
    if same is None:
        return subject_of(rule.about, trigger.document, trigger.event.id) == chain.subject
    value = trigger.document.get(same)
    return value is not None and value == context.document(chain).get(same)


def start_chains(context: DecisionContext, trigger: RuleTrigger, matched: Iterable[Rule]) -> bool:
    """Start or replan a chain for each matched rule; False where none of the rules has a subject here."""
    has_subject = False
    for rule in matched:
        subject = subject_of(rule.about, trigger.document, trigger.event.id)
        if subject is None:
            continue
        has_subject = True
        for chain in context.facts.active_chains(rule.name, subject):
            _by_changed_rule(context, chain, lambda rule: set(rule.events), trigger.name)
        live = context.facts.active_chain(rule.name, subject)
        on_repeat = rule.on_repeat if live is None else _on_repeat(context, rule, live, trigger.name)
        if on_repeat is OnRepeat.JOIN:
            _join_or_start(context, trigger, rule, subject)
        elif live is None:
            _start_within_limit(context, trigger, rule, subject)
        elif on_repeat is OnRepeat.IGNORE:
            context.add_reason(Reason.ALREADY_LIVE, live)
        else:
            replan_chain(context, live, trigger)
    return has_subject


def _by_changed_rule(
    context: DecisionContext, chain: Chain, events_of: Callable[[Rule], Collection[str]], event: str
) -> Chain:
    """The chain after the change of its rule, where an event comes before the chain was reviewed that it lacks.

    Such an event is new in the changed file. What it means depends on whether the chain migrates, ends, or goes on as
    it began.
    """
    changed, own = context.rulebook.rules.get(chain.rule), context.rulebook_of(chain).rules.get(chain.rule)
    is_reviewed = (chain.reviewed or chain.revision) == context.rulebook.revision
    if is_reviewed or not chain.active or changed is None or own is None:
        return chain
    return review_chain(context, chain) if event in set(events_of(changed)) - set(events_of(own)) else chain


def _on_repeat(context: DecisionContext, rule: Rule, live: Chain, event: str) -> OnRepeat:
    """The effect of an event on a live chain, which may have begun by an earlier rulebook.

    One whose rule did not know the event then goes on as it began: its texts and times name fields of other events.
    One that gathers no events keeps its subject to itself, so that none starts beside it where its rule joins them now.
    """
    as_begun = context.rule_of(live)
    if event not in as_begun.events:
        return OnRepeat.IGNORE
    if rule.on_repeat is not OnRepeat.JOIN or live.joins:
        return rule.on_repeat
    return OnRepeat.REPLAN if as_begun.on_repeat is OnRepeat.JOIN else as_begun.on_repeat


def _join_or_start(context: DecisionContext, trigger: RuleTrigger, rule: Rule, subject: str) -> None:
    """Join the chain that still gathers events, else start one beside the others.

    An event about an item that is gathered already corrects it. It changes nothing once the item's message has gone.
    """
    live, item = context.facts.active_chains(rule.name, subject), item_id(trigger.event.data)
    same = next((chain for chain in live if item is not None and item in _items(chain)), None)
    gathering = next((chain for chain in live if chain.gathers), None)
    if same is not None and not same.gathers:
        context.add_reason(Reason.ALREADY_LIVE, same)
    elif gathering is None:
        _start_within_limit(context, trigger, rule, subject)
    else:
        join_chain(context, gathering, trigger, item)


def _items(chain: Chain) -> dict[str | None, EventId | None]:
    """The items of the events of a chain, each with the id of its event; None for the event that started it."""
    joined = {item_id(read_data(each.data, each.name)): each.event_id for each in chain.joined}
    return {**joined, item_id(newest_data(chain)): None}


def join_chain(context: DecisionContext, chain: Chain, trigger: RuleTrigger, item: str | None) -> Chain:
    """An event joins a chain; what the chain has recorded already is recorded of this event too."""
    items, rule = _items(chain), context.rule_of(chain)
    if item is not None and item in items and items[item] is None:
        chain = chain.replan(trigger.name, trigger.data_json(), tags_of(rule, chain.subject, trigger.document))
        context.add_reason(Reason.JOINED, chain)
        return advance(context, chain)
    event = trigger.event
    joined = JoinedEvent(event_id=event.id, name=trigger.name, data=trigger.data_json(), at=context.now)
    chain = chain.join(joined, tags_of(rule, chain.subject, trigger.document), items.get(item) if item else None)
    context.add_reason(Reason.JOINED, chain)
    for step in rule.steps:
        if step.record is not None and chain.steps[step.index].status in {StepStatus.RUNNING, StepStatus.DONE}:
            origin = writes.WriteOrigin(step.index)
            chain = writes.request_write_of(context, chain, step.record, origin, event.id)
    return advance(context, chain)


def _start_within_limit(context: DecisionContext, trigger: RuleTrigger, rule: Rule, subject: str) -> None:
    """Start a chain, unless the rule has started about this too often lately: it may be its own write that it meets."""
    if rule.name in rules_of_event(context.rulebook, trigger.name).writing:
        limit = rule.restarts or context.rulebook.tenant.restarts
        key = start_key(rule.name, subject, trigger.event.partitionkey)
        known = context.facts.starts.get(key, RecentStarts()).at
        recent = tuple(at for at in known if at > context.now - limit.within)
        if len(recent) >= limit.at_most:
            context.add_reason(Reason.TOO_MANY_STARTS, rule=rule.name)
            return
        context.facts.starts[key] = RecentStarts(at=(context.now, *recent))
    start_chain(context, trigger, rule, subject)


def start_chain(context: DecisionContext, trigger: RuleTrigger, rule: Rule, subject: str) -> Chain:
    event = trigger.event
    tags = tuple(sorted(tags_of(rule, subject, trigger.document)))
    chain = Chain(
        chain_id=ChainId(derive_id("chain", context.tenant, rule.name, subject, event.id)),
        tenant=context.tenant,
        rule=rule.name,
        revision=context.rulebook.revision,
        subject=subject,
        tags=tags,
        key=event.partitionkey,
        started_at=context.now,
        base_at=context.now,
        start_name=trigger.name,
        start=trigger.data_json(),
        correlation=event.correlationid or event.id,
        traceparent=event.traceparent,
        line=trigger.line,
        joins=rule.on_repeat is OnRepeat.JOIN,
        steps=(StepState(),) * len(rule.steps),
    )
    context.add_reason(Reason.STARTED, chain)
    if context.facts.is_paused(chain.rule):
        context.add_reason(Reason.PAUSED, chain)
    return advance(context, skip_past(context, chain))


def replan_chain(context: DecisionContext, chain: Chain, trigger: RuleTrigger) -> Chain:
    """A matching event came again: ``at`` steps that lie ahead now are due again.

    Of the pending ``at`` steps that lie behind, only the latest runs, now. ``after`` steps stay as they are.
    """
    asked = _contents_of_questions(context, chain)
    tags = tags_of(context.rule_of(chain), chain.subject, trigger.document)
    chain = chain.replan(trigger.name, trigger.data_json(), tags)
    context.add_reason(Reason.REPLANNED, chain)
    chain = release.withdraw_excepted(context, chain)
    if _contents_of_questions(context, chain) != asked:
        chain = _ask_again(context, chain)
    late = []
    for step in context.rule_of(chain).steps:
        if not isinstance(step.timing, At) or due_of(context, chain, step) is None:
            continue
        if not has_lapsed(context, chain, step):
            chain = _repeat_step(context, chain, step.index)
        elif chain.steps[step.index].status is StepStatus.PENDING:
            late.append(step.index)
    for index in late[:-1]:
        chain = chain.skip_step(index)
    return advance(context, chain)


def _repeat_step(context: DecisionContext, chain: Chain, index: int) -> Chain:
    """A step that ran for an earlier date runs again for the new one; its unsent messages are withdrawn."""
    if chain.steps[index].status is StepStatus.PENDING:
        return chain
    chain = outbound.withdraw_messages(context, chain, "replaced", lambda m: m.step == index and m.answer is None)
    others = (offer for offer in chain.handovers if offer.step != index or offer.answer is not None)
    chain = chain.replace(handovers=tuple(others))
    return chain.reopen_answers(answers_to_steps(context, chain, [index])).repeat_step(index)


def _contents_of_questions(context: DecisionContext, chain: Chain) -> dict[MessageId, tuple[object, ...]]:
    """The values of each open question as its template would show them now, and what its answers would write."""
    document, found = context.document(chain), dict[MessageId, tuple[object, ...]]()
    for message in chain.messages:
        if is_open_question(message):
            shown = (str(document.get(path)) for path in template_of(context, chain, message.say).fields.values())
            answers = (answer_of(context, chain, message, name)[1] for name in message.buttons)
            records = (record for answer in answers for record in writes.write_actions(answer))
            found[message.message_id] = (*shown, *(writes.planned_input(context, chain, one) for one in records))
    return found


def _ask_again(context: DecisionContext, chain: Chain) -> Chain:
    """Close the questions, and ask them again at once, unless the time of their step lies ahead again.

    What waits of other steps, such as a notice held for the morning, stays: it is filled in when it goes. So does what
    an answer has handed over, since its person was told that a colleague looks after it, and a form that is being
    filled.
    """
    asking = {step.index for step in context.rule_of(chain).steps if step.answers}

    def is_replaced(message: ChainMessage) -> bool:
        is_asked = message.step in asking or (message.verb is Verb.REMIND and message.answer is None)
        return is_asked and message.verb is not Verb.COLLECT and not is_of_handover(message)

    chain = outbound.withdraw_messages(context, chain, "replaced", is_replaced)
    chain = chain.close_questions(is_replaced).reopen_answers(chain.answers)
    for step in context.rule_of(chain).steps:
        was_past = isinstance(step.timing, At) and chain.steps[step.index].status is StepStatus.SKIPPED
        if step.index in asking and not was_past:
            chain = _repeat_step(context, chain, step.index)
    return chain
