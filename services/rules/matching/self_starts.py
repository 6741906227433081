"""Finds rules that start themselves: an event reports what a rule wrote, and starts a rule that writes, and so on.

Only the events by which Consonance reports the write itself are followed. Consonance may do more by itself after a
write, which is unknown here; the bound on the starts of a rule covers that at run time.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice

from services.rules.matching.satisfiability import TooManyValuesError, conjunction, solutions
from services.rules.rulebook.catalogue import resolve
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import (
    ALWAYS,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Location,
    NoneOf,
    Rule,
    Rulebook,
    Step,
    WriteAction,
    answers_of,
    mentioned_fields,
)
from shared.contracts.ids import RuleId
from shared.contracts.writes import WriteOperation

REPORTING_EVENTS: Mapping[WriteOperation, tuple[str, ...]] = {
    WriteOperation.RECORD_DECISION: ("rights.status_changed",),
    WriteOperation.ADVANCE_WORKFLOW: ("rights.status_changed",),
    WriteOperation.APPLY_METADATA: ("product.pub_date_changed", "launch.component_changed"),
    WriteOperation.CREATE_ACQUISITION: ("acquisition.status_changed",),
    WriteOperation.APPEND_ACQUISITION: (),
    WriteOperation.RECORD_ACKNOWLEDGEMENT: (),
    WriteOperation.COMPLETE_MILESTONE: ("milestone.completed",),
}
"""The events by which Consonance reports a write (docs/reference/events.md). ``metadata.changed`` is not among them: as
exactly what was written it is recognised as our own, and starts no rule."""

_OF_THE_RECORD = ("milestone_id", "milestone_key", "name", "rights_record_id", "work.work_id", "work.imprint.id")
"""Fields that say the same in the event that starts a chain and in the report of what the chain wrote."""
_MOST_REPORTED = 20


@dataclass(frozen=True, slots=True)
class Start:
    """``rule`` writes by ``operation`` in the step at ``location``; ``event`` reports it, which starts ``started``."""

    rule: RuleId
    operation: WriteOperation
    location: Location
    event: str
    started: RuleId

    def __str__(self) -> str:
        place = f"{self.location.file}:{self.location.line}"
        return f"“{self.rule}” writes {self.operation} ({place}), {self.event} reports it and starts “{self.started}”"


def self_start_faults(book: Rulebook, spared: Collection[str]) -> list[FileFault]:
    """A fault for each cycle of rules of which none says by ``restarts`` how often it may start again.

    Rules in ``spared`` files are not looked at: they have faults already.
    """
    sound = {name: rule for name, rule in book.rules.items() if rule.location.file not in spared}
    cycles = islice(find_cycles(replace(book, rules=sound)), _MOST_REPORTED)
    return [FileFault(cycle[0].location, _sentence(cycle)) for cycle in cycles]


def _sentence(cycle: tuple[Start, ...]) -> str:
    path = "; ".join(map(str, cycle))
    return (
        f"what this step writes starts the rule again, without end: {path}; let an “if” exclude that, "
        "or say how often it is meant, like “restarts: {at_most: 3, within: 4 weeks}”"
    )


def find_cycles(book: Rulebook) -> Iterator[tuple[Start, ...]]:
    """The shortest cycle through each rule, in the order of the rules; each set of rules once.

    A rule with ``restarts`` is bounded, so no cycle through it is without end.
    """
    search = _Search({name: rule for name, rule in book.rules.items() if rule.restarts is None}, book)
    reported: set[frozenset[RuleId]] = set()
    for name in search.rules:
        cycle = search.shortest_cycle(name)
        rules = frozenset(start.rule for start in cycle)
        if cycle and rules not in reported:
            reported.add(rules)
            yield cycle


@dataclass(slots=True)
class _Search:
    rules: Mapping[RuleId, Rule]
    book: Rulebook
    _started_by: dict[str, list[Rule]] = field(init=False)
    _following: dict[RuleId, tuple[Start, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._started_by = {event: [] for events in REPORTING_EVENTS.values() for event in events}
        for rule in self.rules.values():
            if not any(REPORTING_EVENTS[operation] for operation in operations_of(rule, self.book)):
                continue  # nothing follows from it: no cycle runs through it
            for event in self._started_by.keys() & set(rule.events):
                self._started_by[event].append(rule)

    def shortest_cycle(self, goal: RuleId) -> tuple[Start, ...]:
        """The shortest way from a rule to itself; empty where there is none."""
        if not any(self.rules[goal] in started for started in self._started_by.values()):
            return ()
        ways, left = dict[RuleId, tuple[Start, ...]](), deque([goal])
        while left:
            rule = left.popleft()
            for start in self._starts(rule):
                way = (*ways.get(rule, ()), start)
                if start.started == goal:
                    return way
                if start.started not in ways:
                    ways[start.started] = way
                    left.append(start.started)
        return ()

    def _starts(self, name: RuleId) -> tuple[Start, ...]:
        if name not in self._following:
            self._following[name] = tuple(self._starts_of(self.rules[name]))
        return self._following[name]

    def _starts_of(self, rule: Rule) -> Iterator[Start]:
        for operation, step in operations_of(rule, self.book).items():
            for event in REPORTING_EVENTS[operation]:
                for other in self._started_by[event]:
                    if _may_follow(rule.condition, other.condition, event):
                        yield Start(rule.name, operation, step.location, event, other.name)


def operations_of(rule: Rule, book: Rulebook) -> Mapping[WriteOperation, Step]:
    """Everything that a rule may write, with the first step that does: by itself, an answer or a form."""
    found: dict[WriteOperation, Step] = {}
    for step in rule.steps:
        answers = tuple(answers_of(step))
        writes = (step.record, *(answer.record for answer in answers))
        forms = (book.forms.get(name) for name in (step.form, *(answer.form for answer in answers)) if name)
        for operation in (
            *(each.operation for write in writes for each in with_further(write)),
            *(form.record for form in forms if form is not None),
        ):
            found.setdefault(operation, step)
    return found


def with_further(write: WriteAction | None) -> Iterator[WriteAction]:
    """A write, and each that follows upon its success."""
    while write is not None:
        yield write
        write = write.then


@lru_cache(maxsize=4096)
def _may_follow(before: Condition, after: Condition, event: str) -> bool:
    """Whether the event can meet one condition where its cause met the other; True where that is not decided."""
    try:
        found = solutions(conjunction(_about_the_record(before, event), after), event)
        return next(iter(found), None) is not None
    except TooManyValuesError:
        return True


def _about_the_record(condition: Condition, event: str) -> Condition:
    """A weaker condition: only its comparisons of fields that do not change, and that the event has too."""
    match condition:
        case Compare() | NoneOf():
            fields = mentioned_fields(condition)
            stays = all(name in _OF_THE_RECORD and resolve((event,), name) is not None for name in fields)
            return condition if stays else ALWAYS
        case AllOf(conditions):
            return AllOf(tuple(_about_the_record(each, event) for each in conditions))
        case AnyOf(conditions):
            weaker = tuple(_about_the_record(each, event) for each in conditions)
            return ALWAYS if ALWAYS in weaker else AnyOf(weaker)
