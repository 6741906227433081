"""No unasked message goes outside its person's hours: not after an outage of rules, and not after a wait further on."""

from datetime import datetime

import pytest

from services.rules.conversation.chain import DeliveryState
from services.rules.conversation.context import Effect, RequestedMessage
from shared.contracts.messages import OpenSpan, SendMessage
from tests.services.rules.delayed_dispatcher import DelayedStory, at

_PAYEE = "801: {roles: [author], country: GB}\n61: {roles: [finance], country: GB}"
_ISSUE = "{event: royalty.payment_issue, with: {payment_id: P-1, payee: 801}}"
_HOLDER = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
_STAFF = "12: {roles: [editor], country: GB}"
_BLOCKED = "{{event: work.blocked, with: {{block_id: B-1, severity: {0}, owner: 12}}}}"


def _requests(effects: list[Effect]) -> list[SendMessage]:
    return [effect.send for effect in effects if isinstance(effect, RequestedMessage)]


def _resume_at(story: DelayedStory, late: datetime) -> list[SendMessage]:
    """Rules runs again after an outage; what fell due meanwhile is decided at this instant."""
    before = len(story.simulation.effects)
    story.simulation.now = late
    story.simulation.advance(late)
    return _requests(story.simulation.effects[before:])


def test_a_held_message_that_rules_comes_to_after_the_hours_waits_for_the_next_ones() -> None:
    story = DelayedStory(_PAYEE, rule="payment-issue")
    assert _requests(story.effects_of(["wait until: 2027-03-03T23:00:00Z", _ISSUE])) == []
    (held,) = story.chain.messages
    assert held.held_until == at(4, 9)
    assert _resume_at(story, at(4, 22)) == []
    (held,) = story.chain.messages
    assert (held.delivery, held.held_until) == (DeliveryState.HELD, at(5, 9))
    assert len(_resume_at(story, at(5, 9))) == 1


def test_a_message_names_the_hours_in_which_it_may_leave() -> None:
    """It is the last Friday of summer time: until Monday the hours move by one in UTC."""
    story = DelayedStory(_PAYEE, rule="payment-issue")
    (message,) = _requests(story.effects_of(["wait until: 2027-10-29T10:00:00Z", _ISSUE]))
    hours = [(f"{one.opens:%d %H}", f"{one.closes:%d %H}") for one in message.open_hours]
    assert hours == [("29 10", "29 17"), ("01 09", "01 18"), ("02 09", "02 18")]
    assert message.expires_at <= message.open_hours[-1].closes


_DAY = [OpenSpan(opens=at(4, 9), closes=at(4, 18)), OpenSpan(opens=at(5, 9), closes=at(5, 18))]


@pytest.mark.parametrize(
    ("read", "awaited"),
    [
        pytest.param("2027-03-03T23:00:00Z", [OpenSpan(opens=at(3, 23), closes=at(4, 0))], id="at once"),
        pytest.param("2027-03-04T02:00:00Z", [], id="after an outage of three hours"),
    ],
)
def test_a_reply_may_leave_at_any_hour_while_it_is_awaited(read: str, awaited: list[OpenSpan]) -> None:
    story = DelayedStory(_PAYEE, rule="payment-issue")
    story.play(_ISSUE)
    story.simulation.report_all()
    story.simulation.read_late = datetime.fromisoformat(read) - at(3, 23)
    replies = _requests(story.effects_of([f"wait until: {read}", "reply: {from: 801, button: help}"]))
    (reply,) = [one for one in replies if one.person_id == story.person(801)]
    assert list(reply.open_hours) == [*awaited, *_DAY]


def test_the_hour_in_which_a_reply_is_awaited_joins_the_hours_of_its_person() -> None:
    story = DelayedStory(_PAYEE, rule="payment-issue")
    story.play(_ISSUE)
    story.simulation.report_all()
    replies = _requests(story.effects_of(["wait until: 2027-03-04T08:30:00Z", "reply: {from: 801, button: help}"]))
    (reply,) = [one for one in replies if one.person_id == story.person(801)]
    assert reply.open_hours[0] == OpenSpan(opens=at(4, 8, 30), closes=at(4, 18))


def test_critical_messages_reach_staff_at_any_hour_and_others_in_working_hours() -> None:
    critical, warning = (
        _requests(DelayedStory(_STAFF, rule="blocked-title").effects_of([_BLOCKED.format(severity)]))
        for severity in ("critical", "warning")
    )
    assert [one.open_hours for one in critical] == [()]
    assert warning[0].open_hours[0] == OpenSpan(opens=warning[0].open_hours[0].opens, closes=at(3, 18))


@pytest.mark.parametrize(("settled", "at_once"), [("2027-03-03T19:30:00Z", True), ("2027-03-04T03:00:00Z", False)])
def test_a_write_that_fails_long_after_the_answer_is_told_in_the_morning(settled: str, *, at_once: bool) -> None:
    story = DelayedStory(_HOLDER)
    story.play("{event: rights.approval_requested, with: {respond_by: 2027-03-19}}")
    story.simulation.report_all()
    story.play(
        "wait until: 2027-03-03T19:00:00Z",
        "reply: {from: 812, button: approve, to: rights_request}",
        f"wait until: {settled}",
    )
    told = _requests(story.effects_of(["written: {record: rights.record_decision, as: conflict}"]))
    to_holder = [one.say for one in told if one.person_id == story.person(812)]
    assert bool(to_holder) is at_once
    later = _resume_at(story, at(4, 9))
    assert any(one.person_id == story.person(812) and one.open_hours for one in later) is not at_once
