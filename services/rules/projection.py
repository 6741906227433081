"""Conditions and documents in the only terms in which durable-rules can be trusted: small whole numbers, none absent.

A text becomes the number of the literal it equals; a number, date or instant becomes its rank among the literals it is
compared with; whether a field is there is a flag; what compares two fields or looks into a list is worked out before.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, assert_never

from services.rules.conditions import Document, Scale, Test, comparisons, compile_condition, present, scale_of
from services.rules.terms import AllOf, AnyOf, Compare, Condition, Field, Literal, NoneOf, Operator

Pattern = Mapping[str, object]
Encode = Callable[[object], int]

_ALWAYS = "z"  # 1 in every fact, for conditions that hold whatever is said
_COMPARED = {
    Operator.AT_LEAST: ("$gte", "$lt"),
    Operator.LESS_THAN: ("$lt", "$gte"),
    Operator.MORE_THAN: ("$gt", "$lte"),
    Operator.AT_MOST: ("$lte", "$gt"),
}
_GROUPED = frozenset({Operator.ONE_OF, Operator.IS_NOT, Operator.LESS_THAN, Operator.AT_MOST})
"""Comparisons that are more than one to the engine."""
_MOST_GROUPS = 12
_MOST_ALTERNATIVES = 250
_BELOW = (Operator.LESS_THAN, Operator.AT_MOST)


class Projection:
    """The properties that these conditions need, and no more."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self._texts: dict[str, int] = {}
        self._ladders: dict[tuple[str, Scale], list[Any]] = {}
        self._columns: dict[str, dict[str, tuple[str, Encode]]] = {}
        self._flags: dict[str, Test] = {}
        self._names = 0
        found = list(conditions)
        self._climb(found)
        self.patterns = tuple(
            self._pattern(condition) if _is_bearable(condition) else self._whole(condition) for condition in found
        )
        read = [(field, name, encode) for field, some in self._columns.items() for name, encode in some.values()]
        self._read = tuple((field, encode) for field, _, encode in read)
        self._tests = tuple(self._flags.values())
        self._named = (*(name for _, name, _ in read), *self._flags)

    @property
    def size(self) -> int:
        """Properties in a fact."""
        return self._names + 2

    def numbers(self, document: Document) -> tuple[int, ...]:
        """All the engine gets to know of a document."""
        found = [encode(document.get(field)) for field, encode in self._read]
        if self._tests:
            found += [1 if test(document) else 0 for test in self._tests]
        return tuple(found)

    def fact(self, numbers: tuple[int, ...]) -> dict[str, int]:
        return {"id": 1, _ALWAYS: 1, **dict(zip(self._named, numbers, strict=True))}

    def _climb(self, conditions: Iterable[Condition]) -> None:
        """Sorts the literals each field is ranked among; ranks are only known once all are."""
        rungs: dict[tuple[str, Scale], set[Any]] = {}
        for each in (compared for condition in conditions for compared in comparisons(condition)):
            for literal in each.operand if isinstance(each.operand, tuple) else (each.operand,):
                if (scale := scale_of(literal)) is not None:
                    rungs.setdefault((each.field, scale), set()).add(literal)
        self._ladders = {key: sorted(literals) for key, literals in rungs.items()}

    def _pattern(self, condition: Condition, *, negated: bool = False) -> Pattern:
        """A pattern without ``not``, which is pushed down to the comparisons."""
        match condition:
            case Compare():
                return self._compare(condition, negated=negated)
            case AllOf(conditions):
                parts = [self._pattern(each, negated=negated) for each in conditions]
                return _either(parts) if negated else _both(parts)
            case AnyOf(conditions):
                parts = [self._pattern(each, negated=negated) for each in conditions]
                return _both(parts) if negated else _either(parts)
            case NoneOf(inner):
                return self._pattern(inner, negated=not negated)
            case _:
                assert_never(condition)

    def _whole(self, condition: Condition) -> Pattern:
        """A condition the engine cannot bear, judged beforehand."""
        name = self._name()
        self._flags[name] = compile_condition(condition)
        return {name: 1}

    def _compare(self, condition: Compare, *, negated: bool) -> Pattern:
        field, operand = condition.field, condition.operand
        match condition.operator:
            case Operator.EXISTS:
                return {self._has(field): int(bool(operand) is not negated)}
            case Operator.ONE_OF if isinstance(operand, tuple):
                parts = [self._equals(field, each, negated=negated) for each in operand]
                return _both(parts) if negated else _either(parts)
            case Operator.IS if not isinstance(operand, Field | tuple):
                return self._equals(field, operand, negated=negated)
            case Operator.IS_NOT if not isinstance(operand, Field | tuple):
                parts = [{self._has(field): int(not negated)}, self._equals(field, operand, negated=not negated)]
                return _either(parts) if negated else _both(parts)
            case operator if operator in _COMPARED and scale_of(operand):
                return self._ranked(condition, negated=negated)
            case _:
                return self._flag(condition, negated=negated)

    def _equals(self, field: str, literal: Literal, *, negated: bool) -> Pattern:
        if isinstance(literal, bool):
            name, number = self._column(field, "flag", _encode_flag), 2 if literal else 1
        elif (scale := scale_of(literal)) is not None:
            name, number = self._rank(field, scale), self._rung(field, scale, literal)
        else:
            number = self._texts.setdefault(str(literal), len(self._texts) + 1)
            name = self._column(field, "text", self._encode_text)
        return {"$neq": {name: number}} if negated else {name: number}

    def _ranked(self, condition: Compare, *, negated: bool) -> Pattern:
        """Rank 0 is no value of this scale: below every literal, and yet less than none."""
        scale = scale_of(condition.operand)
        if scale is None:
            raise TypeError(f"{condition.operand!r} has no rank")
        name = self._rank(condition.field, scale)
        word = _COMPARED[condition.operator][int(negated)]
        compared: Pattern = {word: {name: self._rung(condition.field, scale, condition.operand)}}
        if condition.operator not in _BELOW:
            return compared
        return _either([compared, {name: 0}]) if negated else _both([compared, {"$neq": {name: 0}}])

    def _rank(self, field: str, scale: Scale) -> str:
        ladder = self._ladders[field, scale]

        def encode(value: object) -> int:
            if scale_of(value) is not scale:
                return 0
            rung = bisect_left(ladder, value)
            return 2 * rung + (2 if rung < len(ladder) and ladder[rung] == value else 1)

        return self._column(field, scale, encode)

    def _rung(self, field: str, scale: Scale, literal: object) -> int:
        return 2 * bisect_left(self._ladders[field, scale], literal) + 2

    def _has(self, field: str) -> str:
        return self._column(field, "has", _encode_presence)

    def _column(self, field: str, kind: str, encode: Encode) -> str:
        columns = self._columns.setdefault(field, {})
        if kind not in columns:
            columns[kind] = (self._name(), encode)
        return columns[kind][0]

    def _flag(self, condition: Compare, *, negated: bool) -> Pattern:
        """A comparison the engine cannot make, made beforehand."""
        name = self._name()
        self._flags[name] = compile_condition(condition)
        return {name: int(not negated)}

    def _name(self) -> str:
        self._names += 1
        return f"p{self._names}"

    def _encode_text(self, value: object) -> int:
        return self._texts.get(value, 0) if isinstance(value, str) else 0


def _is_bearable(condition: Condition) -> bool:
    """With 15 groups within a group the engine answers error 113; a thousand alternatives keep it busy for minutes."""
    found = comparisons(condition)
    alternatives = sum(len(each.operand) if isinstance(each.operand, tuple) else 1 for each in found)
    return alternatives <= _MOST_ALTERNATIVES and _groups(condition) <= _MOST_GROUPS


def _groups(condition: Condition) -> int:
    match condition:
        case Compare():
            return 1 if condition.operator in _GROUPED else 0
        case AllOf(conditions) | AnyOf(conditions):
            return 1 + sum(map(_groups, conditions))
        case NoneOf(inner):
            return _groups(inner)
        case _:
            assert_never(condition)


def _both(parts: list[Pattern]) -> Pattern:
    return _joined("$and", parts, nothing=1)


def _either(parts: list[Pattern]) -> Pattern:
    return _joined("$or", parts, nothing=0)


def _joined(word: str, parts: list[Pattern], *, nothing: int) -> Pattern:
    if not parts:
        return {_ALWAYS: nothing}
    return parts[0] if len(parts) == 1 else {word: parts}


def _encode_presence(value: object) -> int:
    return 1 if present(value) else 0


def _encode_flag(value: object) -> int:
    return (2 if value else 1) if isinstance(value, bool) else 0
