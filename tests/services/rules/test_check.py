import gc
import json
import re
from pathlib import Path
from weakref import ref

import pytest

from ops.command_line import ExitCode
from services.rules.rollout.sources import read_content
from services.rules.rulebook import rule_folder
from services.rules.rulebook.field_validation import present_if, present_unless
from services.rules.rulebook.loader import SCHEMAS
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Condition, Field, NoneOf, Operator
from services.rules.rulebook.rule_folder import STORIES, read_folder
from services.rules.scenario.comparison import ObservedEffect
from services.rules.scenario.folder_check import FolderCheck, check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import good_files

THERE = Compare("a", Operator.EXISTS, operand=True)
GONE = Compare("a", Operator.EXISTS, operand=False)
EQUAL = Compare("b", Operator.IS, Field("c"))


@pytest.mark.parametrize(
    ("condition", "if_it_holds", "if_not"),
    [
        (None, set(), set()),
        (THERE, {"a"}, set()),
        (GONE, set(), {"a"}),
        (EQUAL, {"b", "c"}, set()),
        (AllOf((THERE, EQUAL)), {"a", "b", "c"}, set()),
        (AnyOf((THERE, EQUAL)), set(), set()),
        (AnyOf((THERE, AllOf((THERE, EQUAL)))), {"a"}, set()),
        (NoneOf(GONE), {"a"}, set()),
        (AnyOf((GONE, NoneOf(EQUAL))), set(), {"a", "b", "c"}),
    ],
)
def test_a_condition_guards_the_fields_it_needs(
    condition: Condition | None, if_it_holds: set[str], if_not: set[str]
) -> None:
    assert present_if(condition) == if_it_holds
    assert present_unless(condition) == if_not


def test_a_rule_has_a_story_and_a_story_a_rule() -> None:
    files = good_files()
    files["pitches.test.yaml"] = files.pop("pitch/pitch.test.yaml")
    assert [str(fault) for fault in check_files(files).faults] == [
        "pitches.test.yaml:1:3: there is no rule “pitches” to test (did you mean “pitch”?)",
    ]
    del files["pitches.test.yaml"]
    assert [str(fault) for fault in check_files(files).faults] == [
        "pitch/pitch.rule.yaml:1:1: “pitch” has no story: write pitch.test.yaml beside it",
    ]
    assert check_files(files, tested=False).faults == ()


def test_a_template_that_cannot_be_read_is_not_reported_as_missing_too() -> None:
    files = good_files() | {"rights/permission_void.template.yaml": "template: ["}
    assert [fault.location.file for fault in check_files(files).faults] == ["rights/permission_void.template.yaml"]


def test_the_faults_of_all_files_are_reported_at_once() -> None:
    files = good_files()
    del files["people.yaml"]
    files["limits.yaml"] += "per_people: []\n"
    files["rights/permission.rule.yaml"] = files["rights/permission.rule.yaml"].replace("2 working", "2 werking")
    places = [fault.location.file for fault in check_files(files).faults]
    assert {"people.yaml", "limits.yaml", "rights/permission.rule.yaml"} <= set(places)


def test_the_command_prints_each_fault_with_its_location(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.joinpath("house.yaml").write_text(good_files()["house.yaml"], "utf-8")
    assert run_stet("rules", "check", f"{tmp_path}") == ExitCode.FINDINGS
    said = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}/people.yaml:1:1: the folder has no people.yaml" in said
    assert said[-1].endswith("faults; the stories were not played")


def test_a_folder_without_the_words_of_the_house_has_one_fault() -> None:
    files = {name: text for name, text in good_files().items() if not name.startswith("house/")}
    (fault,) = check_files(files).faults
    assert fault.sentence.startswith("the folder has none of the templates that Stet says by itself")


def test_a_missing_template_of_the_house_is_not_taken_for_another_one_misspelt() -> None:
    files = {name: text for name, text in good_files().items() if not name.endswith("/taken.template.yaml")}
    (fault,) = check_files(files, tested=False).faults
    assert fault.message.startswith("there is no template “taken”, which Stet says by itself")
    assert fault.hint is None
    misspelt = files | {
        "house/takn.template.yaml": good_files()["house/taken.template.yaml"].replace("taken", "takn", 1)
    }
    assert any(fault.hint == "takn" for fault in check_files(misspelt, tested=False).faults)


@pytest.mark.parametrize("verb", ["check", "test", "prove", "owners"])
def test_a_folder_that_holds_no_rules_or_only_a_part_of_them_is_no_finding(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, part = tmp_path / "empty", tmp_path / "rules" / "rights"
    empty.mkdir()
    part.mkdir(parents=True)
    for name, text in good_files().items():
        if name.startswith("rights/") or "/" not in name:
            tmp_path.joinpath("rules", name).write_text(text, "utf-8")
    assert run_stet("rules", verb, f"{empty}") == ExitCode.CANNOT_RUN
    assert run_stet("rules", verb, f"{part}") == ExitCode.CANNOT_RUN
    said = capsys.readouterr().err
    assert "no file of rules is in it" in said
    assert said.endswith(f"name the folder that has house.yaml and people.yaml: {tmp_path / 'rules'}\n")


@pytest.mark.parametrize("verb", ["check", "test", "prove", "owners"])
def test_a_folder_far_above_the_rules_is_no_finding_and_is_not_read(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for checkout in ("one", "two"):
        for name, text in good_files().items():
            path = tmp_path / checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    (tmp_path / "one" / "again").symlink_to(tmp_path)
    monkeypatch.setattr(rule_folder, "_FEW_FILES", 5)
    monkeypatch.setattr(rule_folder, "_read_text", None)
    assert run_stet("rules", verb, f"{tmp_path}") == ExitCode.CANNOT_RUN
    assert f"people.yaml is in several folders below it; name one of them, such as {tmp_path / 'one'}\n" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(rule_folder, "MOST_ENTRIES", 5)
    assert run_stet("rules", verb, f"{tmp_path}") == ExitCode.CANNOT_RUN
    assert "more than 5 files and folders are below it; name the folder that has house.yaml" in capsys.readouterr().err


def test_the_example_rule_of_the_docs_is_valid_beside_the_shipped_rules() -> None:
    copied = re.findall(
        r"`rules/(\S+\.yaml)`:\n\n```yaml\n(.*?)```", Path("docs/rules/first-rule.md").read_text("utf-8"), re.DOTALL
    )
    assert {name.partition(".")[2] for name, _ in copied} == {"rule.yaml", "template.yaml", "test.yaml"}
    proof = check_files(read_folder(Path("rules")) | dict(copied))
    assert [str(fault) for fault in proof.faults] == []
    told = [story for story in proof.stories if story.rule == "proofs-out"]
    assert told
    assert [fault.sentence for story in told for fault in play_story(story, proof.rulebook)] == []


def test_the_rules_of_the_tutorial_pass_in_the_folder_that_it_begins_with() -> None:
    text = Path("docs/rules/tutorial.md").read_text("utf-8")
    assert "cp -r rules/*.yaml rules/house practice/rules" in text
    written = re.findall(r"`rules/(\S+\.yaml)`:\n\n```yaml\n(.*?)```", text, re.DOTALL)
    begun = {
        name: file for name, file in read_folder(Path("rules")).items() if name.count("/") == 0 or "house/" in name
    }
    proof = check_files(begun | dict(written))
    assert [str(fault) for fault in proof.faults] == []
    assert {story.rule for story in proof.stories} == {"block-unseen", "permission", "idea-intake"}
    assert [fault.sentence for story in proof.stories for fault in play_story(story, proof.rulebook)] == []


def test_the_command_needs_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no folder “rules”
    assert run_stet("rules", "check") == ExitCode.CANNOT_RUN
    assert run_stet("rules", "check", "nowhere") == ExitCode.CANNOT_RUN
    assert "nowhere: there is no such folder" in capsys.readouterr().err


def test_a_wrong_folder_is_said_with_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "people.yaml").touch()

    def said(*arguments: str) -> str:
        assert run_stet("rules", *arguments) == ExitCode.CANNOT_RUN
        return capsys.readouterr().err.strip()

    assert said("check", "hosue") == "hosue: there is no such folder (did you mean “house”?)"
    assert said("check", "house/people.yaml") == "house/people.yaml is a file; name the folder that it is in: house"
    assert said("check").endswith("; go to the folder that has it, or name another one")
    assert said("diff", "nowhere") == (
        "nowhere: there is no such folder, and it is no revision, since this is no repository of Git"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "gone"), "gone: it cannot be read: No such file or directory"),
        (("replay", "plain"), "plain: this is no bundle; stet rules bundle writes one"),
        (("comment", "gone"), "gone: it cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_none_is_said_in_plain_words(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_text("a text")
    assert run_stet("rules", *arguments) == ExitCode.CANNOT_RUN
    assert capsys.readouterr().err.strip() == said


def test_a_file_in_the_place_of_a_folder_is_said_before_anything_is_proved_or_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in good_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / ".schema").touch()
    house = tmp_path / "house.yaml"
    for target, arguments in (
        (house, ("prove", f"{tmp_path}", "--stories", f"{house}")),
        (tmp_path / ".schema", ("schema", "--write", f"{tmp_path}")),
    ):
        assert run_stet("rules", *arguments) == ExitCode.CANNOT_RUN
        assert capsys.readouterr().err == f"{target}: there is a file where a folder belongs\n"


def test_a_folder_without_stories_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in good_files().items():
        if not name.endswith(STORIES):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
    assert run_stet("rules", "test", f"{tmp_path}") == ExitCode.FINE
    assert capsys.readouterr().out == "there is no story to play\n"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schema_of_a_kind_of_file_names_its_keys_for_editors(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "schema", kind) == ExitCode.FINE
    assert set(json.loads(capsys.readouterr().out)["properties"]) == set(SCHEMAS[kind].known_keys())


def test_a_broken_story_stops_the_check_and_not_the_service(tmp_path: Path) -> None:
    for name, text in good_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "pitch/pitch.test.yaml").write_bytes(b"\xff: [")
    assert run_stet("rules", "check", f"{tmp_path}") == ExitCode.FINDINGS
    assert read_content(tmp_path).faults == ()
    assert STORIES not in "".join(read_content(tmp_path).files)


def test_the_fields_of_an_event_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "fields", "work.blocked") == ExitCode.FINE
    listed = capsys.readouterr().out.splitlines()
    assert "severity  text: info warning critical" in listed
    assert "work.cancelled  flag  Whether the work was cancelled." in listed
    assert run_stet("rules", "fields", "work.blokked") == ExitCode.CANNOT_RUN


def test_a_difference_says_that_the_new_rules_do_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, owner in (("old", "rights"), ("new", "rihgts")):
        for name, text in good_files().items():
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("owner: rights", f"owner: {owner}"), "utf-8")
    assert run_stet("rules", "diff", f"{tmp_path / 'old'}", f"{tmp_path / 'new'}") == ExitCode.FINE
    said = capsys.readouterr().out
    assert said.startswith("**The new rules do not pass `stet rules check`, and cannot be put into force**: `rights/")
    assert "people.yaml has no team “rihgts”" in said


def test_a_check_lets_the_stories_of_a_file_go_before_it_reads_the_next() -> None:
    check, read = FolderCheck(good_files()), list[ref[Story]]()
    for stories in check.read_stories():
        assert [story for story in read if story() is not None] == []
        read += map(ref, stories)
        del stories
    assert len(read) == len(check_files(good_files()).stories)
    assert check.finish().faults == ()


def test_a_played_story_leaves_nothing_for_the_garbage_collector() -> None:
    checked = check_files(good_files())
    play_story(checked.stories[0], checked.rulebook)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        play_story(checked.stories[0], checked.rulebook)
        gc.collect()
        assert [each for each in gc.garbage if isinstance(each, ObservedEffect)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
