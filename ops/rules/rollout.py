"""``stet rules rollout``: which revision of the rules is in force, and putting a stored one into force by hand."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import orjson
import typer

from ops.changes import Reason, Yes, audited, confirm, current_person
from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    TenantSettings,
    command_group,
    load_command_settings,
    print_error,
    print_json,
    print_result,
    print_rows,
    run,
)
from ops.database import operator_pool
from services.rules.rollout.activations import lock_log
from services.rules.rulebook.validation import validate
from shared.contracts.ids import TenantId
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "rollout.sql")
_SHOWN_SOURCES = timedelta(days=1)

_SOURCE_COLUMNS = {
    "replica": "replica",
    "state": "its source is",
    "revision": "revision",
    "commit": "commit",
    "read_at": "read at",
}
_HISTORY_COLUMNS = {
    "number": "activation",
    "revision": "revision",
    "commit": "commit",
    "activated_at": "since",
    "cause": "by",
    "who": "who",
}

app = command_group("Which revision of the rules is in force, and putting one into force.")


@app.command("status")
def status_command(
    limit: Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many activations.")] = 5,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Show the revision in force, the ones before it, and what the source of each replica holds.

    Exit code 1 where a source is refused or differs from what is in force, or a partition has not switched yet.
    """
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            return await _show_status(pool, settings.tenant, limit, output)

    run(command())


async def _show_status(pool: Pool, tenant: TenantId, limit: int, output: OutputFormat) -> int:
    history = [dict(row) for row in await pool.fetch(QUERIES.list_history, tenant, limit)]
    if not history:
        return print_error("no revision of the rules is in force yet: has the rules service started?")
    active = history[0]
    rows = await pool.fetch(QUERIES.list_sources, tenant, machine_now() - _SHOWN_SOURCES)
    sources = [{**row, "state": source_state(row, active["revision"])} for row in rows]
    behind = int(await pool.fetchval(QUERIES.count_behind, active["number"]))
    if output is OutputFormat.JSON:
        kinds = [*({"kind": "activation"} | one for one in history), *({"kind": "source"} | one for one in sources)]
        print_json([*kinds, {"kind": "partitions", "behind": behind}])
    else:
        print_rows(history, _HISTORY_COLUMNS, output, empty="no activations")
        print_rows(sources, _SOURCE_COLUMNS, output, empty="no replica has read its source in the last day")
        for one in sources:
            for fault in one["faults"]:
                typer.echo(f"{one['replica']}: {fault}")
        if behind:
            typer.echo(f"{behind} partitions have not switched to this revision yet")
    return ExitCode.FINDINGS if behind or any(one["state"] != "active" for one in sources) else ExitCode.FINE


def source_state(source: Mapping[str, Any], active: str) -> str:
    """``active``, ``refused``, ``held`` (never in force yet) or ``behind`` (in force before, or kept out by hand)."""
    if source["refused"] is not None:
        return "refused"
    if source["revision"] == active:
        return "active"
    return "behind" if source["was_in_force"] else "held"


@app.command("promote")
def promote_command(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="The first characters of a stored revision, or of its commit.")
    ],
    *,
    reason: Reason,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Put a stored revision into force: one that waits, or an earlier one to go back to.

    All replicas decide by it from their next batch on; chains that run keep the revision they started with.
    """
    settings = load_command_settings(TenantSettings)
    confirm(f"Put the rules {revision} into force?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            return await _promote(pool, settings.tenant, revision, reason, output)

    run(command())


async def _promote(pool: Pool, tenant: TenantId, named: str, reason: str, output: OutputFormat) -> int:
    found = await pool.fetch(QUERIES.find_revisions, named)
    if len(found) != 1:
        what = "several revisions begin so" if found else "no stored revision or commit begins so"
        return print_error(f"{named}: {what}; stet rules rollout status lists them", code=ExitCode.CANNOT_RUN)
    (stored,) = found
    faults = validate(dict(orjson.loads(stored["files"]))).faults
    if faults:
        return print_error(f"{stored['revision']} does not pass the check of this version: {faults[0]}")
    async with audited(pool, "promote rules", stored["revision"], reason) as entry:
        async with pool.acquire() as connection, connection.transaction():
            await lock_log(connection, tenant)
            number = await connection.fetchval(
                QUERIES.activate, tenant, stored["revision"], stored["commit"], machine_now(), current_person()
            )
        entry.result = "in force" if number is not None else "was in force already"
    print_result(
        f"the rules {stored['revision']} {'are in force' if number is not None else 'were in force already'}",
        {"revision": stored["revision"], "commit": stored["commit"], "activation": number},
        output,
    )
    return ExitCode.FINE
