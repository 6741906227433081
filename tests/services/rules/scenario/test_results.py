"""A played story shows its steps with their business time, and the first difference side by side."""

from services.rules.scenario.comparison import EffectRow, ObservedEffect
from services.rules.scenario.player import run_story
from services.rules.scenario.story_file import EffectKind
from shared.contracts.writes import WriteOperation
from tests.services.rules.stories import own_rulebook, story

PEOPLE = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "event: rights.approval_requested"


def rows_of(*steps: str) -> tuple[EffectRow, ...]:
    return run_story(story(PEOPLE, *steps), own_rulebook()).steps[-1].rows


def test_a_story_that_passes_shows_all_its_steps_at_their_time() -> None:
    result = run_story(story(PEOPLE, ASKED, "expect: [{ask: 812}]", "wait: 3 hours"), own_rulebook())
    assert result.passed
    assert [f"{step.at:%H:%M}" for step in result.steps] == ["10:00", "10:00", "13:00"]


def test_an_expected_effect_stands_beside_the_most_similar_that_happened() -> None:
    assert rows_of(ASKED, "expect: [{tell: 40}, {ask: 813, say: rights_request}]") == (
        EffectRow("{tell: 40}", None),
        EffectRow("{ask: 813, say: rights_request}", "{ask: 812, say: rights_request, language: en}"),
    )


def test_expected_effects_stand_beside_unexpected_ones() -> None:
    assert rows_of(
        ASKED,
        "expect: [{ask: 812}]",
        "reply: {from: 812, button: approve}",
        "expect: [{tell: 812}, {record: rights.record_decision, with: {decision: declined}}]",
    ) == (
        EffectRow("{tell: 812}", "{tell: 812, say: noted, language: en}", same=True),
        EffectRow(
            "{record: rights.record_decision, with: {decision: declined}}",
            "{record: rights.record_decision, with: {decision: approved}}",
        ),
    )


def test_an_effect_without_expectation_stands_alone() -> None:
    assert rows_of(ASKED, "expect: nothing") == (EffectRow(None, "{ask: 812, say: rights_request, language: en}"),)


def test_nothing_is_played_after_the_first_difference() -> None:
    result = run_story(story(PEOPLE, ASKED, "expect: nothing", "wait: 3 hours"), own_rulebook())
    assert not result.passed
    assert len(result.steps) == 2


def test_an_effect_is_written_as_a_story_writes_it() -> None:
    effect = ObservedEffect(EffectKind.RECORD, record=WriteOperation.RECORD_DECISION, values={"needs_signature": False})
    assert str(effect) == "{record: rights.record_decision, with: {needs_signature: false}}"
