"""Unknown words in a story, and steps that are impossible, are faults at their line."""

import pytest

from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import read_stories
from tests.cpu_time import at_most
from tests.services.rules.rulebooks import good_files
from tests.services.rules.stories import HEAD, own_rulebook


def story(people: str, *steps: str) -> str:
    return HEAD.format(people=f"    {people}", play="\n".join(f"    - {step}" for step in steps))


@pytest.mark.parametrize(
    ("person", "sentence"),
    [
        ("812: {roles: [rigths_holder]}", "there is no role “rigths_holder” (did you mean “rights_holder”?)"),
        ("812: {team: rigths}", "people.yaml has no team “rigths” (did you mean “rights”?)"),
        (
            "812: {country: UK}",
            "“UK” is no country; use its two capital letters of ISO 3166, like GB (did you mean “GB”?)",
        ),
        (
            "812: {language: english}",
            "“english” is no language; use its code of ISO 639, like en or en_GB (did you mean “en”?)",
        ),
        (
            "812: {zone: Paris}",
            "“Paris” is no time zone; write a place, like Europe/London (did you mean “Europe/Paris”?)",
        ),
    ],
)
def test_unknown_words_about_a_person_are_faults_at_their_place(person: str, sentence: str) -> None:
    files = good_files() | {"rights/permission.test.yaml": story(person, "expect: nothing")}
    reported = [str(fault) for fault in check_files(files).faults]
    assert len(reported) == 1
    assert reported[0].startswith("rights/permission.test.yaml:4:")
    assert reported[0].endswith(sentence)


@pytest.mark.parametrize(
    "step",
    [
        "facts: {launch.front_cover: blue}",
        "facts: {work.open_blocks: 99999999999}",
        "facts: {days_to.pub_date: 99999999999}",
        "facts: {rights.open_requests: 99999999999}",
        "facts: {rights.colour: blue}",
        "facts: {work.title: [1, 2]}",
        "facts: {work.colour: blue}",
        "event: work.blocked\n      with: {colour: blue}",
        "event: work.blocked\n      with: {block_id: null}",
    ],
)
def test_an_impossible_step_is_a_fault_at_once(step: str) -> None:
    with at_most(5):
        stories, faults = read_stories(
            {"blocked-title.test.yaml": story("812: {roles: [author]}", "event: work.blocked", step)}
        )
        reported = faults or [fault for each in stories for fault in play_story(each, own_rulebook())]
        assert [fault.location.line for fault in reported] == [7]


@pytest.mark.parametrize("instant", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_an_instant_outside_the_known_years_is_a_fault(instant: str) -> None:
    _, faults = read_stories({"a.test.yaml": story("812: {}", f"wait until: {instant}")})
    assert [str(fault) for fault in faults] == ["a.test.yaml:6:19: this instant lies outside of 1970 to 2199"]


def test_the_names_in_a_story_are_looked_up_at_once_and_beside_other_faults() -> None:
    steps = (
        "event: rights.approval_requested\n      with: {respnd_by: 2027-03-19}",
        "expect: [{ask: 813, say: permision_request}]",
        "reply: {from: 812, button: aprove}",
        "wait until: 2026-01-01T10:00:00Z",
    )
    files = good_files() | {
        "rights/permission.test.yaml": story("812: {roles: [rights_holder]}", *steps),
        "calendar.yaml": good_files()["calendar.yaml"].replace("GB", "UK"),
    }
    reported = [fault for fault in check_files(files).faults if fault.location.file.endswith(".test.yaml")]
    assert [(fault.location.line, fault.hint) for fault in reported] == [
        (7, "respond_by"),
        (8, "812"),
        (8, "permission_request"),
        (9, "approve"),
        (10, None),
    ]


def test_a_name_is_not_looked_up_where_the_files_that_may_declare_it_have_faults() -> None:
    steps = (
        "event: rights.approval_requested",
        "expect: [{ask: 812, say: permission_request}]",
        "reply: {from: 812, button: approve}",
    )
    files = good_files() | {
        "rights/permission.test.yaml": story("812: {roles: [rights_holder]}", *steps),
        "rights/permission_request.template.yaml": "template: [",
    }
    reported = {fault.location.file for fault in check_files(files).faults}
    assert reported == {"rights/permission_request.template.yaml"}
