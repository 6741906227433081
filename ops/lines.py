"""The WhatsApp numbers of the publisher: what waits on each, what holds it, and when it last sent.

And what Meta restricts of their accounts: a restriction without an end holds until Meta reports another, so an operator
lifts one whose end no webhook reported.
"""

from datetime import timedelta
from typing import Annotated, Any

import typer

from ops.changes import ReasonOption, Yes, audited, confirm
from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    command_group,
    print_error,
    print_fields,
    print_result,
    print_rows,
)
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.database import operator_pool
from services.dispatcher.account_limits import Restriction
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "lines.sql")
_RECENT = timedelta(days=1)
"""A line that sent nothing for so long shows no last send."""

app = command_group("The WhatsApp numbers: what waits on each, and what holds it.")

_COLUMNS = {
    "line": "line",
    "waiting": "waiting",
    "oldest_waiting": "oldest",
    "in_flight": "in flight",
    "uncertain": "uncertain",
    "last_send": "last send (a day)",
    "throttled_until": "throttled until",
    "throttled_people": "throttled people",
    "paused_by": "paused by",
    "quality": "quality",
}
_QUEUE_COLUMNS = {
    "template": "template",
    "lane": "lane",
    "state": "state",
    "reason": "reason",
    "messages": "messages",
    "oldest": "oldest",
}

_RESTRICTION_COLUMNS = {
    "account": "account",
    "restriction": "restriction",
    "until": "until (- is no end)",
    "reported_at": "reported at",
}


@app.command("list")
def list_command(output: Format = OutputFormat.TEXT) -> None:
    """List the lines; exit code 1 where one is throttled or paused."""
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            rows = await find_lines(pool, settings)
        print_rows(
            rows,
            _COLUMNS,
            output,
            empty="of no line anything is known yet: WhatsApp has not described its number, and nothing came or waits",
        )
        held = any(row["throttled_until"] or row["paused_since"] for row in rows)
        return ExitCode.FINDINGS if held else ExitCode.FINE

    run(command())


@app.command("show")
def show_command(
    line: Annotated[str, typer.Argument(metavar="LINE", help="As STET_WHATSAPP_LINES names it.")],
    output: Format = OutputFormat.TEXT,
) -> None:
    """Show one line with its queue by template; exit code 1 where there is no such line."""
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            found = {row["line"]: row for row in await find_lines(pool, settings)}
            queue = await pool.fetch(QUERIES.queue, settings.tenant, line)
        if line not in found:
            known = ", ".join(found) or "none"
            return print_error(f"nothing is known of a line “{line}”; the lines are: {known}")
        print_fields(found[line], output)
        print_rows(queue, _QUEUE_COLUMNS, output, empty="nothing waits on it")
        return ExitCode.FINE

    run(command())


async def find_lines(pool: Pool, settings: TenantSettings) -> list[dict[str, Any]]:
    """Every line with its queue and what holds it, by name; a line of which nothing is known is left out."""
    now = settings.clock().now()
    rows = await pool.fetch(QUERIES.lines, settings.tenant, now, now - _RECENT)
    return [dict(row) for row in rows]


# ------------------------------------------------------------------ restrictions

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="As the list of restrictions shows it.")]


@app.command("restrictions")
def restrictions_command(output: Format = OutputFormat.TEXT) -> None:
    """List what Meta restricts of the WhatsApp accounts; exit code 1 where it restricts something."""
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            rows = await find_restrictions(pool, settings)
        print_rows(rows, _RESTRICTION_COLUMNS, output, empty="Meta has reported no restriction that holds")
        return ExitCode.FINDINGS if rows else ExitCode.FINE

    run(command())


@app.command("lift")
def lift_command(
    account: Account,
    restriction: Annotated[
        Restriction | None, typer.Option("--restriction", help="Only this one; without it, all of the account.")
    ] = None,
    *,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Send for an account again that Meta restricts no more, where no webhook said so.

    Exit code 1 where nothing of it is restricted. A later report of Meta counts again.
    """
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            held = [
                row
                for row in await find_restrictions(pool, settings)
                if row["account"] == account and restriction in {None, row["restriction"]}
            ]
            names = [row["restriction"] for row in held]
            async with audited(pool, "lift restriction", account, reason) as entry:
                lifted = await pool.fetch(
                    QUERIES.lift_restrictions, settings.tenant, account, names, settings.clock().now()
                )
                done = sorted(row["name"] for row in lifted)
                entry.result = f"lifted {', '.join(done)}" if done else "nothing was restricted"
        if not done:
            return print_error(f"nothing of account {account} is restricted so; stet lines restrictions shows what is")
        sentence = f"account {account}: {', '.join(done)} lifted; what waited for it is judged again within seconds"
        print_result(sentence, {"account": account, "lifted": done}, output)
        return ExitCode.FINE

    confirm(f"Lift {restriction or 'every restriction'} of account {account}?", yes=yes)
    run(command())


async def find_restrictions(pool: Pool, settings: TenantSettings) -> list[dict[str, Any]]:
    """The restrictions that hold now, by account."""
    rows = await pool.fetch(QUERIES.restrictions, settings.tenant, settings.clock().now())
    return [dict(row) for row in rows]
