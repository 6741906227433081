"""Prints the report of a verb of ``stet rules`` as text, JSON, Markdown, JUnit or annotations of GitHub.

Results go to standard output, progress and errors to standard error. Colours are used on a terminal alone, and not
where NO_COLOR is set.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, TypeVar, assert_never
from xml.etree import ElementTree as ET

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from ops.command_line import ExitCode, console, print_json, printable
from services.rules.rulebook.faults import FileFault

T = TypeVar("T")


class ReportFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    GITHUB = "github"


def format_option(*known: ReportFormat) -> Any:
    """The option ``--format`` of a verb that knows these formats; another one is refused by name."""
    names = ", ".join(known)

    def refuse_others(chosen: ReportFormat) -> ReportFormat:
        if chosen not in known:
            raise typer.BadParameter(f"this command has no format “{chosen}”; it has {names}")
        return chosen

    return typer.Option(
        "--format", callback=refuse_others, metavar="{" + ",".join(known) + "}", help="The form of the output."
    )


# ------------------------------------------------------------------ a report


@dataclass(frozen=True, slots=True)
class ReportCase:
    """One thing that was judged, such as a file or a story. ``notes`` are warnings and do not fail it.

    ``group`` is what it belongs to, ``detail`` is printed below its faults. ``details`` has what belongs to single ones
    of them, for formats that show each finding by itself.
    """

    name: str
    faults: tuple[FileFault, ...] = ()
    notes: tuple[FileFault, ...] = ()
    group: str = ""
    detail: str = ""
    seconds: float = 0.0
    details: Mapping[FileFault, str] = field(default_factory=dict)

    def detail_of(self, fault: FileFault) -> str:
        return self.details.get(fault, "") if self.details else self.detail


@dataclass(frozen=True, slots=True)
class Report:
    """A verb's findings. ``folder`` and ``files`` (relative name → text) say where, ``summary`` is the last line."""

    verb: str
    folder: Path
    files: Mapping[str, str]
    cases: Sequence[ReportCase]
    summary: str

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.FINDINGS if any(case.faults for case in self.cases) else ExitCode.FINE


def print_report(report: Report, output: ReportFormat) -> ExitCode:
    """Print it in that format; returns the exit code."""
    match output:
        case ReportFormat.TEXT:
            _print_text(report)
        case ReportFormat.JSON:
            print_json(_json_rows(report))
        case ReportFormat.MARKDOWN:
            _print_lines(_markdown_lines(report))
        case ReportFormat.JUNIT:
            _print_lines([_junit(report)])
        case ReportFormat.GITHUB:
            _print_lines(_github_lines(report))
        case _:
            assert_never(output)
    return report.exit_code


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _findings(report: Report) -> Iterator[tuple[ReportCase, FileFault, bool]]:
    """Each fault and note with its case; True for a fault."""
    for case in report.cases:
        yield from ((case, fault, True) for fault in case.faults)
        yield from ((case, note, False) for note in case.notes)


# ------------------------------------------------------------------ text

_MARGIN = 60
"""Characters of a long line that are shown on each side of a fault."""


def _print_text(report: Report) -> None:
    screen = console()
    for case in report.cases:
        for fault in (*case.faults, *case.notes):
            style = "" if fault in case.faults else "yellow"
            place = f"{report.folder / fault.place}: "  # so that a terminal or an editor can open it
            note = "" if fault in case.faults else "note: "
            screen.print(Text.assemble((place, "bold"), (f"{note}{fault.message}", style)), soft_wrap=True)
            for line in source_lines(report.files, fault):
                screen.print(Text(line, style="red" if line.endswith("^") else "dim"), soft_wrap=True)
        if case.detail:
            screen.print(Text(case.detail), soft_wrap=True)
    screen.print(Text(report.summary, style="bold red" if report.exit_code else "bold green"), soft_wrap=True)


def source_lines(files: Mapping[str, str], fault: FileFault) -> Iterator[str]:
    """The line of the file with the fault, and a caret below its place; nothing where the file has no such line."""
    at = fault.location
    lines = files.get(at.file, "").splitlines()
    if not 1 <= at.line <= len(lines) or not lines[at.line - 1].strip():
        return
    line = lines[at.line - 1].expandtabs(1)
    start = max(0, at.column - 1 - _MARGIN)
    shown = printable(line[start : at.column - 1 + _MARGIN].replace("\xa0", " "))
    before = printable(line[start : at.column - 1].replace("\xa0", " "))
    lead, number = "…" if start else "", str(at.line)
    trail = "…" if len(line) > at.column - 1 + _MARGIN else ""
    yield f"  {number} | {lead}{shown}{trail}"
    yield f"  {' ' * len(number)} | {' ' * (cell_len(before) + len(lead))}^"


# ------------------------------------------------------------------ other formats


def _json_rows(report: Report) -> Iterator[dict[str, Any]]:
    for case, fault, is_fault in _findings(report):
        at = fault.location
        yield {
            "level": "fault" if is_fault else "note",
            "file": str(report.folder / at.file),
            "line": at.line,
            "column": at.column,
            "sentence": fault.sentence,
            "hint": fault.hint,
            **({"also": [f"{each.file}:{each.line}" for each in fault.also]} if fault.also else {}),
            **({"case": case.name} if case.name != at.file else {}),
            **({"detail": detail} if (detail := case.detail_of(fault)) else {}),
        }


def _markdown_lines(report: Report) -> Iterator[str]:
    findings = list(_findings(report))
    if findings:
        yield from ("| where | what |", "|---|---|")
    for _, fault, is_fault in findings:
        note = "" if is_fault else "*note:* "
        yield f"| `{report.folder / fault.place}` | {note}{_escaped(fault.message)} |"
    for case in report.cases:
        if case.detail:
            yield from ("", f"**{_escaped(case.name)}**", "", "```", case.detail, "```")
    yield from (*([""] if findings else []), f"**{_escaped(report.summary)}**")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").translate({ord(c): f"\\{c}" for c in "|*_`<[]"}).replace("\n", " ")


def _junit(report: Report) -> str:
    """A test suite of the verb with a test case for each case."""
    failed = sum(bool(case.faults) for case in report.cases)
    counts = {"tests": str(len(report.cases)), "failures": str(failed)}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": f"stet rules {report.verb}", **counts})
    for case in report.cases:
        names = {"name": case.name, "classname": case.group or PurePath(case.name).name}
        element = ET.SubElement(suite, "testcase", {**names, "time": f"{case.seconds:.3f}"})
        if case.faults:
            failure = ET.SubElement(element, "failure", {"message": case.faults[0].sentence})
            failure.text = "\n".join([*map(str, case.faults), *([case.detail] if case.detail else [])])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _github_lines(report: Report) -> Iterator[str]:
    """https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions"""
    for case, fault, is_fault in _findings(report):
        at = fault.location
        place = f"file={_property(str(report.folder / at.file))},line={at.line},col={at.column}"
        detail = f"\n{detail}" if (detail := case.detail_of(fault)) else ""
        title = _property(f"stet rules {report.verb}")
        yield f"::{'error' if is_fault else 'notice'} {place},title={title}::{_data(fault.message + detail)}"
    yield report.summary


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ------------------------------------------------------------------ progress

_QUIET = 1.0
"""Seconds of work before progress is shown."""
_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def track(items: Iterable[T], sentence: str, total: int) -> Iterator[T]:
    """The items; shows on standard error how many are done, once that takes more than a second."""
    screen = console(stderr=True)
    return _track_bar(items, sentence, total, screen) if screen.is_terminal else _track_lines(items, sentence, total)


def _track_bar(items: Iterable[T], sentence: str, total: int, screen: Console) -> Iterator[T]:
    bar = Progress(console=screen, transient=True)
    task = bar.add_task(sentence, total=total)
    started = time.monotonic()
    try:
        for item in items:
            yield item
            bar.advance(task)
            if time.monotonic() - started > _QUIET:
                bar.start()
    finally:
        bar.stop()


def _track_lines(items: Iterable[T], sentence: str, total: int) -> Iterator[T]:
    due = time.monotonic() + _QUIET
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() > due:
            due = time.monotonic() + _EVERY
            sys.stderr.write(f"{sentence}: {done} of {total}\n")


# ------------------------------------------------------------------ words


def counted(number: int, word: str) -> str:
    """``1 story``, ``2 stories``."""
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"
