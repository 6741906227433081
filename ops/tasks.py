"""Writes that Consonance cannot be asked to do, for a person to do by hand, and the evidence of every write.

Closing a task counts like a verified write: what waited behind it goes on, and approved metadata goes downstream.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from ops.command_line import CommandSettings, Json, command_group, database, print_error, print_json, run
from services.writeback.store import SERVICE, close_task, fetch_evidence, fetch_task, list_open_tasks
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool
from shared.runtime.settings import load_settings

app = command_group("Writes that a person must do in Consonance.")
evidence_app = command_group("What proves each write.")
TaskId = Annotated[int, typer.Argument(help="The number in the list.", metavar="ID")]


@app.command("list")
def list_command(*, as_json: Json = False) -> None:
    """List every open task."""

    async def command() -> int:
        async with database(load_settings(CommandSettings), SERVICE) as pool:
            return await print_open_tasks(pool, as_json=as_json)

    run(command())


@app.command("show")
def show_command(task_id: TaskId) -> None:
    """Show one task, with old and new values and the evidence (personal data)."""

    async def command() -> int:
        async with database(load_settings(CommandSettings), SERVICE) as pool:
            return await print_task(pool, task_id)

    run(command())


@app.command("done")
def done_command(
    task_id: TaskId,
    note: Annotated[str | None, typer.Option(help="How, or where to find it; kept with the evidence.")] = None,
) -> None:
    """Record that a task is done in Consonance."""

    async def command() -> int:
        settings = load_settings(CommandSettings)
        async with database(settings, SERVICE) as pool:
            return await mark_done(pool, settings.clock(), task_id, note)

    run(command())


@evidence_app.command("show")
def evidence_command(
    record: Annotated[str, typer.Argument(help="As writes name it, for instance rights/R-9 or works/61417.")],
) -> None:
    """Print the evidence of each write of a record, one JSON object a line; exit code 1 where there is none."""

    async def command() -> int:
        async with database(load_settings(CommandSettings), SERVICE) as pool:
            rows = await fetch_evidence(pool, record)
        for row in rows:
            typer.echo(orjson.dumps(row).decode())
        return 0 if rows else 1

    run(command())


@evidence_app.callback()
def _evidence_group() -> None:
    """Keep ``show`` a sub-command although it is the only one."""


async def print_open_tasks(pool: Pool, *, as_json: bool = False) -> int:
    tasks = await list_open_tasks(pool)
    if as_json:
        print_json(tasks)
        return 0
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
        return print_error(f"there is no task {task_id}")
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
        return print_error(f"there is no task {task_id}")
    if not await close_task(pool, clock, task, note):
        return print_error(f"task {task_id} was closed before")
    Console().print(f"task {task_id} is done; the writes behind it go on")
    return 0


def _print_fields(console: Console, title: str, fields: Mapping[str, Any]) -> None:
    console.print(f"{title}:")
    for name, value in fields.items():
        console.print(f"  {name}: {value}", markup=False)
