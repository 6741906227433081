"""``make bench``: measures each part beside its floor, in one run, and prints one table.

The machine's own speed means nothing here: only the ratio to a floor measured in the same minutes counts. A missed
target is printed and fails nothing; only a failed measurement does.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence

from rich.console import Console

from bench import dispatcher, ingest, latency, rules
from bench.results import BenchResult, print_results
from shared.contracts.errors import StetError

Bench = Callable[[float], AsyncIterator[BenchResult]]

_BENCHES: dict[str, Bench] = {
    "ingest": ingest.measure,
    "rules": rules.measure,
    "dispatcher": dispatcher.measure,
    "latency": latency.measure,
}
_SERVER_SETTINGS = ("STET_KAFKA_BOOTSTRAP", "STET_POSTGRES_DSN")


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    for name in _SERVER_SETTINGS:
        os.environ.pop(name, None)  # a bench fills its servers with invented people, so it always starts its own
    console = Console(stderr=True)
    try:
        results = asyncio.run(_run(options, console))
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        return 1
    print_results(results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Stet beside what its parts can do.")
    parser.add_argument("--only", choices=_BENCHES, help="one part instead of all")
    parser.add_argument("--seconds", type=float, default=2.0, help="the length of a round (default: 2)")
    parser.add_argument(
        "--million", action="store_true", help="instead: a million events through rules, and its memory"
    )
    return parser


async def _run(options: argparse.Namespace, console: Console) -> list[BenchResult]:
    if options.million:
        return [result async for result in rules.measure_memory()]
    results = []
    for name in [options.only] if options.only else list(_BENCHES):
        console.print(f"measuring {name}", highlight=False)
        async for result in _BENCHES[name](options.seconds):
            console.print(f"  {result.sentence}", highlight=False)
            results.append(result)
    return results
