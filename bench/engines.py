"""Generated rules and events on which the evaluator and the second engine, durable-rules, must agree.

A pair is a rule and an event that is put to it. Rules are generated in rulebooks and put to the second engine together,
as in production, since making a rulebook known to it costs far more than one answer.
"""

import random
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from bench.results import BenchResult
from services.rules.matching.conditions import FieldValue
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.model import (
    NOWHERE,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    LiteralValue,
    NoneOf,
    Operator,
    Rule,
)
from shared.contracts.ids import RuleId

EVENT = "work.stage_changed"
RULES, EVENTS = 50, 100
"""Of one generated rulebook: 5,000 pairs."""
_PAIRS = 1_000_000
_FIELDS = ("a", "b.c", "d", "chain.a", "e")
_LITERALS: tuple[LiteralValue, ...] = (
    "x", "y", "yes", "1", "", "été", -2, 0, 1, 3, 2.5, True, False,
    date(2027, 3, 1), date(2027, 3, 2), datetime(2027, 3, 1, 9, tzinfo=UTC), datetime(2027, 3, 1, 10, tzinfo=UTC),
)  # fmt: skip
_VALUES: tuple[FieldValue | None, ...] = (
    *_LITERALS, None, None, (), ("x",), ("x", "y"), Decimal("2.5"), 2**63,
    datetime(2027, 3, 1, 9, tzinfo=UTC) + timedelta(minutes=30),
)  # fmt: skip
_ORDINARY = [each for each in Operator if each not in {Operator.EXISTS, Operator.ONE_OF}]
_DEPTH = 3


def count_disagreements(pairs: int, seed: int) -> tuple[int, int]:
    """How many pairs were tried, at least ``pairs``, and in how many answers the engines differed."""
    chance, tried, differed = random.Random(seed), 0, 0
    while tried < pairs:
        matcher = RuleMatcher([_rule(chance, number) for number in range(RULES)])
        for _ in range(EVENTS):
            matcher.match_rules(EVENT, _event(chance))
        tried, differed = tried + RULES * EVENTS, differed + matcher.disagreements
    return tried, differed


def _rule(chance: random.Random, number: int) -> Rule:
    return Rule(RuleId(f"r{number}"), "editorial", {}, (EVENT,), (), NOWHERE, condition=_condition(chance, _DEPTH))


def _condition(chance: random.Random, depth: int) -> Condition:
    kind = chance.random() if depth else 0.0
    if kind < 0.4:
        return _comparison(chance)
    if kind < 0.55:
        return NoneOf(_condition(chance, depth - 1))
    parts = tuple(_condition(chance, depth - 1) for _ in range(chance.randint(0, 3)))
    return AllOf(parts) if kind < 0.8 else AnyOf(parts)


def _comparison(chance: random.Random) -> Compare:
    name, kind = chance.choice(_FIELDS), chance.random()
    if kind < 0.15:
        return Compare(name, Operator.EXISTS, chance.random() < 0.5)
    if kind < 0.3:
        return Compare(name, Operator.ONE_OF, tuple(chance.choices(_LITERALS, k=chance.randint(0, 3))))
    operand = Field(chance.choice(_FIELDS)) if kind < 0.4 else chance.choice(_LITERALS)
    return Compare(name, chance.choice(_ORDINARY), operand)


def _event(chance: random.Random) -> Mapping[str, FieldValue | None]:
    return {name: chance.choice(_VALUES) for name in _FIELDS if chance.random() < 0.8}


async def measure(_seconds: float) -> AsyncIterator[BenchResult]:
    began = time.process_time()
    tried, differed = count_disagreements(_PAIRS, seed=time.time_ns())
    took = time.process_time() - began
    name = f"engines: {tried:,} generated pairs of rule and event, answers that differ"
    yield BenchResult(name, "-", f"{differed} in {took:.0f} s", None, "0", differed == 0)
