"""A result is computed once for a value, and only for that value."""

from pathlib import Path

from services.rules.identity_cache import cached_by_identity

GOLDEN = Path(__file__).parents[3] / "shared" / "contracts" / "golden"

_calls: list[tuple[list[int], str]] = []


@cached_by_identity(most=2)
def _spelled(values: list[int], unit: str) -> str:
    _calls.append((values, unit))
    return f"{values}{unit}"


def test_the_same_value_is_worked_out_once() -> None:
    _calls.clear()
    values = [1]
    assert [_spelled(values, "m"), _spelled(values, "m"), _spelled(values, "s")] == ["[1]m", "[1]m", "[1]s"]
    assert len(_calls) == 2


def test_an_equal_value_is_another() -> None:
    _calls.clear()
    first, second = [1], [1]
    assert _spelled(first, "m") == _spelled(second, "m")
    assert len(_calls) == 2


def test_the_oldest_is_forgotten() -> None:
    _calls.clear()
    lots = [[1], [2], [3]]
    for values in (*lots, lots[0]):
        _spelled(values, "m")
    assert len(_calls) == 4
