"""What was worked out for a value is worked out once, and only for that value."""

from pathlib import Path

import pytest

from services.rules.recipients import parties_in, parties_of
from services.rules.remembered import remembered
from shared.events import consonance
from shared.events.envelope import parse

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"

_calls: list[tuple[list[int], str]] = []


@remembered(most=2)
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


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("consonance.*.json")), ids=lambda path: path.stem)
def test_people_are_found_without_spelling_an_event_out(path: Path) -> None:
    data = parse(path.read_bytes(), consonance.KINDS).data
    assert tuple(dict.fromkeys(parties_in(data))) == parties_of(data.model_dump(by_alias=True))
