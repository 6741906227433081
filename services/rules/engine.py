"""Which rules an event concerns: durable-rules in its one safe mode, with the reference beside it on every event.

One thread may use an Engine. durable-rules cannot change a registered ruleset: a new rulebook gets a new Engine.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import structlog
from durable.engine import Host, durable_rules_engine

from services.rules.conditions import Document
from services.rules.projection import Projection
from services.rules.reference import Named, Reference
from services.rules.rulebook import Rule, until_id
from shared.contracts.errors import StetError
from shared.contracts.ids import RuleId

_MOST_RULES = 250  # 512 distinct ones hang it, about 255 of one condition are error 108
_HANDLED, _OBSERVED = 0, 2  # what asserting a fact returns; 1 is that nothing matched
_MOST_ANSWERS = 4096
_MOST_PROPERTIES = 200  # 255 in a fact are error 302
_NOBODY: frozenset[RuleId] = frozenset()


class _Quiet(Host):  # type: ignore[misc]  # durable-rules ships no types
    """A host without its two polling threads, with which matches are lost."""

    def _run(self) -> None:
        pass


@dataclass(slots=True)
class _Shard:
    """At most ``_MOST_RULES`` conditions of one event; those that read alike are one to the engine."""

    handle: int
    projection: Projection
    names: Mapping[str, tuple[RuleId, ...]]
    answers: dict[tuple[int, ...], tuple[RuleId, ...]] = field(default_factory=dict)

    def match(self, document: Document) -> tuple[RuleId, ...]:
        """The engine keeps nothing from one fact to the next, so the same numbers need not be put to it again."""
        numbers = self.projection.numbers(document)
        found = self.answers.get(numbers)
        if found is None:
            if len(self.answers) >= _MOST_ANSWERS:
                self.answers.clear()
            found = self.answers[numbers] = tuple(self._ask(self.projection.fact(numbers)))
        return found

    def _ask(self, fact: Mapping[str, int]) -> list[RuleId]:
        """Asserts one fact, hears what it fires, retracts it: what Host does, without spelling the fact three times."""
        spelled = orjson.dumps(fact).decode()
        try:
            code, state = durable_rules_engine.assert_fact(self.handle, spelled)
            if code == _OBSERVED:
                raise EngineFailed("the fact of an earlier event is still there")
            fired = self._fired(state) if code == _HANDLED else ()
            return [name for index in fired for name in self.names[index]]
        finally:
            durable_rules_engine.retract_fact(self.handle, spelled)

    def _fired(self, state: int) -> Iterator[str]:
        """What Ruleset does with the actions of a state, which here are empty: only their names are wanted."""
        started = durable_rules_engine.start_action_for_state(self.handle, state)
        context, action = started or (None, None)
        while action:
            yield next(iter(orjson.loads(action)))
            durable_rules_engine.update_state(self.handle, context)
            action = durable_rules_engine.complete_and_start_action(self.handle, state)


class EngineFailed(StetError):
    """durable-rules gave no answer; the reference's stands."""


class Matcher:
    """Conditions by event, in durable-rules and as plain functions."""

    def __init__(self, named: Mapping[str, Sequence[Named]], host: Host, prefix: str) -> None:
        self._shards = {
            event: tuple(_build(host, f"{prefix}{number}.{part}", piece) for part, piece in enumerate(_pieces(rules)))
            for number, (event, rules) in enumerate(named.items())
        }
        self._references = {event: Reference(rules) for event, rules in named.items()}

    def match(self, event: str, document: Document) -> frozenset[RuleId]:
        found: list[RuleId] = []
        for shard in self._shards.get(event, ()):
            found += shard.match(document)
        return frozenset(found) if found else _NOBODY

    def reference(self, event: str, document: Document) -> frozenset[RuleId]:
        reference = self._references.get(event)
        return reference.match(document) if reference else _NOBODY


class Engine:
    """``disagreements`` counts answers in which engine and reference differed; it must stay 0."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        host = _Quiet()
        found = tuple(rules)
        self._starts = Matcher(_starts(found), host, "on")
        self._ends = Matcher(_ends(found), host, "until")
        self._log = structlog.get_logger()
        self.disagreements = 0

    def match(self, event: str, document: Document) -> frozenset[RuleId]:
        """The engine's answer alone: the rules this event starts."""
        return self._starts.match(event, document)

    def judge(self, event: str, document: Document) -> frozenset[RuleId]:
        """Both answer; where they differ the reference is right."""
        return self._both(self._starts, event, document)

    def judge_until(self, event: str, document: Document) -> frozenset[RuleId]:
        """The ``until`` lines that hold, as ``rule#until0``, for a document with the chain they would end."""
        return self._both(self._ends, event, document)

    def _both(self, matcher: Matcher, event: str, document: Document) -> frozenset[RuleId]:
        expected = matcher.reference(event, document)
        try:
            found = matcher.match(event, document)
        except (EngineFailed, durable_rules_engine.error) as error:
            self._disagreed(event, expected, _NOBODY, str(error))
            return expected
        if found != expected:
            self._disagreed(event, expected, found)
        return expected

    def _disagreed(self, event: str, right: frozenset[RuleId], wrong: frozenset[RuleId], error: str = "") -> None:
        """Names rules only, never what the document said."""
        self.disagreements += 1
        self._log.error(
            "rules.disagreed",
            event_name=event,
            missed=sorted(right - wrong),
            invented=sorted(wrong - right),
            error=error,
        )


def _starts(rules: Iterable[Rule]) -> Mapping[str, Sequence[Named]]:
    found: defaultdict[str, list[Named]] = defaultdict(list)
    for rule in rules:
        for event in dict.fromkeys(rule.events):
            found[event].append((rule.name, rule.condition))
    return found


def _ends(rules: Iterable[Rule]) -> Mapping[str, Sequence[Named]]:
    found: defaultdict[str, list[Named]] = defaultdict(list)
    for rule in rules:
        for index, until in enumerate(rule.until):
            found[until.event].append((until_id(rule.name, index), until.condition))
    return found


def _pieces(rules: Sequence[Named]) -> Iterator[Sequence[Named]]:
    """As many rules as one ruleset bears, by their number and by the properties they need."""
    for start in range(0, len(rules), _MOST_RULES):
        yield from _halved(rules[start : start + _MOST_RULES])


def _halved(rules: Sequence[Named]) -> Iterator[Sequence[Named]]:
    if len(rules) == 1 or Projection(condition for _, condition in rules).size <= _MOST_PROPERTIES:
        yield rules
    else:
        middle = len(rules) // 2
        yield from _halved(rules[:middle])
        yield from _halved(rules[middle:])


def _build(host: Host, ruleset: str, rules: Sequence[Named]) -> _Shard:
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


def _nothing(_context: object) -> None:
    """The action of every rule; that it fires is all there is to know."""
