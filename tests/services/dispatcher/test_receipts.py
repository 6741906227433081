"""Answers and statuses: ranks rise, failures stand apart, doubt ends with proof."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.dispatcher.errors import FAULTS, fault_of
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, Unsent
from services.dispatcher.receipts import Report, answered, reported
from services.dispatcher.standing import MOST_FAILURES, Delay, Ending, Standing, doubted, taken
from services.dispatcher.states import Rank, Reason, State
from shared.contracts import messages
from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import Status
from tests.services.dispatcher.making import NOON, WAMID, in_flight, standing

_DELAY = Delay(NOON + timedelta(seconds=4))


def _report(status: Status, code: int | None = None, attempt: int = 1) -> Report:
    return Report(WAMID, attempt, status, NOON, code)


def _faulted(code: int) -> Faulted:
    return Faulted(code, fault_of(code))


def _accepted() -> Standing:
    return taken(in_flight(), WAMID, NOON).standing


def _kinds(news: tuple[messages.MessageEventData, ...]) -> list[str]:
    return [one.kind for one in news]


@pytest.mark.parametrize(
    ("outcome", "state", "ending"),
    [
        (Taken(WAMID), State.ACCEPTED, Ending.ACCEPTED),
        (Doubtful(Reason.NO_ANSWER), State.UNCERTAIN, Ending.UNCERTAIN),
        (_faulted(131000), State.UNCERTAIN, Ending.UNCERTAIN),
        (_faulted(2), State.UNCERTAIN, Ending.UNCERTAIN),
        (Unsent(Reason.NOT_REACHED), State.WAITING, Ending.NOT_WRITTEN),
        (_faulted(131056), State.WAITING, Ending.REFUSED),
        (_faulted(130429), State.WAITING, Ending.REFUSED),
        (_faulted(190), State.WAITING, Ending.REFUSED),
        (_faulted(132015), State.WAITING, Ending.REFUSED),
        (_faulted(135000), State.WAITING, Ending.REFUSED),
        (_faulted(131026), State.FAILED, Ending.REFUSED),
        (_faulted(132001), State.FAILED, Ending.REFUSED),
        (_faulted(100), State.FAILED, Ending.REFUSED),
    ],
)
def test_an_answer_decides(outcome: Outcome, state: State, ending: Ending) -> None:
    step = answered(in_flight(), 1, outcome, _DELAY, NOON)
    assert step.standing.state is state
    assert step.ended is not None
    assert step.ended.ending is ending


def test_a_passing_refusal_fails_after_three_attempts() -> None:
    step = answered(in_flight(attempts=3), 3, _faulted(135000), _DELAY, NOON)
    assert step.standing.reason is Reason.REFUSED_AGAIN


def test_an_answer_to_an_older_attempt_changes_nothing() -> None:
    begun = in_flight(attempts=2)
    assert answered(begun, 1, Taken(WAMID), _DELAY, NOON).standing == begun


def test_an_answer_after_the_lease_settles_the_doubt() -> None:
    doubt = doubted(in_flight(), Reason.LEASE_ENDED, NOON).standing
    step = answered(doubt, 1, Taken(WAMID), _DELAY, NOON)
    assert _kinds(step.news) == [messages.MessageResolved.kind]


def test_a_status_before_the_answer_is_the_receipt() -> None:
    step = reported(in_flight(), _report(Status.DELIVERED), NOON)
    assert _kinds(step.news) == [messages.MessageAccepted.kind, messages.MessageDelivered.kind]
    assert answered(step.standing, 1, Doubtful(Reason.NO_ANSWER), _DELAY, NOON).news == ()


def test_a_status_settles_an_uncertain_send() -> None:
    doubt = doubted(in_flight(), Reason.NO_ANSWER, NOON).standing
    step = reported(doubt, _report(Status.SENT), NOON)
    assert step.standing.state is State.ACCEPTED
    assert _kinds(step.news) == [messages.MessageResolved.kind]


def test_a_status_stops_a_resend_that_still_waits() -> None:
    waiting = standing(attempts=1, reason=Reason.REPEATED)
    step = reported(waiting, _report(Status.SENT), NOON)
    assert step.standing.state is State.ACCEPTED


@pytest.mark.parametrize("order", list(permutations([Status.SENT, Status.DELIVERED, Status.READ])))
def test_in_any_order_the_highest_rank_stands(order: tuple[Status, ...]) -> None:
    message = _accepted()
    news: list[str] = []
    for status in (*order, *order):
        step = reported(message, _report(status), NOON)
        message, news = step.standing, [*news, *_kinds(step.news)]
    assert (message.state, message.rank) == (State.READ, Rank.READ)
    assert news.count(messages.MessageRead.kind) == 1
    assert news.count(messages.MessageDelivered.kind) == (order.index(Status.DELIVERED) < order.index(Status.READ))


@given(st.lists(st.sampled_from(Status), max_size=12))
def test_a_rank_never_falls(statuses: list[Status]) -> None:
    message = _accepted()
    for status in statuses:
        after = reported(message, _report(status, 131026), NOON).standing
        assert after.rank >= message.rank
        message = after


def test_a_failure_after_the_delivery_reverses_nothing() -> None:
    delivered = reported(_accepted(), _report(Status.DELIVERED), NOON).standing
    step = reported(delivered, _report(Status.FAILED, 131026), NOON)
    assert (step.standing.state, step.standing.failed_code, step.news) == (State.DELIVERED, 131026, ())


def test_a_failure_of_an_uncertain_send_proves_and_fails_it() -> None:
    doubt = doubted(in_flight(), Reason.NO_ANSWER, NOON).standing
    step = reported(doubt, _report(Status.FAILED, 131026), NOON)
    assert step.standing.state is State.FAILED
    assert _kinds(step.news) == [messages.MessageResolved.kind, messages.MessageFailed.kind]


def test_a_closed_window_sends_it_again_as_its_template() -> None:
    step = reported(_accepted(), _report(Status.FAILED, 131047), NOON)
    again = step.standing
    assert (again.state, again.template_only, again.not_before) == (State.WAITING, True, NOON)
    assert step.news == ()
    assert reported(again, _report(Status.SENT), NOON).standing == again
    assert reported(again, _report(Status.FAILED, 131047), NOON).standing == again


def test_a_closed_window_without_a_template_fails() -> None:
    bare = taken(in_flight(has_template=False), WAMID, NOON).standing
    step = reported(bare, _report(Status.FAILED, 131047), NOON)
    assert (step.standing.state, step.standing.reason) == (State.FAILED, Reason.NO_TEMPLATE)


def test_a_withdrawn_message_is_not_sent_again_as_a_template() -> None:
    taken_back = taken(in_flight(withdrawal="stopped"), WAMID, NOON).standing
    assert reported(taken_back, _report(Status.FAILED, 131047), NOON).standing.state is State.WITHDRAWN


def test_statuses_of_an_older_attempt_do_not_fail_the_newer() -> None:
    second = taken(in_flight(attempts=2), Wamid("wamid.two"), NOON).standing
    assert reported(second, _report(Status.FAILED, 131026, attempt=1), NOON).standing == second


def _forgotten() -> Standing:
    """Its lease ended while the process that sends it stood still."""
    return doubted(in_flight(), Reason.LEASE_ENDED, NOON).standing


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Taken(WAMID), State.ACCEPTED),
        (Doubtful(Reason.NO_ANSWER), State.UNCERTAIN),
        (_faulted(131000), State.UNCERTAIN),
        (Unsent(Reason.LEASE_ENDED), State.WAITING),
        (_faulted(131026), State.FAILED),
    ],
)
def test_a_late_answer_ends_the_doubt_it_can(outcome: Outcome, state: State) -> None:
    assert answered(_forgotten(), 1, outcome, _DELAY, NOON).standing.state is state


def test_a_late_answer_of_an_earlier_attempt_says_nothing() -> None:
    again = answered(_forgotten(), 1, Unsent(Reason.LEASE_ENDED), _DELAY, NOON).standing
    assert answered(again, 1, Taken(WAMID), _DELAY, NOON).standing is again


_ACCOUNT_LEVEL = (131031, 131042, 131048, 368, 190, 131045, 130429, 131056, 80007)


def _repeated(code: int, *, by_status: bool) -> int:
    """How often a message is attempted that fails with this code every time."""
    message = standing()
    for attempt in range(1, 100):
        begun = replace(message, state=State.INTENT, attempts=attempt)
        if by_status:
            accepted = taken(begun, WAMID, NOON).standing
            message = reported(accepted, _report(Status.FAILED, code, attempt), NOON).standing
        else:
            message = answered(begun, attempt, _faulted(code), _DELAY, NOON).standing
        if message.state is State.FAILED:
            return attempt
    raise AssertionError("attempted for ever")


@pytest.mark.parametrize("code", [*FAULTS, 999_999])
@pytest.mark.parametrize("by_status", [True, False])
def test_no_message_is_attempted_for_ever(code: int, *, by_status: bool) -> None:
    if by_status or not fault_of(code).ambiguous:
        assert _repeated(code, by_status=by_status) <= MOST_FAILURES


@pytest.mark.parametrize("code", _ACCOUNT_LEVEL)
def test_a_failed_status_tells_what_it_stops_beyond_its_message(code: int) -> None:
    step = reported(_accepted(), _report(Status.FAILED, code), NOON)
    assert step.standing.state is State.WAITING
    assert step.failure == _faulted(code)


def test_a_failed_status_of_an_older_attempt_stops_nothing() -> None:
    second = taken(in_flight(attempts=2), Wamid("wamid.two"), NOON).standing
    assert reported(second, _report(Status.FAILED, 131031, attempt=1), NOON).failure is None
