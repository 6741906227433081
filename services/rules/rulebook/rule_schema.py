"""The schema of a ``*.rule.yaml``: events and conditions that start a chain, its steps, and the events that end it."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Tag, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.action_schema import AddresseesText, NotifyKeys, build_addressees
from services.rules.rulebook.codes import check_language
from services.rules.rulebook.condition_schema import ConditionSection
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.house_schema import RestartsSection
from services.rules.rulebook.model import ALWAYS, OnChange, OnRepeat, Severity, Verb
from services.rules.rulebook.periods import PERIOD_LISTED, PERIOD_STARTED
from services.rules.rulebook.schema import (
    VALUE_OR_FIELD,
    FieldReference,
    OneOrMore,
    Section,
    Texts,
    build_value,
    items,
    mapping,
)
from services.rules.rulebook.single_values import Text, only, report_of, word
from services.rules.rulebook.step_schema import STEP_SECTIONS, AnyStepSection, StepSection, parts_of_step
from services.rules.rulebook.times import EveryText
from services.rules.rulebook.yaml_nodes import ABSENT, MappingNode, Node, ScalarNode, SequenceNode, lines_of_node
from shared.contracts.ids import RuleId

MOST_STEPS = 100

SeverityOrField = Annotated[
    Annotated[Severity, word(Severity, Severity.INFO), Tag("value")] | Annotated[FieldReference, Tag("field")],
    VALUE_OR_FIELD,
]


def _with_torn_steps(steps: tuple[Node, ...], report: FaultReport) -> tuple[Node, ...]:
    """Reports a dash before a key that belongs to the step above, once for each step, and puts the step together."""
    joined: list[Node] = []
    torn = False
    for node, following in zip_longest(steps, steps[1:]):
        above = joined[-1] if joined else None
        if not _is_torn(above, node) or (_is_time(node) and _is_torn(node, following)):
            joined.append(node)
            torn = False
            continue
        assert isinstance(above, MappingNode)  # noqa: S101 -- only a mapping is torn
        assert isinstance(node, MappingNode)  # noqa: S101
        if not torn:
            sentence = f"each dash begins a step, and “{next(iter(node.nodes))}” belongs to the one above"
            report.add(node.location, f"{sentence}; take the dash away")
        joined[-1] = MappingNode(above.location, {**above.nodes, **node.nodes}, (*above.places, *node.places))
        torn = True
    return tuple(joined)


def _with_missing_dashes(steps: tuple[Node, ...], report: FaultReport) -> tuple[Node, ...]:
    """Reports a step that is written as a part of the one above it, and takes it for a step of its own."""
    found: list[Node] = []
    last = max((line for node in steps for line in lines_of_node(node)), default=0)
    for node in steps:
        first, *others = parts_of_step(node)
        for each in others:
            verb = next(iter(each.nodes)) if isinstance(each, MappingNode) else ""
            sentence = (
                f"“{verb}” begins another step, which needs a dash: “- after: …”, or “- {verb}: …” without a time"
            )
            report.add(each.location, sentence)
            # The lines below count as other steps now.
            report.mark_misread(each.location.file, range(each.location.line + 1, last + 1))
        found += (first, *others)
    return tuple(found)


def _without_endings(nodes: tuple[Node, ...], report: FaultReport) -> tuple[Node, ...]:
    """Reports events that end the rule among its steps, and leaves them out: the line above them is missing."""
    first = next((number for number, node in enumerate(nodes) if number and _is_ending(node)), None)
    if first is None:
        return nodes
    report.add(nodes[first].location, "the line “until:” is missing above this one")
    return nodes[:first]


def _is_ending(node: Node) -> bool:
    if isinstance(node, ScalarNode):
        return _EVENT.fullmatch(node.text) is not None
    return isinstance(node, MappingNode) and "on" in node.nodes and node.nodes.keys().isdisjoint(_VERBS - {Verb.TELL})


_VERBS = frozenset(Verb)
_EVENT = re.compile(r"[a-z]+\.[a-z_]+")


def _is_torn(above: Node | None, node: Node | None) -> bool:
    """Whether the keys of both are those of one step, of which one has no verb and one at most has a time."""
    if not isinstance(above, MappingNode) or not isinstance(node, MappingNode):
        return False
    keys = {*above.nodes, *node.nodes}
    verbs = keys.intersection(Verb)
    if len(verbs) != 1 or len(keys & _TIMES) > 1 or above.nodes.keys() & node.nodes.keys():
        return False
    return keys <= set(STEP_SECTIONS[Verb(*verbs)].known_keys())


def _is_time(node: Node) -> bool:
    """Whether it has nothing but the time of a step."""
    return isinstance(node, MappingNode) and node.nodes.keys() <= _TIMES | {"in"}


_TIMES = frozenset({"after", "at"})


def _at_most_100(nodes: Any, info: ValidationInfo) -> Any:
    """Reports a rule without steps, and one with too many of them."""
    if nodes is ABSENT:
        return nodes
    report = report_of(info)
    steps = _with_missing_dashes(_with_torn_steps(_without_endings(items(nodes), report), report), report)
    if isinstance(nodes, ScalarNode) and nodes.value is None:
        steps = ()
    if not steps:
        report_of(info).add(nodes.location, "a rule has at least one step")
    if len(steps) > MOST_STEPS:
        sentence = f"a rule has at most {MOST_STEPS} steps; this has {len(steps)}"
        report_of(info).add(steps[MOST_STEPS].location, sentence)
    return SequenceNode(nodes.location, steps[:MOST_STEPS])


class UntilSection(NotifyKeys):
    """An event that ends a chain of the same subject."""

    label = "“until”"
    shorthand = "on"
    on: Texts
    """The event, or events."""
    if_: ConditionSection | None = Field(None, alias="if")
    """The condition under which the event ends the chain."""
    same: Text | None = None
    """A field that both events have, and that names the subject where “about” does not."""

    def build(self) -> Iterator[model.Until]:
        """An ``until`` of the model for each event that the line names."""
        condition = ALWAYS if self.if_ is None else self.if_.build()
        for event in self.on:
            yield model.Until(event, condition, self.same or None, self.build_notification(), self.location)


class ListSection(Section):
    """The open chains that a recurring rule lists."""

    label = "“list”"
    waits_for: AddresseesText = ()
    """Roles or teams: only chains that await one of them."""
    rules: Texts = ()
    """Only chains of these rules."""
    each: (
        Annotated[str, only("person", "“each” can only be “person”: a list for each person who is awaited")] | None
    ) = None
    """For whom there is a list of their own; without it there is one list of all."""

    def build(self) -> model.Listing:
        names = tuple(RuleId(name) for name in self.rules)
        return model.Listing(build_addressees(self.waits_for), names, self.each is not None)


class RuleFile(Section):
    """An escalation rule: who is told or asked what, when something happens, and what ends it."""

    label = "a rule"
    rule: Text
    """The rule's name, which is also the file's."""
    owner: Text
    """The team of people.yaml that answers for it."""
    why: Annotated[dict[str, Text], mapping("“why”", check_language)]
    """By language: why a person gets a message of this rule."""
    severity: SeverityOrField = Severity.INFO
    """How urgent its messages are; may be taken from a field of the event."""
    on: Texts = ()
    """The events that start it; “stet rules fields EVENT” lists their fields."""
    every: EveryText | None = None
    """In place of “on”, for recurring work: like “monday at 09:00” or “1st working day of the month at 09:00”."""
    list_: ListSection | None = Field(None, alias="list")
    """With “every”: the open chains that the rule lists."""
    if_: ConditionSection | None = Field(None, alias="if")
    """The condition under which the event starts the rule."""
    about: Texts = ()
    """Fields that name the subject: there is one chain for each."""
    on_repeat: Annotated[OnRepeat, word(OnRepeat, OnRepeat.REPLAN)] = OnRepeat.REPLAN
    """The effect of another event about the same subject on a running chain."""
    on_change: Annotated[OnChange, word(OnChange, OnChange.PIN)] = OnChange.PIN
    """The effect of a change of this file on a running chain: it keeps its steps, gets the new ones, or ends."""
    restarts: RestartsSection | None = None
    """It is meant that what the rule writes starts it again: how often; further starts are suppressed."""
    steps: Annotated[tuple[AnyStepSection, ...], OneOrMore(), BeforeValidator(_at_most_100)]
    """The steps, in their order."""
    until: Annotated[tuple[UntilSection, ...], OneOrMore()] = ()
    """The events that end a chain."""

    @classmethod
    def no_such_key(cls, key: str, label: str) -> str:
        where = "; it belongs to a step" if key in StepSection.all_keys() else ""
        return f"{super().no_such_key(key, label)}{where}"

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        self._report_condition(report)
        if "on" in self.written and "every" in self.written:
            sentence = "a rule starts by “on” or by “every”, not both; write a rule for each"
            report.add(self.key_location("every"), sentence)
        elif "on" not in self.written and "every" not in self.written and self._has_keys():
            report.add(self.location, f"{self._label} needs “on”")
        if "list" in self.written and "every" not in self.written:
            report.add(self.key_location("list"), "“list” goes with “every”: recurring work lists what is open")

    def _report_condition(self, report: FaultReport) -> None:
        """Notes that the condition has a fault, so that no field is said to lack its guard."""
        keys = list(self.written)
        if "if" in keys:
            below = keys[keys.index("if") + 1 :]
            end = self.key_location(below[0]).line if below else None
            if report.has_fault_between(self.key_location("if"), end):
                report.unguarded.add(self.location.file)

    def _has_keys(self) -> bool:
        """Whether it has any key of a rule: else it is none, which is reported."""
        return not self.written.keys().isdisjoint(self.known_keys())

    def _events(self) -> tuple[str, ...]:
        if self.every is None or (self.on and self.list_ is None):
            return self.on  # with both it is at fault, and read by the one that says more
        return (PERIOD_STARTED,) if self.list_ is None else (PERIOD_LISTED,)

    def build(self) -> model.Rule:
        steps = (step.build(index) for index, step in enumerate(self.steps))
        return model.Rule(
            name=RuleId(self.rule),
            owner=self.owner,
            why=self.why,
            events=self._events(),
            steps=tuple(step for step in steps if step is not None),
            location=self.location,
            severity=build_value(self.severity),
            condition=ALWAYS if self.if_ is None else self.if_.build(),
            about=self.about,
            on_repeat=self.on_repeat,
            on_change=self.on_change,
            until=tuple(until for each in self.until for until in each.build()),
            every=self.every,
            listing=None if self.list_ is None else self.list_.build(),
            restarts=None if self.restarts is None else self.restarts.build(),
        )
