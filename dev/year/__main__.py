"""``make year``: a year of traffic on the virtual clock, with every sweep, and how large each table is after it.

Exit codes: 0 every table is flat or grows by design, 1 one grows, 2 the run failed.
"""

import asyncio
import time
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from asyncpg import PostgresError
from rich.console import Console

from dev.year.report import show
from dev.year.run import KEPT, play
from dev.year.verdict import BY_DESIGN, faults, judge
from shared.contracts.errors import StetError

_EARLY = 6
"""By then every retention of the run has passed, also where one begins when another ends: a stranger is erased after 60
days, what is known of the erasure goes 60 days later, and each sweep is the one at the end of a month."""


def main(
    *,
    months: Annotated[int, typer.Option(help="Of four weeks; 13 are a year.", min=2)] = 13,
    seed: Annotated[int, typer.Option(help="Of who writes what about which title.")] = 1,
) -> None:
    """Play a year of traffic on the virtual clock, with every sweep, and judge whether each table is flat."""
    console, began = Console(width=140), time.monotonic()

    def report(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", style="dim", highlight=False)

    early = min(_EARLY, months - 1)
    try:
        result = asyncio.run(play(months, seed, _measured(early, months), report))
    except (StetError, OSError, PostgresError, KafkaError) as failure:
        console.print(f"the run failed: {failure}", style="red", markup=False, highlight=False)
        raise typer.Exit(2) from None
    verdicts = judge(result.sizes[early], result.sizes[months], BY_DESIGN)
    show(console, result.sizes, early, verdicts)
    for month, counts in result.counts.items():
        console.print(
            f"kept in month {month}: {', '.join(f'{n} {kind}' for kind, n in counts.items())}", highlight=False
        )
    console.print(f"kept in this run: {' '.join(f'{name}={days}' for name, days in KEPT.items())}", highlight=False)
    outlives = months > _EARLY
    if not outlives:
        console.print(
            f"whether tables that grow become flat is judged from {_EARLY + 1} months on",
            style="yellow",
            highlight=False,
        )
    found = faults(verdicts, list(result.counts.values()), list(BY_DESIGN), outlives_retentions=outlives)
    for sentence in found:
        console.print(sentence, style="red", highlight=False)
    console.print(
        f"{months} months in {result.seconds:.0f} s, seed {seed}: {len(found) or 'no'} faults", highlight=False
    )
    raise typer.Exit(1 if found else 0)


def _measured(early: int, months: int) -> frozenset[int]:
    """The months that are compared, and every third."""
    return frozenset({early, months, *range(3, months - 1, 3)})


if __name__ == "__main__":
    typer.run(main)
