"""Every file in a rule folder yields a rule or a fault with its location, within seconds, and never a traceback."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.layout import ROOT
from ops.command_line import ExitCode
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.rule_folder import read_folder
from services.rules.rulebook.yaml_nodes import SequenceNode
from services.rules.rulebook.yaml_tree import DEEPEST, parse
from services.rules.scenario.folder_check import check_files, check_folder
from tests.cpu_time import at_most
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import good_files

RULE = "rule: odd\nowner: rights\nwhy: {en: x}\non: rights.expiring\nsteps:\n"
NESTED_ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "an alias of itself": ("steps: &all\n  - tell: author\n  - *all\n", "3:5: “*all” stands within itself"),
    "an alias of itself as a mapping": ("a: &a {b: *a}\n", "1:11: “*a” stands within itself"),
    "aliases of aliases": (NESTED_ALIASES, "the aliases of this file repeat more than 100,000 values"),
    "an alias of nothing": ("a: *b\n", "1:4: “*b” repeats what stands behind “&b” further above"),
    "800 deep": ("[" * 800 + "]" * 800, f"1:{DEEPEST + 1}: this is nested more than 50 deep"),
    "800 deep by lines": ("".join(" " * n + "a:\n" for n in range(800)), "51:51: this is nested more than 50 deep"),
    "100,000 deep": ("[" * 100_000, "this is nested more than 50 deep"),
    "a NUL": ("rule: a\nwhy: \0\n", "2:6: no text may hold the character U+0000"),
    "a NUL by escape": ('rule: "a\\0b"\n', "1:7: no text may hold the character U+0000"),
    "a control character": ("rule: a\x07\n", "1:8: no text may hold the character U+0007"),
    "a control character by escape": ('rule: "\\x07"\n', "1:7: no text may hold the character U+0007"),
    "a lone surrogate": ('rule: "\\ud800"\n', "1:8: no text may hold the character U+D800"),
    "a lone surrogate as a key": ('"\\ud800": x\n', "1:2: no text may hold the character U+D800"),
    "no character at all": ('rule: "\\UFFFFFFFF"\n', "1:8: no text may hold the character U+FFFFFFFF"),
    "a second document": ("a: b\n---\nc: d\n", "2:1: a file holds one document; a second begins here"),
    "an unknown directive": ("%YAML 9.9\n---\na: b\n", "1:"),
    "a number of 5,000 digits": (RULE + f"  - after: {'9' * 5000} days\n    give_up: x\n", "is no duration"),
    "a huge number": ("version: 99999999999999999999\n", "1:10: this looks like a number, but is none"),
    "a number of 100,000 digits": (f"version: {'9' * 100_000}\n", "1:10: this looks like a number, but is none"),
    "an endless number": ("template: t\nversion: 1.0e+999\n", "2:10: “1.0e+999” looks like a number, but is none"),
    "no date": ("from: 2027-02-30\n", "1:7: “2027-02-30” looks like a date, but is none"),
    "a word of a megabyte": (f"rule: {'x' * 2**20}\n", "1:1: a rule needs “owner”"),
    "spaces of a megabyte": (RULE + f"  - at: x{' ' * 2**20}y\n    give_up: x\n", "is neither a field nor like"),
    "tabs and equals signs on six thousand lines": (
        RULE + "".join(f"\tk{number}: x\n    say = x\n" for number in range(3_000)),
        "indented with a tab",
    ),
    "before, a hundred thousand times": (RULE + f"  - at: {'x before ' * 30_000}\n    give_up: x\n", "is neither"),
    "braces of a megabyte": (
        f"template: t\nlanguages: {{en: {{body: '{'{' * 2**20}'}}}}\n",
        "the body has 1048576 char",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_reported_at_once(name: str) -> None:
    text, expected = HOSTILE[name]
    suffix = "template" if text.startswith("template") else "rule"
    with at_most(5):
        faults = [str(fault) for fault in check_files({f"odd.{suffix}.yaml": text}, tested=False).faults]
        assert any(expected in fault for fault in faults if fault.startswith(f"odd.{suffix}.yaml:")), faults
        assert all(len(fault) < 2_000 and fault.isprintable() for fault in faults)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_story_is_reported_at_once(name: str) -> None:
    text, _ = HOSTILE[name]
    with at_most(5):
        faults = [str(fault) for fault in check_files({"odd.test.yaml": text}).faults]
        assert any(fault.startswith("odd.test.yaml:") for fault in faults)


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab1 -:,[]{}&*!|>'\"%@`#?\n\t\\\0\ufeff\ud800é\x85\u2028~0.") | st.characters()))
def test_no_text_raises_an_error(text: str) -> None:
    report = FaultReport()
    tree = parse("odd.rule.yaml", text, report)
    assert tree is not None or report.faults
    assert all(fault.location.line > 0 and fault.location.column > 0 for fault in report.faults)


def test_a_byte_order_mark_is_skipped() -> None:
    files = good_files()
    assert check_files(files | {"house.yaml": "\ufeff" + files["house.yaml"]}).faults == ()


# ------------------------------------------------------------------ folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in good_files().items():
        tmp_path.joinpath(name).parent.mkdir(exist_ok=True, parents=True)
        tmp_path.joinpath(name).write_text(text, "utf-8")
    return tmp_path


def faults_of(folder: Path) -> list[str]:
    return [str(fault) for fault in check_folder(folder).faults]


@pytest.mark.parametrize("name", ["rights/permission.rule.yaml", "rights/permission.test.yaml", "people.yaml"])
def test_a_file_that_is_saved_as_text_is_missed_by_no_other(folder: Path, name: str) -> None:
    folder.joinpath(name).rename(folder / f"{name}.txt")
    sentence = f"this file is not read, because of the end of its name; name it {Path(name).name}"
    assert faults_of(folder) == [f"{name}.txt:1:1: {sentence}"]


def test_a_file_that_is_not_utf_8_is_named_and_everything_else_still_reported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.joinpath("latin.rule.yaml").write_bytes("rule: latin\nwhy: {en: déjà}\n".encode("latin-1"))
    folder.joinpath("odd.rule.yaml").write_text("rule: [", "utf-8")
    assert run_stet("rules", "check", str(folder)) == ExitCode.FINDINGS
    said = capsys.readouterr().out
    assert f"{folder}/latin.rule.yaml:2:12: the file is not written in UTF-8; save it so" in said
    assert f"{folder}/latin.rule.yaml:1:1: a rule needs “owner”" in said
    assert f"{folder}/odd.rule.yaml:1:" in said


def test_a_folder_named_like_a_file_of_rules_is_a_fault(folder: Path) -> None:
    folder.joinpath("rights", "old.rule.yaml").mkdir()
    assert faults_of(folder) == ["rights/old.rule.yaml:1:1: this is a folder, and is named like a file of rules"]


def test_a_folder_named_like_stories_keeps_no_service_from_starting(folder: Path) -> None:
    folder.joinpath("rights", "old.test.yaml").mkdir()
    report = FaultReport()
    read_folder(folder, report, stories=False)
    assert not report.sorted()


def test_a_pipe_or_a_dead_link_is_a_fault_and_does_not_block(folder: Path) -> None:
    folder.joinpath("gone.rule.yaml").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.rule.yaml")
    assert faults_of(folder) == [
        "gone.rule.yaml:1:1: this links to no file",
        "pipe.rule.yaml:1:1: this is no file that could be read",
    ]


def test_a_file_too_large_is_a_fault(folder: Path) -> None:
    with folder.joinpath("large.rule.yaml").open("wb") as file:
        file.truncate(5 * 2**20)
    assert faults_of(folder) == ["large.rule.yaml:1:1: the file is larger than 4 MB"]


def test_names_that_begin_with_a_dot_are_skipped(folder: Path) -> None:
    """Editors' locks and drafts, folders of tools."""
    before = read_folder(folder)
    folder.joinpath(".draft.rule.yaml").write_text("rule: [", "utf-8")
    folder.joinpath(".#stage.rule.yaml").symlink_to("editor@host.1234")
    folder.joinpath(".git").mkdir()
    folder.joinpath(".git", "old.rule.yaml").write_text("rule: [", "utf-8")
    folder.joinpath("rights", "permission.rule.yaml~").write_text("rule: [", "utf-8")
    assert read_folder(folder) == before
    assert faults_of(folder) == []


def test_a_config_map_volume_is_read_once_through_its_links(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Kubernetes keeps a volume's files in ``..<time>``, links ``..data`` to it, and each name to what is in there."""
    volume = tmp_path_factory.mktemp("volume")
    folder.rename(volume / "..2027_03_03_10_00_00.1")
    volume.joinpath("..data").symlink_to("..2027_03_03_10_00_00.1")
    for each in volume.joinpath("..data").iterdir():
        volume.joinpath(each.name).symlink_to(f"..data/{each.name}")
    assert read_folder(volume) == good_files()
    assert check_folder(volume).faults == ()


def test_links_in_a_circle_end(folder: Path) -> None:
    folder.joinpath("rights", "again").symlink_to(folder)
    assert "rights/permission.rule.yaml" in read_folder(folder)


def test_a_suffix_in_capitals_is_not_skipped(folder: Path) -> None:
    folder.joinpath("Shout.RULE.YAML").write_text("rule: shout", "utf-8")
    said, *of_its_text = faults_of(folder)
    assert said == (
        "Shout.RULE.YAML:1:1: this file is not read, because of the end of its name; name it shout.rule.yaml"
    )
    assert {fault.split(":")[0] for fault in of_its_text} == {"shout.rule.yaml"}


@pytest.mark.parametrize("text", ["\0", "[" * 100_000, "7", "{"])
def test_a_broken_lock_is_a_fault(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder.joinpath("wording.lock").write_text(text, "utf-8")
    assert run_stet("rules", "check", str(folder)) == ExitCode.FINDINGS
    assert "wording.lock:1:1: this is no lock" in capsys.readouterr().out


class _CountedEntry:
    """A file of a folder; ``asked`` counts how often any name is read."""

    asked = 0

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    @property
    def name(self) -> str:
        _CountedEntry.asked += 1
        return Path(self.path).name

    def is_symlink(self) -> bool:
        return False

    def is_dir(self) -> bool:
        return False


def test_a_folder_of_other_files_is_read_in_time_of_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of all files were gathered anew for each of them: 8,000 took two seconds."""
    count = 200
    entries = [_CountedEntry(tmp_path / f"{number}.lock") for number in range(count)]
    monkeypatch.setattr("services.rules.rulebook.rule_folder.os.scandir", lambda _: nullcontext(iter(entries)))
    monkeypatch.setattr(_CountedEntry, "asked", 0)
    assert read_folder(tmp_path) == {}
    assert _CountedEntry.asked < 10 * count


def test_rich_text_is_said_to_be_no_plain_text() -> None:
    """Its signs were told as a missing brace, or as missing commas."""
    files = good_files()
    rich = (
        "{\\rtf1\\ansi\\ansicpg1252\n\\f0\\fs24 \\cf0 " + "\\\n".join(files["pitch/pitch.rule.yaml"].split("\n")) + "}"
    )
    faults = check_files({**files, "pitch/pitch.rule.yaml": rich}).faults
    assert list(map(str, faults)) == [
        "pitch/pitch.rule.yaml:1:1: this is rich text (RTF) of a word processor; save it as plain text in UTF-8"
    ]


@pytest.mark.parametrize("ending", ["\u2028", "\u2029"])
def test_a_line_end_of_another_program_is_one_fault(ending: str) -> None:
    files = good_files()
    text = files["pitch/pitch.rule.yaml"].replace("form: pitch\n", f"form: pitch{ending}")
    (fault,) = check_files({**files, "pitch/pitch.rule.yaml": text}).faults
    assert f"U+{ord(ending):04X}" in fault.sentence


_CHANGES: tuple[Callable[[str], str], ...] = (
    lambda _: "",
    lambda line: f"{line}\n{line}",
    lambda line: f"  {line}",
    lambda line: line.removeprefix("  "),
    lambda line: line.removeprefix(" "),
    lambda line: line.replace("- ", "", 1),
    lambda line: line.replace(":", "", 1),
    lambda line: line.replace(": ", ":", 1),
    lambda line: line.replace(":", " =", 1),
    lambda line: line.replace("}", "", 1),
    lambda line: line.replace("[", "", 1),
    lambda line: line.replace('"', "", 1),
    lambda line: f"{line},",
    lambda line: f"\t{line.lstrip()}",
)


@pytest.mark.parametrize("change", range(len(_CHANGES)))
def test_no_change_of_one_line_stops_the_check(change: int) -> None:
    """Of our own files; each is read alone, with the line changed."""
    for file, text in read_folder(ROOT / "rules").items():
        lines = text.splitlines()
        for number in range(change, len(lines), 20):
            changed = [*lines[:number], _CHANGES[change](lines[number]), *lines[number + 1 :]]
            if not file.startswith("house/"):
                check_files({file: "\n".join(changed)}, tested=False)


@pytest.mark.parametrize("text", ["- people: &a\n- people: *a\n", "- &a people: &b x\n  *a : *b\n"])
def test_a_name_that_repeats_nothing_or_a_key_is_read(text: str) -> None:
    assert isinstance(parse("odd.test.yaml", text, FaultReport()), SequenceNode)


def test_two_mistakes_of_grammar_in_one_step_are_both_told() -> None:
    """Neither follows from the other: each is found without the other's line, too."""
    files, file = good_files(), "rights/permission.rule.yaml"
    step = "    remind: unanswered\n    say: permission_reminder\n"
    assert step in files[file]
    spoilt = files[file].replace(step, "    remind unanswered\n    say = permission_reminder\n")
    faults = check_files({**files, file: spoilt}, tested=False).faults
    assert [(fault.location.line, str(fault).partition(": ")[2]) for fault in faults] == [
        (23, "a colon is missing behind “remind”: remind: unanswered"),
        (24, "“=” does not follow a key; write say: permission_reminder"),
    ]


def test_text_below_a_short_key_of_a_rule_is_not_taken_for_a_body() -> None:
    text = "rule: odd\nowner: rights\non: work.blocked\nif:\n    the stage is: proofs: late\nsteps: []\n"
    faults = [str(fault) for fault in check_files({"odd.rule.yaml": text}, tested=False).faults]
    assert any(fault.startswith("odd.rule.yaml:5:") for fault in faults), faults
    assert not any("body" in fault for fault in faults), faults
