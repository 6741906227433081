"""Opt-out and opt-in of a person with several ids: in any order, the stricter one counts."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import permutations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules import store
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.fact_values import ConsentChange, PersonFacts, WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.golden import golden
from shared.contracts.ids import Bsuid, EventId, Line, MessageId, PersonId, Phone, RuleId, Wamid, partition_key
from shared.contracts.messages import MessageFailed, WithdrawMessage
from shared.contracts.whatsapp import (
    IdentityChange,
    IdentityChanged,
    MessageKind,
    MessageReceived,
    Preference,
    PreferenceChanged,
)
from tests.services.rules.rules_service import (
    KEYS,
    NOW,
    TENANT,
    RulesUnderTest,
    golden_event,
    person_observed,
    person_of,
    rules_under_test,
    text_message,
    work_observed,
)
from tests.services.rules.stories import own_rulebook

CONTACT = person_of(806)
VISITORS = (PersonId("v-one"), PersonId("v-two"))
EVERYBODY = (CONTACT, *VISITORS)
MERGED_AT = {VISITORS[0]: 40, VISITORS[1]: 60}


@dataclass(frozen=True)
class Word:
    """``at`` is in minutes after the start."""

    person: PersonId
    text: str
    at: int


def at(minute: int) -> datetime:
    return NOW + timedelta(minutes=minute)


def visitor(person: PersonId, *, merged: bool = False) -> PersonObserved:
    """Their number goes over to the contact."""
    addresses = Addresses() if merged else Addresses(phone=Phone("+447700900806"))
    into = CONTACT if merged else None
    seen = at(MERGED_AT[person]) if merged else NOW
    return PersonObserved(
        person_id=person, display_name="Maud", addresses=addresses, observed_at=seen, version=2 if merged else 1,
        merged_into=into,
    )  # fmt: skip


def said(word: Word) -> MessageReceived:
    return MessageReceived(
        line=Line("main"), person_id=word.person, message_id=Wamid(f"wamid.{word.person}.{word.text}.{word.at}"),
        message_kind=MessageKind.TEXT, text=word.text, at=at(word.at),
    )  # fmt: skip


@cache
def decider() -> Decider:
    book = add_built_in_rules(own_rulebook())
    engine = RuleMatcher(book.rules.values())
    return Decider(
        rulebook=book, rulebook_at=lambda _: book, matcher=engine, zone_of=lambda person: person.zone, signing_keys=KEYS
    )


def event_of(data: EventData, count: int) -> Event:
    return Event(
        id=EventId(f"event-{count}"), source="test", type=data.kind, time=NOW, recordedtime=NOW, tenantid=TENANT,
        partitionkey=partition_key(TENANT, "persons", getattr(data, "person_id", "")), data=data,
    )  # fmt: skip


def apply(facts: Facts, data: EventData, count: int) -> list[RequestedMessage]:
    event = event_of(data, count)
    decision = decider().decide(event, facts, NOW + timedelta(days=1))
    facts.apply_changes(decision.changes)
    effects = decision.effects
    return [effect for effect in effects if isinstance(effect, RequestedMessage)]


STARTED_AGAIN = (Word(VISITORS[0], "STOP", 1), Word(VISITORS[0], "START", 2))
ANOTHER_USER = IdentityChanged(person_id=VISITORS[0], change=IdentityChange.BSUID, at=at(5))


def waiting_after_a_start() -> tuple[Facts, set[str]]:
    """A visitor has stopped and started; the confirmation and a question wait in the dispatcher."""
    work = work_observed((807, "author")).data
    assert isinstance(work, WorkObserved)
    facts = after([*map(said, STARTED_AGAIN)])
    facts.works[work.work.work_id] = WorkFacts(state=work)
    holder = {"person_id": VISITORS[0], "display_name": "Maud", "role": "rights_holder"}
    asked = golden_event("consonance.rights.approval_requested.v1", rights_holder=holder)
    facts.set_person(facts.people[VISITORS[0]].replace(roles=("rights_holder",)))
    sent = apply(facts, asked.data, 3)
    questions = {each.send.message_id for each in sent if each.send.person_id == VISITORS[0]}
    assert questions
    return facts, {*questions, *(one for one, person in facts.notices.items() if person == VISITORS[0])}


@pytest.mark.parametrize(
    "changed",
    [
        ANOTHER_USER,
        ANOTHER_USER.replace(person_id=VISITORS[1], shared_with=(VISITORS[0],)),
        visitor(VISITORS[0]).replace(
            version=3, user_since=at(5), addresses=Addresses(bsuid=Bsuid("GB.222"), phone=Phone("+447700900806"))
        ),
    ],
    ids=["announced", "announced_of_another_at_the_number", "shown"],
)
def test_a_stop_that_counts_again_withdraws_what_waits(changed: EventData) -> None:
    """The START was another account's, perhaps: it has lapsed, and the STOP before it stands."""
    facts, waiting = waiting_after_a_start()
    facts.set_person(facts.people[VISITORS[0]].replace(bsuid_mark=1))
    decision = decider().decide(event_of(changed, 9), facts, NOW + timedelta(days=1))
    assert decision.changes.opted_out(VISITORS[0])
    withdrawn = {effect.message_id for effect in decision.effects if isinstance(effect, WithdrawMessage)}
    assert withdrawn >= waiting
    (chain,) = decision.changes.chains.values()
    assert chain.steps[0].left_out == {VISITORS[0]: "opted_out"}


def test_a_changed_user_of_a_person_who_never_stopped_withdraws_nothing() -> None:
    facts = after([said(Word(VISITORS[0], "START", 2))])
    decision = decider().decide(event_of(ANOTHER_USER, 9), facts, NOW + timedelta(days=1))
    assert [effect for effect in decision.effects if isinstance(effect, WithdrawMessage)] == []


def test_a_decision_changes_nothing_it_is_given() -> None:
    facts = after([*MERGES])
    before = snapshot(facts)
    opt_out = event_of(said(Word(CONTACT, "STOP", 100)), 100)
    first = decider().decide(opt_out, facts, NOW + timedelta(days=1))
    second = decider().decide(opt_out, facts, NOW + timedelta(days=1))
    assert snapshot(facts) == before
    assert (first.effects, first.reasons, first.record) == (second.effects, second.reasons, second.record)
    assert first.changes.opted_out(CONTACT)
    assert not facts.opted_out(CONTACT)
    facts.apply_changes(first.changes)
    assert facts.opted_out(CONTACT)


def snapshot(facts: Facts) -> list[object]:
    return [dict(facts.people), dict(facts.consent), dict(facts.chains), dict(facts.unsolicited), set(facts.changed)]


def after(events: Sequence[EventData]) -> Facts:
    known = [person_observed(806), *map(visitor, VISITORS)]
    facts = Facts(TENANT, people={one.person_id: PersonFacts.of(one, None) for one in known})
    for count, event in enumerate(events):
        apply(facts, event, count)
    return facts


def stopped(words: Sequence[Word]) -> bool:
    """Some STOP that no later START takes back: by the same id, or by one already known to be the same person."""
    return any(
        stop.text == "STOP" and not any(_takes_back(start, stop) for start in words if start.text == "START")
        for stop in words
    )


def _takes_back(start: Word, stop: Word) -> bool:
    known = max((MERGED_AT.get(one, 0) for one in (start.person, stop.person)), default=0)
    return start.at > stop.at and (start.person == stop.person or start.at >= known)


MERGES = tuple(visitor(person, merged=True) for person in VISITORS)
# Four at most: after five unasked answers in an hour a person gets no more of them.
WORDS = st.lists(
    st.builds(Word, st.sampled_from(EVERYBODY), st.sampled_from(["STOP", "START", "Hello there"]), st.integers(1, 99)),
    min_size=1, max_size=4, unique_by=lambda word: word.at,
)  # fmt: skip


@settings(max_examples=150)
@given(WORDS, st.data())
def test_any_order_of_merges_and_messages_ends_in_the_same_consent(words: list[Word], data: st.DataObject) -> None:
    events = data.draw(st.permutations([*MERGES, *map(said, words)]))
    facts = after(events)
    assert {facts.opted_out(person) for person in EVERYBODY} == {stopped(words)}


@settings(max_examples=60)
@given(WORDS, st.data())
def test_an_opted_out_person_gets_no_message_under_any_id(words: list[Word], data: st.DataObject) -> None:
    facts = after(data.draw(st.permutations([*MERGES, *map(said, words)])))
    reply = apply(facts, said(Word(CONTACT, "Is anybody there?", 100)), 100)
    sent = [each for each in reply if each.send.person_id in EVERYBODY]
    assert bool(sent) is not stopped(words)


@pytest.mark.parametrize("events", list(permutations([*MERGES, said(Word(VISITORS[0], "STOP", 50))])))
def test_a_visitor_s_stop_is_the_contact_s_in_every_order(events: Sequence[EventData]) -> None:
    assert after(events).opted_out(CONTACT)


def test_a_start_of_the_contact_before_the_merge_does_not_undo_the_visitor_s_stop() -> None:
    stop, start = Word(VISITORS[0], "STOP", 10), Word(CONTACT, "START", 20)
    assert after([said(stop), said(start), *MERGES]).opted_out(CONTACT)


def test_an_opt_in_after_the_merge_counts_for_all_ids() -> None:
    facts = after([said(Word(VISITORS[0], "STOP", 10)), *MERGES, said(Word(CONTACT, "START", 70))])
    assert not any(map(facts.opted_out, EVERYBODY))


def test_an_undone_merge_keeps_the_opt_out_of_both_ids() -> None:
    apart = visitor(VISITORS[0]).replace(version=3)
    facts = after([said(Word(VISITORS[0], "STOP", 10)), *MERGES, apart])
    assert facts.opted_out(CONTACT)
    assert facts.opted_out(VISITORS[0])


def test_the_erasure_of_a_merged_id_is_no_separation() -> None:
    facts = after([said(Word(VISITORS[0], "STOP", 10)), *MERGES])
    before = list(facts.consent_entries)
    apply(facts, visitor(VISITORS[0], merged=True).replace(version=3, erased=True), 20)
    assert facts.consent_entries == before


def test_stop_and_start_again_and_again_are_believed_and_confirmed_once() -> None:
    facts, answers = after([]), list[tuple[int, str]]()
    for minute in range(120):
        word = "START" if minute % 2 else "STOP"
        answers += [(minute, one.send.say) for one in apply(facts, said(Word(CONTACT, word, minute)), minute)]
        assert facts.opted_out(CONTACT) is (word == "STOP")
    assert [minute for minute, say in answers if say == "stopped"] == [0]


def test_a_message_that_is_edited_into_stop_opts_out_and_no_other_edit_counts() -> None:
    """Neither an edit into START or words, nor one in a group."""
    edited = said(Word(CONTACT, "STOP", 5)).replace(message_kind=MessageKind.EDIT, quoted_id=Wamid("wamid.before"))
    facts = after([edited.replace(in_group=True), edited.replace(text="Stop the presses, the title is wrong")])
    assert not facts.opted_out(CONTACT)
    assert [one.send.say for one in apply(facts, edited, 9)] == ["stopped"]
    assert apply(facts, said(Word(CONTACT, "START", 7)).replace(message_kind=MessageKind.EDIT), 10) == []
    assert facts.opted_out(CONTACT)


def test_a_stop_after_a_quiet_hour_is_confirmed_again() -> None:
    facts = after([said(Word(CONTACT, "STOP", 1)), said(Word(CONTACT, "START", 2))])
    assert [one.send.say for one in apply(facts, said(Word(CONTACT, "STOP", 62)), 9)] == ["stopped"]


def test_a_person_who_has_opted_out_gets_nothing_for_a_further_stop() -> None:
    facts = after([said(Word(CONTACT, "STOP", 1))])
    assert apply(facts, said(Word(CONTACT, "STOP", 600)), 9) == []


def test_a_stop_that_a_start_took_back_before_it_came_is_not_confirmed() -> None:
    facts = after([said(Word(CONTACT, "START", 100))])
    assert apply(facts, said(Word(CONTACT, "STOP", 1)), 9) == []
    assert not facts.opted_out(CONTACT)


def test_each_change_is_entered_in_the_ledger_with_its_evidence() -> None:
    facts = after([said(Word(CONTACT, "STOP", 1)), said(Word(CONTACT, "START", 2)), said(Word(CONTACT, "STOP", 1))])
    entries = [(each.change, each.at, each.evidence, each.line) for each in facts.consent_entries]
    assert entries == [
        (ConsentChange.OPT_OUT, at(1), f"wamid.{CONTACT}.STOP.1", "main"),
        (ConsentChange.OPT_IN, at(2), f"wamid.{CONTACT}.START.2", "main"),
    ]


def switched(value: Preference, minute: int, person: PersonId = CONTACT) -> PreferenceChanged:
    return PreferenceChanged(person_id=person, category="marketing_messages", value=value, at=at(minute))


REFUSED = MessageFailed(
    message_id=MessageId("m"), person_id=CONTACT, at=at(30), code=131050, reason="the person takes no offers"
)


@pytest.mark.parametrize(
    ("events", "allowed"),
    [
        ([], False),
        ([switched(Preference.SIGNUP, 1)], True),
        ([switched(Preference.STOP, 2), switched(Preference.RESUME, 3)], True),
        ([switched(Preference.RESUME, 3), switched(Preference.STOP, 2)], True),
        ([switched(Preference.RESUME, 3), switched(Preference.STOP, 4)], False),
        ([switched(Preference.RESUME, 3), REFUSED], False),
        ([switched(Preference.RESUME, 3, VISITORS[0]), *MERGES], True),
        ([switched(Preference.RESUME, 3), switched(Preference.STOP, 4, VISITORS[0]), *MERGES], False),
        ([switched(Preference.RESUME, 3), said(Word(CONTACT, "STOP", 4))], False),
    ],
)
def test_whatsapp_s_switch_for_offers_is_kept_and_concerns_nothing_else(
    events: list[EventData],
    allowed: bool,  # noqa: FBT001 -- a column
) -> None:
    facts = after(events)
    assert facts.allows_marketing(CONTACT) is allowed
    assert facts.opted_out(CONTACT) is any(isinstance(each, MessageReceived) for each in events)


# ------------------------------------------------------------------ on a real database


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(
            *map(person_observed, (11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71)), person_observed(806)
        )
        await service.receive(visitor(VISITORS[0]))
        yield service


WORK_REF = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]


async def asks_the_contact(service: RulesUnderTest) -> str:
    """The question is with the dispatcher, and not known to be sent."""
    holder = {"person_id": CONTACT, "contact_id": 806, "display_name": "Person 806", "role": "rights_holder"}
    asked = golden_event("consonance.rights.approval_requested.v1", rights_holder=holder, work=WORK_REF)
    await service.receive(work_observed((806, "rights_holder")), asked)
    return (await service.last_to(CONTACT)).message_id


@pytest.mark.integration
async def test_an_opt_out_of_a_visitor_withdraws_the_messages_to_the_contact(service: RulesUnderTest) -> None:
    question = await asks_the_contact(service)
    await service.receive(said(Word(VISITORS[0], "STOP", 1)))
    assert await service.withdrawn() == []
    await service.receive(MERGES[0])
    assert await service.withdrawn() == [question]


@pytest.mark.integration
async def test_a_stop_of_the_old_id_after_the_merge_is_the_contact_s_at_once(service: RulesUnderTest) -> None:
    question = await asks_the_contact(service)
    await service.receive(MERGES[0])
    await service.receive(said(Word(VISITORS[0], "STOP", 1)))
    assert await service.withdrawn() == [question]
    assert (CONTACT, "stopped") in await service.requested()
    (entry,) = await service.pool.fetch("select person_id, change, source, evidence, line from consent_ledger")
    assert tuple(entry) == (VISITORS[0], "opt_out", "message", f"wamid.{VISITORS[0]}.STOP.1", "main")


@pytest.mark.integration
async def test_an_opt_out_of_a_contact_withdraws_the_questions_to_the_visitor(service: RulesUnderTest) -> None:
    await service.receive(said(Word(VISITORS[0], "A history of tide mills", 1)).replace(line=Line("acquisitions")))
    prompts = [one for one in await service.messages() if one.get("person_id") == VISITORS[0]]
    await service.receive(MERGES[0])
    await service.receive(said(Word(CONTACT, "STOP", 50)))
    assert sorted(await service.withdrawn()) == sorted(one["message_id"] for one in prompts)
    (chain,) = [chain for chain in await service.chains() if chain.form is not None]
    assert chain.form is not None
    assert chain.form.over


@pytest.mark.integration
async def test_a_merged_person_who_opted_out_gets_no_message(service: RulesUnderTest) -> None:
    await service.receive(said(Word(VISITORS[0], "STOP", 1)), MERGES[0])
    moved = golden_event("consonance.work.stage_changed.v1", work=WORK_REF, to_stage_key="final_proof_approved")
    await service.receive(work_observed((806, "author")), moved)
    assert [say for who, say in await service.requested() if who == CONTACT] == []


@pytest.mark.integration
async def test_a_merge_into_a_person_who_opted_out_withdraws_an_answer_that_belongs_to_no_chain(
    service: RulesUnderTest,
) -> None:
    await service.receive(said(Word(CONTACT, "STOP", 1)))
    await service.receive(said(Word(VISITORS[0], "why", 2)))
    (answer,) = [one["message_id"] for one in await service.messages() if one.get("say") == "why_unknown"]
    await service.receive(MERGES[0])
    assert await service.withdrawn() == [answer]


@pytest.mark.integration
async def test_a_stop_button_that_is_not_ours_withdraws_what_still_waits(service: RulesUnderTest) -> None:
    """One of a template that was sent by hand, or by the product before this one."""
    question = await asks_the_contact(service)
    await service.receive(said(Word(CONTACT, "why", 2)))
    (notice,) = [one["message_id"] for one in await service.messages() if one.get("say") == "why_answer"]
    tap = said(Word(CONTACT, "Stop", 3)).replace(message_kind=MessageKind.BUTTON, button_id="unsubscribe")
    assert store.exclusive_locks([service.event(tap)])
    await service.receive(tap)
    assert sorted(await service.withdrawn()) == sorted([question, notice])


@pytest.mark.integration
async def test_an_erasure_withdraws_what_still_waits(service: RulesUnderTest) -> None:
    question = await asks_the_contact(service)
    await service.receive(said(Word(CONTACT, "why", 2)))
    (notice,) = [one["message_id"] for one in await service.messages() if one.get("say") == "why_answer"]
    gone = PersonObserved(person_id=CONTACT, erased=True, observed_at=NOW, version=2)
    await service.receive(gone)
    assert sorted(await service.withdrawn()) == sorted([question, notice])


@pytest.mark.integration
async def test_an_opt_out_from_a_shared_number_counts_for_everyone_reached_there(service: RulesUnderTest) -> None:
    question = await asks_the_contact(service)
    await service.receive(person_observed(815))
    await service.receive(text_message(815, "STOP", NOW, shared_with=(CONTACT,)))
    assert await service.withdrawn() == [question]


def observed(version: int, phone: str, bsuid: str | None = None) -> PersonObserved:
    addresses = Addresses(phone=Phone(phone), bsuid=Bsuid(bsuid) if bsuid else None)
    return person_observed(806).replace(addresses=addresses, version=version)


@pytest.mark.parametrize(
    ("seen", "still"),
    [
        (observed(3, "+447700900806"), True),
        (observed(3, "+447700900806", "GB.123"), True),  # what WhatsApp teaches about the same number
        (observed(3, "+447700900807"), False),
    ],
)
def test_a_wrong_person_is_written_to_again_once_the_number_is_another(seen: PersonObserved, *, still: bool) -> None:
    facts = after([observed(2, "+447700900806")])
    facts.set_last_rule(CONTACT, RuleId("rights-approval"))
    apply(facts, said(Word(CONTACT, "wrong number", 100)), 1)
    assert facts.consent[CONTACT].is_wrong_person
    apply(facts, seen, 2)
    assert facts.consent[CONTACT].is_wrong_person is still


@pytest.mark.parametrize(
    ("before", "now", "lapses"),
    [
        ("GB.1", "GB.2", True),
        ("GB.1", "GB.1", False),
        (None, "GB.1", False),
        ("GB.1", None, False),
    ],
)
def test_an_opt_in_lapses_where_the_number_shows_another_user(
    before: str | None, now: str | None, lapses: bool,  # noqa: FBT001 -- a table
) -> None:  # fmt: skip
    """WhatsApp does not always say that a number went over to another user."""
    phone = "+447700900806"
    shown = observed(3, phone, now).replace(observed_at=at(2))
    facts = after([observed(2, phone, before), said(Word(CONTACT, "START", 1)), shown])
    assert facts.opted_in(CONTACT) is not lapses
    assert facts.consent[CONTACT].lapsed_at == (at(2) if lapses else None)
    assert (ConsentChange.LAPSED in [entry.change for entry in facts.consent_entries]) is lapses


PHONE = "+447700900806"
SHOWN = observed(3, PHONE, "GB.2").replace(observed_at=at(20), user_since=at(10))
ANNOUNCED = IdentityChanged(person_id=CONTACT, change=IdentityChange.BSUID, at=at(10))


@pytest.mark.parametrize("lapse", [SHOWN, ANNOUNCED, SHOWN.replace(user_since=None, observed_at=at(10))])
@pytest.mark.parametrize(("minute", "counts"), [(9, False), (10, False), (11, True)])
def test_in_whatever_order_they_arrive_an_opt_in_from_before_a_lapse_counts_no_more(
    lapse: EventData,
    minute: int,
    counts: bool,  # noqa: FBT001 -- a table
) -> None:
    """In the second of the change the order is not known, and the stricter counts."""
    start, offers = said(Word(CONTACT, "START", minute)), switched(Preference.SIGNUP, minute)
    for events in permutations([lapse, start, offers]):
        facts = after([observed(2, PHONE, "GB.1"), *events])
        assert facts.opted_in(CONTACT) is counts
        assert facts.allows_marketing(CONTACT) is counts


def test_a_start_from_before_a_lapse_is_not_confirmed() -> None:
    confirmed = [
        apply(after([observed(2, PHONE, "GB.1"), SHOWN]), said(Word(CONTACT, "START", at)), 50) for at in (9, 11)
    ]
    assert [len(messages) for messages in confirmed] == [0, 1]


def test_a_lapse_ends_the_opt_ins_of_all_ids_of_a_person_in_any_order() -> None:
    start = said(Word(VISITORS[0], "START", 9))
    for events in permutations([SHOWN, start, MERGES[0]]):
        facts = after([observed(2, PHONE, "GB.1"), *events])
        assert not facts.opted_in(CONTACT)


def test_a_start_from_before_a_wrong_number_was_reported_does_not_come_back_with_the_next_number() -> None:
    facts = after([observed(2, PHONE)])
    facts.set_last_rule(CONTACT, RuleId("rights-approval"))
    for count, data in enumerate(
        [said(Word(CONTACT, "wrong number", 20)), said(Word(CONTACT, "START", 19)), observed(3, "+447700900807")], 1
    ):
        apply(facts, data, count)
    assert not facts.consent[CONTACT].is_wrong_person
    assert not facts.opted_in(CONTACT)


HOUSEMATE = person_of(815)


def test_whatsapp_s_switch_for_offers_counts_for_everyone_reached_at_the_account() -> None:
    agreed = switched(Preference.SIGNUP, 1, HOUSEMATE)
    stop = switched(Preference.STOP, 5).replace(shared_with=(HOUSEMATE,))
    facts = after([person_observed(815), agreed, stop])
    assert not facts.allows_marketing(HOUSEMATE)
    assert not facts.allows_marketing(CONTACT)
    resume = switched(Preference.RESUME, 6).replace(shared_with=(HOUSEMATE,))
    apply(facts, resume, 9)
    assert facts.allows_marketing(HOUSEMATE), "who had agreed to offers"
    assert not facts.allows_marketing(CONTACT), "the other one's tap is no first consent"


def test_another_account_at_a_shared_number_ends_the_opt_ins_of_all_who_share_it() -> None:
    shared = ANNOUNCED.replace(shared_with=(HOUSEMATE,))
    facts = after([person_observed(815), said(Word(HOUSEMATE, "START", 5)), shared])
    assert not facts.opted_in(HOUSEMATE)


def test_an_opt_out_stays_where_the_number_shows_another_user() -> None:
    phone = "+447700900806"
    facts = after([observed(2, phone, "GB.1"), said(Word(CONTACT, "STOP", 1)), observed(3, phone, "GB.2")])
    assert facts.opted_out(CONTACT)


def test_a_consent_given_at_a_wrong_address_counts_no_more() -> None:
    facts = after([said(Word(CONTACT, "START", 10))])
    facts.set_last_rule(CONTACT, RuleId("rights-approval"))
    apply(facts, said(Word(CONTACT, "this is not me", 100)), 1)
    assert facts.consent[CONTACT].opted_in_at is None
