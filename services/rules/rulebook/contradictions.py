"""Conditions that never hold, and steps that are never done: found in the files, before a story shows nothing."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import (
    AllOf,
    AnyOf,
    At,
    Compare,
    Condition,
    Field,
    Location,
    Operator,
    Rule,
    Step,
    comparisons,
)
from shared.clients.working_calendar import TimeUnit


class Contradiction(NamedTuple):
    location: Location
    sentence: str


# ------------------------------------------------------------------ conditions


def check_contradictions(condition: Condition | None, report: FaultReport) -> None:
    """Reports the comparisons that cannot hold together, each once."""
    for found in _contradictions(condition, ()):
        report.add(found.location, found.sentence)


def _contradictions(condition: Condition | None, outer: tuple[Compare, ...]) -> Iterator[Contradiction]:
    """``outer`` comparisons hold too. Conditions under ``not`` are left alone."""
    match condition:
        case Compare():
            yield from _against(condition, outer)
        case AllOf(conditions):
            known = list(outer)
            for compare in (each for each in conditions if isinstance(each, Compare)):
                yield from _against(compare, tuple(known))
                known.append(compare)
            for each in conditions:
                if not isinstance(each, Compare):
                    yield from _contradictions(each, tuple(known))
        case AnyOf(conditions):
            for each in conditions:
                yield from _contradictions(each, outer)
        case _:
            return


def _against(compare: Compare, known: Iterable[Compare]) -> Iterator[Contradiction]:
    for other in known:
        if other.field == compare.field and not _can_both_hold(other, compare):
            line = f" on line {other.location.line}" if other.location.line != compare.location.line else ""
            sentence = (
                f"this never holds together with “{other.field}: {_written(other)}”{line}: "
                f"“{compare.field}” cannot be both; take one out, or put them under “any”"
            )
            yield Contradiction(compare.location, sentence)
            return


def _written(compare: Compare) -> str:
    operand = compare.operand
    if isinstance(operand, Field):
        return f"{{field: {operand.name}}}"
    if isinstance(operand, tuple):
        return f"[{', '.join(map(_plain, operand))}]"
    return _plain(operand) if compare.operator is Operator.IS else f"{{{compare.operator}: {_plain(operand)}}}"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _can_both_hold(one: Compare, other: Compare) -> bool:
    """False only where it is certain that no value satisfies both."""
    if isinstance(one.operand, Field) or isinstance(other.operand, Field):
        return True
    if Operator.EXISTS in (one.operator, other.operator):
        return _presence(one) is _presence(other)
    values = _values(one), _values(other)
    if values[0] is not None and values[1] is not None:
        return bool(set(values[0]) & set(values[1]))
    for these, condition in ((values[0], other), (values[1], one)):
        if these is not None:
            return any(_holds(condition, value) for value in these)
    return _ranges_meet(one, other)


def _presence(compare: Compare) -> bool:
    return compare.operator is not Operator.EXISTS or bool(compare.operand)


def _values(compare: Compare) -> tuple[object, ...] | None:
    """All values that satisfy it, where they are listed."""
    if compare.operator is Operator.IS:
        return (compare.operand,)
    return compare.operand if compare.operator is Operator.ONE_OF and isinstance(compare.operand, tuple) else None


def _holds(compare: Compare, value: object) -> bool:
    operand = compare.operand
    if compare.operator is Operator.IS_NOT:
        return value != operand
    if not _comparable(value, operand):
        return True
    ordering = _ORDERINGS.get(compare.operator)
    return ordering is None or bool(ordering(value, operand))


_ORDERINGS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.AT_LEAST: operator.ge,
    Operator.AT_MOST: operator.le,
    Operator.MORE_THAN: operator.gt,
    Operator.LESS_THAN: operator.lt,
}
_LOWER = frozenset({Operator.AT_LEAST, Operator.MORE_THAN})
_UPPER = frozenset({Operator.AT_MOST, Operator.LESS_THAN})


def _ranges_meet(one: Compare, other: Compare) -> bool:
    lower, upper = (one, other) if one.operator in _LOWER else (other, one)
    if lower.operator not in _LOWER or upper.operator not in _UPPER or not _comparable(lower.operand, upper.operand):
        return True
    strict = lower.operator is Operator.MORE_THAN or upper.operator is Operator.LESS_THAN
    return lower.operand < upper.operand if strict else lower.operand <= upper.operand  # type: ignore[operator]


def _comparable(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    if isinstance(one, int | float) and isinstance(other, int | float):
        return True
    return type(one) is type(other) and isinstance(one, date | datetime)


# ------------------------------------------------------------------ steps


def check_never_done(rule: Rule, report: FaultReport) -> None:
    """Reports steps whose ``unless`` is what the rule's ``if`` asks of the event itself."""
    asked = _asked(rule.condition)
    for step in rule.steps:
        if step.unless is None:
            continue
        lines = _asked(step.unless)
        if lines and len(lines) == len(comparisons(step.unless)) and all(each in asked for each in lines):
            first = lines[0]
            comparison = f"{first.field}: {_written(first)}"
            sentence = f"this step is never done: “if” asks for “{comparison}” too, so “unless” always holds"
            report.add(first.location, sentence)


def _asked(condition: Condition) -> tuple[Compare, ...]:
    """The comparisons that must all hold, of fields that the event itself says and that do not change."""
    lines = condition.conditions if isinstance(condition, AllOf) else (condition,)
    found = (each for each in lines if isinstance(each, Compare))
    return tuple(each for each in found if each.field.partition(".")[0] not in _CHANGING)


_CHANGING = frozenset({"work", "rights", "launch", "days_to", "sender", "chain", "recipient"})
"""Facts are asked for again when the step is due, and may have changed."""


def check_order(rule: Rule, report: FaultReport) -> None:
    """Reports the fewest ``at`` steps without which the others stand in the order of their times."""
    timed = [step for step in rule.steps if isinstance(step.timing, At) and step.timing.field]
    while wrong := _most_out_of_order(timed):
        step, (other, *_) = wrong
        is_later = step.index > other.index
        sentence = (
            f"this step's time, {_time(step)}, is {'before' if is_later else 'after'} that of the step on line "
            f"{other.location.line}, {_time(other)}; put the steps in the order of their times"
        )
        report.add(step.location, sentence)
        timed.remove(step)


def _most_out_of_order(timed: list[Step]) -> tuple[Step, list[Step]] | None:
    """The step that is out of order with the most others, and those; of several the last."""
    others: dict[int, list[Step]] = {}
    for index, step in enumerate(timed):
        for before in timed[:index]:
            if _is_earlier(step, before):
                others.setdefault(step.index, []).append(before)
                others.setdefault(before.index, []).append(step)
    if not others:
        return None
    worst = max(others, key=lambda index: (len(others[index]), index))
    return next(step for step in timed if step.index == worst), others[worst]


def _time(step: Step) -> str:
    timing = step.timing
    assert isinstance(timing, At)  # noqa: S101 -- only such steps are compared
    if timing.duration is None:
        return f"“{timing.field}”"
    unit = str(timing.duration.unit)
    unit = unit.removesuffix("s") if timing.duration.count == 1 else unit
    return f"“{timing.duration.count} {unit} {'before' if timing.sign < 0 else 'after'} {timing.field}”"


def _is_earlier(step: Step, before: Step) -> bool:
    one, other = step.timing, before.timing
    if not isinstance(one, At) or not isinstance(other, At) or one.field != other.field:
        return False
    if one.sign != other.sign:
        return one.sign < other.sign
    if one.duration is None or other.duration is None:
        return False
    if (_MINUTES[one.duration.unit][0]) is not (_MINUTES[other.duration.unit][0]):
        return False
    return one.sign * _minutes(one) < other.sign * _minutes(other)


_MINUTES = {
    TimeUnit.SECONDS: (False, 1 / 60),
    TimeUnit.MINUTES: (False, 1),
    TimeUnit.HOURS: (False, 60),
    TimeUnit.DAYS: (False, 24 * 60),
    TimeUnit.WEEKS: (False, 7 * 24 * 60),
    TimeUnit.WORKING_HOURS: (True, 60),
    TimeUnit.WORKING_DAYS: (True, 24 * 60),
}
"""Whether a unit counts working time, and its length; the two kinds are not compared."""


def _minutes(timing: At) -> float:
    return 0.0 if timing.duration is None else timing.duration.count * _MINUTES[timing.duration.unit][1]
