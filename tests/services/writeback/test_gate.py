"""The gate: shut while Consonance is away, open a crack to try, wide when it answered."""

from datetime import timedelta

import pytest

from services.writeback.gate import Gate, Pause
from shared.clients.consonance_graphql import KeyRefused, RequestNotSent
from shared.contracts.errors import Throttled, Unavailable
from tests.services.writeback.samples import NOW


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (RequestNotSent("x"), Pause.DOWN),
        (KeyRefused("x"), Pause.KEY_REFUSED),
        (Throttled("x", wait=timedelta(seconds=7)), Pause.THROTTLED),
    ],
)
def test_it_says_why_it_is_shut(error: Unavailable, pause: Pause) -> None:
    gate = Gate(8)
    gate.shut(error, NOW)
    assert gate.pause is pause


def test_it_opens_a_crack_and_then_wide() -> None:
    gate = Gate(8)
    opens = gate.shut(RequestNotSent("x"), NOW)
    assert (gate.width(NOW), gate.width(opens)) == (0, 1)
    gate.answered()
    assert gate.width(opens) == 8


def test_pauses_grow_up_to_half_a_minute() -> None:
    gate, now, pauses = Gate(8), NOW, []
    for _ in range(7):
        opens = gate.shut(RequestNotSent("x"), now)
        pauses.append((opens - now).total_seconds())
        now = opens
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_failures_of_one_moment_count_once() -> None:
    gate = Gate(8)
    assert gate.shut(RequestNotSent("x"), NOW) == gate.shut(RequestNotSent("x"), NOW)


def test_it_waits_as_long_as_it_was_asked_to() -> None:
    assert Gate(8).shut(Throttled("x", wait=timedelta(seconds=7)), NOW) == NOW + timedelta(seconds=7)
