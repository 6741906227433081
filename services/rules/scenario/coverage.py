"""Counts the parts of a rulebook that stories cover: rules, branches of conditions, steps, answers, reasons for leaving
people out, languages.

A condition has two branches, true and false, and so has each of its comparisons. Branches count where rules evaluate
them: the ``if`` of a rule at an event that may start it, an ``until`` line at an event that may end a live chain.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.rules.conversation.chain import Chain, StepStatus
from services.rules.conversation.context import Decision, ExcludedPerson, ExclusionReason, RequestedMessage
from services.rules.conversation.document import Document
from services.rules.matching.conditions import FieldValues, holds
from services.rules.matching.matcher import Matcher
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES, RESERVED_PREFIX
from services.rules.rulebook.model import (
    ALWAYS,
    Condition,
    Location,
    Rule,
    Rulebook,
    Step,
    WriteAction,
    answers_of,
    comparisons,
)
from shared.contracts.ids import RuleId


class CoverageKind(StrEnum):
    RULE = "rules"
    BRANCH = "branches"
    STEP = "steps"
    ANSWER = "answers"
    REASON = "exclusion reasons"
    LANGUAGE = "languages"


EXCLUSIONS = frozenset(ExclusionReason) - {ExclusionReason.ERASED}
"""The reasons for leaving a person out that a story can bring about: its people are never erased."""
_HOUSE = Location("house.yaml", 0, 0)  # no line of it says so


@dataclass(frozen=True, slots=True, order=True)
class CoverageItem:
    """One thing that a story can cover; ``name`` says it in the words of a rule file."""

    location: Location
    kind: CoverageKind
    name: str


@dataclass(slots=True)
class _Branches:
    """The items of a condition: of the whole, and of each comparison where there are several."""

    parts: tuple[tuple[Condition, CoverageItem, CoverageItem], ...]

    def of(self, values: FieldValues) -> Iterator[CoverageItem]:
        for condition, true, false in self.parts:
            yield true if holds(condition, values) else false


@dataclass(frozen=True, slots=True)
class CoverageResult:
    """``covered`` is a part of ``items``."""

    items: frozenset[CoverageItem]
    covered: frozenset[CoverageItem]

    @property
    def percent(self) -> float:
        return self.percent_of(None)

    def percent_of(self, kind: CoverageKind | None) -> float:
        """100 where there is nothing to cover."""
        every, covered = self.count(kind)
        return 100.0 if not every else 100.0 * covered / every

    def count(self, kind: CoverageKind | None) -> tuple[int, int]:
        """How many items there are, and how many of them are covered."""
        wanted = [item for item in self.items if kind in {None, item.kind}]
        return len(wanted), sum(item in self.covered for item in wanted)

    @property
    def missing(self) -> list[CoverageItem]:
        """The items without coverage, in the order of the files."""
        return sorted(self.items - self.covered)


@dataclass(slots=True)
class StoryCoverage:
    """The items of some rules of a rulebook, and which of them were seen. A ``StoryObserver``."""

    rules: Mapping[RuleId, Rule]
    covered: set[CoverageItem] = field(default_factory=set)
    _rules: dict[RuleId, CoverageItem] = field(default_factory=dict)
    _steps: dict[tuple[RuleId, int], CoverageItem] = field(default_factory=dict)
    _answers: dict[tuple[RuleId, int, str], CoverageItem] = field(default_factory=dict)
    _branches: dict[int, _Branches] = field(default_factory=dict)
    _reasons: dict[str, CoverageItem] = field(default_factory=dict)
    _languages: dict[tuple[str, str], CoverageItem] = field(default_factory=dict)

    @classmethod
    def of(cls, book: Rulebook, names: Iterable[str] = ()) -> "StoryCoverage":
        """The coverage of the named rules; without names, of all rules and of the house's own texts."""
        wanted = frozenset(names)
        rules = {name: rule for name, rule in book.rules.items() if not wanted or name in wanted}
        made = cls({name: rule for name, rule in rules.items() if not name.startswith(RESERVED_PREFIX)})
        for rule in made.rules.values():
            made._add_rule(rule)
        made._reasons = {reason: CoverageItem(_HOUSE, CoverageKind.REASON, reason) for reason in EXCLUSIONS}
        made._add_languages(book, whole=not wanted)
        return made

    @property
    def result(self) -> CoverageResult:
        tables = (self._rules, self._steps, self._answers, self._reasons, self._languages)
        items = {item for table in tables for item in table.values()}
        items |= {item for each in self._branches.values() for _, *both in each.parts for item in both}
        return CoverageResult(frozenset(items), frozenset(self.covered & items))

    # ------------------------------------------------------------------ what there is

    def _add_rule(self, rule: Rule) -> None:
        self._rules[rule.name] = CoverageItem(rule.location, CoverageKind.RULE, f"{rule.name} starts")
        self._add_condition(rule.condition, f"{rule.name}: if", rule.location)
        for number, until in enumerate(rule.until, 1):
            self._add_condition(until.condition, f"{rule.name}: until {number}", until.location)
        for step in rule.steps:
            self._add_step(rule, step)

    def _add_step(self, rule: Rule, step: Step) -> None:
        name = f"{rule.name}: step {step.index + 1}, {step.verb}"
        self._steps[rule.name, step.index] = CoverageItem(step.location, CoverageKind.STEP, name)
        self._add_condition(step.unless, f"{name}: unless", step.location)
        self._add_write(step.record, name, step.location)
        for answer in answers_of(step):
            given = f"{name}: answer “{answer.path}”"
            self._answers[rule.name, step.index, answer.path] = CoverageItem(step.location, CoverageKind.ANSWER, given)
            self._add_write(answer.record, given, step.location)

    def _add_write(self, write: WriteAction | None, name: str, location: Location) -> None:
        if write is not None:
            self._add_condition(write.unless, f"{name}: {write.operation} unless", location)
            self._add_write(write.then, name, location)

    def _add_condition(self, condition: Condition | None, name: str, location: Location) -> None:
        if condition is None or condition == ALWAYS:
            return
        single = comparisons(condition)
        whole = [(condition, name, location)]
        parts = [(one, f"{name}: {one.field} {one.operator}", one.location) for one in single if len(single) > 1]
        self._branches[id(condition)] = _Branches(tuple(_branch(*part) for part in (*whole, *parts)))

    def _add_languages(self, book: Rulebook, *, whole: bool) -> None:
        for template in book.templates.values():
            if whole or template.name not in BUILT_IN_TEMPLATES:
                for language in template.languages:
                    item = CoverageItem(template.location, CoverageKind.LANGUAGE, f"{template.name} in “{language}”")
                    self._languages[template.name, language] = item

    # ------------------------------------------------------------------ what happens

    def matcher(self, matcher: Matcher) -> Matcher:
        return _ObservedMatcher(matcher, self)

    def observe_condition(self, condition: Condition, values: FieldValues) -> None:
        branches = self._branches.get(id(condition))
        if branches is not None:
            self.covered.update(branches.of(values))

    def observe_decision(self, decision: Decision) -> None:
        for chain in (decision.changes.chains.changed or {}).values():  # type: ignore[attr-defined]  # an Overlay
            if chain.rule in self.rules:
                self._observe_chain(chain)
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                self._cover(self._languages.get((effect.send.say or "", effect.send.language or "")))
            elif isinstance(effect, ExcludedPerson):
                self._cover(self._reasons.get(effect.reason))

    def _observe_chain(self, chain: Chain) -> None:
        self._cover(self._rules.get(chain.rule))
        for index, state in enumerate(chain.steps):
            if state.status in {StepStatus.RUNNING, StepStatus.DONE}:
                self._cover(self._steps.get((chain.rule, index)))
        for given in chain.answers:
            question = chain.message(given.message_id)
            last = question.step if question else len(chain.steps)
            found = (self._answers.get((chain.rule, index, given.answer)) for index in range(last, -1, -1))
            self._cover(next(filter(None, found), None))

    def _cover(self, item: CoverageItem | None) -> None:
        if item is not None:
            self.covered.add(item)


def _branch(condition: Condition, name: str, location: Location) -> tuple[Condition, CoverageItem, CoverageItem]:
    return (
        condition,
        CoverageItem(location, CoverageKind.BRANCH, f"{name} is true"),
        CoverageItem(location, CoverageKind.BRANCH, f"{name} is false"),
    )


@dataclass(frozen=True, slots=True)
class _ObservedMatcher:
    """Evaluates once more, for the coverage, the conditions that may start a rule or end the document's chain."""

    matcher: Matcher
    coverage: StoryCoverage

    @property
    def disagreements(self) -> int:
        return self.matcher.disagreements

    def match_rules(self, event: str, values: FieldValues) -> frozenset[RuleId]:
        for rule in self.coverage.rules.values():
            if event in rule.events:
                self.coverage.observe_condition(rule.condition, values)
        return self.matcher.match_rules(event, values)

    def match_until(self, event: str, values: FieldValues) -> frozenset[RuleId]:
        rule = self._rule_of(values)
        for until in rule.until if rule else ():
            if until.event == event:
                self.coverage.observe_condition(until.condition, values)
        return self.matcher.match_until(event, values)

    def _rule_of(self, values: FieldValues) -> Rule | None:
        chain = values.chain if isinstance(values, Document) else None
        return self.coverage.rules.get(chain.rule) if chain else None
