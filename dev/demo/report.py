"""Prints the result of the demo: each story line by line, then a table of how they ended."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dev.demo.erasure import ErasedPerson
from dev.demo.runner import DemoResult, DemoStoryResult
from dev.demo.story import LONDON, LineKind, TranscriptLine

_LONGEST = 150  # characters of a line
_MARKS = {
    LineKind.CHANGED: ("◆", "bold cyan"),
    LineKind.SENT: ("→", "green"),
    LineKind.REPLIED: ("←", "yellow"),
    LineKind.WRITTEN: ("✎", "magenta"),
    LineKind.READ_BACK: ("=", "magenta"),
    LineKind.CHECKED: ("·", "dim"),
}
_TIMES = "   (times: London, on the development clock)"


def print_result(console: Console, result: DemoResult) -> None:
    legend = "   ".join(f"{mark} {kind}" for kind, (mark, _) in _MARKS.items())
    console.print(Text(legend + _TIMES, style="dim"))
    for number, story in enumerate(result.stories, start=1):
        _print_story(console, number, story)
    _print_summary(console, result)


def print_erasure(console: Console, erased: ErasedPerson) -> None:
    """Where the person was found before and after, and where the pseudonym stays."""
    console.print()
    console.print(Rule(Text(f"Afterwards {erased.name} asks to be erased", style="bold"), align="left"))
    table = Table("", "searched for", "found before", f"found {erased.hours:.0f} h later")
    for word, before in erased.before.items():
        after = erased.after.get(word, ())
        shown = "the manuscript" if word not in erased.words else word
        table.add_row(_mark(passed=not after), shown, _places(before), _places(after) or "nowhere")
    console.print(table)
    console.print(f"Decisions stay, by the pseudonym: {_places(erased.pseudonym)}", highlight=False)


def _places(places: Sequence[str]) -> str:
    return ", ".join(places)


def format_time(at: datetime) -> str:
    return f"{at.astimezone(LONDON):%a %d %b %H:%M}"


def _print_story(console: Console, number: int, result: DemoStoryResult) -> None:
    console.print()
    console.print(Rule(Text(f"{number}. {result.story.title}", style="bold"), align="left"))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for line in sorted(result.transcript.lines, key=lambda line: line.at):
        time = format_time(line.at)
        table.add_row(time if time != before else "", *_shown(line))
        before = time
    console.print(table)
    if result.fault:
        console.print(Text(f"✗ {result.fault}", style="bold red"))


def _shown(line: TranscriptLine) -> tuple[Text, Text]:
    mark, style = _MARKS[line.kind]
    text = line.text if len(line.text) <= _LONGEST else f"{line.text[: _LONGEST - 1]}…"
    return Text(mark, style=style), Text.assemble((line.who, "bold"), (": " if line.who else ""), text)


def _print_summary(console: Console, result: DemoResult) -> None:
    console.print()
    table = Table("", "story", "result")
    for story in result.stories:
        table.add_row(_mark(passed=story.fault is None), story.story.title, Text(story.fault or "as expected"))
    no_faults = "nothing lost, sent twice, parked or left over"
    table.add_row(_mark(passed=not result.faults), "all together", Text("\n".join(result.faults) or no_faults))
    console.print(table)


def _mark(*, passed: bool) -> Text:
    return Text("✓", style="bold green") if passed else Text("✗", style="bold red")
