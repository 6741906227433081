"""When the webhook stream may be called whole."""

from datetime import UTC, datetime, timedelta

from services.ingest.wholeness import Wholeness, beat, begin

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
REDELIVERY = timedelta(minutes=10)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def beats(*steps: tuple[float, float | None]) -> list[tuple[datetime, datetime | None]]:
    """(minute, minute of a refusal since) → (vouched since, gap opened)."""
    state: Wholeness = begin(START)
    told = []
    for minute, torn in steps:
        taken = beat(state, at(minute), None if torn is None else at(torn), REDELIVERY)
        state = taken.state
        told.append((taken.vouched, taken.gap))
    return told


def test_without_refusals_it_is_whole_from_the_beginning() -> None:
    assert beats((1, None), (2, None)) == [(at(0), None), (at(0), None)]


def test_a_refusal_opens_a_gap_from_the_last_heartbeat_and_vouches_only_for_after_it() -> None:
    assert beats((1, None), (2, 1.5), (3, None)) == [(at(0), None), (at(1.5), at(1)), (at(1.5), None)]


def test_a_gap_closes_once_everything_had_time_to_come_again() -> None:
    assert beats((1, 0.5), (10, None), (10.5, None)) == [(at(0.5), at(0)), (at(0.5), None), (at(0), None)]


def test_another_refusal_keeps_the_same_gap_open_longer() -> None:
    assert beats((1, 0.5), (10, 9.5), (12, None), (19.5, None)) == [
        (at(0.5), at(0)), (at(9.5), None), (at(9.5), None), (at(0), None),
    ]  # fmt: skip


def test_a_heartbeat_never_vouches_for_a_time_that_ends_before_it_begins() -> None:
    taken = beat(begin(START), at(1), at(2), REDELIVERY)
    assert (taken.vouched, taken.state.until, taken.gap) == (at(1), at(1), at(0))
