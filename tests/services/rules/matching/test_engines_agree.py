"""The evaluator and durable-rules on 10,000 generated pairs of a rule and an event; ``make bench`` tries a million."""

import pytest

from bench.engines import count_disagreements
from services.rules.matching import second_engine
from services.rules.matching.second_engine import SecondEngine


@pytest.mark.skipif(not second_engine.IS_AVAILABLE, reason="durable-rules cannot be imported here")
def test_both_engines_agree_on_ten_thousand_pairs() -> None:
    assert count_disagreements(10_000, seed=20270303) == (10_000, 0)


@pytest.mark.skipif(not second_engine.IS_AVAILABLE, reason="durable-rules cannot be imported here")
def test_an_engine_that_answers_otherwise_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SecondEngine, "match", lambda *_: frozenset({"r0"}))
    tried, differed = count_disagreements(1, seed=1)
    assert 0 < differed <= tried
