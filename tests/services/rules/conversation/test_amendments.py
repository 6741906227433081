"""Messages that wait in the dispatcher, or are held, get the hours that their person has now."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from services.rules.conversation.chain import DeliveryState
from services.rules.conversation.context import Decision, Effect, Reason, RequestedMessage
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.model import Cap, CapPeriod, Rulebook
from shared.clients.working_calendar import Closure
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import EventData
from shared.contracts.ids import ContactId, MessageId, Phone, Revision
from shared.contracts.messages import AmendMessage, MessageFailed, OpenSpan, SendMessage
from shared.contracts.whatsapp import IdentityChange, IdentityChanged, Preference, PreferenceChanged
from tests.services.rules.conversation.test_rule_changes import decider_of
from tests.services.rules.delayed_dispatcher import DelayedStory, at, sent_templates
from tests.services.rules.stories import own_rulebook

PEOPLE = """\
812: {roles: [rights_holder], country: GB}
900: {roles: [author], country: US}
5001: {visitor: true, country: GB}
40: {roles: [rights_manager], country: GB}
"""
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812}}"
NEW = Revision("a newer one")
HOUR = timedelta(hours=1)


def asked() -> DelayedStory:
    """A question that the dispatcher has had since ten o'clock in London, and has not sent."""
    story = DelayedStory(PEOPLE)
    assert sent_templates(story.effects_of([ASKED])) == ["rights_request"]
    return story


def observe(story: DelayedStory, contact: int, **changes: Any) -> list[Effect]:
    """The effects of a newer state of a person, who is like before but for ``changes``."""
    simulation, person = story.simulation, story.person(contact)
    known = simulation.facts.people[person]
    state = {
        "contact_id": None if contact > 5000 else ContactId(contact), "display_name": known.display_name,
        "country": known.country, "zone": known.zone, "roles": known.roles, **changes,
    }  # fmt: skip
    before = len(simulation.effects)
    simulation.publish_of(
        person, PersonObserved(person_id=person, observed_at=simulation.now, version=known.version + 1, **state)
    )
    return simulation.effects[before:]


def hours_of(effects: list[Effect]) -> list[OpenSpan]:
    """The first hours of each amendment; there is nothing else."""
    amendments = [effect for effect in effects if isinstance(effect, AmendMessage)]
    assert len(amendments) == len(effects)
    assert all(amendment.fallback is None for amendment in amendments)
    return [amendment.open_hours[0] for amendment in amendments if amendment.open_hours]


def test_a_question_that_waits_for_a_person_who_has_moved_leaves_in_the_hours_of_that_place() -> None:
    story = asked()
    effects = observe(story, 812, country="US", zone="America/Los_Angeles")
    assert hours_of(effects) == [OpenSpan(opens=at(3, 17), closes=at(4, 2))]  # nine to six o'clock there
    (amendment,) = effects
    (question,) = story.chain.messages
    assert isinstance(amendment, AmendMessage)
    assert (amendment.message_id, amendment.person_id) == (question.message_id, question.person_id)


@pytest.mark.parametrize("changes", [{"display_name": "Another name"}, {"language": "de"}, {"roles": ("translator",)}])
def test_a_person_with_the_hours_of_before_changes_no_message(changes: dict[str, Any]) -> None:
    assert observe(asked(), 812, **changes) == []


@pytest.mark.parametrize("delivery", [DeliveryState.ACCEPTED, DeliveryState.WITHDRAWN, DeliveryState.HELD])
def test_a_message_that_the_dispatcher_does_not_have_any_more_keeps_its_hours(delivery: DeliveryState) -> None:
    story = asked()
    (question,) = story.chain.messages
    story.simulation.facts.set_chain(story.chain.with_message(question.replace(delivery=delivery)))
    assert observe(story, 812, zone="America/Los_Angeles") == []


def test_an_uncertain_message_gets_other_hours_since_it_may_go_again() -> None:
    story = asked()
    story.simulation.report_uncertain(0)
    assert len(hours_of(observe(story, 812, zone="America/Los_Angeles"))) == 1


def test_a_reply_leaves_at_any_hour_while_it_is_awaited_and_then_in_the_hours_of_now() -> None:
    story = asked()
    story.simulation.report_all()
    story.play("reply: {from: 812, button: approve}")
    story.pass_time(timedelta(minutes=30))
    (hours,) = hours_of(observe(story, 812, zone="America/Los_Angeles"))
    assert hours == OpenSpan(opens=at(3), closes=at(3, 11))
    story.pass_time(HOUR)
    (hours,) = hours_of(observe(story, 812, zone="Europe/London"))
    assert hours.opens == story.simulation.now


def test_messages_waiting_for_a_visitor_get_the_open_hours_of_the_merged_contact() -> None:
    story = DelayedStory(PEOPLE, rule="pitch-intake")
    story.play("reply: {from: 5001, line: acquisitions, text: I have written a book}")
    story.pass_time(2 * HOUR)
    effects = observe(story, 5001, merged_into=story.person(900))
    amendments = {effect.message_id: effect.open_hours for effect in effects if isinstance(effect, AmendMessage)}
    waiting = [m.message_id for c in story.simulation.facts.chains.values() for m in c.messages]
    assert amendments.keys() == set(waiting)
    assert {hours[0].opens for hours in amendments.values() if hours} == {at(3, 14)}  # nine o'clock in New York


def test_hours_that_have_no_opening_before_the_expiry_name_the_next_one() -> None:
    book = own_rulebook()
    book = replace(book, tenant=replace(book.tenant, send_within=replace(book.tenant.send_within, count=0)))
    story = DelayedStory(PEOPLE, book=book)
    story.play(ASKED)
    assert hours_of(observe(story, 812, zone="America/Los_Angeles")) == [OpenSpan(opens=at(3, 17), closes=at(4, 2))]


def test_a_message_that_did_not_arrive_goes_again_in_the_hours_of_now() -> None:
    story = asked()
    story.simulation.report_all()
    assert observe(story, 812, zone="America/Los_Angeles") == []
    before = len(story.simulation.effects)
    (question,) = story.chain.messages
    story.simulation.report_again(question.message_id, question.person_id)
    assert hours_of(story.simulation.effects[before:]) == [OpenSpan(opens=at(3, 17), closes=at(4, 2))]


def noticed() -> tuple[DelayedStory, SendMessage]:
    """A message that belongs to no chain: START is confirmed."""
    story = DelayedStory(PEOPLE)
    story.play("reply: {from: 812, text: STOP}")
    story.pass_time(timedelta(minutes=1))
    effects = story.effects_of(["reply: {from: 812, text: START}"])
    *_, notice = (effect.send for effect in effects if isinstance(effect, RequestedMessage))
    assert (notice.say, notice.chain_id) == ("started", None)
    return story, notice


def test_a_message_of_no_chain_that_did_not_arrive_goes_again_in_the_hours_of_now() -> None:
    story, notice = noticed()
    story.simulation.report_all()
    observe(story, 812, zone="America/Los_Angeles")
    before = len(story.simulation.effects)
    story.simulation.report_again(notice.message_id, notice.person_id)
    assert hours_of(story.simulation.effects[before:]) == [OpenSpan(opens=at(3, 17), closes=at(4, 2))]


# ------------------------------------------------------------------ consent to offers


def consents_of(story: DelayedStory, data: EventData) -> list[tuple[str, bool | None]]:
    """(template, consent) of each message that an event about the rights holder amends; nothing else follows."""
    before = len(story.simulation.effects)
    story.simulation.publish_of(story.person(812), data)
    effects = story.simulation.effects[before:]
    says = {message.message_id: message.say for message in story.chain.messages}
    amendments = [effect for effect in effects if isinstance(effect, AmendMessage)]
    assert len(amendments) == len(effects)
    assert {each.open_hours for each in amendments} <= {None}
    return [(says[each.message_id], each.marketing_consent) for each in amendments]


def switched(story: DelayedStory, value: Preference) -> PreferenceChanged:
    """The switch for offers in WhatsApp, a minute later than anything before."""
    story.pass_time(timedelta(minutes=1))
    person, at = story.person(812), story.simulation.now
    return PreferenceChanged(person_id=person, category="marketing_messages", value=value, at=at)


def test_waiting_messages_follow_the_marketing_switch_of_their_person() -> None:
    story = asked()
    assert consents_of(story, switched(story, Preference.RESUME)) == [("rights_request", True)]
    assert consents_of(story, switched(story, Preference.STOP)) == [("rights_request", False)]
    assert consents_of(story, switched(story, Preference.STOP)) == []


def test_a_message_of_no_chain_goes_by_the_consent_of_its_request_and_then_of_now() -> None:
    story, notice = noticed()
    assert not notice.marketing_consent
    before = len(story.simulation.effects)
    story.simulation.publish_of(notice.person_id, switched(story, Preference.RESUME))
    amended = [each for each in story.simulation.effects[before:] if isinstance(each, AmendMessage)]
    assert [(each.message_id, each.marketing_consent) for each in amended] == [(notice.message_id, True)]
    story.simulation.report_all()
    story.pass_time(2 * HOUR)
    story.play("reply: {from: 812, text: STOP}")
    story.pass_time(2 * HOUR)
    effects = story.effects_of(["reply: {from: 812, text: START}"])
    again = [effect.send for effect in effects if isinstance(effect, RequestedMessage)]
    assert [each.marketing_consent for each in again] == [True]


def test_waiting_messages_lose_marketing_consent_once_whatsapp_refused_an_offer() -> None:
    story = asked()
    assert consents_of(story, switched(story, Preference.RESUME)) == [("rights_request", True)]
    refused = MessageFailed(
        message_id=MessageId("another"), person_id=story.person(812), at=story.simulation.now + HOUR, code=131050,
        reason="message_refused",
    )  # fmt: skip
    assert consents_of(story, refused) == [("rights_request", False)]


def test_an_opt_in_to_offers_that_lapses_counts_no_more_for_what_waits() -> None:
    story = asked()
    assert consents_of(story, switched(story, Preference.RESUME)) == [("rights_request", True)]
    story.pass_time(HOUR)
    changed = IdentityChanged(person_id=story.person(812), change=IdentityChange.BSUID, at=story.simulation.now)
    assert consents_of(story, changed) == [("rights_request", False)]


# ------------------------------------------------------------------ another calendar


def with_fair(book: Rulebook, *roles: str) -> Rulebook:
    """A later revision in which people of these roles are at a fair for the rest of the week."""
    fair = Closure(date(2027, 3, 3), date(2027, 3, 5), "fair", frozenset(roles))
    return add_built_in_rules(replace(book, revision=NEW, calendar=replace(book.calendar, fairs=(fair,))))


def review(story: DelayedStory, old: Rulebook, new: Rulebook) -> Decision:
    return decider_of(old, new).decide_change(story.chain, story.simulation.facts, story.simulation.now)


def test_a_calendar_of_a_later_revision_counts_for_what_waits() -> None:
    story = asked()
    old = story.simulation.decider.rulebook
    decision = review(story, old, with_fair(old, "rights_holder"))
    assert hours_of([*decision.effects]) == [OpenSpan(opens=at(8, 9), closes=at(8, 18))]
    assert decision.record is not None
    assert [v.messages for v in decision.record.verdicts if v.reason is Reason.AMENDED] == [
        (story.chain.messages[0].message_id,)
    ]


def test_a_revision_with_the_same_hours_for_a_person_changes_none() -> None:
    story = asked()
    old = story.simulation.decider.rulebook
    assert review(story, old, with_fair(old, "author")).effects == ()


# ------------------------------------------------------------------ what is held

ADDRESSES = Addresses(phone=Phone("+441632960001"))


def held(zone: str = "Europe/London", asked: str = ASKED) -> DelayedStory:
    """A question that is held since ten in the evening of London, Wednesday 3 March, for its person's morning."""
    story = DelayedStory(PEOPLE.replace("812: {", f"812: {{zone: {zone}, "))
    assert sent_templates(story.effects_of(["wait until: 2027-03-03T22:00:00Z", asked])) == []
    return story


@pytest.mark.parametrize(
    ("before", "after", "until"),
    [
        ("Europe/London", "Asia/Tokyo", at(4, 0)),
        ("Europe/London", "America/Sao_Paulo", at(4, 12)),
        ("Asia/Tokyo", "Europe/London", at(4, 9)),
    ],
)
def test_a_message_held_for_a_person_who_moves_waits_for_the_morning_there(
    before: str, after: str, until: datetime
) -> None:
    story = held(before)
    assert observe(story, 812, zone=after, addresses=ADDRESSES) == []
    assert [(message.delivery, message.held_until) for message in story.chain.messages] == [(DeliveryState.HELD, until)]
    assert story.chain.next_due == until
    story.simulation.advance(until)
    assert sent_templates(story.simulation.effects) == ["rights_request"]


def test_a_message_held_for_a_person_who_moves_into_daytime_leaves_at_once() -> None:
    story = held()
    assert sent_templates(observe(story, 812, zone="America/Los_Angeles", addresses=ADDRESSES)) == ["rights_request"]


def test_a_message_held_for_a_visitor_follows_the_hours_of_the_merged_contact() -> None:
    story = held(asked=ASKED.replace("812", "5001"))
    assert [message.held_until for message in story.chain.messages] == [at(4, 9)]
    assert sent_templates(observe(story, 5001, merged_into=story.person(900))) == ["rights_request"]


def test_a_calendar_of_a_later_revision_counts_for_what_is_held() -> None:
    story = held()
    old = story.simulation.decider.rulebook
    decision = review(story, old, with_fair(old, "rights_holder"))
    chain = decision.changes.chains[story.chain.chain_id]
    assert [message.held_until for message in chain.messages] == [at(8, 9)]
    assert chain.next_due == at(8, 9)


def test_a_message_waiting_for_a_cap_still_waits_after_its_person_moved() -> None:
    capped = replace(own_rulebook(), tenant=replace(own_rulebook().tenant, caps=(Cap(1, CapPeriod.DAY),)))
    story = DelayedStory(PEOPLE, book=capped)
    story.play(ASKED, ASKED.replace("with: {", "with: {request_id: R-2, "))
    (waiting,) = (m for c in story.simulation.facts.chains.values() for m in c.messages if m.waits_since)
    assert waiting.held_until == at(4, 9)
    assert sent_templates(observe(story, 812, zone="Asia/Tokyo", addresses=ADDRESSES)) == []
    (waiting,) = (m for c in story.simulation.facts.chains.values() for m in c.messages if m.waits_since)
    assert waiting.held_until == at(4, 0)
