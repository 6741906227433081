"""The effect of an event on chains: ``until`` lines end them, and matching rules start or replan them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec import Raw, Struct

from services.rules.conversation import outbound, writes
from services.rules.conversation.chain import Chain, JoinedEvent, StepState, StepStatus
from services.rules.conversation.completion import end_by_until
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.document import (
    MESSAGE_RECEIVED,
    Document,
    is_event_field,
    item_id,
    newest_data,
    read_data,
)
from services.rules.conversation.fact_values import RecentStarts
from services.rules.conversation.schedule import due_of, has_lapsed, skip_past
from services.rules.conversation.steps import advance
from services.rules.conversation.template_calls import template_of
from services.rules.identity_cache import cached_by_identity
from services.rules.matching.conditions import ConditionIndex, necessary_condition
from services.rules.rulebook.model import At, OnRepeat, Rule, Rulebook, may_write
from services.rules.rulebook.periods import PERIODS
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, EventId, Line, PersonId, RuleId, derive_id
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


def subject_of(fields: tuple[str, ...], document: Document, event_id: str) -> str | None:
    """The subject, like ``block_id=B-1``; None where the event lacks a field.

    Without ``about`` the event itself is the subject.
    """
    if not fields:
        return f"{_OWN_SUBJECT}{event_id}"
    values = [document.get(field) for field in fields]
    if any(value is None for value in values):
        return None
    return "|".join(f"{field}={value}" for field, value in zip(fields, values, strict=True))


def tags_of(rule: Rule, subject: str, document: Document) -> frozenset[str]:
    """The tags a live chain is found by: its subject, and the fields that its ``until`` lines compare instead."""
    same = {until.same for until in rule.until if until.same}
    return frozenset({subject, *(f"{f}={v}" for f in same if (v := document.get(f)) is not None)})


@dataclass(frozen=True, slots=True)
class EventRules:
    """The possible effects of an event of one name: start rules, and end chains that are found in one of these ways.

    ``first`` evaluates only the part of the rules' conditions that the event's own fields answer. ``writing`` rules may
    cause further events, so that the number of their chains is limited.
    """

    first: ConditionIndex
    about: Mapping[RuleId, tuple[str, ...]]
    ends: frozenset[tuple[tuple[str, ...], str | None]]
    writing: frozenset[RuleId] = frozenset()

    def may_start(self, document: Document) -> frozenset[RuleId]:
        """The rules that the event's own fields do not rule out."""
        return self.first.match(document)

    def start_keys(self, rules: Collection[RuleId], document: Document, event: Event) -> Iterator[str]:
        """The keys by which the chains of these rules are counted that the event may start."""
        for rule in self.writing.intersection(rules) if self.writing else ():
            subject = subject_of(self.about[rule], document, event.id)
            if subject is not None:
                yield start_key(rule, subject, event.partitionkey)

    def tags(self, rules: Collection[RuleId], document: Document, event_id: str) -> frozenset[str]:
        """The tags of live chains that the event would meet if it started these rules, or that it may end."""
        if not rules and not self.ends:
            return _NO_TAGS
        subjects = {subject_of(about, document, event_id) for about in {self.about[rule] for rule in rules}}
        found = {tag for tag in subjects if tag is not None}
        return frozenset(found.union(self.tags_to_end(document, event_id)))

    def tags_to_end(self, document: Document, event_id: str) -> Collection[str]:
        if not self.ends:
            return _NO_TAGS
        ways = (
            subject_of(about, document, event_id) if same is None else _same_tag(same, document)
            for about, same in self.ends
        )
        return {tag for tag in ways if tag is not None}


_NO_TAGS: frozenset[str] = frozenset()
_NO_RULES = EventRules(ConditionIndex(()), {}, frozenset())


def rules_of_event(book: Rulebook, name: str) -> EventRules:
    return _rules_by_event(book.rules).get(name, _NO_RULES)


@cached_by_identity(most=64)
def _rules_by_event(named: Mapping[RuleId, Rule]) -> Mapping[str, EventRules]:
    """Cached by the rules alone, since rulebooks of stories differ in their people only."""
    rules = tuple(named.values())
    names = {*(name for rule in rules for name in rule.events), *(u.event for rule in rules for u in rule.until)}
    return {name: _event_rules(rules, name) for name in names}


def _event_rules(rules: Iterable[Rule], name: str) -> EventRules:
    starting = [rule for rule in rules if name in rule.events]
    return EventRules(
        first=ConditionIndex([(rule.name, necessary_condition(rule.condition, is_event_field)) for rule in starting]),
        about={rule.name: rule.about for rule in starting},
        ends=frozenset((rule.about, until.same) for rule in rules for until in rule.until if until.event == name),
        writing=frozenset(rule.name for rule in starting if name not in _NO_REPORTS and may_write(rule)),
    )


_NO_REPORTS = frozenset({MESSAGE_RECEIVED, *PERIODS})
"""Events that never follow from a write: people's messages have a limit of their own, periods come by the calendar."""


def start_key(rule: RuleId, subject: str, key: str) -> str:
    """By what the chains of a rule are counted: its subject; the partition key of events that are each their own."""
    return f"{rule}|{key if subject.startswith(_OWN_SUBJECT) else subject}"


_OWN_SUBJECT = "event="


def _same_tag(same: str | None, document: Document) -> str | None:
    value = document.get(same) if same else None
    return None if value is None else f"{same}={value}"


Ends = Callable[[Chain, int, str, Document], bool]
"""Whether the ``until`` line at an index of a chain's rule holds for an event name and a document."""


def end_chains(context: DecisionContext, trigger: RuleTrigger, ends: Ends) -> None:
    """End every live chain that has an ``until`` line which this event makes true."""
    tags = rules_of_event(context.rulebook, trigger.name).tags_to_end(trigger.document, trigger.event.id)
    for chain in context.facts.chains_with_tags(tags) if tags else ():
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
        live = context.facts.active_chain(rule.name, subject)
        if rule.on_repeat is OnRepeat.JOIN:
            _join_or_start(context, trigger, rule, subject)
        elif live is None:
            _start_within_limit(context, trigger, rule, subject)
        elif rule.on_repeat is OnRepeat.IGNORE:
            context.add_reason(Reason.ALREADY_LIVE, live)
        else:
            replan_chain(context, live, trigger)
    return has_subject


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
        chain = chain.replan(trigger.data_json())
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
    shown = _shown_values(context, chain)
    chain = chain.replan(trigger.data_json())
    context.add_reason(Reason.REPLANNED, chain)
    if _shown_values(context, chain) != shown:
        chain = _ask_afresh(context, chain)
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
    chain = chain.replace(handovers=tuple(h for h in chain.handovers if h.step != index))
    return chain.repeat_step(index)


def _shown_values(context: DecisionContext, chain: Chain) -> dict[PersonId, tuple[str, ...]]:
    """The values of each open question, as its template would show them now."""
    document = context.document(chain)
    shown = {}
    for message in chain.messages:
        if message.open and message.answer is None:
            template = template_of(context, chain, message.say)
            shown[message.person_id] = tuple(str(document.get(path)) for path in template.fields.values())
    return shown


def _ask_afresh(context: DecisionContext, chain: Chain) -> Chain:
    """Close the questions, and ask them again at once unless their step has a time of its own."""
    chain = outbound.withdraw_messages(context, chain, "replaced").close_questions()
    for step in context.rule_of(chain).steps:
        if step.answers and chain.steps[step.index].over and not isinstance(step.timing, At):
            chain = _repeat_step(context, chain, step.index)
    return chain
