"""How a performance is told on a terminal: each story line by line, and a table of how they ended."""

from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dev.demo.performance import Outcome, Performance
from dev.demo.transcript import Kind, Line

_HOUSE = ZoneInfo("Europe/London")
_SHORT = 150
_MARKS = {
    Kind.DID: ("◆", "bold cyan"),
    Kind.HEARD: ("→", "green"),
    Kind.SAID: ("←", "yellow"),
    Kind.WROTE: ("✎", "magenta"),
    Kind.READ: ("=", "magenta"),
    Kind.NOTED: ("·", "dim"),
}
_LEGEND = "◆ done in Consonance   → sent   ← said   ✎ written   = read back   (times: London, on the development clock)"


def tell(console: Console, performance: Performance) -> None:
    console.print(Text(_LEGEND, style="dim"))
    for number, outcome in enumerate(performance.outcomes, start=1):
        _tell_story(console, number, outcome)
    _tell_ends(console, performance)


def spell(at: datetime) -> str:
    return f"{at.astimezone(_HOUSE):%a %d %b %H:%M}"


def _tell_story(console: Console, number: int, outcome: Outcome) -> None:
    console.print()
    console.print(Rule(Text(f"{number}. {outcome.story.title}", style="bold"), align="left"))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for line in sorted(outcome.transcript.lines, key=lambda line: line.at):
        table.add_row(spell(line.at) if spell(line.at) != before else "", *_shown(line))
        before = spell(line.at)
    console.print(table)
    if outcome.fault:
        console.print(Text(f"✗ {outcome.fault}", style="bold red"))


def _shown(line: Line) -> tuple[Text, Text]:
    mark, style = _MARKS[line.kind]
    text = line.text if len(line.text) <= _SHORT else f"{line.text[: _SHORT - 1]}…"
    said = Text.assemble((line.who, "bold"), (": " if line.who else ""), text)
    return Text(mark, style=style), said


def _tell_ends(console: Console, performance: Performance) -> None:
    console.print()
    table = Table("", "story", "how it ended")
    for outcome in performance.outcomes:
        how = "as it should" if outcome.fault is None else outcome.fault
        table.add_row(_mark(well=outcome.fault is None), outcome.story.title, Text(how))
    whole = "nothing lost, doubled, parked or left behind"
    table.add_row(
        _mark(well=not performance.faults), "all of them together", Text("\n".join(performance.faults) or whole)
    )
    console.print(table)


def _mark(*, well: bool) -> Text:
    return Text("✓", style="bold green") if well else Text("✗", style="bold red")
