"""``make bench``: measures each part beside its floor, in one run, and prints one table.

The machine's own speed means nothing here: only the ratio to a floor measured in the same minutes counts. A missed
target is printed and fails nothing; only a failed measurement does.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from bench import (
    backlog,
    dispatcher,
    engines,
    history,
    ingest,
    lanes,
    latency,
    rule_files,
    rules,
    sizing,
    tracing,
    wire,
)
from bench.results import BenchResult, print_results
from shared.contracts.errors import StetError

_SERVER_SETTINGS = ("STET_KAFKA_BOOTSTRAP", "STET_POSTGRES_DSN")


class Part(StrEnum):
    """A part that can be measured by itself."""

    INGEST = "ingest"
    RULES = "rules"
    DISPATCHER = "dispatcher"
    WIRE = "wire"
    LANES = "lanes"
    BACKLOG = "backlog"
    LATENCY = "latency"
    TRACING = "tracing"
    ENGINES = "engines"
    HISTORY = "history"
    RULE_FILES = "rule-files"
    SIZING = "sizing"


_BENCHES: Mapping[Part, Callable[[float], AsyncIterator[BenchResult]]] = {
    Part.INGEST: ingest.measure,
    Part.RULES: rules.measure,
    Part.DISPATCHER: dispatcher.measure,
    Part.WIRE: wire.measure,
    Part.LANES: lanes.measure,
    Part.BACKLOG: backlog.measure,
    Part.LATENCY: latency.measure,
    Part.TRACING: tracing.measure,
    Part.ENGINES: engines.measure,
    Part.HISTORY: history.measure,
    Part.RULE_FILES: rule_files.measure,
    Part.SIZING: sizing.measure,
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def measure(
    *,
    only: Annotated[Part | None, typer.Option(help="One part instead of all.")] = None,
    seconds: Annotated[float, typer.Option(help="The length of a round.", min=0.1)] = 2.0,
    million: Annotated[
        bool, typer.Option("--million", help="Instead: a million events through rules, and its memory.")
    ] = False,
) -> None:
    """Measure each part beside its floor, and print one table."""
    for name in _SERVER_SETTINGS:
        os.environ.pop(name, None)  # a bench fills its servers with invented people, so it always starts its own
    console = Console(stderr=True)
    try:
        results = asyncio.run(
            _measure_memory() if million else _measure_parts([only] if only else [*Part], seconds, console)
        )
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    print_results(results)


async def _measure_memory() -> list[BenchResult]:
    return [result async for result in rules.measure_memory()]


async def _measure_parts(parts: Iterable[Part], seconds: float, console: Console) -> list[BenchResult]:
    results = []
    for part in parts:
        console.print(f"measuring {part}", highlight=False)
        async for result in _BENCHES[part](seconds):
            console.print(f"  {result.sentence}", highlight=False)
            results.append(result)
    return results
