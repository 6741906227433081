"""The formats of ``stet rules``: each says where a fault is, what it is, and how many there are."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ops.command_line import ExitCode
from ops.rules.output import Report, ReportCase, ReportFormat, print_report, source_lines, track
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Location
from tests.ops.stet_command import run_stet

TEXT = "rule: a\non:\u00a0work.bloked, 100% | sure\n"
FAULT = FileFault(Location("a.rule.yaml", 2, 5), "there is no event “work.bloked, 100%”", "work.blocked")
REPORT = Report(
    "check",
    Path("rules"),
    {"a.rule.yaml": TEXT},
    [ReportCase("a.rule.yaml", (FAULT,)), ReportCase("b.rule.yaml")],
    "1 fault",
)


def printed(output: ReportFormat, capsys: pytest.CaptureFixture[str], report: Report = REPORT) -> str:
    assert print_report(report, output) is ExitCode.FINDINGS
    return capsys.readouterr().out


def test_text_shows_the_line_with_a_caret(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(ReportFormat.TEXT, capsys).splitlines() == [
        "rules/a.rule.yaml:2:5: there is no event “work.bloked, 100%” (did you mean “work.blocked”?)",
        "  2 | on: work.bloked, 100% | sure",
        "    |     ^",
        "1 fault",
    ]


def test_the_caret_stands_below_its_place_after_wide_letters_and_in_long_lines() -> None:
    wide = FileFault(Location("a", 1, 4), "x")
    assert list(source_lines({"a": "作品: y"}, wide)) == ["  1 | 作品: y", "    |      ^"]
    long = list(source_lines({"a": "x" * 300}, FileFault(Location("a", 1, 200), "x")))
    assert [len(line) for line in long] == [6 + 1 + 60 + 60 - 1 + 2, 6 + 1 + 60 + 1]
    assert list(source_lines({"a": "x"}, FileFault(Location("a", 2, 1), "x"))) == []


def test_json_has_a_line_for_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = map(json.loads, printed(ReportFormat.JSON, capsys).splitlines())
    assert (row["file"], row["line"], row["column"]) == ("rules/a.rule.yaml", 2, 5)
    assert (row["sentence"], row["hint"], row["level"]) == (FAULT.sentence, "work.blocked", "fault")


@pytest.mark.parametrize("output", [ReportFormat.JSON, ReportFormat.GITHUB])
def test_the_detail_of_a_finding_appears_with_that_finding_only(
    output: ReportFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = tuple(FileFault(Location("a.rule.yaml", line, 1), f"fault {line}") for line in (1, 2))
    details = {fault: f"story {fault.location.line}" for fault in faults}
    case = ReportCase("a promise", faults, detail="\n".join(details.values()), details=details)
    lines = printed(output, capsys, replace(REPORT, cases=[case])).splitlines()
    assert [line.count("story") for line in lines[:2]] == [1, 1]
    assert "story 2" in lines[1]


def test_json_has_the_further_places_of_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    fault = FileFault(Location("a.rule.yaml", 1, 1), "no such word", also=(Location("b.rule.yaml", 7, 3),))
    report = replace(REPORT, cases=[ReportCase("a.rule.yaml", (fault,))])
    assert json.loads(printed(ReportFormat.JSON, capsys, report))["also"] == ["b.rule.yaml:7"]


def test_markdown_is_a_table_in_which_nothing_breaks_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        "check", Path("rules"), {}, [ReportCase("a", (FileFault(Location("a", 1, 1), "a | b"),))], "1 fault"
    )
    lines = printed(ReportFormat.MARKDOWN, capsys, report).splitlines()
    assert lines == ["| where | what |", "|---|---|", "| `rules/a:1:1` | a \\| b |", "", "**1 fault**"]


def test_junit_counts_cases_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    root = ET.fromstring(printed(ReportFormat.JUNIT, capsys))  # noqa: S314 -- our own output
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    failures = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert failures == ["a.rule.yaml"]


def test_github_annotations_escape_what_would_end_them(capsys: pytest.CaptureFixture[str]) -> None:
    first, last = printed(ReportFormat.GITHUB, capsys).splitlines()
    assert first == (
        "::error file=rules/a.rule.yaml,line=2,col=5,title=stet rules check::"
        "there is no event “work.bloked, 100%25” (did you mean “work.blocked”?)"
    )
    assert last == "1 fault"


def test_a_format_that_a_verb_does_not_have_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "fields", "work.blocked", "--format", "junit") == ExitCode.CANNOT_RUN
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "no format “junit”; it has text, json, markdown" in said


def test_progress_goes_to_standard_error_after_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 0.5, 1.5, 1.6, 1.7, 12.0])
    monkeypatch.setattr("ops.rules.output.time.monotonic", lambda: next(seconds, 12.0))
    assert list(track("abcd", "playing", 4)) == list("abcd")
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == ["playing: 2 of 4", "playing: 4 of 4"]


def test_a_note_is_called_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("check", Path("rules"), {}, [ReportCase("a", notes=(FileFault(Location("a", 1, 1), "b"),))], "fine")
    said = {}
    for output in (ReportFormat.TEXT, ReportFormat.MARKDOWN, ReportFormat.JSON, ReportFormat.GITHUB):
        assert print_report(report, output) is ExitCode.FINE
        said[output] = capsys.readouterr().out
    assert said[ReportFormat.TEXT].startswith("rules/a:1:1: note: b\n")
    assert "| *note:* b |" in said[ReportFormat.MARKDOWN]
    assert json.loads(said[ReportFormat.JSON])["sentence"] == "b"
    assert said[ReportFormat.GITHUB].startswith("::notice file=rules/a,line=1,col=1,title=stet rules check::b\n")
