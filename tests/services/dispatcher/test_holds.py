"""Holds: what an outcome stops, for how long, and what ends it."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from services.dispatcher.errors import fault_of
from services.dispatcher.holds import Holds, Target
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, Unsent
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


@pytest.mark.parametrize("code", [131031, 131042, 131048, 368, 190, 131045, 130429, 131056, 80007, 132015, 4, 133016])
def test_a_failed_status_stops_what_the_answer_would_have_stopped(code: int) -> None:
    answer, status = Holds(), Holds()
    answer.learn(_faulted(code), _TARGET, NOON, NOON)
    status.learn(_faulted(code), _TARGET, NOON, NOON, by_status=True)
    (held, hold), (same, learned) = *answer.changes().kept.items(), *status.changes().kept.items()
    assert (held, hold) == (same, replace(learned, by_status=False))


def test_an_accepted_send_does_not_end_what_a_status_stopped() -> None:
    holds = Holds()
    holds.learn(_faulted(131031), _TARGET, NOON, NOON, by_status=True)
    over = NOON + timedelta(minutes=5)
    assert not holds.stopped("main", over)
    holds.learn(Taken(WAMID), _TARGET, over, over)
    assert holds.stopped("main", over + timedelta(minutes=4))
    (held,) = holds.by_status()
    holds.end(held)
    assert not holds.probing("main")


def test_an_operators_wait_grows_to_half_an_hour() -> None:
    holds, machine, waits = Holds(), NOON, []
    for _ in range(5):
        holds.learn(_faulted(190), _TARGET, NOON, machine)
        (hold,) = holds.changes().kept.values()
        waits.append((hold.until - machine).total_seconds() / 60)
        machine = hold.until
    assert waits == [5, 10, 20, 30, 30]


def _restarted(holds: Holds, machine: datetime) -> Holds:
    after = Holds()
    after.remember(holds.changes().kept, machine)
    return after


@pytest.mark.parametrize("outcome", [Doubtful(Reason.NO_ANSWER), Unsent(Reason.NOT_REACHED)])
def test_a_restart_keeps_the_wait_after_a_doubt_and_how_far_it_has_grown(outcome: Outcome) -> None:
    holds, machine = Holds(), NOON
    for wait in (1, 2, 4):
        holds.learn(outcome, _TARGET, NOON, machine)
        machine += seconds(wait)
    after = _restarted(holds, machine - seconds(4))
    assert after.stopped("main", machine - seconds(1))
    assert after.probing("main")
    after.learn(outcome, _TARGET, NOON, machine)
    assert after.stopped("main", machine + seconds(7))


def test_a_restart_tries_at_once_what_waits_for_an_operator_but_not_what_meta_timed() -> None:
    holds = Holds()
    holds.learn(_faulted(190), _TARGET, NOON, NOON)
    assert not _restarted(holds, NOON).stopped("main", NOON)
    timed = Holds()
    timed.learn(_faulted(133016), _TARGET, NOON, NOON)
    assert _restarted(timed, NOON).stopped("main", NOON + timedelta(hours=71))


def test_what_could_not_be_written_is_told_again() -> None:
    holds = Holds()
    holds.learn(_faulted(131056), _TARGET, NOON, NOON)
    told = holds.changes()
    assert not holds.changes()
    holds.put_back(told)
    assert holds.changes() == told
    holds.learn(Taken(WAMID), _TARGET, NOON + seconds(1), NOON)
    over = holds.changes()
    assert over.over == {held: hold.until for held, hold in told.kept.items()}
    holds.put_back(over)
    assert holds.changes() == over


def test_a_replica_hears_of_a_longer_wait_and_keeps_its_own_longer_one() -> None:
    ours, theirs = Holds(), Holds()
    ours.learn(_faulted(131056), _TARGET, NOON, NOON)
    theirs.learn(_faulted(131056, seconds(90)), _TARGET, NOON, NOON, by_status=True)
    ours.remember(theirs.changes().kept)
    assert ours.pair_until("main", "p1") == NOON + seconds(90)
    shorter = Holds()
    shorter.learn(_faulted(131056), _TARGET, NOON, NOON)
    ours.remember(shorter.changes().kept)
    assert ours.pair_until("main", "p1") == NOON + seconds(90)
