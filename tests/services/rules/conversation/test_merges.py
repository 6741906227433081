"""A person with several ids: chains, questions, forms and submissions belong to the id that the person has now."""

from collections.abc import Sequence
from datetime import timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.conversation.chain import IN_DISPATCHER, Chain, ChainMessage, DeliveryState
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.event_rules import subjects_of
from services.rules.conversation.fact_values import CountedMessage, CountedMessages, PersonFacts, WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.merges import follow_loaded_chains, with_current_ids
from services.rules.conversation.unsolicited import word_hash
from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import EventData
from shared.contracts.golden import golden
from shared.contracts.ids import Line, MessageId, PersonId, Phone, RuleId
from shared.contracts.messages import WithdrawMessage
from shared.contracts.whatsapp import Media, MessageReceived
from tests.services.rules.conversation.test_consent import (
    CONTACT,
    EVERYBODY,
    MERGES,
    VISITORS,
    Word,
    apply,
    at,
    decider,
    event_of,
    said,
    visitor,
)
from tests.services.rules.rules_service import (
    NOW,
    STAFF,
    TENANT,
    button_tap,
    golden_event,
    person_observed,
    work_observed,
)

WORK_REF = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]
HOLDER = {"person_id": CONTACT, "contact_id": 806, "display_name": "Person 806", "role": "rights_holder"}
ASKED: EventData = golden_event(
    "consonance.rights.approval_requested.v1", rights_holder=HOLDER, work=WORK_REF, respond_by="2027-04-30"
).data
FIRST, SECOND = VISITORS


def pitched(person: str, text: str, minute: int) -> MessageReceived:
    return said(Word(person, text, minute)).replace(line=Line("acquisitions"))  # type: ignore[arg-type]


def facts_after(events: Sequence[EventData], *, contact: bool = True) -> Facts:
    known = [*map(person_observed, STAFF), *map(visitor, VISITORS), *([person_observed(806)] if contact else [])]
    state = work_observed((806, "rights_holder")).data
    assert isinstance(state, WorkObserved)
    facts = Facts(
        TENANT,
        people={one.person_id: PersonFacts.of(one, None) for one in known},
        works={state.work.work_id: WorkFacts(state=state)},
    )
    for count, event in enumerate(events):
        apply(facts, event, count)
    return facts


def open_questions(facts: Facts) -> list[tuple[str, str]]:
    """(rule, person) of each question and form that waits for an answer of this person, by whatever id."""
    active = [chain for chain in facts.chains.values() if chain.active]
    return sorted((chain.rule, person) for chain in active for person in _asked(chain) if person in EVERYBODY)


def _asked(chain: Chain) -> set[str]:
    asked: set[str] = {message.person_id for message in chain.messages if message.open}
    if chain.form is not None and not chain.form.over:
        asked.add(chain.form.person_id)
    return asked


def form_of(facts: Facts) -> Chain:
    (chain,) = [one for one in facts.chains.values() if one.active and one.form is not None]
    return chain


def last_prompt(chain: Chain) -> ChainMessage:
    return chain.messages[-1]


def test_a_visitor_who_becomes_a_contact_in_mid_pitch_goes_on_where_they_were() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), MERGES[0]])
    assert open_questions(facts) == [("pitch-intake", CONTACT)]
    apply(facts, pitched(CONTACT, "The Tide Mill", 50), 10)
    form = form_of(facts).form
    assert form is not None
    assert (form.person_id, form.values["title"]) == (CONTACT, "The Tide Mill")
    assert last_prompt(form_of(facts)).person_id == CONTACT


def test_a_message_that_still_names_the_former_id_is_the_person_s() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), MERGES[0], pitched(FIRST, "The Tide Mill", 2)])
    form = form_of(facts).form
    assert form is not None
    assert form.values["title"] == "The Tide Mill"


def test_a_reply_that_quotes_a_question_to_the_former_id_answers_it() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1)])
    prompt = last_prompt(form_of(facts))
    facts.wamids[said(Word(FIRST, "prompt", 1)).message_id] = prompt.message_id
    apply(facts, MERGES[0], 10)
    quoting = pitched(CONTACT, "The Tide Mill", 50).replace(quoted_id=said(Word(FIRST, "prompt", 1)).message_id)
    apply(facts, quoting, 11)
    form = form_of(facts).form
    assert form is not None
    assert form.values["title"] == "The Tide Mill"


def test_the_same_form_of_two_ids_goes_on_once_with_the_values_of_both() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), pitched(SECOND, "Rivers", 2)])
    apply(facts, pitched(SECOND, "On Rivers", 3), 10)
    for count, merge in enumerate(MERGES):
        apply(facts, merge, 20 + count)
    assert open_questions(facts) == [("pitch-intake", CONTACT)]
    form = form_of(facts).form
    assert form is not None
    assert form.values["title"] == "On Rivers"


def test_of_a_form_of_two_ids_words_answer_the_question_that_was_asked_last() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), pitched(SECOND, "Rivers", 2)])
    apply(facts, pitched(SECOND, "On Rivers", 3), 10)
    for count, merge in enumerate(MERGES):
        apply(facts, merge, 20 + count)
    apply(facts, pitched(CONTACT, "Non-fiction", 70), 30)
    form = form_of(facts).form
    assert form is not None
    assert (form.values["title"], form.values["genre"]) == ("On Rivers", "non_fiction")


def test_the_question_asked_last_is_that_of_the_form_that_was_filled_last() -> None:
    events = [
        pitched(FIRST, "A history of tide mills", 1),
        pitched(SECOND, "Rivers", 2),
        pitched(FIRST, "The Tide Mill", 3),
        *MERGES,
    ]
    facts = facts_after([])
    for count, event in enumerate(events):
        decision = decider().decide(event_of(event, count), facts, NOW + timedelta(days=1, minutes=count))
        facts.apply_changes(decision.changes)
    form = form_of(facts).form
    assert form is not None
    assert (form.values["title"], form.asking) == ("The Tide Mill", "genre")
    assert form.sources == tuple(
        one.message_id for one in (events[0], events[2], events[1]) if isinstance(one, MessageReceived)
    )


def test_a_form_of_two_ids_keeps_the_files_and_the_messages_of_both_each_once() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), pitched(SECOND, "Rivers", 2)])
    both, one, other = (Media(media_id=f"file-{n}", mime="application/pdf") for n in range(3))
    for person, files in ((FIRST, (both, one)), (SECOND, (both, other))):
        (chain,) = facts.chains_of(person)
        assert chain.form is not None
        facts.add_chain(chain.replace(form=chain.form.replace(attachments=files)))
    for count, merge in enumerate(MERGES):
        apply(facts, merge, 20 + count)
    form = form_of(facts).form
    assert form is not None
    assert form.attachments == (both, one, other)
    first, second = pitched(FIRST, "A history of tide mills", 1), pitched(SECOND, "Rivers", 2)
    assert form.sources == (first.message_id, second.message_id)


def chain_about(facts: Facts, person: PersonId) -> Chain | None:
    (subject,) = subjects_of(person)
    return facts.active_chain(RuleId("pitch-intake"), subject)


def test_a_chain_about_the_writer_is_found_by_the_id_of_now_and_again_by_its_own_when_the_merge_is_undone() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1)])
    (chain,) = facts.chains.values()
    apply(facts, MERGES[0], 10)
    about = [chain_about(facts, person) for person in (FIRST, CONTACT)]
    assert [one and one.chain_id for one in about] == [None, chain.chain_id]
    assert form_of(facts).tags == tuple(subjects_of(CONTACT))
    apply(facts, visitor(FIRST).replace(version=3), 11)
    again = form_of(facts)
    kept = tuple(message.replace(unwanted=None) for message in again.messages)  # all are withdrawn, and requested anew
    assert again.replace(messages=kept, next_due=None) == chain.replace(next_due=None)


def test_of_two_chains_about_one_person_each_keeps_a_subject_of_its_own() -> None:
    """There is one active chain of a rule and subject: what both ids had begun cannot have the same one."""
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), pitched(SECOND, "Rivers", 2)])
    for count, merge in enumerate(MERGES):
        apply(facts, merge, 20 + count)
    assert {chain.subject for chain in facts.chains.values()} == {*subjects_of(CONTACT), *subjects_of(SECOND)}
    assert {chain.tags for chain in facts.chains.values()} == {tuple(subjects_of(CONTACT))}


def test_a_question_to_a_visitor_whom_an_event_names_is_one_to_the_contact_they_are() -> None:
    to_visitor = {**HOLDER, "person_id": FIRST, "contact_id": None}
    facts = facts_after([golden_event("consonance.rights.approval_requested.v1", rights_holder=to_visitor).data])
    assert open_questions(facts) == [("rights-approval", FIRST)]
    apply(facts, MERGES[0], 10)
    assert open_questions(facts) == [("rights-approval", CONTACT)]


def test_a_message_is_shared_with_each_other_person_once_by_the_ids_of_now() -> None:
    facts = facts_after([MERGES[0]])
    message = said(Word(SECOND, "Hello", 1)).replace(shared_with=(FIRST, CONTACT))
    assert with_current_ids(facts, message).shared_with == (CONTACT,)
    apply(facts, MERGES[1], 10)
    current = with_current_ids(facts, message)
    assert (current.person_id, current.shared_with) == (CONTACT, ())
    assert with_current_ids(facts, current) is current


def test_a_submission_stays_open_under_the_new_id() -> None:
    facts = facts_after([])
    facts.set_acquisition(FIRST, "ABC234")
    apply(facts, MERGES[0], 1)
    assert facts.acquisitions.get(CONTACT) == "ABC234"
    apply(facts, pitched(CONTACT, "One more chapter", 50), 2)
    assert [chain.rule for chain in facts.chains.values()] == ["pitch-follow-up"]


def test_the_other_id_s_own_submission_stays() -> None:
    facts = facts_after([])
    facts.set_acquisition(FIRST, "ABC234")
    facts.set_acquisition(CONTACT, "XYZ789")
    apply(facts, MERGES[0], 1)
    assert facts.acquisitions.get(CONTACT) == "XYZ789"
    apply(facts, visitor(FIRST).replace(version=3), 2)
    assert facts.acquisitions.get(CONTACT) == "XYZ789"


def test_an_undone_merge_gives_back_an_open_submission_beside_another_one() -> None:
    facts = facts_after([])
    facts.set_acquisition(FIRST, "ABC234")
    facts.set_acquisition(CONTACT, "XYZ789")
    apply(facts, MERGES[0], 1)
    apply(facts, visitor(FIRST).replace(version=3), 2)
    assert [facts.acquisitions.get(person) for person in (FIRST, CONTACT)] == ["ABC234", "XYZ789"]


def test_an_undone_merge_gives_back_a_submission_once_however_often_the_id_was_seen_and_merged() -> None:
    facts = facts_after([])
    facts.set_acquisition(FIRST, "ABC234")
    apply(facts, visitor(FIRST, merged=True).replace(merged_into=SECOND), 1)
    apply(facts, visitor(FIRST, merged=True).replace(merged_into=SECOND, version=3), 2)
    apply(facts, MERGES[1], 3)
    apply(facts, visitor(FIRST).replace(version=4), 4)
    apply(facts, visitor(SECOND).replace(version=3), 5)
    assert [facts.acquisitions.get(person) for person in (FIRST, SECOND, CONTACT)] == ["ABC234", None, None]


@pytest.mark.parametrize(
    ("others", "reference", "left"),
    [
        (None, "ABC234", (None, None)),
        ("XYZ789", "ABC234", (None, "XYZ789")),
        (None, None, (None, None)),
        ("XYZ789", None, ("ABC234", None)),
    ],
)
def test_an_undone_merge_gives_back_no_submission_that_was_closed_meanwhile(
    others: str | None, reference: str | None, left: tuple[str | None, str | None]
) -> None:
    """An event without a reference closes the one that counts as the open one of the person."""
    facts = facts_after([])
    facts.set_acquisition(FIRST, "ABC234")
    facts.set_acquisition(CONTACT, others)
    apply(facts, MERGES[0], 1)
    submitter = {"person_id": FIRST, "display_name": "Maud", "role": "author"}
    closed = golden_event(
        "consonance.acquisition.status_changed.v1", submitter=submitter, reference=reference, to="rejected"
    )
    apply(facts, closed.data, 2)
    apply(facts, visitor(FIRST).replace(version=3), 3)
    assert (facts.acquisitions.get(FIRST), facts.acquisitions.get(CONTACT)) == left


def test_an_undone_merge_gives_back_what_the_id_alone_brought() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), ASKED])
    apply(facts, MERGES[0], 10)
    assert open_questions(facts) == [("pitch-intake", CONTACT), ("rights-approval", CONTACT)]
    apart = visitor(FIRST).replace(version=3, addresses=Addresses(phone=Phone("+447700900999")))
    apply(facts, apart, 11)
    assert open_questions(facts) == [("pitch-intake", FIRST), ("rights-approval", CONTACT)]
    apply(facts, pitched(FIRST, "The Tide Mill", 50), 12)
    form = form_of(facts).form
    assert form is not None
    assert form.values["title"] == "The Tide Mill"


def test_an_id_that_is_merged_into_another_person_at_once_takes_along_what_it_alone_brought() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), ASKED])
    facts.set_acquisition(FIRST, "ABC234")
    apply(facts, MERGES[0], 10)
    apply(facts, visitor(FIRST, merged=True).replace(version=3, merged_into=SECOND), 11)
    assert open_questions(facts) == [("pitch-intake", SECOND), ("rights-approval", CONTACT)]
    assert [facts.acquisitions.get(person) for person in (SECOND, CONTACT)] == ["ABC234", None]


@pytest.mark.parametrize(
    ("seen", "person"),
    [
        (visitor(FIRST).replace(version=3), FIRST),
        (visitor(FIRST, merged=True).replace(version=3, merged_into=SECOND), SECOND),
    ],
)
def test_an_undone_merge_gives_back_what_waits_of_an_ended_chain(seen: PersonObserved, person: PersonId) -> None:
    """By its person's id it is withdrawn with what the person does, and requested anew by where they are."""
    facts = facts_after([said(Word(FIRST, "Hello there", 1))])
    apply(facts, MERGES[0], 10)
    assert _waits_for(facts) == {CONTACT}
    apply(facts, seen, 11)
    assert _waits_for(facts) == {person}


def _waits_for(facts: Facts) -> set[PersonId]:
    (chain,) = facts.chains.values()
    assert chain.ended is not None
    assert chain.messages
    return {
        message.person_id
        for message in chain.messages
        if message.person_id in EVERYBODY and message.delivery in IN_DISPATCHER
    }


def test_a_merge_into_an_id_not_known_yet_loses_nothing() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), MERGES[0]], contact=False)
    apply(facts, pitched(FIRST, "The Tide Mill", 2), 10)
    assert last_prompt(form_of(facts)).delivery is DeliveryState.REQUESTED
    apply(facts, person_observed(806), 11)
    assert facts.people[CONTACT].contact_id == 806
    assert open_questions(facts) == [("pitch-intake", CONTACT)]


def test_an_id_that_is_merged_into_another_person_at_once_is_that_person_before_they_are_known() -> None:
    over = visitor(FIRST, merged=True).replace(merged_into=SECOND)
    facts = facts_after([over, visitor(FIRST, merged=True).replace(version=3)], contact=False)
    assert (facts.current_id(FIRST), facts.people[CONTACT].merged_into) == (CONTACT, None)


def test_a_wrong_number_stays_wrong_when_the_address_goes_over_to_a_contact() -> None:
    facts = facts_after([ASKED])
    facts.last_rule[FIRST] = next(iter(facts.chains.values())).rule
    apply(facts, said(Word(FIRST, "wrong number", 5)), 10)
    assert facts.is_wrong_person(FIRST)
    apply(facts, MERGES[0], 11)
    assert facts.is_wrong_person(CONTACT)


def test_merged_ids_count_each_message_once_for_the_cap_and_the_brake() -> None:
    facts = facts_after([said(Word(FIRST, "Hello there", 1)), said(Word(CONTACT, "Anybody in?", 2))])
    apply(facts, MERGES[0], 10)
    assert len(facts.unsolicited[CONTACT].answered) == 2


def test_each_message_to_either_id_counts_once_for_the_cap_in_the_order_of_time() -> None:
    facts, (first, second, third) = (
        facts_after([]),
        [CountedMessage(message_id=MessageId(f"m{n}"), at=at(n)) for n in range(3)],
    )
    facts.set_counted(FIRST, CountedMessages(messages=(first, third), version=4))
    facts.set_counted(CONTACT, CountedMessages(messages=(second,), version=7))
    apply(facts, MERGES[0], 10)
    apply(facts, MERGES[1], 11)  # the person's ids are gone through again
    assert facts.counted[CONTACT] == CountedMessages(messages=(first, second, third), version=7)


def test_a_chain_that_was_stored_before_a_merge_gets_the_id_of_now_when_it_is_loaded() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), ASKED])
    stored = dict(facts.chains)
    apply(facts, MERGES[0], 10)
    for chain in stored.values():
        facts.add_chain(chain)
    follow_loaded_chains(facts)
    assert open_questions(facts) == [("pitch-intake", CONTACT), ("rights-approval", CONTACT)]
    assert form_of(facts).known_ids() == {FIRST, CONTACT}


def test_a_login_code_of_the_former_id_is_remembered_behind_all_that_both_wrote_since() -> None:
    texts = ["Hello", "Is it", "open", "on", "Sunday", "or", "Monday", "then"]
    mine = [said(Word(FIRST, "Your code: 4829", 1)), *(said(Word(FIRST, text, 2)) for text in texts)]
    facts = facts_after([*mine, said(Word(CONTACT, "Anybody in?", 3))])
    apply(facts, MERGES[0], 10)
    recent = facts.unsolicited[CONTACT].recent
    assert len(recent) == len(texts) + 1
    assert word_hash("a login code") in recent[0].words


EVENTS: tuple[EventData, ...] = (
    *MERGES,
    ASKED,
    pitched(FIRST, "A history of tide mills", 1),
    pitched(SECOND, "Rivers and their mills", 2),
)
STOPS = st.lists(
    st.sampled_from([said(Word(person, "STOP", 30 + n)) for n, person in enumerate(EVERYBODY)]), max_size=1
)


@settings(max_examples=50)
@given(st.data(), STOPS)
def test_any_order_of_merges_messages_stops_and_chain_events_ends_in_the_same_questions_and_consent(
    data: st.DataObject, stops: list[EventData]
) -> None:
    facts = facts_after(data.draw(st.permutations([*EVENTS, *stops])))
    wanted = [] if stops else [("pitch-intake", CONTACT), ("rights-approval", CONTACT)]
    assert open_questions(facts) == wanted
    assert {facts.opted_out(person) for person in EVERYBODY} == {bool(stops)}


@pytest.mark.parametrize("merged_first", [True, False])
def test_the_order_of_a_chain_of_merges_does_not_matter(merged_first: bool) -> None:  # noqa: FBT001 -- a table
    over = visitor(FIRST, merged=True).replace(merged_into=SECOND)
    merges = [MERGES[1], over] if merged_first else [over, MERGES[1]]
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), *merges])
    assert open_questions(facts) == [("pitch-intake", CONTACT)]


# ------------------------------------------------------------------ erasure


def erased(person: PersonId, version: int, into: PersonId | None = None) -> PersonObserved:
    return PersonObserved(person_id=person, erased=True, observed_at=NOW, version=version, merged_into=into)


def test_an_erasure_ends_the_question_and_the_chain_goes_on_as_without_an_answer() -> None:
    facts = facts_after([ASKED])
    (chain,) = facts.chains.values()
    facts.add_chain(chain.with_message(chain.messages[0].replace(delivery=DeliveryState.DELIVERED)))
    sent = apply(facts, erased(CONTACT, 2), 10)
    assert open_questions(facts) == []
    assert {(each.send.say, each.send.person_id in EVERYBODY) for each in sent} == {("rights_unanswered", False)}
    (chain,) = facts.chains.values()
    assert chain.steps[0].left_out == {CONTACT: "erased"}


def test_an_erasure_ends_the_form_that_is_being_filled() -> None:
    facts = facts_after([pitched(FIRST, "A history of tide mills", 1), MERGES[0]])
    apply(facts, erased(FIRST, 3, CONTACT), 10)
    apply(facts, erased(CONTACT, 2), 11)
    assert open_questions(facts) == []
    assert not [chain for chain in facts.chains.values() if chain.active]


def effects_of(facts: Facts, events: Sequence[EventData]) -> tuple[dict[str, PersonId], set[str]]:
    """The messages that were asked for, each with its person, and those that were withdrawn."""
    requested: dict[str, PersonId] = {}
    withdrawn: set[str] = set()
    for count, data in enumerate(events):
        decision = decider().decide(event_of(data, count), facts, NOW + timedelta(days=1))
        facts.apply_changes(decision.changes)
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                requested[effect.send.message_id] = effect.send.person_id
            elif isinstance(effect, WithdrawMessage):
                withdrawn.add(effect.message_id)
    return requested, withdrawn


@pytest.mark.parametrize("skips", [False, True], ids=["every_state", "the_last_state_only"])
def test_messages_for_a_visitor_merged_into_an_erased_contact_are_withdrawn(*, skips: bool) -> None:
    """The states are on different partitions, and a compacted topic may have the newest one only."""
    merged = erased(FIRST, 3, CONTACT) if skips else MERGES[0]
    facts = facts_after([])
    requested, withdrawn = effects_of(facts, [pitched(FIRST, "A history of tide mills", 1), erased(CONTACT, 2), merged])
    assert {one for one, person in requested.items() if person in EVERYBODY} == withdrawn
    assert not [chain for chain in facts.chains.values() if chain.active]


ERASED: tuple[EventData, ...] = (
    *MERGES,
    erased(CONTACT, 2),
    erased(FIRST, 3, CONTACT),
    erased(SECOND, 3, CONTACT),
    ASKED,
    pitched(FIRST, "A history of tide mills", 1),
    pitched(SECOND, "Rivers and their mills", 2),
)


@settings(max_examples=100)
@given(st.permutations(ERASED))
def test_any_order_of_merges_messages_and_erasures_leaves_nothing_that_waits_for_the_person(
    events: list[EventData],
) -> None:
    facts = facts_after([])
    requested, withdrawn = effects_of(facts, events)
    assert open_questions(facts) == []
    assert {one for one, person in requested.items() if person in EVERYBODY} <= withdrawn


def test_an_erased_state_that_comes_again_changes_nothing_more() -> None:
    facts = facts_after([ASKED, erased(CONTACT, 2)])
    before = dict(facts.chains)
    assert apply(facts, erased(CONTACT, 3), 10) == []
    assert facts.chains == before


def taken_by_a_colleague() -> tuple[Facts, PersonId]:
    """The holder has a question, two colleagues are offered it, and the first one takes it."""
    facts = facts_after([ASKED])
    (chain,) = facts.chains.values()
    apply(facts, tap(chain.messages[0], "question", 10), 10)
    (offer, *_) = [each for each in facts.chains[chain.chain_id].messages if "take" in each.buttons]
    apply(facts, tap(offer, "take", 11), 11)
    return facts, offer.person_id


def tap(question: ChainMessage, answer: str, minute: int) -> MessageReceived:
    return button_tap(question, answer, at(minute))


@pytest.mark.parametrize("word", ["STOP", None])
def test_a_matter_is_free_again_where_the_one_who_took_it_stops_or_is_erased(word: str | None) -> None:
    facts, colleague = taken_by_a_colleague()
    (chain,) = facts.chains.values()
    assert chain.assignment is not None
    apply(facts, erased(colleague, 2) if word is None else said(Word(colleague, word, 12)), 12)
    chain = facts.chains[chain.chain_id]
    assert (chain.active, chain.assignment) == (True, None)
    *_, other = [each for each in chain.messages if "take" in each.buttons and each.person_id != colleague]
    apply(facts, tap(other, "take", 13), 13)
    before = facts.chains[chain.chain_id]
    apply(facts, said(Word(colleague, "STOP", 14)), 14)
    again = facts.chains[chain.chain_id]
    assert (again.handovers, again.assignment) == (before.handovers, before.assignment)
    retaken = before.assignment
    assert retaken is not None
    assert retaken.person_id == other.person_id


def test_a_matter_that_no_person_can_take_any_more_goes_on_as_if_all_had_declined() -> None:
    facts, colleague = taken_by_a_colleague()
    (chain,) = facts.chains.values()
    (other,) = [each for each in chain.messages if "take" in each.buttons and each.person_id != colleague]
    apply(facts, erased(other.person_id, 2), 12)
    assert facts.chains[chain.chain_id].assignment is not None
    apply(facts, erased(colleague, 2), 13)
    chain = facts.chains[chain.chain_id]
    assert (chain.active, chain.assignment) == (True, None)
    assert set(chain.handovers[-1].declined) == set(chain.handovers[-1].people)
