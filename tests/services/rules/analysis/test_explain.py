"""A recorded decision in words: its conditions with their values, who was chosen and left out, what comes next."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from services.rules.analysis.explain import (
    Explanation,
    RuleJudgement,
    coming_steps,
    condition_lines,
    explain,
    message_sentence,
    why_not_by_chain,
    why_not_by_conditions,
)
from services.rules.analysis.recorded_stories import RecordingDecider
from services.rules.analysis.replay import Replayer
from services.rules.conversation.chain import Chain, DeliveryState
from services.rules.conversation.document import Document, document_of
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Field, NoneOf, Operator
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_world import TENANT
from shared.contracts.ids import ContactId, Line, MessageId, PersonId, Wamid, person_id_of_contact
from shared.contracts.whatsapp import MessageKind, MessageReceived
from tests.services.rules.stories import own_rulebook, story

START = datetime(2027, 3, 3, 10, tzinfo=UTC)
NIGHT = "wait until: 2027-03-03T23:00:00Z"
PEOPLE = """\
812: {roles: [rights_holder], country: GB, language: en}
813: {roles: [rights_holder], country: GB, opted_out: true}
40: {roles: [rights_manager], country: GB}
"""


def _explained(*steps: str, rule: str = "rights-approval", people: str = PEOPLE) -> list[tuple[Explanation, Facts]]:
    told = story(people, *steps, rule=rule)
    player = StoryPlayer.of(told, own_rulebook())
    known = player.simulation.decider
    decider = RecordingDecider(known.rulebook, known.rulebook_at, known.matcher, known.zone_of, known.signing_keys)
    player.simulation.decider = decider
    for step in told.steps:
        player.play(step)
    replayer = Replayer(lambda _: known.rulebook)
    return [explain(one, replayer, decider.documents.__getitem__) for one in decider.inputs]


def _chain(explained: Sequence[tuple[Explanation, Facts]]) -> Chain:
    return explained[-1][0].chains[-1]


def test_a_decision_is_explained_by_its_event_rule_and_people() -> None:
    explanation, _ = _explained("event: rights.approval_requested\n      with: {rights_holder: 812}")[0]
    assert explanation.event == "rights.approval_requested"
    assert explanation.repeated
    assert [one.rule for one in explanation.judgements if one.held] == ["rights-approval"]
    assert any("a chain began" in sentence for sentence in explanation.verdicts)
    assert any("rights_request" in sentence for sentence in explanation.people)


def test_a_person_left_out_is_named_with_the_reason_in_a_sentence() -> None:
    explained = _explained("event: rights.approval_requested\n      with: {rights_holder: 813}")
    assert any("wrote STOP" in sentence and "opted_out" in sentence for sentence in explained[0][0].people)
    left_out = next(who for state in _chain(explained).steps for who in state.left_out)
    found = why_not_by_chain(_chain(explained), None, PersonId(left_out))
    assert not found.got
    assert "wrote STOP" in found.sentences[0]


def test_coming_steps_are_shown_with_verb_place_and_time() -> None:
    explained = _explained("event: rights.approval_requested\n      with: {rights_holder: 812}")
    explanation, facts = explained[0]
    coming = list(coming_steps(_chain(explained), facts, own_rulebook(), explanation.decided_at))
    assert "remind unanswered with rights_reminder" in coming[0]
    assert "rights/rights-approval.rule.yaml:" in coming[0]
    assert "2027-03-05" in coming[0]


def test_a_message_that_waits_for_the_morning_comes_next() -> None:
    explained = _explained(NIGHT, "event: rights.approval_requested\n      with: {rights_holder: 812}")
    explanation, facts = explained[-1]
    first, second, *_ = coming_steps(_chain(explained), facts, own_rulebook(), explanation.decided_at)
    assert first.endswith(" gets “rights_request” at 2027-03-04 09:00Z, in open hours")
    assert second.startswith("step 2 (remind unanswered")


def test_a_decision_on_several_chains_says_of_each_person_by_which_rule() -> None:
    approval, wrong_person = (
        "event: rights.approval_requested\n      with: {rights_holder: 812}",
        "reply: {from: 812, text: Wrong number}",
    )
    decided = _explained(approval, wrong_person)[-1][0]
    assert len({chain.rule for chain in decided.chains}) == len(decided.chains) > 1
    rules = {sentence.partition(": ")[0] for sentence in decided.people}
    assert rules == {chain.rule for chain in decided.chains}


def test_a_decision_on_several_chains_of_one_rule_says_what_each_is_about() -> None:
    asked = "event: rights.approval_requested\n      with: {request_id: R-%d, rights_holder: 812}"
    decided = _explained(asked % 1, asked % 2, "reply: {from: 812, text: Wrong number}")[-1][0]
    for number in (1, 2):
        label = f"rights-approval about request_id=R-{number}"
        assert any(sentence.startswith(f"{label}, step ") for sentence in decided.verdicts)
        assert any(sentence.startswith(f"{label}: ") and "left out" in sentence for sentence in decided.people)


def test_of_an_absent_person_it_is_said_who_got_the_message_in_their_place() -> None:
    people = (
        f"{PEOPLE}41: {{roles: [rights_manager], stands_in_for: 40, from: 2027-03-01, to: 2027-03-12, country: GB}}\n"
    )
    asked = "event: rights.approval_requested\n      with: {rights_holder: 812}"
    explained = _explained(asked, "reply: {from: 812, text: Wrong number}", people=people)
    chain = next(chain for chain in explained[-1][0].chains if chain.rule == "rights-approval")
    left_out, in_their_place = why_not_by_chain(chain, None, person_id_of_contact(TENANT, ContactId(40))).sentences
    assert left_out == "They were left out of step 3: the person is away (absent)."
    assert in_their_place.startswith("Another person stands in for them: ")
    assert "was chosen for “rights_unanswered”" in in_their_place


def test_a_message_sent_within_a_digest_is_described_so() -> None:
    message = _chain(_explained("event: rights.approval_requested\n      with: {rights_holder: 812}")).messages[0]
    assert "within a digest" in message_sentence(message.replace(digest=MessageId("d1")))
    assert "digest" not in message_sentence(message)


def test_each_condition_is_shown_with_the_value_it_was_judged_by() -> None:
    condition = AllOf(
        (
            Compare("work.title", Operator.IS, "Another"),
            AnyOf(
                (
                    Compare("request_id", Operator.EXISTS, operand=True),
                    Compare("respond_by", Operator.EXISTS, operand=False),
                )
            ),
            NoneOf(Compare("work.title", Operator.ONE_OF, ("A", "B"))),
        )
    )
    lines = list(condition_lines(condition, _asked()))
    assert [(line.text, line.holds, line.depth) for line in lines] == [
        ("work.title is Another", False, 0),
        ("any of", True, 0),
        ("request_id exists", True, 1),
        ("respond_by does not exist", False, 1),
        ("not", True, 0),
        ("work.title is one of [A, B]", False, 1),
    ]
    assert lines[0].value == "work.title: A Grammar of Tides"


def test_a_condition_on_what_a_person_wrote_does_not_show_it() -> None:
    received = MessageReceived(
        line=Line("main"), person_id=PersonId("p1"), message_id=Wamid("wamid.1"), message_kind=MessageKind.TEXT,
        text="My phone is broken", at=START,
    )  # fmt: skip
    values = Document(received, Facts(TENANT), own_rulebook().calendar, START)
    (line,) = condition_lines(Compare("text", Operator.CONTAINS, "phone"), values)
    assert line.holds
    assert line.value == "text: there is one, which is not shown"
    (same,) = condition_lines(Compare("line", Operator.IS, Field("text")), values)
    assert "broken" not in same.text


def test_only_conditions_that_count_are_the_answer_to_why_not() -> None:
    never = Compare("work.title", Operator.IS, "Another")
    condition = AllOf((NoneOf(never), AnyOf((never, Compare("request_id", Operator.EXISTS, operand=True))), never))
    lines = tuple(condition_lines(condition, _asked()))
    found = why_not_by_conditions(RuleJudgement("a-rule", held=False, lines=lines), "rights.approval_requested", START)
    assert found.sentences[1:] == ["work.title is Another: it was work.title: A Grammar of Tides"]
    lines = tuple(condition_lines(NoneOf(Compare("request_id", Operator.EXISTS, operand=True)), _asked()))
    found = why_not_by_conditions(RuleJudgement("a-rule", held=False, lines=lines), "rights.approval_requested", START)
    assert found.sentences[1:] == ["not", "  request_id exists: it was request_id: R-9"]


def _asked() -> Document:
    explained = _explained("event: rights.approval_requested\n      with: {rights_holder: 812}")
    explanation, facts = explained[0]
    return document_of(_chain(explained), facts, own_rulebook().calendar, explanation.decided_at)


def test_a_person_who_got_the_message_is_told_so() -> None:
    explained = _explained("event: rights.approval_requested\n      with: {rights_holder: 812}")
    asked = _chain(explained).messages[0]
    found = why_not_by_chain(_chain(explained), None, asked.person_id)
    assert found.got
    assert found.sentences[0].startswith("It did")


@pytest.mark.parametrize("lost", [DeliveryState.FAILED, DeliveryState.DROPPED, DeliveryState.WITHDRAWN])
def test_a_person_whom_no_message_reached_is_not_said_to_have_got_one(lost: DeliveryState) -> None:
    explained = _explained("event: rights.approval_requested\n      with: {rights_holder: 812}")
    chain = _chain(explained)
    asked = chain.messages[0]
    chain = chain.with_message(asked.replace(delivery=lost)).exclude(0, {asked.person_id: "unreachable"})
    found = why_not_by_chain(chain, None, asked.person_id)
    assert not found.got
    tried, left_out = found.sentences
    assert tried.startswith("It tried, and no message reached them: ")
    assert tried.endswith(f"{lost}.")
    assert left_out.startswith("They were left out of step 1: ")


def test_failing_conditions_are_the_answer_to_why_not() -> None:
    lines = tuple(condition_lines(Compare("work.title", Operator.IS, "Another"), _asked()))
    found = why_not_by_conditions(RuleJudgement("a-rule", held=False, lines=lines), "rights.approval_requested", START)
    assert found.sentences == [
        "rights.approval_requested came at 2027-03-03 10:00Z, but the rule’s conditions did not hold:",
        "work.title is Another: it was work.title: A Grammar of Tides",
    ]
