"""``python -m services.writeback.tasks list|show|done``: what Consonance cannot be asked to do, for a person to do.

Closing a task counts like a verified write: what waited on it goes on, and downstream hears of approved metadata.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import orjson
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from services.writeback.commands import CommandSettings, database
from services.writeback.entries import Entry
from services.writeback.intake import queries as intake_queries
from services.writeback.ledger import SERVICE, add_evidence, announce
from shared.contracts.errors import Misconfigured
from shared.contracts.values import decode
from shared.contracts.writes import CreateAcquisition, Outcome, RecordDecision, RequestWrite
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.settings import load_settings
from shared.runtime.transaction import transaction

queries = load_queries(__file__, "tasks.sql")


async def list_open(pool: Pool) -> int:
    rows = await pool.fetch(queries.list_open)
    table = Table("id", "since", "operation", "record", "why")
    for row in rows:
        since = row["opened_at"].isoformat(timespec="minutes")
        table.add_row(str(row["task_id"]), since, row["operation"], row["record"], row["reason"])
    Console().print(table if rows else "nothing waits for a person")
    return 0


async def show(pool: Pool, task_id: int) -> int:
    """Everything that is needed to do it in Consonance, and what proves that somebody asked for it."""
    row = await pool.fetchrow(queries.show, task_id)
    if row is None:
        return _no_such(task_id)
    request = decode(RequestWrite, row["request"])
    state = f"closed {row['closed_at'].isoformat(timespec='minutes')}" if row["closed_at"] else "open"
    console = Console(highlight=False)
    console.print(f"task {task_id} ({state}): {row['operation']} of {row['record']}, {row['reason']}", markup=False)
    for change in orjson.loads(row["wanted"]):
        console.print(f"  {change['change']}\n    now  {change['read']}\n    new  {change['asked']}", markup=False)
    for sentence in orjson.loads(row["said"]):
        console.print(f"  Consonance said: {sentence}", markup=False)
    _print_fields(console, "asked", to_builtins(request.input))
    _print_fields(console, "evidence", to_builtins(request.evidence))
    if row["note"]:
        console.print(f"note: {row['note']}", markup=False)
    return 0


async def done(pool: Pool, clock: Clock, task_id: int, note: str | None) -> int:
    """A person did it in Consonance."""
    row = await pool.fetchrow(queries.show, task_id)
    if row is None:
        return _no_such(task_id)
    entry = Entry(
        tenant=row["tenant"],
        write=decode(RequestWrite, row["request"]),
        lane=row["lane"],
        event_id=row["event_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        before={change["change"]: change["before"] for change in orjson.loads(row["wanted"])},
    )
    async with transaction(pool, clock, SERVICE, locks=[entry.lane]) as tx:
        if await tx.connection.fetchval(queries.close, task_id, tx.now, note) is None:
            return _say(f"task {task_id} was closed before")
        await tx.connection.execute(queries.settle_by_hand, entry.tenant, entry.write.write_id, tx.now)
        detail, reference = _stands(entry.write, row["value"])
        await add_evidence(tx, entry, Outcome.DONE_BY_HAND, detail, orjson.loads(row["wanted"]), note)
        await announce(tx, entry, Outcome.DONE_BY_HAND, detail=detail, reference=reference)
        await tx.connection.execute(intake_queries.wake)
    Console().print(f"task {task_id} is done; what waited behind it goes on")
    return 0


def _stands(write: RequestWrite, value: str | None) -> tuple[str | None, str | None]:
    """What was recorded where that is not what was asked, and the reference of an acquisition."""
    if isinstance(write.input, RecordDecision):
        return (value if value != write.input.decision else None), None
    return None, value if isinstance(write.input, CreateAcquisition) else None


def _print_fields(console: Console, title: str, fields: Mapping[str, Any]) -> None:
    console.print(f"{title}:")
    for name, value in fields.items():
        console.print(f"  {name}: {value}", markup=False)


def _no_such(task_id: int) -> int:
    return _say(f"there is no task {task_id}")


def _say(sentence: str) -> int:
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
            return await list_open(pool)
        if chosen.verb == "show":
            return await show(pool, chosen.id)
        return await done(pool, settings.clock(), chosen.id, chosen.note)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return asyncio.run(_run(_arguments(argv)))
    except Misconfigured as error:
        return _say(str(error)) + 1
    except (OSError, asyncpg.PostgresError) as error:
        return _say(f"STET_POSTGRES_DSN: {type(error).__name__}")


if __name__ == "__main__":
    sys.exit(main())
