"""Two people of one chain turn out to be one person: an answer by either id is the answer of that person."""

from functools import cache

import orjson
import pytest

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, Ending
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.fact_values import PersonFacts, WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.rule_folder import RULE, STORIES, read_folder
from shared.contracts.consonance import WorkObserved
from shared.contracts.envelope import EventData
from shared.contracts.golden import golden
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.messages import MessageWithdrawn, WithdrawMessage
from tests.services.rules.conversation.test_consent import CONTACT, MERGES, VISITORS, at, event_of, visitor
from tests.services.rules.rules_service import (
    KEYS,
    STAFF,
    TENANT,
    button_tap,
    golden_event,
    person_observed,
    person_of,
    work_observed,
)
from tests.services.rules.stories import FOLDER, rule_head, template_text

FIRST, _ = VISITORS
OTHER = person_of(807)
STEPS = """\
  - ask: [rights_holder, author]
    say: ex_ask
    answers:
      yes: {quorum: all, tell: rights_manager, say: ex_told}
      no: {quorum: 2, tell: rights_manager, say: ex_told}
      other: {ask: sender, say: ex_second, answers: {fine: {tell: rights_manager, say: ex_told}}}
  - {after: 4 weeks, tell: rights_manager, say: ex_told}
"""
FILES = {
    "extra-approval.rule.yaml": rule_head("extra-approval", "rights.approval_requested", "request_id") + STEPS,
    "ex_ask.template.yaml": template_text("ex_ask", "Rights in “{title}” are asked.", "yes: Yes, no: No, other: Ask"),
    "ex_second.template.yaml": template_text("ex_second", "A second look at “{title}” please.", "fine: All right"),
    "ex_told.template.yaml": template_text("ex_told", "Rights in “{title}” are settled."),
}
WORK = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]
HOLDER = {"person_id": FIRST, "display_name": "Maud", "role": "rights_holder"}
ASKED = golden_event("consonance.rights.approval_requested.v1", rights_holder=HOLDER, work=WORK).data


@cache
def decider() -> Decider:
    files = {name: text for name, text in read_folder(FOLDER).items() if not name.endswith((RULE, STORIES))}
    loaded, faults = load({**files, **FILES})
    assert loaded is not None, faults
    book = add_built_in_rules(loaded)
    return Decider(
        rulebook=book, rulebook_at=lambda _: book, matcher=RuleMatcher(book.rules.values()),
        zone_of=lambda person: person.zone, signing_keys=KEYS,
    )  # fmt: skip


def apply(facts: Facts, data: EventData, minute: int) -> None:
    facts.apply_changes(decider().decide(event_of(data, minute), facts, at(minute)).changes)


def asked(*authors: int) -> Facts:
    """A visitor is asked as the holder of the rights, and contacts as the authors; all have the same hours."""
    contacts = [*map(person_observed, (806, 807))]
    like = contacts[0]
    visitors = [
        visitor(one).replace(zone=like.zone, country=like.country, subdivision=like.subdivision, roles=like.roles)
        for one in VISITORS
    ]
    known = [*map(person_observed, STAFF), *visitors, *contacts]
    state = work_observed(*((author, "author") for author in authors)).data
    assert isinstance(state, WorkObserved)
    facts = Facts(
        TENANT,
        people={one.person_id: PersonFacts.of(one, None) for one in known},
        works={state.work.work_id: WorkFacts(state=state)},
    )
    apply(facts, ASKED, 1)
    assert {question.person_id for question in questions(facts)} == {FIRST, *map(person_of, authors)}
    return facts


def the_chain(facts: Facts) -> Chain:
    (chain,) = [one for one in facts.chains.values() if one.rule == "extra-approval"]
    return chain


def questions(facts: Facts, say: str = "ex_ask") -> list[ChainMessage]:
    return [message for message in the_chain(facts).messages if message.say == say]


def taps(facts: Facts, person: PersonId, answer: str, minute: int, say: str = "ex_ask") -> None:
    question = next(one for one in questions(facts, say) if one.person_id == person)
    apply(facts, button_tap(question, answer, at(minute)), minute)


def outcome(facts: Facts) -> tuple[Ending | None, bool]:
    chain = the_chain(facts)
    told = [one for one in chain.messages if one.say == "ex_told" and one.delivery is not DeliveryState.WITHDRAWN]
    return chain.closing, bool(told)


def test_a_follow_up_question_goes_once_though_its_person_has_another_id_when_it_is_asked_for_again() -> None:
    facts = asked(807)
    taps(facts, FIRST, "other", 2)
    apply(facts, MERGES[0], 3)
    taps(facts, CONTACT, "other", 100)
    (follow_up,) = questions(facts, "ex_second")
    assert follow_up.person_id == CONTACT


def test_all_have_answered_where_the_one_who_had_not_is_one_who_has() -> None:
    facts = asked(806)
    taps(facts, CONTACT, "yes", 2)
    assert outcome(facts) == (None, False)
    apply(facts, MERGES[0], 3)
    assert outcome(facts) == (Ending.ANSWERED, True)


def test_no_quorum_is_awaited_that_one_person_of_two_ids_cannot_reach() -> None:
    facts = asked(806)
    taps(facts, CONTACT, "no", 2)
    apply(facts, MERGES[0], 3)
    assert outcome(facts) == (Ending.DONE, True)


def test_the_first_of_two_different_answers_of_one_person_counts() -> None:
    facts = asked(806, 807)
    taps(facts, CONTACT, "no", 2)
    taps(facts, FIRST, "yes", 3)
    apply(facts, MERGES[0], 4)
    assert [(given.answer, given.final) for given in the_chain(facts).answers] == [("no", True), ("yes", False)]
    taps(facts, OTHER, "yes", 5)
    assert the_chain(facts).closing is not Ending.ANSWERED


# ------------------------------------------------------------------ one message to two ids

HELD, REQUESTED, UNCERTAIN = DeliveryState.HELD, DeliveryState.REQUESTED, DeliveryState.UNCERTAIN
ACCEPTED, DELIVERED = DeliveryState.ACCEPTED, DeliveryState.DELIVERED
FAILED, WITHDRAWN = DeliveryState.FAILED, DeliveryState.WITHDRAWN
TOMORROW = 24 * 60


def asked_twice(mine: DeliveryState, theirs: DeliveryState, hours: tuple[int, int] = (0, 0)) -> Facts:
    """The visitor and the contact have the same question, as far on its way as this; held ones for these hours more."""
    facts = asked(806)
    for person, state, after in ((FIRST, mine, hours[0]), (CONTACT, theirs, hours[1])):
        (question,) = [one for one in questions(facts) if one.person_id == person]
        changed = question.replace(delivery=state)
        if state is HELD:
            changed = changed.replace(held_until=at(TOMORROW + 60 * after), requested_at=None, rendered=None)
        facts.add_chain(the_chain(facts).with_message(changed))
    return facts


def ids_asked(facts: Facts) -> tuple[MessageId, MessageId]:
    """The ids of the visitor's and of the contact's copy, before the merge."""
    mine, theirs = ([one.message_id for one in questions(facts) if one.person_id == who] for who in (FIRST, CONTACT))
    return mine[0], theirs[0]


def merged(facts: Facts) -> list[MessageId]:
    """Merges the visitor into the contact; returns the messages that are withdrawn from the dispatcher."""
    decision = decider().decide(event_of(MERGES[0], 3), facts, at(3))
    facts.apply_changes(decision.changes)
    return [effect.message_id for effect in decision.effects if isinstance(effect, WithdrawMessage)]


def released(facts: Facts, minute: int) -> list[MessageId]:
    facts.read_to = lambda _: at(minute)
    decision = decider().decide_due(the_chain(facts), facts, at(minute))
    facts.apply_changes(decision.changes)
    return [effect.send.message_id for effect in decision.effects if isinstance(effect, RequestedMessage)]


@pytest.mark.parametrize(
    ("mine", "theirs", "is_withdrawn"),
    [
        (HELD, HELD, (False, True)),
        (HELD, REQUESTED, (True, False)),
        (REQUESTED, HELD, (False, True)),
        (UNCERTAIN, HELD, (False, True)),
        (HELD, ACCEPTED, (True, False)),
        (DELIVERED, HELD, (False, True)),
        (REQUESTED, REQUESTED, (False, True)),
        (REQUESTED, UNCERTAIN, (True, False)),
        (DELIVERED, REQUESTED, (False, True)),
        (DELIVERED, ACCEPTED, (False, False)),
        (FAILED, HELD, (False, False)),
        (REQUESTED, FAILED, (False, False)),
        (WITHDRAWN, REQUESTED, (False, False)),
    ],
)
def test_of_one_message_to_two_ids_of_a_person_the_copy_goes_that_is_further_on_its_way(
    mine: DeliveryState, theirs: DeliveryState, is_withdrawn: tuple[bool, bool]
) -> None:
    facts = asked_twice(mine, theirs)
    copies = ids_asked(facts)
    sent_for = merged(facts)
    for copy, state, needless in zip(copies, (mine, theirs), is_withdrawn, strict=True):
        message = the_chain(facts).message(copy)
        assert message is not None
        assert message.delivery is (WITHDRAWN if needless and state is HELD else state)
        assert (copy in sent_for) is (needless and state is not HELD)


def test_of_two_held_copies_the_one_that_may_go_first_is_released_once() -> None:
    facts = asked_twice(HELD, HELD, hours=(1, 0))
    mine, theirs = ids_asked(facts)
    merged(facts)
    assert released(facts, TOMORROW) == [theirs]
    assert released(facts, TOMORROW + 60) == []
    assert mine != theirs


def test_a_copy_that_the_dispatcher_gave_back_leaves_the_other_to_be_answered() -> None:
    facts = asked_twice(REQUESTED, REQUESTED)
    mine, theirs = ids_asked(facts)
    assert merged(facts) == [theirs]
    apply(facts, MessageWithdrawn(message_id=theirs, person_id=CONTACT, at=at(4), reason="merged"), 4)
    chain = the_chain(facts)
    assert (chain.active, chain.steps[0].left_out, chain.steps[0].unreached) == (True, {}, False)
    question = chain.message(mine)
    assert question is not None
    apply(facts, button_tap(question, "yes", at(5)), 5)
    assert outcome(facts) == (Ending.ANSWERED, True)


def test_two_steps_or_two_occurrences_of_one_question_are_no_copies() -> None:
    facts = asked_twice(HELD, HELD)
    (theirs,) = [one for one in questions(facts) if one.person_id == CONTACT]
    facts.add_chain(the_chain(facts).with_message(theirs.replace(occurrence=1)))
    merged(facts)
    assert {one.delivery for one in questions(facts)} == {HELD}


def test_two_messages_to_one_id_and_one_to_the_other_become_two() -> None:
    facts = asked_twice(HELD, HELD)
    (theirs,) = [one for one in questions(facts) if one.person_id == CONTACT]
    second = theirs.replace(message_id=MessageId("another"))
    facts.add_chain(the_chain(facts).with_message(second))
    merged(facts)
    assert [one.delivery for one in questions(facts)].count(HELD) == 2


def test_replies_to_what_each_id_has_written_both_go() -> None:
    facts = asked_twice(REQUESTED, REQUESTED)
    for one in questions(facts):
        facts.add_chain(the_chain(facts).with_message(one.replace(reply=True, buttons=())))
    assert merged(facts) == []


def test_the_copy_that_goes_stands_for_all_whom_either_stood_for() -> None:
    facts = asked_twice(HELD, REQUESTED)
    _, theirs = ids_asked(facts)
    question = the_chain(facts).message(theirs)
    assert question is not None
    facts.add_chain(the_chain(facts).with_message(question.replace(on_behalf_of=OTHER)))
    merged(facts)
    question = the_chain(facts).message(theirs)
    assert question is not None
    assert question.holders == (OTHER, CONTACT)


@pytest.mark.parametrize("state", [HELD, REQUESTED])
def test_a_copy_of_what_an_ending_tells_is_withdrawn_and_the_chain_ends(state: DeliveryState) -> None:
    """A chain is closing while a message of its ending is held, and ended while the dispatcher has it."""
    facts = asked_twice(DELIVERED, state)
    told = [one.replace(say="ex_told", buttons=(), answer="yes", rendered=None) for one in questions(facts)]
    chain = the_chain(facts).replace(messages=tuple(told)).close(Ending.ANSWERED)
    facts.add_chain(chain.finish() if state is REQUESTED else chain)
    needless = told[1].message_id
    assert merged(facts) == ([needless] if state is REQUESTED else [])
    assert the_chain(facts).ended is Ending.ANSWERED
