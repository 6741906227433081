"""Throttles: the scope that an outcome stops, for how long, and the event that ends it."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from services.dispatcher.message_state import RetryTime
from services.dispatcher.provider_responses import (
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
    error_policy,
)
from services.dispatcher.reasons import MessageReason
from services.dispatcher.templates import NOTHING_KNOWN, KnownTemplate, TemplateKnowledge, TemplateState
from services.dispatcher.throttles import SendTarget, Throttles
from tests.services.dispatcher.builders import NOON, WAMID, seconds

_TEMPLATE = ("stage_told_v1", "en")
_TARGET = SendTarget("main", "p1", _TEMPLATE)


def _error(code: int, wait: timedelta | None = None) -> SendError:
    return SendError(code, error_policy(code), wait)


def test_a_pair_waits_four_to_the_power_of_its_trips() -> None:
    throttles, now, waits = Throttles(), NOON, []
    for _ in range(4):
        until = throttles.record(_error(131056), _TARGET, now, now).not_before
        waits.append((until - now).total_seconds())
        now = until
    assert waits == [1, 4, 16, 64]
    assert throttles.number_until("main", NOON) is None


def test_many_sends_in_flight_trip_a_throttle_once() -> None:
    throttles = Throttles()
    untils = {throttles.record(_error(130429), _TARGET, NOON, NOON).not_before for _ in range(50)}
    assert untils == {NOON + seconds(1)}


def test_whatsapp_may_name_the_wait() -> None:
    throttles = Throttles()
    assert throttles.record(_error(80007, seconds(90)), _TARGET, NOON, NOON).not_before == NOON + seconds(90)
    assert throttles.number_until("another", NOON) == NOON + seconds(90)


@pytest.mark.parametrize(
    ("code", "holds"),
    [
        *((code, {"rights": True, "sales": False}) for code in (80007, 131042, 131064, 131005, 10)),
        *((code, {"rights": True, "sales": True}) for code in (190, 4)),
        *((code, {"rights": False, "sales": False}) for code in (131031, 130429)),
    ],
)
def test_an_error_of_an_account_holds_the_lines_of_that_account(code: int, holds: dict[str, bool]) -> None:
    throttles = Throttles({"main": "1", "rights": "1", "sales": "2"})
    throttles.record(_error(code), _TARGET, NOON, NOON)
    held = {line: throttles.is_stopped(line, NOON) or throttles.number_until(line, NOON) is not None for line in holds}
    assert held == holds
    later = NOON + timedelta(hours=1)
    throttles.record(SendAccepted(WAMID), _TARGET, later, later)
    assert not any(map(throttles.is_probing, ("main", *holds)))


@pytest.mark.parametrize(("code", "others"), [(190, True), (131031, False)])
def test_an_operators_error_stops_its_scope_by_machine_time(code: int, others: bool) -> None:  # noqa: FBT001 -- a table
    throttles = Throttles()
    assert throttles.record(_error(code), _TARGET, NOON, NOON).not_before == NOON
    assert throttles.awaits_operator("main", NOON)
    assert throttles.is_stopped("another", NOON) is others
    assert not throttles.is_stopped("main", NOON + timedelta(minutes=5))
    assert throttles.is_probing("main")


def test_an_accepted_send_ends_an_outage_but_no_rate_throttle() -> None:
    throttles = Throttles()
    throttles.record(SendUncertain(MessageReason.SERVER_ERROR), _TARGET, NOON, NOON)
    throttles.record(_error(130429), _TARGET, NOON, NOON)
    throttles.record(SendAccepted(WAMID), _TARGET, NOON, NOON)
    assert not throttles.is_stopped("main", NOON)
    assert throttles.number_until("main", NOON) == NOON + seconds(1)


def test_an_outage_grows_to_a_minute_and_ends_with_the_first_success() -> None:
    throttles, machine = Throttles(), NOON
    for _ in range(8):
        throttles.record(SendNotStarted(MessageReason.NOT_REACHED), _TARGET, NOON, machine)
        machine += seconds(64)
    assert throttles.is_stopped("main", machine - seconds(1))
    throttles.record(SendAccepted(WAMID), _TARGET, NOON, machine)
    assert not throttles.is_probing("main")


def test_a_paused_template_is_throttled_alone() -> None:
    throttles = Throttles()
    throttles.record(_error(132015), _TARGET, NOON, NOON)
    assert throttles.template_until("main", _TARGET.template) == NOON + timedelta(hours=1)
    assert not throttles.is_stopped("main", NOON)


def _known(state: TemplateState, reported_at: datetime) -> TemplateKnowledge:
    return TemplateKnowledge({_TEMPLATE: KnownTemplate(state, reported_at=reported_at)})


def test_only_a_later_report_that_a_template_is_usable_ends_its_throttle() -> None:
    throttles = Throttles()
    throttles.record(_error(132001), _TARGET, NOON, NOON)
    assert not throttles.end_of_usable_templates(lambda _: _known(TemplateState.USABLE, NOON))
    assert not throttles.end_of_usable_templates(lambda _: _known(TemplateState.PAUSED, NOON + seconds(1)))
    assert throttles.template_until("main", _TEMPLATE) == NOON + timedelta(hours=1)
    assert throttles.end_of_usable_templates(lambda _: _known(TemplateState.USABLE, NOON + seconds(1)))
    assert throttles.template_until("main", _TEMPLATE) is None


@pytest.mark.parametrize("outcome", [_error(132015), SendAccepted(WAMID, is_held=True)])
def test_a_template_is_throttled_for_the_lines_of_its_account_alone(outcome: SendOutcome) -> None:
    throttles = Throttles({"main": "10", "rights": "10", "sales": "20"})
    throttles.record(outcome, _TARGET, NOON, NOON)
    held = {line: throttles.template_until(line, _TEMPLATE) is not None for line in ("main", "rights", "sales")}
    assert held == {"main": True, "rights": True, "sales": False}
    throttles.record(SendAccepted(WAMID), replace(_TARGET, line="sales"), NOON + timedelta(hours=2), NOON)
    assert throttles.template_until("rights", _TEMPLATE) is not None


def test_a_report_of_another_account_does_not_end_the_throttle_of_a_template() -> None:
    throttles = Throttles({"main": "10", "sales": "20"})
    throttles.record(_error(132015), _TARGET, NOON, NOON)
    usable = _known(TemplateState.USABLE, NOON + seconds(1))
    assert not throttles.end_of_usable_templates(lambda account: usable if account == "20" else NOTHING_KNOWN)
    assert throttles.end_of_usable_templates(lambda account: usable if account == "10" else NOTHING_KNOWN)


def test_a_report_does_not_end_the_pacing_of_a_template() -> None:
    throttles = Throttles()
    throttles.record(SendAccepted(WAMID, is_held=True), _TARGET, NOON, NOON)
    assert not throttles.end_of_usable_templates(lambda _: _known(TemplateState.USABLE, NOON + seconds(1)))


@pytest.mark.parametrize("code", [131031, 131042, 131048, 368, 190, 131045, 130429, 131056, 80007, 132015, 4, 133016])
def test_a_failed_status_trips_the_same_throttle_as_a_response(code: int) -> None:
    answer, status = Throttles(), Throttles()
    answer.record(_error(code), _TARGET, NOON, NOON)
    status.record(_error(code), _TARGET, NOON, NOON, by_status=True)
    (held, hold), (same, learned) = *answer.take_changes().saved.items(), *status.take_changes().saved.items()
    assert (held, hold) == (same, replace(learned, by_status=False))


def test_an_accepted_send_does_not_end_a_throttle_that_a_status_caused() -> None:
    throttles = Throttles()
    throttles.record(_error(131031), _TARGET, NOON, NOON, by_status=True)
    over = NOON + timedelta(minutes=5)
    assert not throttles.is_stopped("main", over)
    throttles.record(SendAccepted(WAMID), _TARGET, over, over)
    assert throttles.is_stopped("main", over + timedelta(minutes=4))
    (held,) = throttles.awaiting_status()
    throttles.end(held)
    assert not throttles.is_probing("main")


def test_an_operators_wait_grows_to_half_an_hour() -> None:
    throttles, machine, waits = Throttles(), NOON, []
    for _ in range(5):
        throttles.record(_error(190), _TARGET, NOON, machine)
        (hold,) = throttles.take_changes().saved.values()
        waits.append((hold.until - machine).total_seconds() / 60)
        machine = hold.until
    assert waits == [5, 10, 20, 30, 30]


def _restarted(throttles: Throttles, machine: datetime) -> Throttles:
    after = Throttles()
    after.merge(throttles.take_changes().saved, machine)
    return after


@pytest.mark.parametrize("outcome", [SendUncertain(MessageReason.NO_ANSWER), SendNotStarted(MessageReason.NOT_REACHED)])
def test_a_restart_keeps_the_grown_wait_after_an_uncertain_send(outcome: SendOutcome) -> None:
    throttles, machine = Throttles(), NOON
    for wait in (1, 2, 4):
        throttles.record(outcome, _TARGET, NOON, machine)
        machine += seconds(wait)
    after = _restarted(throttles, machine - seconds(4))
    assert after.is_stopped("main", machine - seconds(1))
    assert after.is_probing("main")
    after.record(outcome, _TARGET, NOON, machine)
    assert after.is_stopped("main", machine + seconds(7))


def test_a_restart_tries_an_operators_throttle_at_once_unless_meta_named_the_wait() -> None:
    throttles = Throttles()
    throttles.record(_error(190), _TARGET, NOON, NOON)
    assert not _restarted(throttles, NOON).is_stopped("main", NOON)
    timed = Throttles()
    timed.record(_error(133016), _TARGET, NOON, NOON)
    assert _restarted(timed, NOON).is_stopped("main", NOON + timedelta(hours=71))


def test_changes_that_could_not_be_saved_are_returned_again() -> None:
    throttles = Throttles()
    throttles.record(_error(131056), _TARGET, NOON, NOON)
    changes = throttles.take_changes()
    assert not throttles.take_changes()
    throttles.restore_changes(changes)
    assert throttles.take_changes() == changes
    throttles.record(SendAccepted(WAMID), _TARGET, NOON + seconds(1), NOON)
    ended = throttles.take_changes()
    assert ended.ended == {key: throttle.until for key, throttle in changes.saved.items()}
    throttles.restore_changes(ended)
    assert throttles.take_changes() == ended


def test_a_replica_merges_a_longer_wait_and_keeps_its_own_longer_one() -> None:
    ours, theirs = Throttles(), Throttles()
    ours.record(_error(131056), _TARGET, NOON, NOON)
    theirs.record(_error(131056, seconds(90)), _TARGET, NOON, NOON, by_status=True)
    ours.merge(theirs.take_changes().saved)
    assert ours.pair_until("main", "p1") == NOON + seconds(90)
    shorter = Throttles()
    shorter.record(_error(131056), _TARGET, NOON, NOON)
    ours.merge(shorter.take_changes().saved)
    assert ours.pair_until("main", "p1") == NOON + seconds(90)


def test_a_held_template_is_sent_more_slowly_and_an_alert_is_not() -> None:
    throttles, now, waits = Throttles(), NOON, []
    for _ in range(4):
        throttles.record(SendAccepted(WAMID, is_held=True), _TARGET, now, now)
        until = throttles.template_until("main", _TARGET.template)
        assert until is not None
        waits.append((until - now).total_seconds() / 60)
        now = until
    assert waits == [15, 30, 60, 60]
    assert throttles.template_until("main", _TARGET.template, is_critical=True) is None
    assert throttles.template_until("main", ("another", "en")) is None
    assert throttles.number_until("main", NOON) is None
    throttles.record(SendAccepted(WAMID), _TARGET, now, now)
    assert throttles.template_until("main", _TARGET.template) is None


def test_an_error_of_a_template_holds_alerts_too() -> None:
    throttles = Throttles()
    throttles.record(_error(132015), _TARGET, NOON, NOON)
    assert throttles.template_until("main", _TARGET.template, is_critical=True) == NOON + timedelta(hours=1)


def test_an_error_of_a_template_that_is_sent_more_slowly_holds_alerts_too() -> None:
    throttles, later = Throttles(), NOON + timedelta(minutes=1)
    throttles.record(SendAccepted(WAMID, is_held=True), _TARGET, NOON, NOON)
    throttles.record(_error(132015), _TARGET, later, later)
    assert throttles.template_until("main", _TEMPLATE, is_critical=True) == later + timedelta(hours=1)
    assert throttles.end_of_usable_templates(lambda _: _known(TemplateState.USABLE, later + seconds(1)))


def test_a_rate_ends_by_business_time_and_an_outage_by_machine_time() -> None:
    throttles, machine = Throttles(), NOON + timedelta(days=1)
    assert throttles.record(_error(131056), _TARGET, NOON, machine).not_before == NOON + seconds(1)
    throttles.record(SendNotStarted(MessageReason.NOT_REACHED), _TARGET, NOON, machine)
    assert throttles.is_stopped("main", machine + seconds(0.9))
    assert not throttles.is_stopped("main", machine + seconds(1))
    throttles.record(SendAccepted(WAMID), _TARGET, NOON + seconds(0.9), machine)
    assert throttles.pair_until("main", "p1") == NOON + seconds(1)
    throttles.record(SendAccepted(WAMID), _TARGET, NOON + seconds(1), machine)
    assert throttles.pair_until("main", "p1") is None


@pytest.mark.parametrize("outcome", [_error(80007, seconds(90)), _error(190), SendUncertain(MessageReason.NO_ANSWER)])
def test_a_throttle_lasts_no_longer_where_the_clock_is_set_back(outcome: SendOutcome) -> None:
    throttles, back = Throttles(), NOON - timedelta(hours=1)
    throttles.record(outcome, _TARGET, NOON, NOON)
    (wait,) = {throttle.wait for throttle in throttles.take_changes().saved.values()}
    throttles.shorten(NOON, NOON)
    assert _holds(throttles, NOON + wait - seconds(1))
    throttles.shorten(back, back)
    assert _holds(throttles, back + wait - seconds(1))
    assert not _holds(throttles, back + wait)
    assert not throttles.take_changes()


def _holds(throttles: Throttles, at: datetime) -> bool:
    return throttles.is_stopped("main", at) or throttles.number_until("main", at) is not None


@pytest.mark.parametrize(("code", "hold"), [(135000, NOON + seconds(2)), (131026, None)])
def test_only_what_may_pass_waits_for_the_provider(code: int, hold: datetime | None) -> None:
    assert Throttles().record(_error(code), _TARGET, NOON, NOON) == RetryTime(NOON, hold)


def test_a_number_waits_for_the_longest_of_its_throttles_and_for_none_that_is_over() -> None:
    throttles = Throttles()
    throttles.record(_error(80007, seconds(90)), _TARGET, NOON, NOON)
    throttles.record(_error(130429), _TARGET, NOON, NOON)
    assert throttles.number_until("main", NOON) == NOON + seconds(90)
    assert throttles.number_until("main", NOON + seconds(90)) is None


def test_an_outage_awaits_no_operator_and_a_wait_that_is_over_none() -> None:
    throttles = Throttles()
    throttles.record(SendNotStarted(MessageReason.NOT_REACHED), _TARGET, NOON, NOON)
    assert not throttles.awaits_operator("main", NOON)
    throttles.record(_error(131031), _TARGET, NOON, NOON)
    assert throttles.awaits_operator("main", NOON)
    assert not throttles.awaits_operator("main", NOON + timedelta(minutes=5))


def test_a_refused_token_is_known_until_a_send_is_accepted() -> None:
    throttles, over = Throttles(), NOON + timedelta(minutes=5)
    throttles.record(_error(131031), _TARGET, NOON, NOON)
    assert not throttles.is_token_refused()
    throttles.record(_error(190), _TARGET, NOON, NOON)
    assert throttles.is_token_refused()
    throttles.record(SendAccepted(WAMID), _TARGET, over, over)
    assert not throttles.is_token_refused()


def test_a_trip_during_the_wait_changes_nothing_to_save() -> None:
    throttles = Throttles()
    throttles.record(_error(131056), _TARGET, NOON, NOON)
    assert throttles.take_changes()
    throttles.record(_error(131056), _TARGET, NOON, NOON)
    assert not throttles.take_changes()


def test_a_throttle_of_the_database_that_ended_here_is_deleted_there_and_does_not_come_back() -> None:
    ours, theirs = Throttles(), Throttles()
    theirs.record(_error(131056), _TARGET, NOON, NOON)
    stored = theirs.take_changes().saved
    ours.merge(stored)
    (key,) = stored
    ours.end(key)
    ours.merge(stored)
    assert ours.pair_until("main", "p1") is None
    assert ours.take_changes().ended == {key: NOON + seconds(1)}


def test_a_throttle_that_a_status_caused_elsewhere_is_not_ended_by_an_accepted_send() -> None:
    ours, theirs, over = Throttles(), Throttles(), NOON + timedelta(minutes=5)
    ours.record(_error(131031), _TARGET, NOON, NOON)
    theirs.record(_error(131031), _TARGET, NOON, NOON, by_status=True)
    ours.merge(theirs.take_changes().saved)
    ours.record(SendAccepted(WAMID), _TARGET, over, over)
    assert ours.awaiting_status()
    assert ours.is_stopped("main", over)


def test_of_the_errors_in_flight_an_operators_and_a_statuss_are_kept() -> None:
    throttles = Throttles()
    throttles.record(_error(131031), _TARGET, NOON, NOON, by_status=True)
    throttles.record(SendUncertain(MessageReason.NO_ANSWER), _TARGET, NOON, NOON)
    assert throttles.awaits_operator("main", NOON)
    throttles.record(SendAccepted(WAMID), _TARGET, NOON, NOON)
    assert throttles.is_stopped("main", NOON)
    later = Throttles()
    later.record(SendUncertain(MessageReason.NO_ANSWER), _TARGET, NOON, NOON)
    later.record(_error(131031), _TARGET, NOON, NOON, by_status=True)
    assert later.awaits_operator("main", NOON)
    assert later.awaiting_status()


def test_many_sends_of_a_template_in_flight_trip_its_throttle_once() -> None:
    throttles = Throttles()
    outcomes: tuple[SendOutcome, ...] = (SendAccepted(WAMID, is_held=True), _error(132015))
    for trips, outcome in enumerate(outcomes, 1):
        for _ in range(2):
            throttles.record(outcome, _TARGET, NOON, NOON)
        (throttle,) = throttles.take_changes().saved.values()
        assert throttle.trips == trips


@pytest.mark.parametrize("by_status", [False, True])
def test_marketing_to_a_person_waits_a_day_on_every_line_whatever_else_they_get(*, by_status: bool) -> None:
    throttles, day = Throttles(), timedelta(hours=24)
    throttles.record(_error(131049), _TARGET, NOON, NOON, by_status=by_status)
    throttles.record(SendAccepted(WAMID), SendTarget("other", "p1"), NOON + seconds(60), NOON)
    assert (throttles.marketing_until("p1"), throttles.marketing_until("p2")) == (NOON + day, None)
    assert (throttles.pair_until("main", "p1"), throttles.number_until("main", NOON)) == (None, None)
    assert throttles.awaiting_status() == {}
    throttles.record(SendAccepted(WAMID), _TARGET, NOON + day, NOON)
    assert throttles.marketing_until("p1") is None


def test_a_message_whose_template_is_throttled_is_planned_again_at_once() -> None:
    """Its fallback may go; and what has no template waits for none."""
    throttles = Throttles()
    assert throttles.record(_error(132015), _TARGET, NOON, NOON).not_before == NOON
    assert throttles.template_until("main", _TEMPLATE) == NOON + timedelta(hours=1)
    assert throttles.template_until("main", None) is None


def test_an_error_of_a_template_throttles_nothing_where_free_text_went() -> None:
    throttles = Throttles()
    throttles.record(_error(132015), SendTarget("main", "p1"), NOON, NOON)
    assert not throttles.take_changes()


def test_free_text_that_arrives_ends_the_throttle_of_its_line() -> None:
    throttles, later = Throttles(), NOON + seconds(1)
    throttles.record(_error(130429), _TARGET, NOON, NOON)
    throttles.record(SendAccepted(WAMID), SendTarget("main", "p1"), later, later)
    assert not throttles.is_probing("main")


def test_a_line_that_is_not_throttled_is_not_probed() -> None:
    throttles = Throttles()
    throttles.record(_error(130429), _TARGET, NOON, NOON)
    assert throttles.is_probing("main")
    assert not throttles.is_probing("another")


def test_a_throttle_is_not_lengthened_by_looking_at_the_clock() -> None:
    throttles = Throttles()
    throttles.record(_error(80007, seconds(90)), _TARGET, NOON, NOON)
    throttles.shorten(NOON + seconds(60), NOON + seconds(60))
    assert throttles.number_until("main", NOON) == NOON + seconds(90)


def test_an_outage_that_is_reported_with_and_without_a_code_is_one() -> None:
    throttles = Throttles()
    for outcome in (SendUncertain(MessageReason.NO_ANSWER), _error(1), SendUncertain(MessageReason.NO_ANSWER)):
        throttles.record(outcome, _TARGET, NOON, NOON)
    (throttle,) = throttles.take_changes().saved.values()
    assert throttle.trips == 1


def test_a_request_that_was_not_made_in_time_throttles_nothing() -> None:
    throttles = Throttles()
    assert throttles.record(SendNotStarted(MessageReason.LEASE_ENDED), _TARGET, NOON, NOON) == RetryTime(NOON)
    assert not throttles.take_changes()
