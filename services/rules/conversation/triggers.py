"""The effect of an event, and of a changed rule file, on chains.

By an event, ``until`` lines end them, and matching rules start or replan them. By a changed rule file, the live chains
of its rule are pinned, migrated or cancelled: ``on_change`` of the rule in force decides, for a rule that is gone,
``on_change`` of the rule that the chain began with. People, the calendar and the limits are never pinned. Neither are
the fallback of a template and the hours of a message that has not gone: both follow the rulebook in force.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import SequenceMatcher
from typing import assert_never

from msgspec import Raw, Struct

from services.rules.conversation import outbound, release, writes
from services.rules.conversation.amendments import amend, amend_hours
from services.rules.conversation.chain import (
    IN_DISPATCHER,
    Chain,
    ChainMessage,
    DeliveryState,
    Ending,
    JoinedEvent,
    StepState,
    StepStatus,
)
from services.rules.conversation.chain_messages import is_copy, is_of_handover, is_offer, is_open_question
from services.rules.conversation.completion import close_chain, end_by_until
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.document import Document, item_id, newest_data, read_data
from services.rules.conversation.event_rules import End, rules_of_event, start_key, subject_of, tags_of, tags_of_ends
from services.rules.conversation.fact_values import RecentStarts
from services.rules.conversation.outbound import BODY_VALUE
from services.rules.conversation.people import language_of, working_hours
from services.rules.conversation.question_lookup import answer_of, answers_to_steps
from services.rules.conversation.schedule import due_of, has_lapsed, skip_past
from services.rules.conversation.steps import advance
from services.rules.conversation.template_calls import fallback_call, template_of, text_of_call
from services.rules.rulebook.model import At, OnChange, OnRepeat, Rule, Rulebook, Step, Verb, questions_of
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, EventId, Line, MessageId, derive_id
from shared.contracts.messages import AmendMessage, TemplateCall, WithdrawMessage
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

    Such an event is new in the changed file. Its effect depends on whether the chain migrates, ends, or goes on as it
    began.
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

    Messages of other steps that wait, such as a notice held for the morning, stay: they are filled in when they go. A
    form that is being filled stays too, and a matter that an answer has handed over, since its person was told that a
    colleague looks after it.
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


# ------------------------------------------------------------------ changed rule files


def review_chain(context: DecisionContext, chain: Chain) -> Chain:
    """Apply a change of the rulebook to a chain of an earlier one, once for each rulebook.

    Of a chain that has ended only the messages that have not gone yet are concerned.
    """
    earlier = context.rulebook_at(chain.reviewed or chain.revision)
    calls = {m.message_id: call for m in chain.messages if (call := _other_fallback(context, chain, m)) is not None}
    changed = _reschedule_held(context, _apply_change(context, chain), earlier)
    changed = _amend_fallbacks(context, changed, calls)
    _amend_hours(context, changed, earlier)
    return changed


def _other_fallback(context: DecisionContext, chain: Chain, message: ChainMessage) -> TemplateCall | None:
    """The fallback by the current rules; None where it is the same, and for a message that has no template any more."""
    person = context.facts.current_person(message.person_id)
    is_known = any(message.say in book.templates for book in (context.rulebook_of(chain), context.rulebook))
    without_template = message.digest is not None or BODY_VALUE in message.words or not is_known
    if message.delivery is not DeliveryState.REQUESTED or without_template or person is None:
        return None
    call = fallback_call(context, chain, message, person, message.language or language_of(context.rulebook, person))
    return None if call is None or call.name == message.fallback else call


def _amend_fallbacks(context: DecisionContext, chain: Chain, calls: Mapping[MessageId, TemplateCall]) -> Chain:
    """Give messages that may still wait for their template another fallback, unless the change withdrew them."""
    withdrawn = {e.message_id for e in context.effects if isinstance(e, WithdrawMessage)}
    for message in chain.messages:
        call = calls.get(message.message_id)
        if call is None or message.closed or message.unwanted is not None or message.message_id in withdrawn:
            continue
        amendment = AmendMessage(message_id=message.message_id, person_id=message.person_id, fallback=call)
        amend(context, amendment, chain, message.step)
        texts = (
            {**message.other_texts, call.name: text_of_call(context, chain, call)}
            if outbound.keeps_text(message)
            else {}
        )
        chain = chain.with_message(message.replace(fallback=call.name, other_texts=texts))
    return context.save_chain(chain)


def _amend_hours(context: DecisionContext, chain: Chain, earlier: Rulebook) -> None:
    """Give messages that wait for people the current hours, where these differ from the hours by the earlier
    rulebook.
    """
    receivers = {m.person_id for m in chain.messages if m.delivery in IN_DISPATCHER}
    for receiver in sorted(map(context.facts.current_id, receivers)):
        if (person := context.facts.people.get(receiver)) is not None:
            amend_hours(context, chain, person, earlier, person)


def _reschedule_held(context: DecisionContext, chain: Chain, earlier: Rulebook) -> Chain:
    """Give held messages a new hour of release, where people's hours differ from those by the earlier rulebook."""
    held = chain
    receivers = {m.person_id for m in chain.messages if m.delivery is DeliveryState.HELD}
    for receiver in sorted(map(context.facts.current_id, receivers)):
        person = context.facts.people.get(receiver)
        if person is not None and working_hours(earlier, person) != working_hours(context.rulebook, person):
            held = outbound.reschedule_held(context, held, person)
    return chain if held is chain else advance(context, held)


def _apply_change(context: DecisionContext, chain: Chain) -> Chain:
    old, new = context.rule_of(chain), context.rulebook.rules.get(chain.rule)
    chain = chain.replace(reviewed=context.rulebook.revision)
    match (new or old).on_change:
        case OnChange.CANCEL if new != old and chain.active:
            context.add_reason(Reason.CANCELLED, chain)
            return advance(context, close_chain(context, chain, Ending.CANCELLED))
        case OnChange.MIGRATE if new is not None and _can_migrate(context, chain, old, new):
            context.add_reason(Reason.MIGRATED, chain)
            return advance(context, _migrate(context, chain, old, new))
        case OnChange.PIN | OnChange.CANCEL | OnChange.MIGRATE:
            context.add_reason(Reason.PINNED, chain)
            return context.save_chain(chain)
        case unknown:
            assert_never(unknown)


def _can_migrate(context: DecisionContext, chain: Chain, old: Rule, new: Rule) -> bool:
    """Whether the chain can go on with the new steps. Otherwise it goes on as it began, which is so where

    - it is closing, about another subject now, filling a form or waiting for a write;
    - one of its events is not in the new ``on``: new texts and writes would name fields that it does not have;
    - a message that it has still to send, or may show again, has no template in the new rules (an offer takes one of
      the house).
    """
    stays = _matching_steps(old, new)
    held = (m for m in chain.messages if m.step in stays and m.delivery is DeliveryState.HELD and not is_offer(m))
    shown_again = (m for m in chain.messages if m.digest is not None)
    rendered_again = (m for m in (*held, *shown_again) if BODY_VALUE not in m.words)
    if any(message.say not in context.rulebook.templates for message in rendered_again):
        return False
    filling = chain.form is not None and not chain.form.over
    waiting = any(write.pending for write in chain.writes)
    is_known = set(chain.event_names) <= set(new.events)
    return chain.active and old.about == new.about and is_known and not filling and not waiting


def _migrate(context: DecisionContext, chain: Chain, old: Rule, new: Rule) -> Chain:
    """Done steps stay. Questions of steps that are gone are closed; new steps before the last begun are skipped.

    Hand-overs and notices that followed an answer stay, also where its question is gone: the person was told of them.
    """
    matching = _matching_steps(old, new)
    gone = [step.index for step in old.steps if step.index not in matching]

    def is_gone(message: ChainMessage) -> bool:
        return message.step in gone and not _follows_answer(context, message)

    chain = outbound.withdraw_messages(context, chain, "replaced", is_gone)
    chain = chain.reopen_answers(answers_to_steps(context, chain, gone))
    chain = chain.migrate(
        context.rulebook.revision,
        steps=_new_states(chain, new, matching),
        messages=tuple(
            m.replace(step=_nearest(matching, m.step), closed=m.closed or (m.is_question and is_gone(m)))
            for m in chain.messages
        ),
        writes=tuple(w.replace(step=_nearest(matching, w.step)) for w in chain.writes),
        handovers=tuple(h.replace(step=_nearest(matching, h.step)) for h in chain.handovers),
        form=None if chain.form is None else chain.form.replace(step=_nearest(matching, chain.form.step)),
        tags=tuple(sorted({*chain.tags, *tags_of(new, chain.subject, context.document(chain))})),
    )
    for step in new.steps:
        added = step.index not in matching.values()
        if added and chain.steps[step.index].status is StepStatus.PENDING and has_lapsed(context, chain, step):
            chain = chain.skip_step(step.index)
    return chain


def _follows_answer(context: DecisionContext, message: ChainMessage) -> bool:
    """Whether it hands over what a person wrote or answered, or tells others of it."""
    if message.answer is None or is_copy(message):
        return False
    return is_of_handover(message) or (message.verb is Verb.TELL and message.say in context.rulebook.templates)


def _matching_steps(old: Rule, new: Rule) -> Mapping[int, int]:
    """The new place of each old step that still exists, in their order."""
    matcher = SequenceMatcher(None, list(map(_identity, old.steps)), list(map(_identity, new.steps)), autojunk=False)
    return {a + n: b + n for a, b, size in matcher.get_matching_blocks() for n in range(size)}


def _identity(step: Step) -> tuple[object, ...]:
    """A step stays the same step while it does the same; its time, its people and its condition may change."""
    operation = step.record.operation if step.record is not None else None
    questions = tuple((each.within, each.say, tuple(sorted(each.answers))) for each in questions_of(step))
    return step.verb, step.say, step.form, operation, questions


def _new_states(chain: Chain, new: Rule, matching: Mapping[int, int]) -> tuple[StepState, ...]:
    """A step that has not begun gets an occurrence of its own, as another step may have sent messages at its place."""
    known = {now: chain.steps[before] for before, now in matching.items()}
    begun = max((index for index, state in known.items() if state.status is not StepStatus.PENDING), default=-1)
    unused = max((message.occurrence + 1 for message in chain.messages), default=0)
    added, skipped = StepState(occurrence=unused), StepState(status=StepStatus.SKIPPED)
    moved = {now for before, now in matching.items() if now != before}
    for index in moved & {index for index, state in known.items() if state.status is StepStatus.PENDING}:
        known[index] = known[index].replace(occurrence=max(unused, known[index].occurrence))
    return tuple(known.get(step.index) or (skipped if step.index < begun else added) for step in new.steps)


def _nearest(matching: Mapping[int, int], step: int) -> int:
    """The new place of a step; for a step that is gone, the place of the last one before it that still exists."""
    return next((matching[index] for index in range(step, -1, -1) if index in matching), 0)
