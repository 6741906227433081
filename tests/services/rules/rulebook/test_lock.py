from pathlib import Path

import pytest

from ops.command_line import ExitCode
from services.rules.rulebook.loader import load
from services.rules.rulebook.lock import LOCK_FILE, check_lock, extend_lock
from services.rules.rulebook.model import Rulebook
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import good_book, good_files

NOTED = "house/noted.template.yaml"


def rulebook_with(old: str, new: str) -> Rulebook:
    files = good_files()
    book, _ = load(files | {NOTED: files[NOTED].replace(old, new)})
    assert book is not None
    return book


@pytest.fixture
def lock() -> str:
    text, faults = extend_lock(good_book(), "")
    assert not faults
    return text


def test_an_unchanged_template_passes_the_lock(lock: str) -> None:
    assert check_lock(good_book(), lock) == []


def test_a_changed_text_needs_a_new_version(lock: str) -> None:
    changed = rulebook_with("is noted", "was noted")
    assert [str(fault) for fault in check_lock(changed, lock)] == [
        f"{NOTED}:1:1: its words changed, and Meta knows others as noted_v1: raise “version”"
    ]
    assert extend_lock(changed, lock)[1] == check_lock(changed, lock)


def test_a_new_version_must_be_locked_and_the_old_one_stays(lock: str) -> None:
    raised = rulebook_with("version: 1", "version: 2")
    assert "does not know noted_v2" in str(check_lock(raised, lock)[0])
    text, faults = extend_lock(raised, lock)
    assert not faults
    assert "noted_v1" in text
    assert check_lock(raised, text) == []


def test_a_file_that_is_no_lock_is_never_overwritten() -> None:
    assert "this is no lock" in str(check_lock(good_book(), "{")[0])
    assert extend_lock(good_book(), "[]") == ("[]", check_lock(good_book(), "[]"))


def test_the_command_locks_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in good_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    assert run_stet("rules", "check", f"{tmp_path}", "--lock") == ExitCode.FINE
    (tmp_path / NOTED).write_text(good_files()[NOTED].replace("is noted", "was noted"), "utf-8")
    assert run_stet("rules", "check", f"{tmp_path}") == ExitCode.FINDINGS
    assert run_stet("rules", "check", f"{tmp_path}", "--lock") == ExitCode.FINDINGS
    assert f"1 fault; {LOCK_FILE} was not written" in capsys.readouterr().out
