"""The state machine: withdrawals, doubt, and how doubt is settled."""

from typing import Any

import pytest
from msgspec.structs import replace

from services.dispatcher.standing import (
    Delay,
    Standing,
    again,
    doubted,
    dropped,
    not_sent,
    proved,
    taken,
    unproven,
    withdrawn,
)
from services.dispatcher.states import Evidence, Reason, State
from shared.contracts import messages
from shared.contracts.messages import Resend, Resolution
from tests.services.dispatcher.making import NOON, WAMID, in_flight, standing

_LATER = Delay(NOON)


def _uncertain(**changes: Any) -> Standing:
    return replace(doubted(in_flight(), Reason.NO_ANSWER, NOON).standing, **changes)


def test_a_message_taken_says_so_with_its_wamid() -> None:
    step = taken(in_flight(), WAMID, NOON)
    assert (step.standing.state, step.standing.wamid) == (State.ACCEPTED, WAMID)
    assert [type(news) for news in step.news] == [messages.MessageAccepted]


def test_a_waiting_message_is_withdrawn() -> None:
    step = withdrawn(standing(), "stopped", NOON)
    assert step.standing.state is State.WITHDRAWN
    assert isinstance(step.news[0], messages.MessageWithdrawn)


@pytest.mark.parametrize("begun", [in_flight(), _uncertain(), in_flight(state=State.READ, wamid=WAMID)])
def test_a_begun_message_is_too_late_to_withdraw(begun: Standing) -> None:
    step = withdrawn(begun, "stopped", NOON)
    assert step.standing.state is begun.state
    assert [type(news) for news in step.news] == [messages.MessageTooLate]


@pytest.mark.parametrize("state", [State.DROPPED, State.WITHDRAWN])
def test_what_never_went_needs_no_withdrawal(state: State) -> None:
    assert withdrawn(standing(state=state), "stopped", NOON).news == ()


def test_a_refused_message_that_was_withdrawn_meanwhile_does_not_go_again() -> None:
    begun = withdrawn(in_flight(), "stopped", NOON).standing
    assert again(begun, Reason.REFUSED_FOR_NOW, _LATER, NOON).standing.state is State.WITHDRAWN


def test_silence_resends_only_what_may_be_resent() -> None:
    step = unproven(_uncertain(resend=Resend.IF_UNPROVEN), NOON)
    assert step.standing.state is State.WAITING
    assert [getattr(news, "resolution", None) for news in step.news] == [Resolution.RESENT]
    assert unproven(_uncertain(resend=Resend.NEVER), NOON).standing.state is State.UNCERTAIN


def test_silence_never_resends_what_was_withdrawn() -> None:
    step = unproven(_uncertain(resend=Resend.IF_UNPROVEN, withdrawal="stopped"), NOON)
    assert step.standing.state is State.WITHDRAWN
    assert [type(news) for news in step.news] == [messages.MessageResolved, messages.MessageWithdrawn]


def test_a_tap_proves_an_uncertain_send_even_without_a_wamid() -> None:
    step = proved(_uncertain(), None, Evidence.TAP, NOON)
    assert step.standing.state is State.ACCEPTED
    assert isinstance(step.news[0], messages.MessageResolved)
    assert (step.news[0].resolution, step.news[0].evidence) == (Resolution.SENT, Evidence.TAP)


def test_proof_of_a_send_in_flight_is_its_receipt() -> None:
    assert proved(in_flight(), WAMID, Evidence.STATUS, NOON) == taken(in_flight(), WAMID, NOON)


def test_what_was_attempted_fails_where_the_untouched_is_dropped() -> None:
    assert dropped(standing(), Reason.EXPIRED, NOON).standing.state is State.DROPPED
    assert dropped(standing(attempts=1), Reason.EXPIRED, NOON).standing.state is State.FAILED


def test_a_person_may_settle_it_as_not_sent() -> None:
    step = not_sent(_uncertain(), Evidence.PERSON, NOON)
    assert step.standing.state is State.FAILED
    assert isinstance(step.news[0], messages.MessageResolved)
