"""Rule folders, rule files and stories: right ones do what they state, wrong ones are refused with the place."""

import re
import shutil
from pathlib import Path

import pytest

from services.rules.rulebook.rule_folder import SINGLES, read_folder
from services.rules.scenario.folder_check import Checked, check_files, check_folder
from services.rules.scenario.player import play_story
from tests.cases.case_folders import ROOT, CaseKind, cases_of, copy_shared_rule_files
from tests.cpu_time import at_most

PLACE = re.compile(r"\S.*:[1-9]\d*:[1-9]\d*: .+")
AT_ONCE = 10
"""Seconds of this process, for what should take a fraction of one."""


@pytest.mark.parametrize("folder", cases_of(CaseKind.RULES), ids=lambda path: path.name)
def test_a_rule_folder_does_what_its_story_states(folder: Path, tmp_path: Path) -> None:
    """Or is refused, where it brings a faulty file of the publisher."""
    laid = copy_shared_rule_files(tmp_path / "rules")
    shutil.copytree(folder, laid, dirs_exist_ok=True)
    proof = check_folder(laid)
    if proof.faults:
        _assert_refused(folder, proof)
        return
    assert proof.stories
    assert [str(fault) for story in proof.stories for fault in play_story(story, proof.rulebook)] == []


def _assert_refused(folder: Path, proof: Checked) -> None:
    """All faults are in a publisher's file that the case brings; its rules and stories have none."""
    brought = {path.name for path in folder.rglob("*.yaml")} & set(SINGLES)
    assert {fault.location.file for fault in proof.faults} <= brought, [str(fault) for fault in proof.faults]
    assert all(PLACE.fullmatch(str(fault)) for fault in proof.faults)


def test_an_unknown_subdivision_is_refused_with_the_known_ones_and_works_when_corrected(tmp_path: Path) -> None:
    folder = next((each for each in cases_of(CaseKind.RULES) if "unknown-subdivision" in each.name), None)
    if folder is None:
        pytest.skip("there is no such case")
    laid = copy_shared_rule_files(tmp_path / "rules")
    shutil.copytree(folder, laid, dirs_exist_ok=True)
    faults = [str(fault) for fault in check_folder(laid).faults]
    assert len(faults) == 1
    assert faults[0].startswith("calendar.yaml:1:")
    assert all(known in faults[0] for known in ("ENG", "NIR", "SCT", "WLS"))
    calendar = laid / "calendar.yaml"
    calendar.write_text(calendar.read_text("utf-8").replace("ENGLAND", "ENG"), "utf-8")
    proof = check_folder(laid)
    assert [str(fault) for fault in proof.faults] == []
    assert [str(fault) for story in proof.stories for fault in play_story(story, proof.rulebook)] == []


@pytest.mark.parametrize("folder", cases_of(CaseKind.FILES), ids=lambda path: path.name)
def test_faulty_rule_files_are_reported_with_the_place_at_once(folder: Path, tmp_path: Path) -> None:
    for file, text in read_folder(folder).items():
        with at_most(AT_ONCE):
            faults = [str(fault) for fault in check_files({file: text}, tested=False).faults]
        own = [fault for fault in faults if fault.startswith(f"{file}:")]
        assert own
        assert all(PLACE.fullmatch(fault) for fault in own)
        laid = copy_shared_rule_files(tmp_path / file)
        shutil.copy(folder / file, laid / Path(file).name)
        assert check_folder(laid, tested=False).faults


@pytest.mark.parametrize("folder", cases_of(CaseKind.STORY), ids=lambda path: path.name)
def test_a_story_about_the_shipped_rules_can_be_played(folder: Path, tmp_path: Path) -> None:
    """Under the name of a shipped rule; test_messages.py asserts the effects."""
    laid = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", laid, ignore=shutil.ignore_patterns("*.test.yaml"))
    shutil.copy(folder / "story.test.yaml", laid / "deadline-reminders.test.yaml")
    proof = check_folder(laid)
    own = [fault for fault in proof.faults if fault.location.file == "deadline-reminders.test.yaml"]
    assert [str(fault) for fault in own] == []
    assert [str(fault) for story in proof.stories for fault in play_story(story, proof.rulebook)] == []
