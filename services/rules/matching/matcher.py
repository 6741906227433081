"""Finds the rules an event starts and the ``until`` lines it makes true.

The evaluator decides; the second engine, durable-rules, is asked beside it, and a difference is logged and counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from services.rules.matching import second_engine
from services.rules.matching.conditions import ConditionIndex, FieldValues, NamedCondition
from services.rules.matching.second_engine import SecondEngine, SecondEngineFailedError
from services.rules.rulebook.model import Rule, until_id
from shared.contracts.ids import RuleId

_NO_RULES: frozenset[RuleId] = frozenset()


class ConditionSet:
    """The conditions of each event, for the evaluator and, where it is available, for the second engine."""

    def __init__(
        self, conditions: Mapping[str, Sequence[NamedCondition]], prefix: str, *, has_second_engine: bool
    ) -> None:
        is_asked = has_second_engine and second_engine.IS_AVAILABLE
        self.second_engine = SecondEngine(conditions, prefix) if is_asked else None
        self._indexes = {event: ConditionIndex(rules) for event, rules in conditions.items()}

    def match(self, event: str, values: FieldValues) -> frozenset[RuleId]:
        index = self._indexes.get(event)
        return index.match(values) if index else _NO_RULES


class Matcher(Protocol):
    """Finds the rules an event starts, and the ``until`` lines that hold, as ``until_id`` names them."""

    @property
    def disagreements(self) -> int:
        """How often the two engines differed."""

    def match_rules(self, event: str, values: FieldValues) -> frozenset[RuleId]: ...

    def match_until(self, event: str, values: FieldValues) -> frozenset[RuleId]: ...


class RuleMatcher:
    """``disagreements`` counts the answers in which the two engines differed; it must stay 0.

    Without ``has_second_engine`` the evaluator runs alone: for the analysis of decisions that are not made.
    """

    def __init__(self, rules: Iterable[Rule], *, has_second_engine: bool = True) -> None:
        found = tuple(rules)
        self._starts = ConditionSet(_start_conditions(found), "on", has_second_engine=has_second_engine)
        self._untils = ConditionSet(_until_conditions(found), "until", has_second_engine=has_second_engine)
        self.disagreements = 0

    def match_rules(self, event: str, values: FieldValues) -> frozenset[RuleId]:
        """The rules this event starts."""
        return self._match(self._starts, event, values)

    def match_until(self, event: str, values: FieldValues) -> frozenset[RuleId]:
        """The ``until`` lines that hold, as ``until_id`` names them; ``values`` include those of the chain to end."""
        return self._match(self._untils, event, values)

    def _match(self, conditions: ConditionSet, event: str, values: FieldValues) -> frozenset[RuleId]:
        decided = conditions.match(event, values)
        if conditions.second_engine is None:
            return decided
        try:
            second, error = conditions.second_engine.match(event, values), ""
        except SecondEngineFailedError as failure:
            second, error = _NO_RULES, str(failure)
        if error or second != decided:
            self._record_disagreement(event, decided, second, error)
        return decided

    def _record_disagreement(
        self, event: str, decided: frozenset[RuleId], second: frozenset[RuleId], error: str
    ) -> None:
        """Names rules only, never the values of the event."""
        from shared.runtime.telemetry import get_logger  # noqa: PLC0415 -- its clients are a tenth of a check's memory

        log = get_logger()
        self.disagreements += 1
        log.error(
            "second_engine.disagreed",
            event_name=event,
            missed=sorted(decided - second),
            added=sorted(second - decided),
            error=error,
        )


def _start_conditions(rules: Iterable[Rule]) -> Mapping[str, Sequence[NamedCondition]]:
    found: defaultdict[str, list[NamedCondition]] = defaultdict(list)
    for rule in rules:
        for event in dict.fromkeys(rule.events):
            found[event].append((rule.name, rule.condition))
    return found


def _until_conditions(rules: Iterable[Rule]) -> Mapping[str, Sequence[NamedCondition]]:
    found: defaultdict[str, list[NamedCondition]] = defaultdict(list)
    for rule in rules:
        for index, until in enumerate(rule.until):
            found[until.event].append((until_id(rule.name, index), until.condition))
    return found
