"""``stet rules test FOLDER RULE…``: plays the stories, and counts what they cover."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, console, print_error, print_json
from ops.rules.folder import DEFAULT_FOLDER, RuleFolder, require_rules
from ops.rules.output import Report, ReportCase, ReportFormat, counted, format_option, print_report, track
from services.rules.rulebook.faults import FaultReport, FileFault, nearest_word
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.coverage import CoverageKind, CoverageResult, StoryCoverage
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import StoryResult, run_story
from services.rules.scenario.story_file import Story
from services.rules.scenario.transcript import sentence_of, transcript


def stories_command(
    folder: RuleFolder = DEFAULT_FOLDER,
    rules: Annotated[
        list[str] | None, typer.Argument(metavar="RULE", help="Only the stories of these rules.", show_default=False)
    ] = None,
    *,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Count what the stories cover, and list what they do not.")
    ] = False,
    least: Annotated[
        float | None,
        typer.Option("--min", metavar="PERCENT", min=0, max=100, help="Fail where the stories cover less than this."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each story that passes, too.")] = False,
    output: Annotated[ReportFormat, format_option(*ReportFormat)] = ReportFormat.TEXT,
) -> None:
    """Play the stories of a folder of rules in virtual time, both sides of each conversation.

    A story that fails is shown as it was played, with what was expected and what happened side by side, up to the
    first difference. Nothing is sent and nothing is written.

    Coverage counts rules, branches of conditions, steps, answers, reasons for leaving people out, and languages.

    Exit code 1 where a file is at fault, a story failed, or less is covered than asked for.
    """
    folder, names = _folder_and_rules(folder, rules or [])
    files = read_folder(folder, FaultReport())
    checked = check_files(files, tested=False)
    if checked.faults:
        cases = [ReportCase(fault.location.file, (fault,)) for fault in checked.faults]
        summary = f"{counted(len(cases), 'fault')}; the stories were not played"
        raise typer.Exit(print_report(Report("test", folder, files, cases, summary), output))
    _require_rules(checked.rulebook, names)
    stories = [story for story in checked.stories if not names or story.rule in names]
    counting = StoryCoverage.of(checked.rulebook, names) if coverage or least is not None else None
    results = list(track(_play(stories, checked.rulebook, counting), "playing stories", len(stories)))
    cases = [_case(result, output, verbose=verbose) for result in results]
    found = counting.result if counting is not None else None
    if found is not None:
        cases.append(_coverage_case(folder, found, least, output))
    report = Report("test", folder, files, cases, _summary(results, found, least))
    code = print_report(report, output)
    if found is not None and output is ReportFormat.JSON:
        print_json(_coverage_rows(found))
    raise typer.Exit(ExitCode.FINDINGS if found is not None and _is_short(found, least) else code)


def _folder_and_rules(folder: Path, rules: Sequence[str]) -> tuple[Path, list[str]]:
    """The first word is a rule where there is no such folder and it cannot be a path."""
    if not folder.is_dir() and folder.name == str(folder) and DEFAULT_FOLDER.is_dir():
        return DEFAULT_FOLDER, [str(folder), *rules]
    return require_rules(folder), list(rules)


def _require_rules(book: Rulebook, names: Iterable[str]) -> None:
    for name in names:
        if name not in book.rules:
            meant = nearest_word(name, book.rules)
            hint = f" (did you mean “{meant}”?)" if meant else ""
            raise typer.Exit(print_error(f"there is no rule “{name}”{hint}", code=ExitCode.CANNOT_RUN))


def _play(stories: Iterable[Story], book: Rulebook, coverage: StoryCoverage | None) -> Iterator[StoryResult]:
    for story in stories:
        yield run_story(story, book, coverage)


def _case(result: StoryResult, output: ReportFormat, *, verbose: bool) -> ReportCase:
    story, detail = result.story, ""
    if result.faults:
        detail = "\n".join(transcript(result, console().width))
    elif verbose and output is ReportFormat.TEXT:
        detail = f"✓ {sentence_of(story)}"
    name = sentence_of(story)
    return ReportCase(name, result.faults[:1], group=story.rule, detail=detail, seconds=result.seconds)


def _summary(results: Sequence[StoryResult], found: CoverageResult | None, least: float | None) -> str:
    if not results:
        return "there is no story to play"
    failed = sum(not result.passed for result in results)
    words = [counted(len(results), "story"), f"{failed:,} failed" if failed else "all passed"]
    if found is not None:
        short = f", less than {least:g} %" if _is_short(found, least) else ""
        words.append(f"{found.percent:.1f} % covered{short}")
    return ", ".join(words)


# ------------------------------------------------------------------ coverage


_LISTED = frozenset({ReportFormat.TEXT, ReportFormat.MARKDOWN})
"""Formats that list what is not covered below the table; in the others each is a finding with its place."""


def _is_short(found: CoverageResult, least: float | None) -> bool:
    return least is not None and found.percent < least


def _coverage_case(folder: Path, found: CoverageResult, least: float | None, output: ReportFormat) -> ReportCase:
    """Parts without a story are faults where less is covered than asked for."""
    missing = tuple(FileFault(item.location, f"no story covers it: {item.name}") for item in found.missing)
    if output in _LISTED:
        lines = (
            f"not covered: {folder / item.location.file}:{item.location.line} {item.name}" for item in found.missing
        )
        return ReportCase("coverage", detail="\n".join((*lines, *_coverage_table(found))))
    short = _is_short(found, least)
    return ReportCase("coverage", missing if short else (), () if short else missing, group="coverage")


def _coverage_table(found: CoverageResult) -> Iterator[str]:
    for kind in (*CoverageKind, None):
        every, covered = found.count(kind)
        yield f"{kind or 'all':18} {covered:5} of {every:5}  {found.percent_of(kind):5.1f} %"


def _coverage_rows(found: CoverageResult) -> Iterator[dict[str, object]]:
    for kind in (*CoverageKind, None):
        every, covered = found.count(kind)
        yield {"coverage": kind or "all", "covered": covered, "of": every, "percent": round(found.percent_of(kind), 1)}
