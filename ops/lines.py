"""The WhatsApp numbers of the publisher: what waits on each, what holds it, and when it last sent."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    TenantSettings,
    command_group,
    load_command_settings,
    print_error,
    print_fields,
    print_rows,
    run,
)
from ops.database import operator_pool
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
