"""The time of a webhook that counts as covered."""

from datetime import UTC, datetime, timedelta

from services.ingest.coverage import Coverage, extend_coverage, start_coverage

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
REDELIVERY = timedelta(minutes=10)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def beats(*steps: tuple[float, float | None]) -> list[tuple[datetime, datetime | None]]:
    """(minute, minute of a rejection since the last beat) → (confirmed since, gap opened)."""
    coverage: Coverage = start_coverage(START).coverage
    results = []
    for minute, missed in steps:
        update = extend_coverage(coverage, at(minute), None if missed is None else at(missed), REDELIVERY)
        coverage = update.coverage
        results.append((update.confirmed_since, update.new_gap))
    return results


def test_without_rejections_all_time_is_confirmed() -> None:
    assert beats((1, None), (2, None)) == [(at(0), None), (at(0), None)]


def test_a_rejection_opens_a_gap_and_only_the_time_after_it_is_confirmed() -> None:
    assert beats((1, None), (2, 1.5), (3, None)) == [(at(0), None), (at(1.5), at(1)), (at(1.5), None)]


def test_a_gap_closes_after_the_redelivery_period() -> None:
    assert beats((1, 0.5), (10, None), (10.5, None)) == [(at(0.5), at(0)), (at(0.5), None), (at(0), None)]


def test_a_rejection_after_a_gap_has_closed_opens_another() -> None:
    assert beats((1, 0.5), (11, None), (12, 11.5)) == [(at(0.5), at(0)), (at(0), None), (at(11.5), at(11))]


def test_another_rejection_keeps_the_gap_open_longer() -> None:
    assert beats((1, 0.5), (10, 9.5), (12, None), (19.5, None)) == [
        (at(0.5), at(0)), (at(9.5), None), (at(9.5), None), (at(0), None),
    ]  # fmt: skip


def test_a_coverage_ends_now_where_the_clock_was_set_back() -> None:
    ahead = Coverage(at(0), at(100), gap_since=at(99), gap_until=at(99.5))
    assert [ahead.is_ahead(at(minute)) for minute in (30, 41)] == [True, False]
    assert ahead.set_back(at(30)) == Coverage(at(0), at(30), gap_since=at(30), gap_until=at(30))
    assert Coverage(at(50), at(100)).set_back(at(30)) == Coverage(at(30), at(30))


def test_the_confirmed_time_never_ends_before_it_begins() -> None:
    update = extend_coverage(start_coverage(START).coverage, at(1), at(2), REDELIVERY)
    assert (update.confirmed_since, update.coverage.until, update.new_gap) == (at(1), at(1), at(0))
