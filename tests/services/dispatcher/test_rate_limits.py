"""Rate limits: the first free instant, and that no sequence of sends ever exceeds a limit."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.rate_limits import (
    NUMBER_RATE_LIMIT,
    PAIR_RATE_LIMIT,
    PORTFOLIO_PERIOD,
    PortfolioUsage,
    RateLimit,
    RateUsage,
    SendLimits,
)
from shared.contracts.messages import Lane
from tests.services.dispatcher.builders import NOON, seconds

_GAPS = st.lists(st.integers(0, 20_000), min_size=1, max_size=200)


def _send_as_early_as_allowed(rate: RateLimit, gaps: list[int]) -> list[datetime]:
    """Sends requested ``gaps`` milliseconds after one another, each put off until the rate allows it."""
    sends: list[datetime] = []
    now = NOON
    for gap in gaps:
        now = max(now + timedelta(milliseconds=gap), NOON)
        now = rate.free_at(sends[-rate.history_length :], now)
        sends.append(now)
    return sends


def test_a_number_sends_eighty_in_a_second_and_then_waits() -> None:
    sends = [NOON] * 80
    assert NUMBER_RATE_LIMIT.free_at(sends[:79], NOON) == NOON
    assert NUMBER_RATE_LIMIT.free_at(sends, NOON + seconds(0.4)) == NOON + seconds(1)


def test_a_person_may_get_forty_five_at_once_and_then_their_time_is_waited_out() -> None:
    sends = [NOON] * 45
    assert PAIR_RATE_LIMIT.free_at(sends[:44], NOON + seconds(2)) == NOON + seconds(2)
    assert PAIR_RATE_LIMIT.free_at(sends, NOON + seconds(7)) == NOON + seconds(45 * 6)


def test_twenty_at_once_are_followed_by_two_minutes() -> None:
    assert PAIR_RATE_LIMIT.free_at([NOON] * 20, NOON + seconds(30)) == NOON + seconds(120)


def test_a_burst_that_was_waited_out_leaves_no_debt() -> None:
    assert PAIR_RATE_LIMIT.free_at([NOON] * 45, NOON + seconds(270)) == NOON + seconds(270)


def test_the_time_before_a_burst_pays_for_none_of_it() -> None:
    sends = [NOON - timedelta(hours=1), *[NOON] * 44]
    assert PAIR_RATE_LIMIT.free_at(sends, NOON + seconds(7)) == NOON + seconds(44 * 6)


@given(_GAPS, st.integers(1, 30))
def test_a_number_never_exceeds_its_rate_in_any_second(gaps: list[int], count: int) -> None:
    rate = RateLimit(count, per=seconds(1))
    sends = _send_as_early_as_allowed(rate, gaps)
    assert all(later - earlier >= rate.per for earlier, later in zip(sends, sends[count:], strict=False))


@given(_GAPS)
def test_a_pair_never_overdraws_a_bucket_of_forty_five(gaps: list[int]) -> None:
    """Meta's own arithmetic, kept apart from ours: a debt of six seconds a message, never above 45 of them."""
    debt, last = timedelta(0), NOON
    for now in _send_as_early_as_allowed(PAIR_RATE_LIMIT, gaps):
        debt = max(debt - (now - last), timedelta(0)) + PAIR_RATE_LIMIT.per
        last = now
        assert debt <= PAIR_RATE_LIMIT.per * PAIR_RATE_LIMIT.burst


@given(_GAPS)
def test_the_history_of_a_rate_limit_is_long_enough(gaps: list[int]) -> None:
    sends = _send_as_early_as_allowed(PAIR_RATE_LIMIT, gaps)
    later = sends[-1] + seconds(3)
    assert PAIR_RATE_LIMIT.free_at(sends[-PAIR_RATE_LIMIT.history_length :], later) == PAIR_RATE_LIMIT.free_at(
        sends, later
    )


@pytest.mark.parametrize(("rate", "bulk"), [(80, 78), (1000, 975), (20, 20)])
def test_bulk_leaves_a_share_of_a_numbers_rate_to_the_others(rate: int, bulk: int) -> None:
    limits = SendLimits(numbers={"main": RateLimit(rate, per=seconds(1))})
    counts = [limits.number_of_lane("main", lane).count for lane in (Lane.CRITICAL, Lane.NORMAL, Lane.BULK)]
    assert counts == [rate, rate, bulk]


def _reserved(count: int) -> RateUsage:
    usage = RateUsage(SendLimits())
    for number in range(count):
        usage.reserve("main", f"p{number}", NOON)
    return usage


def test_a_reserved_send_takes_capacity_until_a_second_after_it_is_written() -> None:
    usage, later = _reserved(80), NOON + seconds(5)
    assert usage.capacity("main", NOON + seconds(4), 100) == 0
    for number in range(80):
        usage.confirm("main", f"p{number}", later)
    assert usage.capacity("main", later + seconds(0.9), 100) == 0
    assert usage.capacity("main", later + seconds(1), 100) == 80


def test_a_released_send_gives_its_capacity_back() -> None:
    usage = _reserved(80)
    usage.release("main")
    assert usage.capacity("main", NOON, 100) == 1


def test_a_pair_counts_from_the_instant_the_request_was_written() -> None:
    usage = _reserved(1)
    usage.confirm("main", "p0", NOON + seconds(30))
    assert list(usage.pair("main", "p0")) == [NOON + seconds(30)]


def test_recorded_sends_of_the_past_count() -> None:
    usage = RateUsage(SendLimits())
    for number in range(80):
        usage.record("main", f"p{number}", NOON)
    assert usage.free_at("main", NOON) == NOON + timedelta(seconds=1)


def test_sends_made_at_the_old_rate_count_at_a_new_one() -> None:
    usage = RateUsage(SendLimits())
    for number in range(80):
        usage.record("main", f"p{number}", NOON)
    usage.set_rate("main", RateLimit(1000, per=seconds(1)))
    assert usage.capacity("main", NOON, 2000) == 920
    for number in range(920):
        usage.record("main", f"q{number}", NOON)
    assert usage.capacity("main", NOON, 2000) == 0


def test_a_pair_is_forgotten_once_its_sends_no_longer_count() -> None:
    usage, later = RateUsage(SendLimits()), NOON + PAIR_RATE_LIMIT.horizon
    usage.record("main", "old", NOON)
    for _ in range(9_998):
        usage.record("main", "often", later)
    assert usage.pair("main", "old")
    usage.record("main", "often", later)
    assert not usage.pair("main", "old")
    assert len(usage.pair("main", "often")) == 45


# ------------------------------------------------------------------ people of a day


def _portfolio(limit: int | None, people: int) -> PortfolioUsage:
    """So many people got a template, one an hour from NOON on."""
    usage = PortfolioUsage()
    usage.limit = limit
    for number in range(people):
        usage.record(f"p{number}", NOON + timedelta(hours=number))
    return usage


def test_without_a_limit_and_below_it_a_template_goes_to_any_person() -> None:
    later = NOON + timedelta(hours=3)
    assert _portfolio(None, 3).free_at("new", Lane.NORMAL, later) == later
    assert _portfolio(4, 3).free_at("new", Lane.NORMAL, later) == later
    assert _portfolio(3, 3).free_at("new", Lane.NORMAL, later) == NOON + PORTFOLIO_PERIOD


def test_a_person_of_the_day_may_get_more() -> None:
    later = NOON + timedelta(hours=3)
    assert _portfolio(3, 3).free_at("p0", Lane.NORMAL, later) == later


def test_each_person_who_waits_gets_a_place_of_their_own() -> None:
    usage, later = _portfolio(2, 2), NOON + timedelta(hours=2)
    places = [usage.free_at(f"new{number}", Lane.NORMAL, later) - PORTFOLIO_PERIOD for number in range(4)]
    assert places == [
        NOON,
        NOON + timedelta(hours=1),
        NOON + PORTFOLIO_PERIOD,
        NOON + timedelta(hours=1) + PORTFOLIO_PERIOD,
    ]
    usage.forget_promises()
    assert usage.free_at("new9", Lane.NORMAL, later) == NOON + PORTFOLIO_PERIOD


def test_a_place_is_free_a_day_and_a_minute_after_the_persons_last_template() -> None:
    usage, over = _portfolio(2, 2), NOON + PORTFOLIO_PERIOD
    assert usage.free_at("new", Lane.NORMAL, over - seconds(1)) == over
    assert usage.free_at("new", Lane.NORMAL, over) == over
    again = _portfolio(2, 2)
    again.record("p0", NOON + timedelta(hours=2))
    assert again.free_at("new", Lane.NORMAL, over) == over + timedelta(hours=1)


def test_a_place_that_was_promised_and_has_passed_delays_no_one() -> None:
    usage, over = _portfolio(2, 2), NOON + PORTFOLIO_PERIOD
    usage.free_at("new", Lane.NORMAL, over - seconds(1))
    usage.record("other", over)
    assert usage.free_at("new", Lane.NORMAL, over) == over + timedelta(hours=1)


@pytest.mark.parametrize("counts", [True, False])
def test_a_template_that_was_refused_or_never_left_takes_no_place(counts: bool) -> None:  # noqa: FBT001 -- a table
    usage, later = _portfolio(3, 2), NOON + timedelta(hours=2)
    usage.reserve("p0", later)
    usage.settle("p0", counts=counts)
    usage.reserve("new", later)
    assert usage.free_at("another", Lane.NORMAL, later) > later
    usage.settle("new", counts=counts)
    usage.settle("new", counts=False)
    assert (usage.free_at("another", Lane.NORMAL, later) == later) is not counts
    assert usage.free_at("p0", Lane.NORMAL, later) == later
    assert (usage.take_freed(), usage.take_freed()) == (not counts, False)


def test_bulk_leaves_a_share_of_the_days_people_to_the_others() -> None:
    later = NOON + timedelta(hours=20)
    assert _portfolio(21, 20).free_at("new", Lane.BULK, later) == later
    usage = _portfolio(40, 0)
    for number in range(39):
        usage.record(f"p{number}", NOON)
    assert usage.free_at("new", Lane.NORMAL, later) == later
    assert usage.free_at("new", Lane.BULK, later) == NOON + PORTFOLIO_PERIOD


@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(days=3)])
def test_a_line_sends_on_where_the_clock_is_set_back(step: timedelta) -> None:
    """Sends of the clock of before count as sent now."""
    usage, back = RateUsage(SendLimits()), NOON - step
    usage.portfolio.limit = 1
    usage.portfolio.record("p1", NOON)
    for place in range(80):
        usage.record("main", f"p{place}", NOON)
    assert usage.capacity("main", NOON, 100) == 0
    assert usage.portfolio.free_at("p2", Lane.NORMAL, NOON) == NOON + PORTFOLIO_PERIOD
    assert usage.capacity("main", back, 100) == 0
    assert usage.free_at("main", back) == back + seconds(1)
    assert SendLimits().pair.free_at(usage.pair("main", "p1"), back + seconds(6)) == back + seconds(6)
    assert usage.portfolio.free_at("p2", Lane.NORMAL, back) == back + PORTFOLIO_PERIOD
    assert usage.capacity("main", back + seconds(1), 100) == 80
