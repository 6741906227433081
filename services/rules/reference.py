"""The same conditions as plain functions, behind an index: right, and cheap enough to run beside the engine always."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from services.rules.conditions import Document, Test, compile_condition
from services.rules.terms import AllOf, Compare, Condition, Operator
from shared.contracts.ids import RuleId

Named = tuple[RuleId, Condition]
_Tested = tuple[RuleId, Test]

_NOBODY: frozenset[RuleId] = frozenset()
_WORTH_AN_INDEX = 4  # fewer rules than this are judged as quickly as they are looked up


class Reference:
    """Rules of one event. Those that need a field to be one of a few words are only judged when it is."""

    def __init__(self, rules: Sequence[Named]) -> None:
        self._indexes: list[tuple[str, Mapping[str, Sequence[_Tested]]]] = []
        self._rest = [(name, compile_condition(condition)) for name, condition in self._indexed(list(rules))]

    def match(self, document: Document) -> frozenset[RuleId]:
        found = [name for name, test in self._rest if test(document)] if self._rest else []
        for field, by_word in self._indexes:
            value = document.get(field)
            tested = by_word.get(value) if isinstance(value, str) else None
            if tested is not None:
                found += [name for name, test in tested if test(document)]
        return frozenset(found) if found else _NOBODY

    def _indexed(self, rules: list[Named]) -> list[Named]:
        """Takes the field most rules need, again and again; returns the rules no index is worth."""
        needs = {name: _needed_words(condition) for name, condition in rules}
        while (field := _most_needed(needs[name] for name, _ in rules)) is not None:
            by_word: defaultdict[str, list[_Tested]] = defaultdict(list)
            for name, condition in rules:
                for word in needs[name].get(field, ()):
                    by_word[word].append((name, compile_condition(condition)))
            self._indexes.append((field, dict(by_word)))
            rules = [rule for rule in rules if field not in needs[rule[0]]]
        return rules


def needed_of(condition: Condition, known: Callable[[str], bool]) -> Condition:
    """What must hold for ``condition`` to hold, as far as the fields that are ``known`` tell: which words they have."""
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
