"""The coverage of stories, of one rule of the shipped ones and of all."""

from services.rules.rulebook.model import Rulebook
from services.rules.scenario.coverage import CoverageKind, CoverageResult, StoryCoverage
from services.rules.scenario.player import run_story
from services.rules.scenario.story_file import Story
from tests.services.rules.stories import own_rulebook, story

PEOPLE = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "event: rights.approval_requested"


def cover(book: Rulebook, *stories: Story, rule: str = "rights-approval") -> CoverageResult:
    coverage = StoryCoverage.of(book, [rule])
    for one in stories:
        assert run_story(one, book, coverage).faults == ()
    return coverage.result


def names(result: CoverageResult, kind: CoverageKind) -> set[str]:
    return {item.name.removeprefix("rights-approval: ") for item in result.covered if item.kind is kind}


def test_nothing_is_covered_without_stories() -> None:
    result = cover(own_rulebook())
    assert result.covered == frozenset()
    assert result.percent == 0


def test_a_story_covers_the_rule_the_steps_the_answers_and_the_languages_it_came_to() -> None:
    taps = ("reply: {from: 812, button: approve}", "expect: [{tell: 812}, {record: rights.record_decision}]")
    result = cover(own_rulebook(), story(PEOPLE, ASKED, "expect: [{ask: 812}]", *taps))
    assert names(result, CoverageKind.RULE) == {"rights-approval starts"}
    assert names(result, CoverageKind.STEP) == {"step 1, ask"}
    assert names(result, CoverageKind.ANSWER) == {"step 1, ask: answer “approve”"}
    assert names(result, CoverageKind.LANGUAGE) == {"rights_request in “en”"}


def test_the_answer_to_a_reminder_is_one_to_its_question() -> None:
    waiting = ("wait: 3 days", "expect: [{ask: 812}, {remind: 812}]", "reply: {from: 812, button: question}")
    result = cover(own_rulebook(), story(PEOPLE, ASKED, *waiting))
    assert names(result, CoverageKind.ANSWER) == {"step 1, ask: answer “question”"}
    assert names(result, CoverageKind.STEP) == {"step 1, ask", "step 2, remind"}


def test_a_person_left_out_covers_the_reason() -> None:
    stopped = PEOPLE.replace("GB}", "GB, opted_out: true}", 1)
    result = cover(own_rulebook(), story(stopped, ASKED))
    assert names(result, CoverageKind.REASON) == {"opted_out"}


def test_a_condition_has_two_branches_and_so_has_each_of_its_comparisons() -> None:
    asked = "{event: rights.approval_requested}"
    changed = "{event: rights.request_changed, with: {new_terms_hash: other}}"
    result = cover(own_rulebook(), story(PEOPLE, asked, "expect: [{ask: 812}]", changed))
    assert names(result, CoverageKind.BRANCH) == {"until 1 is true"}
    first = StoryCoverage.of(own_rulebook(), ["launch-ready"]).result
    branches = sorted(item.name for item in first.items if item.kind is CoverageKind.BRANCH and ": if" in item.name)
    assert branches == [
        "launch-ready: if is false",
        "launch-ready: if is true",
        "launch-ready: if: days_to.pub_date less_than is false",
        "launch-ready: if: days_to.pub_date less_than is true",
        "launch-ready: if: launch.complete is is false",
        "launch-ready: if: launch.complete is is true",
    ]


def test_the_condition_of_a_write_that_follows_is_a_branch_too() -> None:
    tap = "reply: {from: 812, button: approve}"
    written = "written: {record: rights.record_decision, as: verified}"
    result = cover(own_rulebook(), story(PEOPLE, ASKED, tap, written))
    unless = "step 1, ask: answer “approve”: rights.advance_workflow unless"
    assert names(result, CoverageKind.BRANCH) == {f"{unless} is false"}


def test_the_whole_rulebook_includes_the_texts_of_the_house_and_one_rule_does_not() -> None:
    def texts(result: CoverageResult) -> set[str]:
        return {item.name for item in result.items if item.kind is CoverageKind.LANGUAGE}

    assert "noted in “fr”" in texts(StoryCoverage.of(own_rulebook()).result)
    assert "noted in “fr”" not in texts(StoryCoverage.of(own_rulebook(), ["rights-approval"]).result)
