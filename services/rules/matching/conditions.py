"""The one evaluator of conditions: compiles them to functions, and finds all that hold of an event.

Field values map dotted paths to values. A missing key and None are the same absence, and so is an empty list.
"""

import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never
from unicodedata import normalize

from services.rules.identity_cache import cached_by_identity
from services.rules.rulebook.catalogue import is_of_recipient
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Condition, Field, NoneOf, Operator, mentioned_fields
from shared.contracts.ids import RuleId

FieldValue = str | int | float | Decimal | bool | date | datetime | tuple[object, ...]
FieldValues = Mapping[str, FieldValue | None]
Predicate = Callable[[FieldValues], bool]


class Scale(StrEnum):
    """Values that have an order, each kind among its own."""

    NUMBER = "number"
    DATE = "date"
    INSTANT = "instant"
    WALL_TIME = "wall_time"


_SCALES: Mapping[type, Scale] = {int: Scale.NUMBER, float: Scale.NUMBER, Decimal: Scale.NUMBER, date: Scale.DATE}


def is_present(value: object) -> bool:
    return value is not None and value != ()


def scale_of(value: object) -> Scale | None:
    """None for what has no order here: texts, flags, lists."""
    if isinstance(value, datetime):
        return Scale.INSTANT if value.tzinfo else Scale.WALL_TIME
    return _SCALES.get(type(value))


def is_same_value(left: object, right: object) -> bool:
    """Equal and of one kind: ``1`` is neither ``true`` nor ``"1"``."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _ordered(test: Callable[[Any, Any], Any]) -> Callable[[object, object], bool]:
    """Across scales, and for what has none, every comparison is false."""

    def compare(left: object, right: object) -> bool:
        scale = scale_of(left)
        return scale is not None and scale is scale_of(right) and bool(test(left, right))

    return compare


def _among(left: object, right: object) -> bool:
    return isinstance(right, tuple) and any(is_same_value(left, choice) for choice in right)


def _includes(left: object, right: object) -> bool:
    return isinstance(left, tuple) and any(is_same_value(item, right) for item in left)


def fold_text(text: str) -> str:
    """A text as ``contains`` compares it: without capitals, in compatible characters, with single spaces.

    Unicode's NFKC and case folding: ``ﬁ`` is ``fi``, ``ß`` is ``ss``, a no-break space is a space. Accents count.
    """
    return " ".join(normalize("NFKC", normalize("NFKC", text).casefold()).split())


def _contains(left: object, right: object) -> bool:
    return isinstance(left, str) and isinstance(right, str) and fold_text(right) in fold_text(left)


_TESTS: Mapping[Operator, Callable[[object, object], bool]] = {
    Operator.IS: is_same_value,
    Operator.IS_NOT: lambda left, right: not is_same_value(left, right),
    Operator.ONE_OF: _among,
    Operator.AT_LEAST: _ordered(operator.ge),
    Operator.AT_MOST: _ordered(operator.le),
    Operator.MORE_THAN: _ordered(operator.gt),
    Operator.LESS_THAN: _ordered(operator.lt),
    Operator.INCLUDES: _includes,
    Operator.CONTAINS: _contains,
}


def holds(condition: Condition, values: FieldValues) -> bool:
    """Whether the condition holds of these values."""
    return _compiled(condition)(values)


@cached_by_identity(most=4096)
def names_recipient(condition: Condition) -> bool:
    """Whether the condition is judged for each person a message goes to, and not for the whole step."""
    return any(map(is_of_recipient, mentioned_fields(condition)))


def compile_condition(condition: Condition) -> Predicate:
    """The condition as a function of field values.

    A comparison is false where its field, or the field it is compared with, is absent; ``not`` turns that to true.
    """
    match condition:
        case Compare():
            return _compile_comparison(condition)
        case AllOf(conditions):
            return _compile_all(tuple(map(compile_condition, conditions)))
        case AnyOf(conditions):
            tests = tuple(map(compile_condition, conditions))
            return lambda values: any(test(values) for test in tests)
        case NoneOf(inner):
            test = compile_condition(inner)
            return lambda values: not test(values)
        case _:
            assert_never(condition)


@cached_by_identity(most=4096)
def _compiled(condition: Condition) -> Predicate:
    """Compiling costs several times what evaluating does, and the conditions of a rulebook never change."""
    return compile_condition(condition)


def _compile_comparison(condition: Compare) -> Predicate:
    """Equality of texts, which most conditions are, takes a shorter way to the same answer."""
    name, operand = condition.field, condition.operand
    if condition.operator is Operator.EXISTS:
        return lambda values: is_present(values.get(name)) is operand
    if condition.operator is Operator.IS and isinstance(operand, str):
        return lambda values: values.get(name) == operand
    if condition.operator is Operator.ONE_OF and isinstance(operand, tuple) and _are_texts(operand):
        choices = frozenset(operand)
        return lambda values: isinstance(value := values.get(name), str) and value in choices
    test = _TESTS[condition.operator]
    if isinstance(operand, Field):
        other = operand.name
        return lambda values: _compare(test, values.get(name), values.get(other))
    return lambda values: _compare(test, values.get(name), operand)


def _compare(test: Callable[[object, object], bool], left: object, right: object) -> bool:
    return is_present(left) and is_present(right) and test(left, right)


def _are_texts(operand: tuple[object, ...]) -> bool:
    return all(isinstance(choice, str) for choice in operand)


def _compile_all(tests: tuple[Predicate, ...]) -> Predicate:
    if len(tests) == 1:
        return tests[0]

    def every(values: FieldValues) -> bool:
        for test in tests:  # noqa: SIM110 -- a generator would cost more than most tests do
            if not test(values):
                return False
        return True

    return every


NamedCondition = tuple[RuleId, Condition]
_Tested = tuple[RuleId, Predicate]

_NO_RULES: frozenset[RuleId] = frozenset()
_WORTH_AN_INDEX = 4  # fewer rules than this are tried as quickly as they are looked up


class ConditionIndex:
    """The conditions of one event by rule. Those that need a field to be one of a few words are only tried when it is.

    So an event is tried against a few conditions, however many rules there are.
    """

    def __init__(self, rules: Sequence[NamedCondition]) -> None:
        self._indexes: list[tuple[str, Mapping[str, Sequence[_Tested]]]] = []
        self._rest = [(name, _compiled(condition)) for name, condition in self._indexed(list(rules))]

    def match(self, values: FieldValues) -> frozenset[RuleId]:
        found = [name for name, test in self._rest if test(values)] if self._rest else []
        for field, by_word in self._indexes:
            value = values.get(field)
            tested = by_word.get(value) if isinstance(value, str) else None
            if tested is not None:
                found += [name for name, test in tested if test(values)]
        return frozenset(found) if found else _NO_RULES

    def _indexed(self, rules: list[NamedCondition]) -> list[NamedCondition]:
        """Index the field most rules need, again and again. Returns the rules for which an index does not pay."""
        needs = {name: _needed_words(condition) for name, condition in rules}
        while (field := _most_needed(needs[name] for name, _ in rules)) is not None:
            by_word: defaultdict[str, list[_Tested]] = defaultdict(list)
            for name, condition in rules:
                for word in needs[name].get(field, ()):
                    by_word[word].append((name, _compiled(condition)))
            self._indexes.append((field, dict(by_word)))
            rules = [rule for rule in rules if field not in needs[rule[0]]]
        return rules


def necessary_condition(condition: Condition, known: Callable[[str], bool]) -> Condition:
    """A weaker condition that needs only ``known`` fields: it holds wherever ``condition`` does."""
    words = ((field, some) for field, some in _needed_words(condition).items() if known(field))
    return AllOf(tuple(Compare(field, Operator.ONE_OF, tuple(sorted(some))) for field, some in words))


def _most_needed(needs: Iterable[Mapping[str, frozenset[str]]]) -> str | None:
    """The field most rules need; of two, the one with more different words, which tells rules apart better."""
    rules: Counter[str] = Counter()
    words: defaultdict[str, set[str]] = defaultdict(set)
    for need in needs:
        rules.update(need.keys())
        for field, some in need.items():
            words[field] |= some
    best = max(rules, key=lambda field: (rules[field], len(words[field]), field), default=None)
    return best if best is not None and rules[best] >= _WORTH_AN_INDEX else None


def _needed_words(condition: Condition) -> Mapping[str, frozenset[str]]:
    """Fields that must be one of some words for the condition to hold."""
    match condition:
        case Compare(field, Operator.IS, str(word)):
            return {field: frozenset({str(word)})}
        case Compare(field, Operator.ONE_OF, tuple(words)) if all(isinstance(word, str) for word in words):
            return {field: frozenset(map(str, words))}
        case AllOf(conditions):
            found: dict[str, frozenset[str]] = {}
            for each in conditions:
                for name, needed in _needed_words(each).items():
                    found[name] = found.get(name, needed) & needed
            return found
        case _:
            return {}
