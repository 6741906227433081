"""``stet rules prove``: what does not hold is shown, and its story can be written to a folder."""

from pathlib import Path

import pytest

from ops.command_line import ExitCode
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import good_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in good_files().items():
        if "permission" not in name:
            (tmp_path / "rules" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "rules" / name).write_text(text, "utf-8")
    return tmp_path / "rules"


def test_prove_ends_with_all_holds_where_it_finds_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "prove", f"{folder}") == ExitCode.FINE
    assert capsys.readouterr().out.splitlines()[-1].endswith("all holds")


def test_the_story_of_a_counterexample_is_written_and_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = folder / "pitch/pitch_unfinished.template.yaml"
    template.write_text(template.read_text("utf-8").partition("  fr:")[0], "utf-8")
    stories = folder.parent / "shown"
    assert run_stet("rules", "prove", f"{folder}", "--stories", f"{stories}") == ExitCode.FINDINGS
    assert "which pitch_unfinished lacks" in capsys.readouterr().out
    (written,) = stories.rglob("*.test.yaml")
    (folder / "pitch/pitch.test.yaml").write_text(written.read_text("utf-8"), "utf-8")
    assert run_stet("rules", "test", f"{folder}", "pitch") == ExitCode.FINE


def test_a_folder_at_fault_is_not_proved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "people.yaml").unlink()
    assert run_stet("rules", "prove", f"{folder}") == ExitCode.FINDINGS
    assert "nothing was proved" in capsys.readouterr().out
