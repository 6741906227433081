"""``stet rules new``: the files of every job pass, and no file is overwritten."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dev.layout import ROOT
from ops.command_line import ExitCode
from services.rules.analysis.scaffold import JOBS, Job, NewRule, scaffold
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files, play_stories
from tests.ops.stet_command import run_stet

RULES = {
    name: text
    for name, text in read_folder(ROOT / "rules", stories=False).items()
    if "/" not in name or name.startswith("house/")
}
"""The publisher's own files, without any rule."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in RULES.items():
        path = tmp_path / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "rules"


@pytest.mark.parametrize(("job", "asks"), [*((job, JOBS[job].asks) for job in Job), (Job.STAGES, True)])
def test_the_files_of_a_new_rule_have_no_faults_and_their_story_passes(job: Job, asks: bool) -> None:  # noqa: FBT001
    made = scaffold(NewRule("first-words", job, JOBS[job].owner, asks=asks), RULES)
    assert not made.faults, [str(fault) for fault in made.faults]
    checked = check_files({**RULES, **made.files})
    assert not checked.faults, [str(fault) for fault in checked.faults]
    ((story, faults),) = play_stories(checked)
    assert not faults, [str(fault) for fault in faults]
    assert any("say: first_words" in text for name, text in made.files.items() if name.endswith(".test.yaml")), story


def test_the_files_are_written_and_the_next_steps_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("rules", "new", "proofs-out", "--job", "stages", "--ask", "--folder", f"{folder}")
    assert run_stet(*command) == ExitCode.FINE
    assert f"stet rules check {folder}" in capsys.readouterr().out
    assert run_stet("rules", "check", f"{folder}") == ExitCode.FINE
    rule = folder / "stages/proofs-out.rule.yaml"
    rule.write_text("rule: mine\n", "utf-8")
    rule.with_name("proofs-out.test.yaml").unlink()
    assert run_stet(*command) == ExitCode.FINDINGS, "the folder is at fault"
    assert rule.read_text("utf-8") == "rule: mine\n"


@pytest.mark.parametrize("name", ["late.rule.yaml", "late.rule.yaml.txt"])
def test_a_file_that_cannot_be_read_is_at_fault_before_anything_is_written(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its fault was dropped, and the new rule stood beside one that is never read."""
    (folder / name).write_bytes(b"PK\0\0")
    assert run_stet("rules", "check", f"{folder}") == ExitCode.FINDINGS
    said = [line for line in capsys.readouterr().out.splitlines() if name in line]
    command = ("rules", "new", "proofs-out", "--job", "stages", "--tell", "--folder", f"{folder}")
    assert run_stet(*command) == ExitCode.FINDINGS
    assert [line for line in capsys.readouterr().out.splitlines() if name in line] == said
    assert not (folder / "stages").exists()


def test_a_drawing_names_the_files_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "late.rule.yaml").write_bytes(b"PK\0\0")
    assert run_stet("rules", "graph", "late", "--folder", f"{folder}") == ExitCode.CANNOT_RUN
    printed = capsys.readouterr().err
    assert "late.rule.yaml:1:1: this is no plain text, but a file of another program" in printed
    assert "there is no rule “late”" in printed


def test_stories_of_other_rules_that_see_the_new_one_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stet("rules", "new", "first-block", "--job", "blocks", "--folder", f"{folder}") == ExitCode.FINE
    assert "The same events" not in capsys.readouterr().out
    assert run_stet("rules", "new", "second-block", "--job", "blocks", "--folder", f"{folder}") == ExitCode.FINE
    assert "played by the stories of first-block (1 story), which see what second-block does" in capsys.readouterr().out


def test_a_name_that_is_taken_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("rules", "new", "late-file", "--job", "deadlines", "--folder", f"{folder}")
    assert run_stet(*command) == ExitCode.FINE
    rule = folder / "deadlines/late-file.rule.yaml"
    before = rule.read_text("utf-8")
    capsys.readouterr()
    assert run_stet(*command, "--ask") == ExitCode.CANNOT_RUN
    assert "is there already" in capsys.readouterr().err
    assert rule.read_text("utf-8") == before


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("Late File", "--job", "stages"), ExitCode.CANNOT_RUN, "is no name"),
        (("late-file",), ExitCode.CANNOT_RUN, "--job blocks|"),
        (("late-file", "--job", "stages", "--owner", "editoral"), ExitCode.CANNOT_RUN, "did you mean “editorial”?"),
        (("late-file", "--job", "stages", "--who", "autor"), ExitCode.FINDINGS, "did you mean “author”?"),
    ],
)
def test_a_rule_that_cannot_be_written_is_refused_and_leaves_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: ExitCode, said: str
) -> None:
    assert run_stet("rules", "new", *options, "--folder", f"{folder}") == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert not list(folder.rglob("*.rule.yaml"))


def test_on_a_terminal_the_job_and_the_team_are_asked_until_they_are_known(folder: Path) -> None:
    """A terminal of its own: the answers are typed, a wrong one is asked for again, an empty one is the default."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "ops", "rules", "new", "proofs-out", "--folder", f"{folder}"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal)  # noqa: S603 -- our own command
    os.close(terminal)
    os.write(controller, b"novels\nstages\n\n")
    try:
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    shown = os.read(controller, 65_536).decode()
    os.close(controller)
    assert process.returncode == ExitCode.FINE, shown
    assert shown.count("What is the rule about?") == len(("novels", "stages"))
    assert "one of " in shown
    assert "Which team owns it? [editorial]" in shown
    assert b"stages/proofs-out.rule.yaml" in out
    assert "owner: editorial" in (folder / "stages/proofs-out.rule.yaml").read_text("utf-8")
