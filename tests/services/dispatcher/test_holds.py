"""Holds: what an outcome stops, for how long, and what ends it."""

from datetime import timedelta

import pytest

from services.dispatcher.errors import fault_of
from services.dispatcher.holds import Holds, Target
from services.dispatcher.outcomes import Doubtful, Faulted, Taken, Unsent
from services.dispatcher.states import Reason
from tests.services.dispatcher.making import NOON, WAMID, seconds

_TARGET = Target("main", "p1", ("stage_told_v1", "en"))


def _faulted(code: int, wait: timedelta | None = None) -> Faulted:
    return Faulted(code, fault_of(code), wait)


def test_a_pair_waits_four_to_the_power_of_its_strikes() -> None:
    holds, now, waits = Holds(), NOON, []
    for _ in range(4):
        until = holds.learn(_faulted(131056), _TARGET, now, now).not_before
        waits.append((until - now).total_seconds())
        now = until
    assert waits == [1, 4, 16, 64]
    assert holds.number_until("main", NOON) is None


def test_many_sends_in_flight_strike_once() -> None:
    holds = Holds()
    untils = {holds.learn(_faulted(130429), _TARGET, NOON, NOON).not_before for _ in range(50)}
    assert untils == {NOON + seconds(1)}


def test_whatsapp_may_name_the_wait() -> None:
    holds = Holds()
    assert holds.learn(_faulted(80007, seconds(90)), _TARGET, NOON, NOON).not_before == NOON + seconds(90)
    assert holds.number_until("another", NOON) == NOON + seconds(90)


@pytest.mark.parametrize(("code", "others"), [(190, True), (131031, False)])
def test_an_operators_error_stops_its_scope_by_the_machines_time(code: int, others: bool) -> None:  # noqa: FBT001 -- a table
    holds = Holds()
    assert holds.learn(_faulted(code), _TARGET, NOON, NOON).not_before == NOON
    assert holds.awaits_operator("main", NOON)
    assert holds.stopped("another", NOON) is others
    assert not holds.stopped("main", NOON + timedelta(minutes=5))
    assert holds.probing("main")


def test_a_send_that_goes_through_ends_an_outage_but_no_throttle() -> None:
    holds = Holds()
    holds.learn(Doubtful(Reason.SERVER_ERROR), _TARGET, NOON, NOON)
    holds.learn(_faulted(130429), _TARGET, NOON, NOON)
    holds.learn(Taken(WAMID), _TARGET, NOON, NOON)
    assert not holds.stopped("main", NOON)
    assert holds.number_until("main", NOON) == NOON + seconds(1)


def test_an_outage_grows_to_a_minute_and_ends_with_the_first_success() -> None:
    holds, machine = Holds(), NOON
    for _ in range(8):
        holds.learn(Unsent(Reason.NOT_REACHED), _TARGET, NOON, machine)
        machine += seconds(64)
    assert holds.stopped("main", machine - seconds(1))
    holds.learn(Taken(WAMID), _TARGET, NOON, machine)
    assert not holds.probing("main")


def test_a_paused_template_is_held_alone() -> None:
    holds = Holds()
    holds.learn(_faulted(132015), _TARGET, NOON, NOON)
    assert holds.template_until(_TARGET.template) == NOON + timedelta(hours=1)
    assert not holds.stopped("main", NOON)
