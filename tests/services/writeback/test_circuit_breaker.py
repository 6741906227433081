"""The circuit breaker: open while Consonance is away, half-open to try it, closed when it answered."""

from datetime import timedelta

import pytest

from services.writeback.circuit_breaker import CircuitBreaker, PauseReason
from shared.clients.consonance_graphql import KeyRefused, RequestNotSent
from shared.contracts.errors import Throttled, Unavailable

NOW = 1000.0
"""Seconds of a monotonic clock."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RequestNotSent("x"), PauseReason.DOWN),
        (KeyRefused("x"), PauseReason.KEY_REFUSED),
        (Throttled("x", wait=timedelta(seconds=7)), PauseReason.THROTTLED),
    ],
)
def test_an_open_breaker_has_a_reason(error: Unavailable, reason: PauseReason) -> None:
    breaker = CircuitBreaker(8)
    breaker.record_failure(error, NOW)
    assert breaker.pause_reason is reason


def test_one_write_is_tried_before_the_breaker_closes() -> None:
    breaker = CircuitBreaker(8)
    retry_at = breaker.record_failure(RequestNotSent("x"), NOW)
    assert (breaker.allowed_concurrency(NOW), breaker.allowed_concurrency(retry_at)) == (0, 1)
    breaker.record_success(retry_at)
    assert breaker.allowed_concurrency(retry_at) == 8


def test_pauses_grow_up_to_half_a_minute() -> None:
    breaker, now, pauses = CircuitBreaker(8), NOW, []
    for _ in range(7):
        retry_at = breaker.record_failure(RequestNotSent("x"), now)
        pauses.append(retry_at - now)
        now = retry_at
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_pauses_stay_half_a_minute_through_a_day_of_failures() -> None:
    breaker, now = CircuitBreaker(8), NOW
    while now < NOW + 86_400:
        now = breaker.record_failure(RequestNotSent("x"), now)
    assert breaker.record_failure(RequestNotSent("x"), now) - now == 30


def test_pauses_begin_anew_after_an_answer() -> None:
    breaker, now = CircuitBreaker(8), NOW
    for _ in range(4):
        now = breaker.record_failure(RequestNotSent("x"), now)
    breaker.record_success(now)
    assert (breaker.allowed_concurrency(now), breaker.pause_reason) == (8, None)
    assert breaker.record_failure(RequestNotSent("x"), now) - now == 1


def test_failures_during_a_pause_count_once() -> None:
    breaker = CircuitBreaker(8)
    assert breaker.record_failure(RequestNotSent("x"), NOW) == breaker.record_failure(RequestNotSent("x"), NOW)


def test_a_requested_pause_is_kept() -> None:
    error = Throttled("x", wait=timedelta(seconds=7))
    assert CircuitBreaker(8).record_failure(error, NOW) == NOW + 7


def test_the_longest_of_several_requested_pauses_is_kept() -> None:
    """Of requests that were on their way at once, each gets an answer of its own."""
    breaker = CircuitBreaker(8)
    breaker.record_failure(RequestNotSent("x"), NOW)
    breaker.record_failure(Throttled("x", wait=timedelta(seconds=60)), NOW)
    retry_at = breaker.record_failure(Throttled("x", wait=timedelta(seconds=7)), NOW)
    assert (retry_at, breaker.allowed_concurrency(NOW + 59)) == (NOW + 60, 0)


def test_an_answer_that_was_on_its_way_does_not_end_a_requested_pause() -> None:
    """Several writes are in flight at once: one of them may be throttled, and another be answered after it."""
    breaker = CircuitBreaker(8)
    breaker.record_failure(Throttled("x", wait=timedelta(seconds=60)), NOW)
    breaker.record_failure(RequestNotSent("x"), NOW)
    breaker.record_success(NOW + 1)
    assert breaker.allowed_concurrency(NOW + 59) == 0
    breaker.record_success(NOW + 60)
    assert (breaker.allowed_concurrency(NOW + 60), breaker.pause_reason) == (8, None)


def test_an_answer_ends_a_pause_that_was_not_requested() -> None:
    breaker = CircuitBreaker(8)
    breaker.record_failure(RequestNotSent("x"), NOW)
    breaker.record_success(NOW)
    assert (breaker.allowed_concurrency(NOW), breaker.pause_reason) == (8, None)
