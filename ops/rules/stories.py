"""``stet rules test FOLDER RULE…``: plays the stories, and counts what they cover."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer

from ops.command_line import ExitCode, console, print_error, print_json
from ops.rules.folder import DEFAULT_FOLDER, RuleFolder, require_rules
from ops.rules.output import Report, ReportCase, ReportFormat, counted, format_option, print_report, track
from services.rules.rulebook.faults import FaultReport, FileFault, nearest_word
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.rulebook.yaml_nodes import MappingNode, Node, ScalarNode
from services.rules.scenario.comparison import EffectRow
from services.rules.scenario.coverage import CoverageKind, CoverageResult, StoryCoverage
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import PlayedStep, StoryResult, run_story
from services.rules.scenario.story_file import ExpectStep, Story, StoryStep
from shared.runtime.telemetry import configure_command_logs

_INDENT = "  "
_TIME = "%a %Y-%m-%d %H:%M:%SZ"
_MARKS = {(True, True): "≠", (True, False): "−", (False, True): "+"}  # expected and happened, the one alone, the other


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
    configure_command_logs()  # an answer in which the second engine differs is logged
    folder, names = _folder_and_rules(folder, rules or [])
    unread = FaultReport()
    files = read_folder(folder, unread, misnamed=True)
    checked = check_files(files, unread, tested=False)
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


def sentence_of(story: Story) -> str:
    """The sentence that a story is: the rule, and what it does."""
    return f"{story.rule} {story.it}"


def transcript(result: StoryResult, width: int) -> list[str]:
    """The lines of a story; of a failed ``expect`` the effects that were expected beside those that happened."""
    lines = [f"{'✓' if result.passed else '✗'} {sentence_of(result.story)}"]
    for played in result.steps:
        if isinstance(played.step, ExpectStep) and not played.rows:
            continue  # it came true
        lines.append(f"{_INDENT}{_shown(played)}")
        lines += [f"{_INDENT * 2}{line}" for line in side_by_side(played.rows, width - 2 * len(_INDENT))]
    if result.faults and not result.steps[-1].rows:
        lines.append(f"{_INDENT * 2}{result.faults[0].message}")
    return lines


def _shown(played: PlayedStep) -> str:
    text = "expect:" if played.rows else format_step(played.step)
    return f"{played.at:{_TIME}}  {text}"


def format_step(step: StoryStep) -> str:
    """On one line, as a story may write it."""
    return ", ".join(f"{key}: {_format_node(node)}" for key, node in step.written.items())


def _format_node(node: Node) -> str:
    match node:
        case ScalarNode():
            return node.text
        case MappingNode():
            return f"{{{', '.join(f'{key}: {_format_node(each)}' for key, each in node.nodes.items())}}}"
        case _:
            return f"[{', '.join(map(_format_node, node.nodes))}]"


def side_by_side(rows: Sequence[EffectRow], width: int) -> Iterator[str]:
    """Two columns; ``≠`` where the two differ, ``−`` where an effect is missing, ``+`` where one is not expected."""
    if not rows:
        return
    column = max(20, (width - 5) // 2)
    texts = [text or "" for row in rows for text in (row.expected, row.happened)]
    column = min(column, max(8, *map(len, texts)))
    yield f"  {'expected':{column}} │ happened"
    for row in rows:
        mark = " " if row.same else _MARKS[row.expected is not None, row.happened is not None]
        halves = (wrap(row.expected or "", column) or [""], wrap(row.happened or "", column) or [""])
        for number, (left, right) in enumerate(zip_longest(*halves, fillvalue="")):
            yield f"{' ' if number else mark} {left:{column}} │ {right}".rstrip()
