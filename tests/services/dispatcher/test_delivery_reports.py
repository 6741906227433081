"""Outcomes and statuses: ranks only rise, failures have no rank, and proof settles an uncertain send."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.dispatcher.delivery_reports import StatusReport, apply_outcome, apply_status
from services.dispatcher.message_state import (
    MAX_FAILURES,
    AttemptResult,
    DeliveryRank,
    EndedAttempt,
    MessageState,
    RetryTime,
    SendEvidence,
    TrackedMessage,
    accept,
    mark_uncertain,
    prove_sent,
)
from services.dispatcher.provider_responses import (
    ERROR_POLICIES,
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
    error_policy,
)
from services.dispatcher.reasons import MessageReason
from shared.contracts import messages
from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import DeliveryStatus
from tests.services.dispatcher.builders import NOON, WAMID, begun_message, tracked_message

_DELAY = RetryTime(NOON + timedelta(seconds=4))
_NO_ANSWER = MessageReason.NO_ANSWER


def _report(status: DeliveryStatus, code: int | None = None, attempt: int = 1) -> StatusReport:
    return StatusReport(WAMID, attempt, status, NOON, code)


def _error(code: int) -> SendError:
    return SendError(code, error_policy(code))


def _accepted() -> TrackedMessage:
    return accept(begun_message(), WAMID, NOON).message


def _kinds(events: tuple[messages.MessageEventData, ...]) -> list[str]:
    return [one.kind for one in events]


@pytest.mark.parametrize(
    ("outcome", "state", "result"),
    [
        (SendAccepted(WAMID), MessageState.ACCEPTED, AttemptResult.ACCEPTED),
        (SendUncertain(MessageReason.NO_ANSWER), MessageState.UNCERTAIN, AttemptResult.UNCERTAIN),
        (_error(131000), MessageState.UNCERTAIN, AttemptResult.UNCERTAIN),
        (_error(2), MessageState.UNCERTAIN, AttemptResult.UNCERTAIN),
        (SendNotStarted(MessageReason.NOT_REACHED), MessageState.WAITING, AttemptResult.NOT_WRITTEN),
        (_error(131056), MessageState.WAITING, AttemptResult.REFUSED),
        (_error(130429), MessageState.WAITING, AttemptResult.REFUSED),
        (_error(190), MessageState.WAITING, AttemptResult.REFUSED),
        (_error(132015), MessageState.WAITING, AttemptResult.REFUSED),
        (_error(135000), MessageState.WAITING, AttemptResult.REFUSED),
        (_error(131026), MessageState.FAILED, AttemptResult.REFUSED),
        (_error(132001), MessageState.WAITING, AttemptResult.REFUSED),
        (_error(100), MessageState.FAILED, AttemptResult.REFUSED),
    ],
)
def test_an_outcome_decides_the_state_and_the_result_of_the_attempt(
    outcome: SendOutcome, state: MessageState, result: AttemptResult
) -> None:
    change = apply_outcome(begun_message(), 1, outcome, _DELAY, NOON)
    assert change.message.state is state
    assert change.ended is not None
    assert change.ended.result is result


def test_a_temporary_refusal_fails_after_three_attempts() -> None:
    change = apply_outcome(begun_message(attempts=3, failures=2), 3, _error(135000), _DELAY, NOON)
    assert change.message.reason is MessageReason.REFUSED_AGAIN


def test_attempts_that_never_left_do_not_count_against_a_message() -> None:
    change = apply_outcome(begun_message(attempts=9), 9, _error(135000), _DELAY, NOON)
    assert change.message.state is MessageState.WAITING


def test_an_outcome_of_an_older_attempt_changes_nothing() -> None:
    begun = begun_message(attempts=2)
    assert apply_outcome(begun, 1, SendAccepted(WAMID), _DELAY, NOON).message == begun


def test_an_outcome_of_a_claim_that_was_not_committed_changes_nothing_of_another_leaders_attempt() -> None:
    begun = begun_message(lease_until=NOON + timedelta(seconds=16))
    not_started = SendNotStarted(MessageReason.LEASE_ENDED)
    mine, other = (
        apply_outcome(begun, 1, not_started, _DELAY, NOON, lease_until=NOON + timedelta(seconds=count)).message.state
        for count in (16, 15)
    )
    assert (mine, other) == (MessageState.WAITING, MessageState.INTENT)


def test_a_response_after_the_lease_settles_the_uncertain_send() -> None:
    uncertain = mark_uncertain(begun_message(), MessageReason.LEASE_ENDED, NOON).message
    change = apply_outcome(uncertain, 1, SendAccepted(WAMID), _DELAY, NOON)
    assert _kinds(change.events) == [messages.MessageResolved.kind]


def test_a_status_before_the_response_proves_the_send() -> None:
    change = apply_status(begun_message(), _report(DeliveryStatus.DELIVERED), NOON)
    assert _kinds(change.events) == [messages.MessageAccepted.kind, messages.MessageDelivered.kind]
    assert apply_outcome(change.message, 1, SendUncertain(MessageReason.NO_ANSWER), _DELAY, NOON).events == ()


def test_a_status_settles_an_uncertain_send() -> None:
    uncertain = mark_uncertain(begun_message(), MessageReason.NO_ANSWER, NOON).message
    change = apply_status(uncertain, _report(DeliveryStatus.SENT), NOON)
    assert change.message.state is MessageState.ACCEPTED
    assert _kinds(change.events) == [messages.MessageResolved.kind]


def test_a_status_stops_a_resend_that_still_waits() -> None:
    waiting = tracked_message(attempts=1, reason=MessageReason.REPEATED)
    change = apply_status(waiting, _report(DeliveryStatus.SENT), NOON)
    assert change.message.state is MessageState.ACCEPTED


@pytest.mark.parametrize(
    "order", list(permutations([DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ]))
)
def test_in_any_order_the_highest_rank_stands(order: tuple[DeliveryStatus, ...]) -> None:
    message = _accepted()
    events: list[str] = []
    for status in (*order, *order):
        change = apply_status(message, _report(status), NOON)
        message, events = change.message, [*events, *_kinds(change.events)]
    assert (message.state, message.rank) == (MessageState.READ, DeliveryRank.READ)
    assert events.count(messages.MessageRead.kind) == 1
    assert events.count(messages.MessageDelivered.kind) == (
        order.index(DeliveryStatus.DELIVERED) < order.index(DeliveryStatus.READ)
    )


@given(st.lists(st.sampled_from(DeliveryStatus), max_size=12))
def test_a_rank_never_falls(statuses: list[DeliveryStatus]) -> None:
    message = _accepted()
    for status in statuses:
        after = apply_status(message, _report(status, 131026), NOON).message
        assert after.rank >= message.rank
        message = after


def test_a_failure_after_the_delivery_reverses_nothing() -> None:
    delivered = apply_status(_accepted(), _report(DeliveryStatus.DELIVERED), NOON).message
    change = apply_status(delivered, _report(DeliveryStatus.FAILED, 131026), NOON)
    assert (change.message.state, change.message.failed_code, change.events) == (MessageState.DELIVERED, 131026, ())


def test_a_failure_of_an_uncertain_send_proves_and_fails_it() -> None:
    uncertain = mark_uncertain(begun_message(), MessageReason.NO_ANSWER, NOON).message
    change = apply_status(uncertain, _report(DeliveryStatus.FAILED, 131026), NOON)
    assert change.message.state is MessageState.FAILED
    assert _kinds(change.events) == [messages.MessageResolved.kind, messages.MessageFailed.kind]


def test_a_closed_window_sends_it_again_as_its_template() -> None:
    change = apply_status(_accepted(), _report(DeliveryStatus.FAILED, 131047), NOON)
    retry = change.message
    assert (retry.state, retry.template_only) == (MessageState.WAITING, True)
    assert retry.not_before > NOON, "rules has time to withdraw it"
    assert _kinds(change.events) == [messages.MessageResolved.kind]
    assert apply_status(retry, _report(DeliveryStatus.SENT), NOON).message == retry
    assert apply_status(retry, _report(DeliveryStatus.FAILED, 131047), NOON).message == retry


def test_a_closed_window_without_a_template_fails() -> None:
    bare = accept(begun_message(template=None), WAMID, NOON).message
    change = apply_status(bare, _report(DeliveryStatus.FAILED, 131047), NOON)
    assert (change.message.state, change.message.reason) == (MessageState.FAILED, MessageReason.NO_TEMPLATE)


def test_a_withdrawn_message_is_not_sent_again_as_a_template() -> None:
    withdrawn = accept(begun_message(withdrawal="stopped"), WAMID, NOON).message
    assert apply_status(withdrawn, _report(DeliveryStatus.FAILED, 131047), NOON).message.state is MessageState.WITHDRAWN


def test_statuses_of_an_older_attempt_do_not_fail_the_newer() -> None:
    second = accept(begun_message(attempts=2), Wamid("wamid.two"), NOON).message
    assert apply_status(second, _report(DeliveryStatus.FAILED, 131026, attempt=1), NOON).message == second


def _lease_ended() -> TrackedMessage:
    """The message of a lease that ended while the sending process stood still."""
    return mark_uncertain(begun_message(), MessageReason.LEASE_ENDED, NOON).message


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (SendAccepted(WAMID), MessageState.ACCEPTED),
        (SendUncertain(MessageReason.NO_ANSWER), MessageState.UNCERTAIN),
        (_error(131000), MessageState.UNCERTAIN),
        (SendNotStarted(MessageReason.LEASE_ENDED), MessageState.WAITING),
        (_error(131026), MessageState.FAILED),
    ],
)
def test_a_late_outcome_settles_an_uncertain_send_where_it_can(outcome: SendOutcome, state: MessageState) -> None:
    assert apply_outcome(_lease_ended(), 1, outcome, _DELAY, NOON).message.state is state


def test_a_late_outcome_of_an_earlier_attempt_changes_nothing() -> None:
    retry = apply_outcome(_lease_ended(), 1, SendNotStarted(MessageReason.LEASE_ENDED), _DELAY, NOON).message
    assert apply_outcome(retry, 1, SendAccepted(WAMID), _DELAY, NOON).message is retry


_ACCOUNT_LEVEL = (131031, 131042, 131048, 368, 190, 131045, 130429, 131056, 80007)


def _attempts_until_failed(code: int, *, by_status: bool) -> int:
    """The number of attempts of a message that fails with this code every time."""
    message = tracked_message()
    for attempt in range(1, 100):
        begun = replace(message, state=MessageState.INTENT, attempts=attempt)
        if by_status:
            accepted = accept(begun, WAMID, NOON).message
            message = apply_status(accepted, _report(DeliveryStatus.FAILED, code, attempt), NOON).message
        else:
            message = apply_outcome(begun, attempt, _error(code), _DELAY, NOON).message
        if message.state is MessageState.FAILED:
            return attempt
    raise AssertionError("attempted for ever")


@pytest.mark.parametrize("code", [*ERROR_POLICIES, 999_999])
@pytest.mark.parametrize("by_status", [True, False])
def test_no_message_is_attempted_for_ever(code: int, *, by_status: bool) -> None:
    if by_status or not error_policy(code).ambiguous:
        assert _attempts_until_failed(code, by_status=by_status) <= MAX_FAILURES


@pytest.mark.parametrize("code", _ACCOUNT_LEVEL)
def test_a_failed_status_returns_the_error_for_the_throttles(code: int) -> None:
    change = apply_status(_accepted(), _report(DeliveryStatus.FAILED, code), NOON)
    assert change.message.state is MessageState.WAITING
    assert change.error == _error(code)


@pytest.mark.parametrize("status", [DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ])
def test_a_status_of_an_older_attempt_proves_nothing_of_the_newer(status: DeliveryStatus) -> None:
    for second in (begun_message(attempts=2), mark_uncertain(begun_message(attempts=2), _NO_ANSWER, NOON).message):
        assert apply_status(second, _report(status, attempt=1), NOON).message == second


@pytest.mark.parametrize("state", [MessageState.DROPPED, MessageState.WITHDRAWN])
def test_a_message_that_was_never_sent_is_not_delivered(state: MessageState) -> None:
    message = tracked_message(state=state)
    assert apply_status(message, _report(DeliveryStatus.DELIVERED, attempt=0), NOON).message == message


def test_the_first_status_after_a_tap_gives_the_wamid() -> None:
    tapped = prove_sent(mark_uncertain(begun_message(), _NO_ANSWER, NOON).message, None, SendEvidence.TAP, NOON).message
    known = apply_status(tapped, _report(DeliveryStatus.DELIVERED), NOON).message
    assert (known.wamid, known.state) == (WAMID, MessageState.DELIVERED)


def test_a_send_that_was_not_tried_keeps_its_place_and_one_that_was_waits() -> None:
    untried, unreached = (
        apply_outcome(begun_message(), 1, SendNotStarted(reason), _DELAY, NOON).message.not_before
        for reason in (MessageReason.LEASE_ENDED, MessageReason.NOT_REACHED)
    )
    assert (untried, unreached) == (NOON, _DELAY.not_before)


def test_a_failed_status_without_a_code_fails_the_message() -> None:
    change = apply_status(_accepted(), _report(DeliveryStatus.FAILED), NOON)
    assert (change.message.state, change.message.reason) == (MessageState.FAILED, MessageReason.MESSAGE_REFUSED)
    assert change.ended == EndedAttempt(1, AttemptResult.FAILED, WAMID)


@pytest.mark.parametrize(("code", "wait"), [(131047, timedelta(seconds=5)), (130429, timedelta(minutes=1))])
def test_a_message_that_failed_later_leaves_time_before_its_next_attempt(code: int, wait: timedelta) -> None:
    assert apply_status(_accepted(), _report(DeliveryStatus.FAILED, code), NOON).message.not_before == NOON + wait


def test_a_failed_status_of_an_older_attempt_stops_nothing() -> None:
    second = accept(begun_message(attempts=2), Wamid("wamid.two"), NOON).message
    assert apply_status(second, _report(DeliveryStatus.FAILED, 131031, attempt=1), NOON).error is None
