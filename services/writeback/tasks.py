"""``python -m services.writeback.tasks list|show|done``: writes that Consonance cannot be asked to do, for a person.

Closing a task counts like a verified write: what waited behind it goes on, and approved metadata goes downstream.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from services.writeback.commands import CommandSettings, database
from services.writeback.store import close_task, fetch_task, list_open_tasks
from shared.contracts.errors import Misconfigured
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool
from shared.runtime.settings import load_settings


async def print_open_tasks(pool: Pool) -> int:
    tasks = await list_open_tasks(pool)
    table = Table("id", "since", "operation", "record", "why")
    for task in tasks:
        since = task["opened_at"].isoformat(timespec="minutes")
        table.add_row(str(task["task_id"]), since, task["operation"], task["record"], task["reason"])
    Console().print(table if tasks else "nothing waits for a person")
    return 0


async def print_task(pool: Pool, task_id: int) -> int:
    """Everything needed to do the write in Consonance, and the proof that it was requested."""
    task = await fetch_task(pool, task_id)
    if task is None:
        return _print_error(f"there is no task {task_id}")
    write = task.stored.write
    state = f"closed {task.closed_at.isoformat(timespec='minutes')}" if task.closed_at else "open"
    console = Console(highlight=False)
    title = f"task {task_id} ({state}): {write.input.operation} of {write.record}, {task.reason}"
    console.print(title, markup=False)
    for change in task.changes:
        console.print(f"  {change['change']}\n    now  {change['read']}\n    new  {change['asked']}", markup=False)
    for message in task.error_messages:
        console.print(f"  Consonance answered: {message}", markup=False)
    _print_fields(console, "asked", to_builtins(write.input))
    _print_fields(console, "evidence", to_builtins(write.evidence))
    if task.note:
        console.print(f"note: {task.note}", markup=False)
    return 0


async def mark_done(pool: Pool, clock: Clock, task_id: int, note: str | None) -> int:
    task = await fetch_task(pool, task_id)
    if task is None:
        return _print_error(f"there is no task {task_id}")
    if not await close_task(pool, clock, task, note):
        return _print_error(f"task {task_id} was closed before")
    Console().print(f"task {task_id} is done; the writes behind it go on")
    return 0


def _print_fields(console: Console, title: str, fields: Mapping[str, Any]) -> None:
    console.print(f"{title}:")
    for name, value in fields.items():
        console.print(f"  {name}: {value}", markup=False)


def _print_error(sentence: str) -> int:
    Console(stderr=True).print(sentence, markup=False)
    return 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.writeback.tasks", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="every open task")
    showing = verbs.add_parser("show", help="one task, with old and new values and the evidence (personal data)")
    closing = verbs.add_parser("done", help="it is done in Consonance")
    closing.add_argument("--note", help="how, or where to find it; kept with the evidence")
    for verb in (showing, closing):
        verb.add_argument("id", type=int)
    return parser.parse_args(argv)


async def _run(chosen: argparse.Namespace) -> int:
    settings = load_settings(CommandSettings)
    async with database(settings) as pool:
        if chosen.verb == "list":
            return await print_open_tasks(pool)
        if chosen.verb == "show":
            return await print_task(pool, chosen.id)
        return await mark_done(pool, settings.clock(), chosen.id, chosen.note)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return asyncio.run(_run(_arguments(argv)))
    except Misconfigured as error:
        return _print_error(str(error)) + 1
    except (OSError, asyncpg.PostgresError) as error:
        return _print_error(f"STET_POSTGRES_DSN: {type(error).__name__}")


if __name__ == "__main__":
    sys.exit(main())
