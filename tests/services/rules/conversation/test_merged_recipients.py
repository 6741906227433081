"""Two people of one chain turn out to be one person: an answer by either id is the answer of that person."""

from functools import cache

import orjson

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, Ending
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
from shared.contracts.ids import PersonId
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
    """A visitor is asked as the holder of the rights, and contacts as the authors."""
    known = [*map(person_observed, STAFF), *map(visitor, VISITORS), *map(person_observed, (806, 807))]
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
