"""durable-rules as the second engine: it answers beside the evaluator on every event, and never decides.

The evaluator (``matching.conditions``) decides; where the answers differ, ``RuleMatcher`` logs and counts it. Where
durable-rules cannot be imported (Python 3.13 and later) ``IS_AVAILABLE`` is false and the evaluator runs alone.

durable-rules can be trusted with small whole numbers only, none of them absent. So a text becomes the number of the
literal it equals; a number, date or instant its rank among the literals it is compared with; and what compares two
fields or looks into a list becomes a flag that the evaluator computes. One thread may use a second engine; a changed
rulebook gets a new one, since a registered ruleset cannot change, and the old one is freed with its last user.
"""

import weakref
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import orjson

from services.rules.matching.conditions import (
    FieldValues,
    NamedCondition,
    Predicate,
    Scale,
    compile_condition,
    is_present,
    scale_of,
)
from services.rules.rulebook.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    LiteralValue,
    NoneOf,
    Operator,
    comparisons,
)
from shared.contracts.errors import StetError
from shared.contracts.ids import RuleId

try:
    from durable.engine import Host, durable_rules_engine
except ImportError:  # it cannot be built for Python 3.13 and later
    Host, durable_rules_engine = object, None

IS_AVAILABLE = durable_rules_engine is not None

Pattern = Mapping[str, object]
Encode = Callable[[object], int]

_TRUE_PROPERTY = "z"  # 1 in every fact, for conditions that always hold
_COMPARED = {
    Operator.AT_LEAST: ("$gte", "$lt"),
    Operator.LESS_THAN: ("$lt", "$gte"),
    Operator.MORE_THAN: ("$gt", "$lte"),
    Operator.AT_MOST: ("$lte", "$gt"),
}
_GROUPED = frozenset({Operator.ONE_OF, Operator.IS_NOT, Operator.LESS_THAN, Operator.AT_MOST})
"""Comparisons that durable-rules needs several patterns for."""
_MOST_GROUPS = 12
_MOST_ALTERNATIVES = 250
_BELOW = (Operator.LESS_THAN, Operator.AT_MOST)


class Projection:
    """The properties that these conditions need, and no more."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self._texts: dict[str, int] = {}
        self._literals: dict[tuple[str, Scale], list[Any]] = {}
        self._columns: dict[str, dict[str, tuple[str, Encode]]] = {}
        self._flags: dict[str, Predicate] = {}
        self._names = 0
        found = list(conditions)
        self._rank_literals(found)
        self.patterns = tuple(
            self._pattern(condition) if _is_supported(condition) else self._as_flag(condition) for condition in found
        )
        read = [(field, name, encode) for field, some in self._columns.items() for name, encode in some.values()]
        self._read = tuple((field, encode) for field, _, encode in read)
        self._tests = tuple(self._flags.values())
        self._named = (*(name for _, name, _ in read), *self._flags)

    @property
    def size(self) -> int:
        """Properties in a fact."""
        return self._names + 2

    def numbers(self, values: FieldValues) -> tuple[int, ...]:
        """The numbers that stand for these values, which are all that the engine is given."""
        found = [encode(values.get(field)) for field, encode in self._read]
        if self._tests:
            found += [1 if test(values) else 0 for test in self._tests]
        return tuple(found)

    def fact(self, numbers: tuple[int, ...]) -> dict[str, int]:
        return {"id": 1, _TRUE_PROPERTY: 1, **dict(zip(self._named, numbers, strict=True))}

    def _rank_literals(self, conditions: Iterable[Condition]) -> None:
        """Sorts the literals each field is ranked among; ranks are only known once all are."""
        ranked: dict[tuple[str, Scale], set[Any]] = {}
        for each in (compared for condition in conditions for compared in comparisons(condition)):
            for literal in each.operand if isinstance(each.operand, tuple) else (each.operand,):
                if (scale := scale_of(literal)) is not None:
                    ranked.setdefault((each.field, scale), set()).add(literal)
        self._literals = {key: sorted(literals) for key, literals in ranked.items()}

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

    def _as_flag(self, condition: Condition) -> Pattern:
        """A condition that the engine cannot take, evaluated beforehand as a flag."""
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

    def _equals(self, field: str, literal: LiteralValue, *, negated: bool) -> Pattern:
        if isinstance(literal, bool):
            name, number = self._column(field, "flag", _encode_flag), 2 if literal else 1
        elif (scale := scale_of(literal)) is not None:
            name, number = self._rank(field, scale), self._rank_number(field, scale, literal)
        else:
            number = self._texts.setdefault(str(literal), len(self._texts) + 1)
            name = self._column(field, "text", self._encode_text)
        return {"$neq": {name: number}} if negated else {name: number}

    def _ranked(self, condition: Compare, *, negated: bool) -> Pattern:
        """Rank 0 stands for a value that is not of this scale. It is below every literal, and yet no comparison “less
        than” may hold of it.
        """
        scale = scale_of(condition.operand)
        if scale is None:
            raise TypeError(f"{condition.operand!r} has no rank")
        name = self._rank(condition.field, scale)
        word = _COMPARED[condition.operator][int(negated)]
        compared: Pattern = {word: {name: self._rank_number(condition.field, scale, condition.operand)}}
        if condition.operator not in _BELOW:
            return compared
        return _either([compared, {name: 0}]) if negated else _both([compared, {"$neq": {name: 0}}])

    def _rank(self, field: str, scale: Scale) -> str:
        literals = self._literals[field, scale]

        def encode(value: object) -> int:
            if scale_of(value) is not scale:
                return 0
            place = bisect_left(literals, value)
            return 2 * place + (2 if place < len(literals) and literals[place] == value else 1)

        return self._column(field, scale, encode)

    def _rank_number(self, field: str, scale: Scale, literal: object) -> int:
        return 2 * bisect_left(self._literals[field, scale], literal) + 2

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


def _is_supported(condition: Condition) -> bool:
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
        return {_TRUE_PROPERTY: nothing}
    return parts[0] if len(parts) == 1 else {word: parts}


def _encode_presence(value: object) -> int:
    return 1 if is_present(value) else 0


def _encode_flag(value: object) -> int:
    return (2 if value else 1) if isinstance(value, bool) else 0


_MOST_RULES = 250  # 512 distinct ones hang it, about 255 of one condition are error 108
_HANDLED, _OBSERVED = 0, 2  # what asserting a fact returns; 1 is that nothing matched
_MOST_CACHED = 4096
_MOST_PROPERTIES = 200  # 255 in a fact are error 302
_NO_RULES: frozenset[RuleId] = frozenset()


class _ThreadlessHost(Host):  # type: ignore[misc]  # durable-rules ships no types
    """A host without the two polling threads of durable-rules, which lose matches."""

    def _run(self) -> None:
        pass


@dataclass(slots=True)
class _Shard:
    """At most ``_MOST_RULES`` conditions of one event; those that read alike are one to the engine."""

    handle: int
    projection: Projection
    names: Mapping[str, tuple[RuleId, ...]]
    cached: dict[tuple[int, ...], tuple[RuleId, ...]] = field(default_factory=dict)

    def match(self, values: FieldValues) -> tuple[RuleId, ...]:
        """The engine keeps nothing from one fact to the next, so the same numbers need not be put to it again."""
        numbers = self.projection.numbers(values)
        found = self.cached.get(numbers)
        if found is None:
            if len(self.cached) >= _MOST_CACHED:
                self.cached.clear()
            found = self.cached[numbers] = tuple(self._match_fact(self.projection.fact(numbers)))
        return found

    def _match_fact(self, fact: Mapping[str, int]) -> list[RuleId]:
        """Asserts one fact, notes the rules that it fires, and retracts it. Host does the same, but encodes the fact
        three times.
        """
        encoded = orjson.dumps(fact).decode()
        try:
            code, state = durable_rules_engine.assert_fact(self.handle, encoded)
            if code == _OBSERVED:
                raise SecondEngineFailedError("the fact of an earlier event is still there")
            fired = self._fired(state) if code == _HANDLED else ()
            return [name for index in fired for name in self.names[index]]
        finally:
            durable_rules_engine.retract_fact(self.handle, encoded)

    def _fired(self, state: int) -> Iterator[str]:
        """Replaces the step in which Ruleset prepares actions, which are empty here: only their names are needed."""
        started = durable_rules_engine.start_action_for_state(self.handle, state)
        state_context, action = started or (None, None)
        while action:
            yield next(iter(orjson.loads(action)))
            durable_rules_engine.update_state(self.handle, state_context)
            action = durable_rules_engine.complete_and_start_action(self.handle, state)


class SecondEngineFailedError(StetError):
    """durable-rules gave no answer."""


class SecondEngine:
    """The conditions of each event in durable-rules."""

    def __init__(self, conditions: Mapping[str, Sequence[NamedCondition]], prefix: str) -> None:
        host = _ThreadlessHost()
        self._shards = {
            event: tuple(_build(host, f"{prefix}{number}.{part}", piece) for part, piece in enumerate(_pieces(rules)))
            for number, (event, rules) in enumerate(conditions.items())
        }
        handles = [shard.handle for shards in self._shards.values() for shard in shards]
        weakref.finalize(self, _delete_rulesets, handles).atexit = False

    def match(self, event: str, values: FieldValues) -> frozenset[RuleId]:
        """The rules whose conditions hold. Raises SecondEngineFailedError where durable-rules gives no answer."""
        found: list[RuleId] = []
        try:
            for shard in self._shards.get(event, ()):
                found += shard.match(values)
        except durable_rules_engine.error as error:
            raise SecondEngineFailedError(str(error)) from error
        return frozenset(found) if found else _NO_RULES


def _pieces(rules: Sequence[NamedCondition]) -> Iterator[Sequence[NamedCondition]]:
    """The rules in portions that one ruleset can hold, by their number and by the properties they need."""
    for start in range(0, len(rules), _MOST_RULES):
        yield from _fitting_pieces(rules[start : start + _MOST_RULES])


def _fitting_pieces(rules: Sequence[NamedCondition]) -> Iterator[Sequence[NamedCondition]]:
    if len(rules) == 1 or Projection(condition for _, condition in rules).size <= _MOST_PROPERTIES:
        yield rules
    else:
        middle = len(rules) // 2
        yield from _fitting_pieces(rules[:middle])
        yield from _fitting_pieces(rules[middle:])


def _build(host: Host, ruleset: str, rules: Sequence[NamedCondition]) -> _Shard:
    projection = Projection(condition for _, condition in rules)
    alike: dict[str, list[RuleId]] = defaultdict(list)
    patterns = {}
    for (name, _), pattern in zip(rules, projection.patterns, strict=True):
        alike[repr(pattern)].append(name)
        patterns[repr(pattern)] = pattern
    rules_of = {f"r{index}": pattern for index, pattern in enumerate(patterns.values())}
    host.set_rulesets({ruleset: {name: {"all": [{"m": each}], "run": _nothing} for name, each in rules_of.items()}})
    names = dict(zip(rules_of, map(tuple, alike.values()), strict=True))
    handle = host.get_ruleset(ruleset)._handle  # noqa: SLF001 -- the version is pinned, and was the last
    return _Shard(handle, projection, names)


def _delete_rulesets(handles: Iterable[int]) -> None:
    """Free what durable-rules keeps of a second engine that is no longer used."""
    for handle in handles:
        durable_rules_engine.delete_ruleset(handle)


def _nothing(_context: object) -> None:
    """The action of every rule does nothing: only which rules fire is needed."""
