"""Chains that could not do what was due and were set aside; the others went on.

Once the cause is gone, ``retry`` makes a chain due again, at the instant it was due.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ops.changes import ReasonOption, Yes, audited, confirm
from ops.command_line import Format, OutputFormat, command_group, print_error, print_result, print_rows
from ops.command_settings import CommandSettings, load_command_settings, run
from ops.database import operator_pool
from services.rules import store
from shared.runtime.postgres import Pool

app = command_group("Chains that were set aside.")
_COLUMNS = {
    name: name.replace("_", " ")
    for name in ("chain_id", "rule", "subject", "due", "reason", "sentence", "set_aside_at")
}


@app.command("list")
def list_command(output: Format = OutputFormat.TEXT) -> None:
    """List all of them, the oldest first."""

    async def command() -> int:
        async with operator_pool(load_command_settings(CommandSettings), "rules") as pool:
            rows = await list_set_aside(pool)
        print_rows(rows, _COLUMNS, output, empty="no chain is set aside")
        return 0

    run(command())


@app.command("retry")
def retry_command(
    chain_ids: Annotated[list[str] | None, typer.Argument(help="The chains to retry.", metavar="[CHAIN_ID]...")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every chain that is set aside.")] = False,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Let chains go on: those named, or --all. Exit code 1 where none of them is set aside."""
    if bool(chain_ids) is everything:
        raise typer.BadParameter("name the chains to retry, or give --all")
    confirm(f"Let {'every chain that is set aside' if everything else ', '.join(chain_ids or ())} go on?", yes=yes)

    async def command() -> int:
        async with (
            operator_pool(load_command_settings(CommandSettings), "rules") as pool,
            audited(pool, "retry chain", " ".join(chain_ids or ["all"]), reason) as entry,
        ):
            again = await retry(pool, chain_ids or ())
            entry.result = f"{len(again)} due again"
        if not again:
            none = "no chain is set aside" if everything else "none of these is set aside; see stet chains list"
            return print_error(none)
        print_result(", ".join(again) + " due again", {"due_again": again}, output)
        return 0

    run(command())


async def list_set_aside(pool: Pool) -> Sequence[Any]:
    return list(await pool.fetch(store.QUERIES.find_set_aside))


async def retry(pool: Pool, chain_ids: Sequence[str]) -> list[str]:
    """Which of these chains, or of all where none are named, are due again."""
    rows = await pool.fetch(store.QUERIES.retry_set_aside, list(chain_ids) or None)
    return [row["chain_id"] for row in rows]
