"""Writes that Consonance cannot be asked to do, for a person to do by hand.

A task that is done counts like a verified write: approved metadata goes downstream. One that is dropped counts like a
write in conflict: nothing was written, and the people concerned hear so. Writes that waited behind it go on either way.
"""

from collections.abc import Iterator
from typing import Annotated

import typer
from msgspec import to_builtins

from ops.changes import ReadReason, Yes, audited, confirm
from ops.command_line import (
    Format,
    OutputFormat,
    command_group,
    print_error,
    print_json,
    print_lines,
    print_result,
    print_rows,
)
from ops.command_settings import CommandSettings, load_command_settings, run
from ops.database import operator_pool
from services.writeback.store import SERVICE, ManualTask, close_task, fetch_task, list_open_tasks
from shared.runtime.postgres import Pool

app = command_group("Writes that a person must do in Consonance.")
_COLUMNS = {"task_id": "task", "opened_at": "since", "operation": "operation", "record": "record", "reason": "why"}
TaskReason = Annotated[
    str, typer.Option("--reason", help="How, or where to find it; kept with the evidence and in the audit log.")
]
TaskDropReason = Annotated[
    str, typer.Option("--reason", help="Why the write is not wanted; kept with the evidence and in the audit log.")
]
TaskId = Annotated[int, typer.Argument(help="The number in the list.", metavar="ID")]


@app.command("list")
def list_command(output: Format = OutputFormat.TEXT) -> None:
    """List every open task."""

    async def command() -> int:
        async with operator_pool(load_command_settings(CommandSettings), SERVICE) as pool:
            return await print_open_tasks(pool, output)

    run(command())


@app.command("show")
def show_command(task_id: TaskId, *, reason: ReadReason, output: Format = OutputFormat.TEXT) -> None:
    """Show one task, with old and new values and the evidence (personal data); the audit log says who read it."""

    async def command() -> int:
        settings = load_command_settings(CommandSettings)
        async with (
            operator_pool(settings, SERVICE) as pool,
            audited(pool, "show task", str(task_id), reason) as entry,
        ):
            code = await print_task(pool, task_id, output)
            entry.result = "there was none" if code else "done"
            return code

    run(command())


@app.command("done")
def done_command(task_id: TaskId, *, reason: TaskReason, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Record that a task is done in Consonance."""
    confirm(f"Has the write of task {task_id} been made in Consonance?", yes=yes)
    run(_close(task_id, reason, output, is_done=True))


@app.command("drop")
def drop_command(
    task_id: TaskId, *, reason: TaskDropReason, yes: Yes = False, output: Format = OutputFormat.TEXT
) -> None:
    """Close a task whose write is not wanted any more: it counts as not written, and the people concerned hear so."""
    confirm(f"Is the write of task {task_id} not to be made in Consonance?", yes=yes)
    run(_close(task_id, reason, output, is_done=False))


async def _close(task_id: int, reason: str, output: OutputFormat, *, is_done: bool) -> int:
    settings = load_command_settings(CommandSettings)
    action, state = ("close task", "done") if is_done else ("drop task", "dropped")
    async with operator_pool(settings, SERVICE) as pool:
        task = await fetch_task(pool, task_id)
        if task is None:
            return print_error(f"there is no task {task_id}")
        async with audited(pool, action, f"{task_id} {task.stored.write.record}", reason) as entry:
            if not await close_task(pool, settings.clock(), task, reason, is_done=is_done):
                entry.result = "closed before: nothing was changed"
                return print_error(f"task {task_id} was closed before")
    print_result(f"task {task_id} is {state}; the writes behind it go on", {"task_id": task_id, state: True}, output)
    return 0


async def print_open_tasks(pool: Pool, output: OutputFormat) -> int:
    print_rows(await list_open_tasks(pool), _COLUMNS, output, empty="nothing waits for a person")
    return 0


async def print_task(pool: Pool, task_id: int, output: OutputFormat) -> int:
    """Everything needed to do the write in Consonance, and the proof that it was requested."""
    task = await fetch_task(pool, task_id)
    if task is None:
        return print_error(f"there is no task {task_id}")
    if output is OutputFormat.JSON:
        print_json([{"task_id": task_id, **to_builtins(task)}])
    else:
        print_lines(_task_lines(task_id, task))
    return 0


def _task_lines(task_id: int, task: ManualTask) -> Iterator[str]:
    write = task.stored.write
    state = f"closed {task.closed_at.isoformat(timespec='minutes')}" if task.closed_at else "open"
    yield f"task {task_id} ({state}): {write.input.operation} of {write.record}, {task.reason}"
    for change in task.changes:
        yield f"  {change['change']}"
        yield f"    now  {change['read']}"
        yield f"    new  {change['asked']}"
    yield from (f"  Consonance answered: {message}" for message in task.error_messages)
    for title, fields in (("asked", to_builtins(write.input)), ("evidence", to_builtins(write.evidence))):
        yield f"{title}:"
        yield from (f"  {name}: {value}" for name, value in fields.items())
    if task.note:
        yield f"note: {task.note}"
