"""An index of the rulebook by event: the rules that an event may start or end, and the tags by which their chains are
found.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from services.rules.conversation.document import MESSAGE_RECEIVED, Document, is_event_field
from services.rules.identity_cache import cached_by_identity
from services.rules.matching.conditions import ConditionIndex, necessary_condition
from services.rules.rulebook.model import Rule, Rulebook, may_write
from services.rules.rulebook.periods import PERIODS
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId, RuleId


def subject_of(fields: tuple[str, ...], document: Document, event_id: str) -> str | None:
    """The subject, like ``block_id=B-1``; None where the event lacks a field.

    Without ``about`` the event itself is the subject.
    """
    if not fields:
        return f"{OWN_SUBJECT}{event_id}"
    values = [document.get(field) for field in fields]
    if any(value is None for value in values):
        return None
    return "|".join(f"{field}={value}" for field, value in zip(fields, values, strict=True))


def tags_of(rule: Rule, subject: str, document: Document) -> frozenset[str]:
    """The tags a live chain is found by: its subject, and the fields that its ``until`` lines compare instead."""
    same = {until.same for until in rule.until if until.same}
    return frozenset({subject, *(f"{f}={v}" for f in same if (v := document.get(f)) is not None)})


End = tuple[tuple[str, ...], str | None]
"""How an ``until`` line finds its chains: by the fields of their subject, or by the field that it compares instead."""


def tags_of_ends(ends: Iterable[End], document: Document, event_id: str) -> Collection[str]:
    """The tags of the chains that these ``until`` lines would find by an event."""
    ways = (
        subject_of(about, document, event_id) if same is None else _same_tag(same, document) for about, same in ends
    )
    return {tag for tag in ways if tag is not None}


@dataclass(frozen=True, slots=True)
class EventRules:
    """The possible effects of an event of one name: start rules, and end chains that are found in one of these ways.

    ``first`` evaluates only the part of the rules' conditions that the event's own fields answer. ``writing`` rules may
    cause further events, so that the number of their chains is limited.
    """

    first: ConditionIndex
    about: Mapping[RuleId, tuple[str, ...]]
    ends: frozenset[End]
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
        return tags_of_ends(self.ends, document, event_id)


_NO_TAGS: frozenset[str] = frozenset()
_NO_RULES = EventRules(ConditionIndex(()), {}, frozenset())


def rules_of_event(book: Rulebook, name: str) -> EventRules:
    return _rules_by_event(book.rules).get(name, _NO_RULES)


def ends_by_event(books: Iterable[Rulebook]) -> Mapping[str, frozenset[End]]:
    """The ``until`` lines of several rulebooks by the event that they are about."""
    found: dict[str, frozenset[End]] = {}
    for book in books:
        for name, event_rules in _rules_by_event(book.rules).items():
            if event_rules.ends:
                found[name] = found.get(name, frozenset()) | event_rules.ends
    return found


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
    """The key by which starts of a rule are counted: the subject, or the event's partition key where it has none."""
    return f"{rule}|{key if subject.startswith(OWN_SUBJECT) else subject}"


OWN_SUBJECT = "event="


def _same_tag(same: str | None, document: Document) -> str | None:
    value = document.get(same) if same else None
    return None if value is None else f"{same}={value}"


SENDER_ID = "sender.person_id"
"""The field by which rules are about the person who wrote."""


def subjects_of(*people: PersonId) -> list[str]:
    """The subjects of chains that are about these people as writers."""
    return [f"{SENDER_ID}={person}" for person in people]
