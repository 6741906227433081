"""No unasked message goes outside its person's hours: not after an outage of rules, and not after a wait further on."""

from datetime import datetime

from services.rules.conversation.chain import DeliveryState
from services.rules.conversation.context import Effect, RequestedMessage
from shared.contracts.messages import OpenSpan, SendMessage
from tests.services.rules.delayed_dispatcher import DelayedStory, at

_PAYEE = "801: {roles: [author], country: GB}\n61: {roles: [finance], country: GB}"
_ISSUE = "{event: royalty.payment_issue, with: {payment_id: P-1, payee: 801}}"
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


def test_a_reply_may_leave_at_any_hour() -> None:
    story = DelayedStory(_PAYEE, rule="payment-issue")
    story.play(_ISSUE)
    story.simulation.report_all()
    replies = _requests(story.effects_of(["wait until: 2027-03-03T23:00:00Z", "reply: {from: 801, button: help}"]))
    assert [reply.open_hours for reply in replies if reply.person_id == story.person(801)] == [()]


def test_what_is_critical_reaches_staff_at_any_hour_and_the_rest_in_theirs() -> None:
    critical, warning = (
        _requests(DelayedStory(_STAFF, rule="blocked-title").effects_of([_BLOCKED.format(severity)]))
        for severity in ("critical", "warning")
    )
    assert [one.open_hours for one in critical] == [()]
    assert warning[0].open_hours[0] == OpenSpan(opens=warning[0].open_hours[0].opens, closes=at(3, 18))
