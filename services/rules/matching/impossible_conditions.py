"""Finds conditions that no values of their fields make true, where “not” and “any” take part.

What two comparisons beside each other exclude is said where the conditions are read (``rulebook/contradictions``).
"""

from collections.abc import Collection, Iterator

from services.rules.matching.satisfiability import TooManyValuesError, both, solutions
from services.rules.rulebook.catalogue import EVENTS
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import AllOf, AnyOf, Condition, NoneOf, Rule, Rulebook, comparisons


def impossible_condition_faults(book: Rulebook, faulty_files: Collection[str] = ()) -> Iterator[FileFault]:
    """A fault at the first line with which an “if”, or that of an “until”, can no longer be true."""
    for rule in book.rules.values():
        if rule.location.file in faulty_files:
            continue
        conditions = (("if", rule.condition, rule.events, ()), *_of_endings(rule))
        for name, condition, events, started_by in conditions:
            if condition is not None and _has_choices(condition) and EVENTS.keys() >= set(events):
                yield from _fault(name, condition, events, started_by)


def _of_endings(rule: Rule) -> Iterator[tuple[str, Condition | None, tuple[str, ...], tuple[str, ...]]]:
    for until in rule.until:
        yield "until", until.condition, (until.event,), rule.events


def _has_choices(condition: Condition) -> bool:
    """Whether “not” or “any” stands in it."""
    match condition:
        case AllOf(conditions):
            return any(map(_has_choices, conditions))
        case NoneOf() | AnyOf():
            return bool(comparisons(condition))
        case _:
            return False


def _fault(
    name: str, condition: Condition, events: tuple[str, ...], started_by: tuple[str, ...]
) -> Iterator[FileFault]:
    if any(_is_possible(condition, event, started_by) for event in events):
        return
    lines = condition.conditions if isinstance(condition, AllOf) else (condition,)
    for count in range(1, len(lines) + 1):
        if not any(_is_possible(both(*lines[:count]), event, started_by) for event in events):
            what = f"“{name}” never holds" if count == 1 else f"with this, “{name}” never holds"
            sentence = f"{what}: no values of its fields make {'it' if count == 1 else 'all its lines'} true"
            yield FileFault(comparisons(lines[count - 1])[0].location, f"{sentence}; change this line or one before it")
            return


def _is_possible(condition: Condition, event: str, started_by: tuple[str, ...]) -> bool:
    try:
        return next(iter(solutions(condition, event, started_by=started_by)), None) is not None
    except TooManyValuesError:
        return True
