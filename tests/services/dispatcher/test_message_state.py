"""The state machine: its table, withdrawals, and the settling of uncertain sends."""

from typing import Any

import pytest
from msgspec.structs import replace

from services.dispatcher.message_state import (
    INITIAL,
    MAX_FAILURES,
    TRANSITIONS,
    DeliveryRank,
    InvalidTransition,
    MessageState,
    RetryTime,
    SendEvidence,
    TrackedMessage,
    accept,
    drop,
    mark_uncertain,
    prove_sent,
    retry,
    settle_by_silence,
    settle_not_sent,
    transition,
    withdraw,
)
from services.dispatcher.reasons import MessageReason
from shared.contracts import messages
from shared.contracts.messages import Resend, Resolution
from tests.services.dispatcher.builders import NOON, WAMID, begun_message, seconds, tracked_message

_LATER = RetryTime(NOON)


def _uncertain(**changes: Any) -> TrackedMessage:
    return replace(mark_uncertain(begun_message(), MessageReason.NO_ANSWER, NOON).message, **changes)


def test_an_accepted_message_is_published_with_its_wamid() -> None:
    change = accept(begun_message(), WAMID, NOON)
    assert (change.message.state, change.message.wamid) == (MessageState.ACCEPTED, WAMID)
    assert [type(events) for events in change.events] == [messages.MessageAccepted]


def test_a_waiting_message_is_withdrawn() -> None:
    change = withdraw(tracked_message(), "stopped", NOON)
    assert change.message.state is MessageState.WITHDRAWN
    assert isinstance(change.events[0], messages.MessageWithdrawn)


@pytest.mark.parametrize("begun", [_uncertain(), begun_message(state=MessageState.READ, wamid=WAMID)])
def test_a_begun_message_is_too_late_to_withdraw(begun: TrackedMessage) -> None:
    change = withdraw(begun, "stopped", NOON)
    assert change.message.state is begun.state
    assert [type(events) for events in change.events] == [messages.MessageTooLate]


def test_a_withdrawal_of_an_intent_is_noted_until_its_outcome_is_known() -> None:
    change = withdraw(begun_message(), "stopped", NOON)
    assert (change.message.state, change.message.withdrawal, change.events) == (MessageState.INTENT, "stopped", ())
    accepted = accept(change.message, WAMID, NOON)
    assert [type(event) for event in accepted.events] == [messages.MessageAccepted, messages.MessageTooLate]


def test_a_transition_that_the_table_does_not_have_is_refused() -> None:
    for name, (sources, target) in TRANSITIONS.items():
        for state in MessageState:
            if state in sources:
                assert transition(tracked_message(state=state), name).state is target
            else:
                with pytest.raises(InvalidTransition):
                    transition(tracked_message(state=state), name)


def test_every_state_can_be_reached_from_the_first() -> None:
    reached = {INITIAL}
    for _ in MessageState:
        reached |= {target for sources, target in TRANSITIONS.values() if sources & reached}
    assert reached == set(MessageState)


@pytest.mark.parametrize("state", [MessageState.DROPPED, MessageState.WITHDRAWN])
def test_a_message_that_was_never_sent_needs_no_withdrawal(state: MessageState) -> None:
    assert withdraw(tracked_message(state=state), "stopped", NOON).events == ()


def test_a_refused_message_that_was_withdrawn_meanwhile_is_not_retried() -> None:
    begun = withdraw(begun_message(), "stopped", NOON).message
    assert retry(begun, MessageReason.REFUSED_FOR_NOW, _LATER, NOON).message.state is MessageState.WITHDRAWN


def test_silence_resends_only_what_may_be_resent() -> None:
    change = settle_by_silence(_uncertain(resend=Resend.IF_UNPROVEN), NOON)
    assert change.message.state is MessageState.WAITING
    assert [getattr(events, "resolution", None) for events in change.events] == [Resolution.RESENT]
    assert settle_by_silence(_uncertain(resend=Resend.NEVER), NOON).message.state is MessageState.UNCERTAIN


def test_silence_gives_a_message_up_after_the_last_of_its_attempts() -> None:
    last, last_but_one = (
        settle_by_silence(_uncertain(resend=Resend.IF_UNPROVEN, failures=MAX_FAILURES - before), NOON).message
        for before in (1, 2)
    )
    assert (last.state, last.reason) == (MessageState.FAILED, MessageReason.SETTLED_NOT_SENT)
    assert (last_but_one.state, last_but_one.failures) == (MessageState.WAITING, MAX_FAILURES - 1)


@pytest.mark.parametrize("state", [state for state in MessageState if state is not MessageState.UNCERTAIN])
def test_silence_settles_only_what_is_uncertain(state: MessageState) -> None:
    message = begun_message(state=state, resend=Resend.IF_UNPROVEN)
    assert settle_by_silence(message, NOON).message == message


@pytest.mark.parametrize("state", [state for state in MessageState if state is not MessageState.WAITING])
def test_only_a_waiting_message_is_dropped(state: MessageState) -> None:
    message = begun_message(state=state)
    assert drop(message, MessageReason.EXPIRED, NOON).message == message


def test_a_message_that_waits_again_has_nothing_of_the_attempt_that_failed() -> None:
    sent = accept(begun_message(), WAMID, NOON).message
    at = RetryTime(NOON + seconds(60), NOON + seconds(2))
    again = retry(replace(sent, rank=DeliveryRank.SENT), MessageReason.REFUSED_FOR_NOW, at, NOON).message
    assert (again.reason, again.wamid, again.rank) == (MessageReason.REFUSED_FOR_NOW, None, DeliveryRank.NONE)
    assert (again.not_before, again.hold_until) == (at.not_before, at.hold_until)


def test_silence_never_resends_a_withdrawn_message() -> None:
    change = settle_by_silence(_uncertain(resend=Resend.IF_UNPROVEN, withdrawal="stopped"), NOON)
    assert change.message.state is MessageState.WITHDRAWN
    assert [type(events) for events in change.events] == [messages.MessageWithdrawn, messages.MessageResolved]


def test_a_tap_proves_an_uncertain_send_even_without_a_wamid() -> None:
    change = prove_sent(_uncertain(), None, SendEvidence.TAP, NOON)
    assert change.message.state is MessageState.ACCEPTED
    assert isinstance(change.events[0], messages.MessageResolved)
    assert (change.events[0].resolution, change.events[0].evidence) == (Resolution.SENT, SendEvidence.TAP)


def test_proof_of_a_send_in_flight_accepts_it() -> None:
    assert prove_sent(begun_message(), WAMID, SendEvidence.STATUS, NOON) == accept(begun_message(), WAMID, NOON)


def test_an_attempted_message_fails_where_an_untouched_one_is_dropped() -> None:
    assert drop(tracked_message(), MessageReason.EXPIRED, NOON).message.state is MessageState.DROPPED
    assert drop(tracked_message(attempts=1), MessageReason.EXPIRED, NOON).message.state is MessageState.FAILED


def test_an_operator_may_settle_it_as_not_sent() -> None:
    change = settle_not_sent(_uncertain(), SendEvidence.PERSON, NOON)
    assert change.message.state is MessageState.FAILED
    assert isinstance(change.events[0], messages.MessageResolved)
