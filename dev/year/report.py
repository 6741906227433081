"""Prints the sizes of every table by month, and what is judged of each."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from dev.year.verdict import Sizes, TableGrowth, TableSize, TableVerdict

_NOTHING = TableSize(0, 0)


def show(console: Console, sizes: Mapping[int, Sizes], early: int, verdicts: Sequence[TableVerdict]) -> None:
    months = sorted(sizes)
    table = Table(title="rows of each table at the end of a month of four weeks", title_justify="left", box=None)
    table.add_column("table")
    for month in months:
        table.add_column(f"month {month}", justify="right")
    table.add_column(f"kB {early}", justify="right")
    table.add_column(f"kB {months[-1]}", justify="right")
    table.add_column("judged")
    for one in verdicts:
        if one.finding is TableGrowth.EMPTY:
            continue
        found = [sizes[month].get(one.name, _NOTHING) for month in months]
        kilobytes = [f"{each.bytes // 1024:,}" for each in (found[months.index(early)], found[-1])]
        rows = [f"{each.rows:,}" for each in found]
        style = "red" if one.finding is TableGrowth.GROWS else None
        table.add_row(one.name, *rows, *kilobytes, one.finding.value, style=style)
    console.print(table)
    console.print()
    for one in verdicts:
        if one.reason:
            console.print(f"{one.name}: {one.reason}", highlight=False)
    empty = [one.name for one in verdicts if one.finding is TableGrowth.EMPTY]
    console.print(f"empty at both ends: {', '.join(empty)}", highlight=False)
