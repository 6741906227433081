"""``stet rules test``: the stories of a folder, of some rules, and what they cover."""

import json
from pathlib import Path

import pytest

from ops.command_line import ExitCode
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import good_files

WELCOMED = "{collect: 555, say: pitch_welcome"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in good_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_the_stories_of_one_rule_are_played(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "test", f"{folder}", "permission", "--verbose") == ExitCode.FINE
    assert capsys.readouterr().out.splitlines() == [
        "✓ permission asks the agent, records the yes for the holder, and falls silent",
        "1 story, all passed",
    ]


def test_a_rule_that_is_not_there_is_refused_with_the_nearest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "test", f"{folder}", "pich") == ExitCode.CANNOT_RUN
    assert "there is no rule “pich” (did you mean “pitch”?)" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["test", "prove"])
def test_a_file_that_cannot_be_read_is_a_fault_of_every_verb(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rights" / "permission.rule.yaml").rename(folder / "rights" / "permission.rule.docx")
    assert run_stet("rules", verb, f"{folder}") == ExitCode.FINDINGS
    printed = capsys.readouterr().out
    assert "rights/permission.rule.docx:1:1: a file of another program is not read" in printed
    assert "1 fault; " in printed


def test_a_story_that_fails_reads_like_the_story(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run_stet("rules", "test", f"{folder}", "pitch") == ExitCode.FINDINGS
    shown = capsys.readouterr().out.partition("✗")[2].splitlines()
    assert [" ".join(line.split()) for line in shown] == [
        "pitch begins a form",
        "Wed 2027-03-03 10:00:00Z reply: {from: 555, text: I have written a novel, line: acquisitions}",
        "Wed 2027-03-03 10:00:00Z expect:",
        "expected │ happened",
        f"{WELCOMED}, line: acquisitions}} │ {WELCOMED}, language: en, line: acquisitions}}",
        "+ │ {collect: 555, say: pitch.title, language: en}",
        "1 story, 1 failed",
    ]


def test_too_little_coverage_fails_and_names_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "test", f"{folder}", "permission", "--min", "100", "--format", "json") == ExitCode.FINDINGS
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["level"] for row in rows if "level" in row} == {"fault"}
    assert any(row.get("sentence", "").startswith("no story covers it: permission: step") for row in rows)
    (whole,) = (row for row in rows if row.get("coverage") == "all")
    assert whole["covered"] < whole["of"]
    assert run_stet("rules", "test", f"{folder}", "permission", "--min", "10") == ExitCode.FINE
    assert "% covered" in capsys.readouterr().out
