from collections.abc import Sequence

import pytest

from services.rules.conversation.chain import Chain
from services.rules.conversation.facts import Facts
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story, read_stories
from shared.contracts.values import decode, encode
from tests.services.rules.stories import FOLDER, own_rulebook, story, story_faults

HOLDER = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "event: rights.approval_requested"


def own_stories() -> Sequence[Story]:
    texts = {file.relative_to(FOLDER).as_posix(): file.read_text("utf-8") for file in FOLDER.rglob("*.test.yaml")}
    stories, wrong = read_stories(texts)
    assert not wrong
    return stories


def test_every_chain_of_the_stories_decodes_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Chain] = []
    hold = Facts.add_chain

    def keep(facts: Facts, chain: Chain) -> None:
        kept.append(chain)
        hold(facts, chain)

    monkeypatch.setattr(Facts, "add_chain", keep)
    for each in own_stories():
        play_story(each, own_rulebook())
    assert len(kept) > len(own_stories())
    assert [chain for chain in kept if decode(Chain, encode(chain)) != chain] == []


def test_the_shipped_stories_have_no_faults() -> None:
    assert [str(fault) for each in own_stories() for fault in play_story(each, own_rulebook())] == []


def test_a_missing_effect_is_reported_beside_the_observed_ones() -> None:
    (sentence,) = story_faults(HOLDER, ASKED, "expect: [{ask: 812, language: fr}]")
    assert sentence == (
        "goes so: expected {ask: 812, language: fr}; what happened: {ask: 812, say: rights_request, language: en}"
    )


def test_an_unexpected_effect_is_reported() -> None:
    assert story_faults(HOLDER, ASKED, "expect: nothing") == [
        "goes so: also happened: {ask: 812, say: rights_request, language: en}"
    ]


def test_a_missing_effect_is_reported_at_its_own_line() -> None:
    (fault,) = play_story(story(HOLDER, ASKED, "expect: [{ask: 812}, {ask: 40}]"), own_rulebook())
    assert (fault.location.file, fault.location.line) == ("rights-approval.test.yaml", 8)


def test_two_expected_effects_never_match_the_same_one() -> None:
    (sentence,) = story_faults(HOLDER, ASKED, "expect: [{ask: 812}, {ask: 812, say: rights_request}]")
    assert "expected {ask: 812" in sentence


def test_a_wider_expectation_leaves_the_narrower_its_match() -> None:
    two = (
        "{event: rights.approval_requested, with: {request_id: A, rights_holder: 812}}",
        "{event: rights.approval_requested, with: {request_id: B, rights_holder: 813}}",
    )
    people = "812: {roles: [rights_holder], country: GB}\n813: {roles: [rights_holder], country: FR}"
    assert story_faults(people, *two, "expect: [{ask: 813, say: rights_request}, {ask: 812}]") == []


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("reply: {from: 999, text: Hello}", "999 is not among the people of this story"),
        ("reply: {from: 812, button: approve}", "812 has got no message with a button “approve”"),
        ("written: {record: metadata.apply, as: verified}", "no metadata.apply has been asked for that is not settled"),
        ("wait until: 2027-03-01T00:00:00Z", "it is 2027-03-03T10:00:00Z already"),
        ("facts: {sender.known: true}", "of a sender only open_acquisition is a fact; the rest is in “people”"),
        (
            "{event: rights.approval_requested, with: {respond_by: soon}}",
            "there is no such event: respond_by: it is no date, like 2027-03-19",
        ),
        (
            "{event: rights.approval_requested, with: {request_id: 7}}",
            "there is no such event: request_id: it is a whole number; a text belongs here",
        ),
        (
            "{event: rights.approval_requested, with: {rights_holder: null}}",
            "there is no such event: rights_holder: it is missing",
        ),
    ],
)
def test_a_step_that_cannot_be_played_is_reported(step: str, sentence: str) -> None:
    (said,) = story_faults(HOLDER, step)
    assert said.startswith(f"goes so: {sentence}")


def test_an_event_may_name_a_person_unknown_to_rules() -> None:
    people = "40: {roles: [rights_manager], country: GB}"
    expected = "expect: [{left_out: {812: unknown_person}}, {hand_over: 40, say: rights_unanswered}]"
    assert story_faults(people, ASKED, expected) == []
