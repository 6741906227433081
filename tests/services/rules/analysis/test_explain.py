"""A recorded decision in words: its conditions with their values, who was chosen and left out, what comes next."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.rules.analysis.explain import (
    Explanation,
    RuleJudgement,
    coming_steps,
    condition_lines,
    explain,
    why_not_by_chain,
    why_not_by_conditions,
)
from services.rules.analysis.recorded_stories import RecordingDecider
from services.rules.analysis.replay import Replayer
from services.rules.conversation.chain import Chain
from services.rules.conversation.document import Document, document_of
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Field, NoneOf, Operator
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_world import TENANT
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.whatsapp import MessageKind, MessageReceived
from tests.services.rules.stories import own_rulebook, story

START = datetime(2027, 3, 3, 10, tzinfo=UTC)
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


def test_what_comes_next_has_its_step_place_and_time() -> None:
    explained = _explained("event: rights.approval_requested\n      with: {rights_holder: 812}")
    explanation, facts = explained[0]
    coming = list(coming_steps(_chain(explained), facts, own_rulebook(), explanation.decided_at))
    assert "remind unanswered with rights_reminder" in coming[0]
    assert "rights/rights-approval.rule.yaml:" in coming[0]
    assert "2027-03-05" in coming[0]


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


def test_failing_conditions_are_the_answer_to_why_not() -> None:
    lines = tuple(condition_lines(Compare("work.title", Operator.IS, "Another"), _asked()))
    found = why_not_by_conditions(RuleJudgement("a-rule", held=False, lines=lines), "rights.approval_requested", START)
    assert found.sentences == [
        "rights.approval_requested came at 2027-03-03 10:00Z, but the rule’s conditions did not hold:",
        "work.title is Another: it was work.title: A Grammar of Tides",
    ]
