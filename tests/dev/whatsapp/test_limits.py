"""Rates and the customer service window, with the time as an argument."""

from datetime import UTC, datetime, timedelta

import pytest

from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.limits import ProviderLimits

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def seconds(number: float) -> datetime:
    return NOON + timedelta(seconds=number)


def refusal(limits: ProviderLimits, person: str, at: datetime) -> int | None:
    try:
        limits.sent("main", person, at)
    except GraphError as error:
        return error.code
    return None


def sends(limits: ProviderLimits, number: int, at: datetime, *, one_person: bool = False) -> list[int | None]:
    return [refusal(limits, "ana" if one_person else f"p{place}", at) for place in range(number)]


def test_a_number_sends_so_many_a_second_and_no_more() -> None:
    assert sends(ProviderLimits(per_second=80, lifted=False), 81, NOON) == [None] * 80 + [130429]


def test_a_number_recovers_evenly() -> None:
    limits = ProviderLimits(per_second=80, lifted=False)
    sends(limits, 80, NOON)
    assert sends(limits, 41, seconds(0.5)) == [None] * 40 + [130429]


def test_one_person_gets_a_burst_of_45() -> None:
    assert sends(ProviderLimits(per_second=80, lifted=False), 46, NOON, one_person=True) == [None] * 45 + [131056]


def test_after_the_burst_one_more_comes_free_every_six_seconds() -> None:
    limits = ProviderLimits(per_second=80, lifted=False)
    sends(limits, 45, NOON, one_person=True)
    assert refusal(limits, "ana", seconds(5.9)) == 131056
    assert refusal(limits, "ana", seconds(6)) is None
    assert refusal(limits, "ana", seconds(6)) == 131056


def test_a_full_pair_stops_no_other_pair() -> None:
    limits = ProviderLimits(per_second=80, lifted=False)
    sends(limits, 45, NOON, one_person=True)
    assert refusal(limits, "ben", NOON) is None


def test_a_refused_send_costs_nothing() -> None:
    limits = ProviderLimits(per_second=80, lifted=False)
    sends(limits, 60, NOON, one_person=True)
    assert sends(limits, 36, NOON) == [None] * 35 + [130429]


def test_inbound_messages_count_for_the_number() -> None:
    limits = ProviderLimits(per_second=2, lifted=False)
    limits.received("main", "ana", NOON)
    assert sends(limits, 2, NOON) == [None, 130429]


@pytest.mark.parametrize(("hours", "is_open"), [(0, True), (23.99, True), (24, False)])
def test_the_window_is_open_for_a_day(hours: float, *, is_open: bool) -> None:
    limits = ProviderLimits(per_second=80, lifted=False)
    limits.received("main", "ana", NOON)
    assert limits.window_is_open("main", "ana", NOON + timedelta(hours=hours)) is is_open


def test_a_window_is_of_one_line_and_one_person() -> None:
    limits = ProviderLimits(per_second=80, lifted=False)
    limits.received("main", "ana", NOON)
    assert not limits.window_is_open("acquisitions", "ana", NOON)
    assert not limits.window_is_open("main", "ben", NOON)


def test_lifted_limits_refuse_nothing() -> None:
    limits = ProviderLimits(per_second=1, lifted=True)
    assert sends(limits, 100, NOON, one_person=True) == [None] * 100
    assert limits.window_is_open("main", "ana", NOON)
