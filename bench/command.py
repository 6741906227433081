"""``make bench``: measures each part beside its floor, in one run, and prints one table.

The machine's own speed means nothing here: what counts is the ratio to a floor measured in the same minutes. A missed
wish is printed as such and fails nothing; only what could not be measured does.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence

from rich.console import Console

from bench import dispatcher, ingest, latency, memory, rules
from bench.table import Row, print_table
from shared.contracts.errors import StetError

Section = Callable[[float], AsyncIterator[Row]]

_SECTIONS: dict[str, Section] = {
    "ingest": ingest.measure,
    "rules": rules.measure,
    "dispatcher": dispatcher.measure,
    "latency": latency.measure,
}
_OWN_SERVERS = ("STET_KAFKA_BOOTSTRAP", "STET_POSTGRES_DSN")


def main(argv: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(argv)
    for name in _OWN_SERVERS:
        os.environ.pop(name, None)  # a bench fills its broker and database with invented people: always its own ones
    console = Console(stderr=True)
    try:
        rows = asyncio.run(_run(chosen, console))
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        return 1
    print_table(rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Stet beside what its parts can do.")
    parser.add_argument("--only", choices=_SECTIONS, help="one part instead of all")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a round is loaded (default: 2)")
    parser.add_argument(
        "--million", action="store_true", help="instead: a million events through rules, and its memory"
    )
    return parser


async def _run(chosen: argparse.Namespace, console: Console) -> list[Row]:
    if chosen.million:
        return [row async for row in memory.measure()]
    rows = []
    for name in [chosen.only] if chosen.only else list(_SECTIONS):
        console.print(f"measuring {name}", highlight=False)
        async for row in _SECTIONS[name](chosen.seconds):
            console.print(f"  {row.sentence}", highlight=False)
            rows.append(row)
    return rows
