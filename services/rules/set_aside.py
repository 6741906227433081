"""``python -m services.rules.set_aside list|retry``: chains that could not do what was due, and stand still since.

One fails alone: the others went on. Once its cause is gone, ``retry`` makes it due again, at the instant it was due.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import asyncpg
from rich.console import Console
from rich.table import Table

from services.rules import store
from shared.contracts.errors import Misconfigured
from shared.runtime.postgres import Pool, connection_pool
from shared.runtime.settings import ServiceSettings, load_settings

_SHOWN = ("chain_id", "rule", "subject", "due", "reason", "sentence", "set_aside_at")


async def show_all(pool: Pool) -> Table | str:
    """A line per chain: which rule about what, what was due when, and what failed where."""
    rows = await pool.fetch(store.QUERIES.find_set_aside)
    table = Table(*(name.replace("_", " ") for name in _SHOWN))
    for row in rows:
        times = {name: row[name].isoformat(timespec="minutes") for name in ("due", "set_aside_at")}
        table.add_row(*(times.get(name, str(row[name])) for name in _SHOWN))
    return table if rows else "no chain is set aside"


async def retry(pool: Pool, chain_ids: Sequence[str]) -> list[str]:
    """Which of these chains, or of all where none are named, are due again."""
    rows = await pool.fetch(store.QUERIES.retry_set_aside, list(chain_ids) or None)
    return [row["chain_id"] for row in rows]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.rules.set_aside", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all of them, the oldest first")
    trying = commands.add_parser("retry", help="let chains go on: those named, or --all")
    trying.add_argument("chain_id", nargs="*")
    trying.add_argument("--all", action="store_true", help="every chain that is set aside")
    chosen = parser.parse_args(arguments)
    if chosen.command == "retry" and bool(chosen.chain_id) is chosen.all:
        parser.error("name the chains to retry, or say --all")
    return chosen


async def run(settings: ServiceSettings, chosen: argparse.Namespace) -> int:
    async with connection_pool(settings, "rules") as pool:
        if chosen.command == "list":
            Console().print(await show_all(pool))
            return 0
        again = await retry(pool, chosen.chain_id)
        Console().print("\n".join(f"{chain_id} is due again" for chain_id in again) or "none of these is set aside")
        return 0 if again else 1


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _arguments(arguments)
    try:
        return asyncio.run(run(load_settings(ServiceSettings), chosen))
    except (Misconfigured, OSError, asyncpg.PostgresError) as error:
        Console(stderr=True).print(f"{type(error).__name__}: {error}", markup=False)
        return 2


if __name__ == "__main__":
    sys.exit(main())
