"""A merge is undone while messages wait: none goes to the other person's phone, and none is lost or sent twice."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, GivenAnswer
from services.rules.conversation.chain_messages import is_offer_waiting
from services.rules.conversation.context import Effect, Reason, RequestedMessage
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import Verb
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import EventData
from shared.contracts.ids import ContactId, MessageId, PersonId, Phone, RuleId, Wamid
from shared.contracts.messages import (
    MessageAccepted,
    MessageDropped,
    MessageEventData,
    MessageFailed,
    MessageForm,
    MessageResolved,
    MessageTooLate,
    MessageUncertain,
    MessageWithdrawn,
    Resolution,
    SendMessage,
    WithdrawMessage,
)
from shared.contracts.vocabulary import PartyRef, Role
from shared.contracts.whatsapp import MessageKind, MessageReceived
from tests.services.rules.conversation.test_consent import (
    CONTACT,
    EVERYBODY,
    MERGES,
    Word,
    decider,
    event_of,
    said,
    visitor,
)
from tests.services.rules.conversation.test_merges import FIRST, HOLDER, SECOND, facts_after, pitched
from tests.services.rules.rules_service import NOW, golden_event

TO_VISITOR = {**HOLDER, "person_id": FIRST, "contact_id": None, "display_name": "Maud"}
ASKED = golden_event("consonance.rights.approval_requested.v1", rights_holder=TO_VISITOR).data
OWN_PHONE = Addresses(phone=Phone("+447700900999"))
APART = visitor(FIRST).replace(version=3, display_name="Maud", addresses=OWN_PHONE)
THIRD = visitor(FIRST, merged=True).replace(version=3, merged_into=SECOND)
LATER = NOW + timedelta(days=1)
HOLDER_PARTY = PartyRef(
    person_id=CONTACT, contact_id=ContactId(806), display_name="Person 806", role=Role.RIGHTS_HOLDER
)


def decide(facts: Facts, data: EventData, count: int) -> Sequence[Effect]:
    decision = decider().decide(event_of(data, count), facts, LATER + timedelta(seconds=count))
    facts.apply_changes(decision.changes)
    return decision.effects


def requests(effects: Sequence[Effect], *people: PersonId) -> list[SendMessage]:
    sent = [effect.send for effect in effects if isinstance(effect, RequestedMessage)]
    return [send for send in sent if send.person_id in people]


def withdrawals(effects: Sequence[Effect]) -> list[tuple[MessageId, str]]:
    return [(each.message_id, each.reason) for each in effects if isinstance(each, WithdrawMessage)]


def asked(*, while_merged: bool) -> tuple[Facts, SendMessage]:
    """A question to a visitor, requested before they were merged into a contact, or held until they were."""
    facts = facts_after([])
    (question,) = [send for send in requests(decide(facts, ASKED, 1), FIRST) if send.buttons]
    if while_merged:
        (message,) = the_chain(facts).messages
        held = message.replace(delivery=DeliveryState.HELD, held_until=LATER + timedelta(seconds=5), requested_at=None)
        facts.add_chain(the_chain(facts).replace(messages=(held,), next_due=held.held_until))
    released = requests(decide(facts, MERGES[0], 2), CONTACT)
    if while_merged:
        (question,) = released
    return facts, question


def about(question: SendMessage, person: PersonId = CONTACT) -> dict[str, Any]:
    """The dispatcher reports by the id that it sends to."""
    return {"message_id": question.message_id, "person_id": person, "at": LATER}


def withdrawn(question: SendMessage, reason: str = "separated") -> MessageWithdrawn:
    return MessageWithdrawn(**about(question), reason=reason)


def tap(question: SendMessage, person: PersonId) -> MessageReceived:
    button = question.buttons[0]
    return said(Word(person, button.title, 90)).replace(message_kind=MessageKind.BUTTON, button_id=button.button_id)


def the_chain(facts: Facts) -> Chain:
    return next(iter(facts.chains.values()))


def open_ones(facts: Facts) -> list[ChainMessage]:
    ours = (message for message in the_chain(facts).messages if message.person_id in EVERYBODY)
    return [message for message in ours if message.open]


def answered(facts: Facts) -> list[PersonId]:
    return [given.person_id for given in the_chain(facts).answers]


@pytest.mark.parametrize("while_merged", [False, True])
@pytest.mark.parametrize(("seen", "person"), [(APART, FIRST), (THIRD, SECOND)], ids=["themselves", "a_third"])
def test_a_question_that_waits_is_withdrawn_and_asked_of_its_own_person(
    seen: PersonObserved, person: PersonId, *, while_merged: bool
) -> None:
    facts, question = asked(while_merged=while_merged)
    effects = decide(facts, seen, 3)
    assert withdrawals(effects) == [(question.message_id, "separated")]
    assert requests(effects, FIRST, SECOND, CONTACT) == []
    (anew,) = requests(decide(facts, withdrawn(question), 4), FIRST, SECOND, CONTACT)
    assert (anew.person_id, anew.say) == (person, question.say)
    assert anew.message_id != question.message_id
    assert [one.message_id for one in open_ones(facts)] == [anew.message_id]
    decide(facts, tap(anew, person), 5)
    assert answered(facts) == [person]


def test_the_words_are_those_for_its_own_person() -> None:
    facts, question = asked(while_merged=True)
    decide(facts, APART, 3)
    (anew,) = requests(decide(facts, withdrawn(question), 4), FIRST)
    assert "Person 806" in question.body
    assert "Maud" in anew.body
    assert "Person 806" not in anew.body


def sent(question: SendMessage, person: PersonId = CONTACT) -> MessageAccepted:
    return MessageAccepted(**about(question, person), wamid=Wamid("wamid.q"), wording=MessageForm.TEMPLATE)


@pytest.mark.parametrize("is_known", [True, False], ids=["before", "too_late"])
def test_a_question_that_has_gone_to_the_other_person_is_asked_again_of_its_own(*, is_known: bool) -> None:
    facts, question = asked(while_merged=True)
    reports = [sent(question), APART] if is_known else [APART, MessageTooLate(**about(question)), sent(question)]
    effects = [effect for count, report in enumerate(reports) for effect in decide(facts, report, 3 + count)]
    (anew,) = requests(effects, FIRST, CONTACT)
    assert (anew.person_id, anew.say) == (FIRST, question.say)
    assert [one.message_id for one in open_ones(facts)] == [anew.message_id]
    former = the_chain(facts).message(question.message_id)
    assert former is not None
    assert (former.wamid, former.delivery) == (Wamid("wamid.q"), DeliveryState.ACCEPTED)
    decide(facts, tap(question, CONTACT), 7)
    assert answered(facts) == []
    decide(facts, tap(anew, FIRST), 8)
    assert answered(facts) == [FIRST]


def test_an_answer_that_the_other_person_gave_is_final_no_more() -> None:
    """It has not decided alone, as where others are still to answer."""
    facts, question = asked(while_merged=True)
    decide(facts, sent(question), 3)
    chain, (message,) = the_chain(facts), the_chain(facts).messages
    given = GivenAnswer.of(message, tap(question, CONTACT), "approve", final=True)
    facts.add_chain(chain.replace(answers=(given,)))
    (anew,) = requests(decide(facts, APART, 4), FIRST, CONTACT)
    assert anew.person_id == FIRST
    assert [one.final for one in the_chain(facts).answers] == [False]


def test_a_question_to_the_other_person_that_went_to_the_wrong_number_is_asked_again_of_them() -> None:
    """Consonance had the visitor's number at the contact, and has another one now."""
    facts = facts_after([])
    theirs = PersonObserved(
        person_id=CONTACT, contact_id=ContactId(806), display_name="Person 806", country="GB",
        roles=(Role.RIGHTS_HOLDER,), addresses=visitor(FIRST).addresses, observed_at=NOW, version=8,
    )  # fmt: skip
    decide(facts, theirs, 1)
    decide(facts, MERGES[0], 2)
    (question,) = requests(decide(facts, ASKED.replace(rights_holder=HOLDER_PARTY), 3), CONTACT)
    decide(facts, sent(question), 4)
    decide(facts, theirs.replace(version=9, addresses=OWN_PHONE), 5)
    (anew,) = requests(decide(facts, visitor(FIRST).replace(version=3), 6), FIRST, CONTACT)
    assert (anew.person_id, anew.say) == (CONTACT, question.say)
    decide(facts, tap(question, FIRST), 7)
    assert answered(facts) == []
    decide(facts, tap(anew, CONTACT), 8)
    assert answered(facts) == [CONTACT]


def test_a_question_that_its_person_has_by_a_reminder_is_not_repeated() -> None:
    facts, question = asked(while_merged=True)
    decide(facts, sent(question), 3)
    (message,) = the_chain(facts).messages
    marks = PersonFacts.of(APART, None).address_marks
    reminder = message.replace(message_id=MessageId("reminder"), verb=Verb.REMIND, sent_to=marks)
    facts.add_chain(the_chain(facts).with_message(reminder))
    assert requests(decide(facts, APART, 4), FIRST, CONTACT) == []
    assert [one.message_id for one in open_ones(facts)] == [MessageId("reminder")]


def test_a_chain_whose_event_names_the_merged_id_alone_goes_back_to_it() -> None:
    facts = facts_after([MERGES[0]])
    (question,) = [send for send in requests(decide(facts, ASKED, 1), CONTACT) if send.buttons]
    assert withdrawals(decide(facts, APART, 2)) == [(question.message_id, "separated")]
    (anew,) = requests(decide(facts, withdrawn(question), 3), FIRST, CONTACT)
    assert anew.person_id == FIRST


def test_a_chain_whose_event_names_the_other_id_stays_theirs() -> None:
    facts = facts_after([MERGES[0]])
    (question,) = requests(decide(facts, ASKED.replace(rights_holder=HOLDER_PARTY), 1), CONTACT)
    assert withdrawals(decide(facts, APART, 2)) == []
    assert [(one.message_id, one.person_id) for one in open_ones(facts)] == [(question.message_id, CONTACT)]


@pytest.mark.parametrize("writer", [FIRST, CONTACT], ids=["by_the_merged_id", "from_their_address"])
def test_a_form_that_was_begun_while_the_merge_held_is_filled_on_by_its_writer(writer: PersonId) -> None:
    """The message names the merged id, or it came from an address that is only theirs."""
    facts = facts_after([])
    shared = PersonFacts.of(visitor(FIRST), None)
    contact = facts.people[CONTACT]
    facts.set_person(contact.replace(address_marks=shared.address_marks))
    decide(facts, MERGES[0], 1)
    prompts = requests(decide(facts, pitched(writer, "A history of tide mills", 50), 2), CONTACT)
    for count, prompt in enumerate(prompts):
        decide(facts, sent(prompt).replace(wamid=Wamid(f"wamid.{count}")), 3)
    facts.set_person(contact.replace(address_marks=(1,)))
    decide(facts, visitor(FIRST).replace(version=3), 10)
    chain = the_chain(facts)
    assert (chain.form and chain.form.person_id, chain.subject) == (FIRST, f"sender.person_id={FIRST}")
    effects = decide(facts, pitched(FIRST, "The Tide Mill", 60), 11)
    assert [send.person_id for send in requests(effects, FIRST, CONTACT)] == [FIRST]
    form = the_chain(facts).form
    assert form is not None
    assert form.values["title"] == "The Tide Mill"


@pytest.mark.parametrize(
    "lost",
    [
        lambda question: MessageFailed(**about(question), code=131026, reason="undeliverable"),
        lambda question: MessageDropped(**about(question), reason="no_address"),
        lambda question: MessageResolved(**about(question), resolution=Resolution.NOT_SENT, evidence="person"),
    ],
    ids=["failed", "dropped", "settled"],
)
def test_a_question_that_never_reached_the_other_person_either_is_asked_of_its_own(
    lost: Callable[[SendMessage], MessageEventData],
) -> None:
    facts, question = asked(while_merged=True)
    decide(facts, MessageUncertain(**about(question), reason="no_answer"), 2)
    decide(facts, APART, 3)
    effects = decide(facts, lost(question), 4)
    assert [send.say for send in requests(effects, FIRST)] == [question.say]
    assert the_chain(facts).steps[0].left_out == {}
    (anew,) = open_ones(facts)
    failed = MessageFailed(**{**about(question, FIRST), "message_id": anew.message_id}, code=131026, reason="gone")
    assert requests(decide(facts, failed, 5), FIRST) == []
    assert the_chain(facts).steps[0].left_out == {FIRST: "unreachable"}


def test_a_question_that_whatsapp_reports_as_failed_goes_to_its_own_person_when_it_goes_again() -> None:
    facts, question = asked(while_merged=False)
    decide(facts, sent(question), 2)
    assert withdrawals(decide(facts, visitor(FIRST).replace(version=3), 3)) == []
    again = MessageResolved(**about(question), resolution=Resolution.RESENT, evidence="status")
    assert withdrawals(decide(facts, again, 4)) == [(question.message_id, "separated")]
    assert [send.person_id for send in requests(decide(facts, withdrawn(question), 5), FIRST, CONTACT)] == [FIRST]


@pytest.mark.parametrize("kind", ["stopped", "ended"])
def test_a_message_that_has_lost_its_reason_meanwhile_is_not_sent_again(kind: str) -> None:
    facts, question = asked(while_merged=True)
    decide(facts, APART, 3)
    ends = golden_event("consonance.rights.request_withdrawn.v1") if kind == "ended" else None
    decide(facts, ends.data if ends is not None else said(Word(FIRST, "STOP", 50)), 4)
    anew = requests(decide(facts, withdrawn(question), 5), FIRST, CONTACT)
    assert [send for send in anew if send.say == question.say] == []
    assert open_ones(facts) == []


def test_a_report_that_comes_twice_sends_once() -> None:
    facts, question = asked(while_merged=True)
    decide(facts, APART, 3)
    sent = [send for count in (4, 5) for send in requests(decide(facts, withdrawn(question), count), FIRST, CONTACT)]
    assert len(sent) == 1


def test_people_who_turn_out_to_be_one_again_get_the_question_once() -> None:
    facts, question = asked(while_merged=True)
    decide(facts, APART, 3)
    decide(facts, visitor(FIRST, merged=True).replace(version=4), 4)
    (anew,) = requests(decide(facts, withdrawn(question), 5), FIRST, CONTACT)
    assert anew.person_id == CONTACT
    assert [one.message_id for one in open_ones(facts)] == [anew.message_id]


def test_messages_waiting_of_an_ended_chain_go_to_its_own_person() -> None:
    """A reply keeps the hour in which it was awaited."""
    facts = facts_after([])
    (reply,) = requests(decide(facts, said(Word(FIRST, "Hello there", 1)), 1), FIRST)
    decide(facts, MERGES[0], 2)
    assert the_chain(facts).ended is not None
    assert withdrawals(decide(facts, APART, 3)) == [(reply.message_id, "separated")]
    (anew,) = requests(decide(facts, withdrawn(reply), 4), FIRST, CONTACT)
    assert (anew.person_id, anew.say) == (FIRST, reply.say)
    assert the_chain(facts).ended is not None


def test_a_message_of_an_ended_chain_that_goes_again_while_the_merge_holds_goes_to_its_own_person() -> None:
    facts = facts_after([])
    (reply,) = requests(decide(facts, said(Word(FIRST, "Hello there", 1)), 1), FIRST)
    decide(facts, sent(reply, FIRST), 2)
    decide(facts, MERGES[0], 3)
    decide(facts, MessageResolved(**about(reply), resolution=Resolution.RESENT, evidence="status"), 4)
    assert withdrawals(decide(facts, APART, 5)) == [(reply.message_id, "separated")]
    (anew,) = requests(decide(facts, withdrawn(reply), 6), FIRST, CONTACT)
    assert (anew.person_id, anew.say) == (FIRST, reply.say)


def test_a_prompt_of_a_form_is_asked_of_the_person_who_fills_it() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), MERGES[0]])
    waiting = [message.message_id for message in the_chain(facts).messages]
    (prompt,) = requests(decide(facts, pitched(CONTACT, "The Tide Mill", 2), 1), CONTACT)
    assert [each for each, _ in withdrawals(decide(facts, APART, 2))] == [*waiting, prompt.message_id]
    (anew,) = requests(decide(facts, withdrawn(prompt), 3), FIRST)
    assert (anew.say, anew.body) == (prompt.say, prompt.body)
    chain = the_chain(facts)
    assert (chain.rule, chain.form and chain.form.person_id) == (RuleId("pitch-intake"), FIRST)


def test_each_item_of_a_digest_goes_to_its_own_person() -> None:
    facts, _ = asked(while_merged=True)
    other = {"rights_holder": HOLDER, "rights_record_id": "RR-89", "request_id": "R-10"}
    decide(facts, golden_event("consonance.rights.approval_requested.v1", **other).data, 2)
    items = list[MessageId]()
    for chain in list(facts.chains.values()):
        (message,) = [one for one in chain.messages if one.person_id == CONTACT]
        items.append(message.message_id)
        facts.add_chain(chain.with_message(message.replace(digest=MessageId("digest"))))
    assert withdrawals(decide(facts, APART, 3)) == [(MessageId("digest"), "separated")]
    gone = MessageWithdrawn(message_id=MessageId("digest"), person_id=CONTACT, at=LATER, reason="separated")
    anew = requests(decide(facts, gone, 4), FIRST, CONTACT)
    assert sorted(send.message_id for send in anew) == sorted(items)
    assert sorted(send.person_id for send in anew) == sorted([FIRST, CONTACT])


def test_a_notice_outside_chains_does_not_go_to_the_other_person() -> None:
    facts = facts_after([said(Word(FIRST, "START", 1))])
    (notice,) = facts.notices
    decide(facts, MERGES[0], 1)
    assert withdrawals(decide(facts, APART, 2)) == [(notice, str(Reason.SEPARATED))]


def test_a_message_that_is_held_stays_held_for_its_own_person() -> None:
    facts, question = asked(while_merged=False)
    chain = the_chain(facts)
    held = chain.messages[0].replace(delivery=DeliveryState.HELD, held_until=LATER + timedelta(days=9))
    facts.add_chain(chain.replace(messages=(held,)))
    assert withdrawals(decide(facts, APART, 13)) == []
    (message,) = the_chain(facts).messages
    assert (message.message_id, message.person_id, message.unwanted) == (question.message_id, FIRST, None)


def test_an_offer_that_is_to_be_sent_anew_counts_as_waiting() -> None:
    """Its person taps again, while the withdrawal is under way: it is not offered twice."""
    facts, _ = asked(while_merged=True)
    chain, words = the_chain(facts), {"who": "Maud", "said": "Ask my agent"}
    offer = chain.messages[0].replace(verb=Verb.HAND_OVER, answer="free_text", words=words, unwanted="separated")
    assert is_offer_waiting(chain.with_message(offer), offer.step, "free_text", words)
