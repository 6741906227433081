"""Finds values of fields for which conditions hold, or shows that there are none.

Each field gets a finite domain that stands for all its values: the literals it is compared with, a value in each gap
between them, one outside, and its absence where it may be absent. A list has each selection of its items, and a text
each selection of the words that it must contain. A comparison cannot tell other values apart, so trying all
combinations decides the condition. Fields count as independent of each other.

So conditions are found that never hold, where “not” and “any” take part. Two comparisons beside each other that exclude
each other are found by ``rulebook/contradictions``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

from services.rules.matching.conditions import holds
from services.rules.rulebook.catalogue import EVENTS, CodeKind, FieldSpec, FieldType, resolve
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import (
    ALWAYS,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    NoneOf,
    Operator,
    Rule,
    Rulebook,
    comparisons,
    mentioned_fields,
)

SampleValues = Mapping[str, object]
"""A value for each field, None for an absent one."""

_MOST_TRIED = 20_000
_MOST_ITEMS = 6
"""Items of a list, or words of a text, of which all selections are tried."""
_A_DAY = date(2027, 6, 1)
_AN_INSTANT = datetime(2027, 6, 1, 12, tzinfo=UTC)
_STEPS = (-2, -1, 0, 1, 2)
_ANSWERING = "answers_a_question"
"""No rule starts by a message that answers a question."""
PRESENT = "present"
"""In place of a person or record, of which a condition can only say that it exists."""


class TooManyValuesError(Exception):
    """More combinations than are tried: it stays open whether any values make the condition true."""


@dataclass(slots=True)
class _Search:
    condition: Condition
    names: Sequence[str]
    domains: Mapping[str, Sequence[object]]
    tried: int = 0
    found: dict[str, object] = field(default_factory=dict)

    def solutions(self, depth: int = 0) -> Iterator[SampleValues]:
        self.tried += 1
        if self.tried > _MOST_TRIED:
            raise TooManyValuesError
        known = _evaluate(self.condition, self.found)
        if known is False:
            return
        if depth == len(self.names):
            yield dict(self.found)
            return
        name = self.names[depth]
        for value in self.domains[name]:
            self.found[name] = value
            yield from self.solutions(depth + 1)
            del self.found[name]


def solutions(condition: Condition, event: str, *, started_by: tuple[str, ...] = ()) -> Iterator[SampleValues]:
    """All combinations of field values for which the condition holds at this event, by example.

    Raises TooManyValuesError.
    """
    names = sorted(mentioned_fields(condition), key=lambda name: -len(_literals(condition, name)))
    specs = {name: resolve((event,), name, started_by) for name in names}
    domains = {name: _domain(condition, name, spec) for name, spec in specs.items()}
    found = False
    for values in _Search(condition, names, domains).solutions():
        found = True
        yield values
    if not found and any(_is_partial(condition, name, spec) for name, spec in specs.items()):
        raise TooManyValuesError


def conjunction(*conditions: Condition | None) -> Condition:
    return AllOf(tuple(each for each in conditions if each is not None and each != ALWAYS))


def _evaluate(condition: Condition, known: SampleValues) -> bool | None:
    """None where it depends on fields that have no value yet."""
    match condition:
        case Compare():
            if mentioned_fields(condition) <= known.keys():
                return holds(condition, known)  # type: ignore[arg-type]  # values of a domain are values of a field
            return None
        case AllOf(conditions):
            return _all(_evaluate(each, known) for each in conditions)
        case AnyOf(conditions):
            found = _all(_negated(_evaluate(each, known)) for each in conditions)
            return _negated(found)
        case NoneOf(inner):
            return _negated(_evaluate(inner, known))


def _negated(value: bool | None) -> bool | None:  # noqa: FBT001 -- a truth value is all there is
    return None if value is None else not value


def _all(values: Iterable[bool | None]) -> bool | None:
    unknown = False
    for value in values:
        if value is False:
            return False
        unknown = unknown or value is None
    return None if unknown else True


# ------------------------------------------------------------------ domains


def _literals(condition: Condition, name: str) -> set[object]:
    """The values that the field, and every field it is compared with, are compared with."""
    found: set[object] = set()
    for each in comparisons(condition):
        operand = each.operand
        if each.field in _related(condition, name) and not isinstance(operand, Field):
            found.update(operand if isinstance(operand, tuple) else (operand,))
    return found


def _related(condition: Condition, name: str) -> frozenset[str]:
    """The fields that the field is compared with, directly or through others; itself among them."""
    pairs = [(each.field, each.operand.name) for each in comparisons(condition) if isinstance(each.operand, Field)]
    found = {name}
    while more := {one for pair in pairs if found & set(pair) for one in pair} - found:
        found |= more
    return frozenset(found)


def _domain(condition: Condition, name: str, spec: FieldSpec | None) -> Sequence[object]:
    if spec is None:
        return (None,)
    literals = _literals(condition, name)
    values = _values(spec, literals)
    if spec.type is FieldType.TEXT and spec.code is None and not spec.values:
        values = (*values, *_containing(_contained(condition, name)))
    return (*values, None) if spec.optional else tuple(values)


def _values(spec: FieldSpec, literals: set[object]) -> Sequence[object]:  # noqa: PLR0911 -- one for each type
    match spec.type:
        case FieldType.FLAG:
            return (False,) if spec.path == _ANSWERING else (True, False)
        case FieldType.TEXT:
            return _texts(spec, literals)
        case FieldType.NUMBER:
            numbers = [each for each in literals if isinstance(each, int | float) and not isinstance(each, bool)]
            return sorted({base + step for base in numbers or [0] for step in _STEPS})
        case FieldType.DATE:
            days = [each for each in literals if isinstance(each, date) and not isinstance(each, datetime)]
            return sorted({base + timedelta(days=step) for base in days or [_A_DAY] for step in _STEPS})
        case FieldType.INSTANT:
            instants = [each for each in literals if isinstance(each, datetime)]
            return sorted({base + timedelta(hours=step) for base in instants or [_AN_INSTANT] for step in _STEPS})
        case FieldType.LIST:
            return _lists(spec, literals)
        case _:
            return (PRESENT,)


def _is_partial(condition: Condition, name: str, spec: FieldSpec | None) -> bool:
    """Whether some values are left out that a comparison could tell from the others."""
    if spec is None or spec.type not in (FieldType.LIST, FieldType.TEXT):
        return False
    literals = _literals(condition, name)
    if spec.type is FieldType.LIST:
        return len(literals) > _MOST_ITEMS
    is_known = spec.code is not None and literals.issuperset(_CODES[spec.code])
    return is_known or len(_contained(condition, name)) > _MOST_ITEMS


def _contained(condition: Condition, name: str) -> frozenset[str]:
    """The words that the field, or one it is compared with, must contain."""
    related = _related(condition, name)
    found = (each for each in comparisons(condition) if each.operator is Operator.CONTAINS and each.field in related)
    return frozenset(each.operand for each in found if isinstance(each.operand, str))


def _containing(contained: frozenset[str]) -> Iterator[str]:
    """Texts with several of the words in them; those with one are the words themselves."""
    words = sorted(contained)
    sizes = range(2, len(words) + 1) if len(words) <= _MOST_ITEMS else (len(words),)
    yield from (" / ".join(chosen) for size in sizes for chosen in combinations(words, size))


def _texts(spec: FieldSpec, literals: set[object]) -> Sequence[str]:
    """The texts that are mentioned, and some others that no comparison can tell apart; several, since fields may have
    to differ.
    """
    words = sorted(each for each in literals if isinstance(each, str))
    if spec.code is not None:
        return (*words, *[code for code in _CODES[spec.code] if code not in words][:2])
    if not spec.values:
        return (*words, "something", "something else")
    others = [word for word in spec.values if word not in words]
    return (*(word for word in words if word in spec.values), *others[:2])


_CODES = {
    CodeKind.COUNTRY: ("GB", "FR", "US", "DE", "NL", "IT", "ES", "PL"),
    CodeKind.LANGUAGE: ("en", "fr", "de", "nl", "it", "es", "pl", "pt"),
}
"""Codes that stand for all that a condition does not mention; real ones, since people of a story have them."""


def _lists(spec: FieldSpec, literals: set[object]) -> Sequence[tuple[object, ...]]:
    """Every selection of the items mentioned; beyond a few, each alone and all together. An empty list is absent."""
    allowed = [each for each in literals if not spec.values or each in spec.values]
    items = sorted(allowed, key=str)
    sizes = range(1, len(items) + 1) if len(items) <= _MOST_ITEMS else (1, len(items))
    selections = [chosen for size in sizes for chosen in combinations(items, size)]
    others = tuple(word for word in spec.values if word not in items)[:1] or ("something",)
    return (*selections, others)


# ------------------------------------------------------------------ conditions that never hold


def impossible_condition_faults(book: Rulebook, faulty_files: Collection[str]) -> Iterator[FileFault]:
    """A fault at the first line by which an “if”, also that of an “until” line, can no longer be true."""
    for rule in book.rules.values():
        if rule.location.file in faulty_files:
            continue
        conditions = (("if", rule.condition, rule.events, ()), *_of_endings(rule))
        for name, condition, events, started_by in conditions:
            if condition is not None and _has_choices(condition) and EVENTS.keys() >= set(events):
                yield from _fault(name, condition, events, started_by)
                yield from _faults_of_choices(condition, events, started_by)
        for step in rule.steps if EVENTS.keys() >= set(rule.events) else ():
            if step.unless is not None and _has_choices(step.unless):
                yield from _fault_of_unless(step.unless, rule.events)


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
        if not any(_is_possible(conjunction(*lines[:count]), event, started_by) for event in events):
            what = f"“{name}” never holds" if count == 1 else f"with this, “{name}” never holds"
            sentence = f"{what}: no values of its fields make {'it' if count == 1 else 'all its lines'} true"
            yield FileFault(comparisons(lines[count - 1])[0].location, f"{sentence}; change this line or one before it")
            return


def _faults_of_choices(
    condition: Condition, events: tuple[str, ...], started_by: tuple[str, ...]
) -> Iterator[FileFault]:
    """A fault of each “any” of which one line always holds: it excludes nothing, so “all” or a list was meant."""
    match condition:
        case AllOf(conditions):
            for each in conditions:
                yield from _faults_of_choices(each, events, started_by)
        case AnyOf() if _always_holds(condition, events, started_by):
            sentence = "one line of this “any” always holds, so it excludes nothing; join them by “all”, or take it out"
            yield FileFault(comparisons(condition)[0].location, sentence, only_new=True)


def _fault_of_unless(condition: Condition, events: tuple[str, ...]) -> Iterator[FileFault]:
    """A fault of an “unless” that always holds, or never."""
    location = comparisons(condition)[0].location
    if _always_holds(condition, events, ()):
        sentence = "this “unless” always holds, so the step is never done; change it, or take the step out"
        yield FileFault(location, sentence, only_new=True)
    elif not any(_is_possible(condition, event, ()) for event in events):
        sentence = "this “unless” never holds: no values of its fields make it true; change it, or take it out"
        yield FileFault(location, sentence, only_new=True)


def _always_holds(condition: Condition, events: tuple[str, ...], started_by: tuple[str, ...]) -> bool:
    """Only where it is certain. Fields of which not all values are tried make it uncertain."""
    if _ANSWERING in mentioned_fields(condition):
        return False
    return not any(_is_possible(NoneOf(condition), event, started_by) for event in events)


def _is_possible(condition: Condition, event: str, started_by: tuple[str, ...]) -> bool:
    try:
        return next(iter(solutions(condition, event, started_by=started_by)), None) is not None
    except TooManyValuesError:
        return True
