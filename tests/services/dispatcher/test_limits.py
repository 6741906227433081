"""Rates: what they allow, and that no sequence of sends ever exceeds them."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.limits import NUMBER, PAIR, Rate
from tests.services.dispatcher.making import NOON, seconds

_GAPS = st.lists(st.integers(0, 20_000), min_size=1, max_size=200)


def _send_as_early_as_allowed(rate: Rate, gaps: list[int]) -> list[datetime]:
    """Sends asked for ``gaps`` milliseconds after one another, each put off until the rate allows it."""
    spent: list[datetime] = []
    now = NOON
    for gap in gaps:
        now = max(now + timedelta(milliseconds=gap), NOON)
        now = rate.free_at(spent[-rate.remembers :], now)
        spent.append(now)
    return spent


def test_a_number_sends_eighty_in_a_second_and_then_waits() -> None:
    spent = [NOON] * 80
    assert NUMBER.free_at(spent[:79], NOON) == NOON
    assert NUMBER.free_at(spent, NOON + seconds(0.4)) == NOON + seconds(1)


def test_a_person_may_get_forty_five_at_once_and_then_their_time_is_waited_out() -> None:
    spent = [NOON] * 45
    assert PAIR.free_at(spent[:44], NOON + seconds(2)) == NOON + seconds(2)
    assert PAIR.free_at(spent, NOON + seconds(7)) == NOON + seconds(45 * 6)


def test_twenty_at_once_are_followed_by_two_minutes() -> None:
    assert PAIR.free_at([NOON] * 20, NOON + seconds(30)) == NOON + seconds(120)


def test_a_paid_burst_leaves_nothing_behind() -> None:
    assert PAIR.free_at([NOON] * 45, NOON + seconds(270)) == NOON + seconds(270)


@given(_GAPS, st.integers(1, 30))
def test_a_number_never_exceeds_its_rate_in_any_second(gaps: list[int], count: int) -> None:
    rate = Rate(count, per=seconds(1))
    spent = _send_as_early_as_allowed(rate, gaps)
    assert all(later - earlier >= rate.per for earlier, later in zip(spent, spent[count:], strict=False))


@given(_GAPS)
def test_a_pair_never_overdraws_a_bucket_of_forty_five(gaps: list[int]) -> None:
    """Meta's own arithmetic, kept apart from ours: a debt of six seconds a message, never above 45 of them."""
    debt, last = timedelta(0), NOON
    for now in _send_as_early_as_allowed(PAIR, gaps):
        debt = max(debt - (now - last), timedelta(0)) + PAIR.per
        last = now
        assert debt <= PAIR.per * PAIR.burst


@given(_GAPS)
def test_what_a_rate_remembers_is_enough(gaps: list[int]) -> None:
    spent = _send_as_early_as_allowed(PAIR, gaps)
    later = spent[-1] + seconds(3)
    assert PAIR.free_at(spent[-PAIR.remembers :], later) == PAIR.free_at(spent, later)
