"""Lists the gaps that the conservation audit found, and when each hop was last audited."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from ops.command_line import ExitCode, Format, OutputFormat, Service, print_json, print_rows
from ops.command_settings import CommandSettings, load_command_settings, run
from ops.database import operator_pool
from shared.runtime.audit import QUERIES
from shared.runtime.clock import machine_now

STALE_AFTER = timedelta(minutes=10)
"""A hop is audited every minute; a new leader may need a few minutes for what was not audited meanwhile."""

_GAP_COLUMNS = {
    "service": "service",
    "hop": "hop",
    "reason": "reason",
    "since": "owed since",
    "subject": "subject",
    "closed_at": "closed at",
}
_RUN_COLUMNS = {
    "service": "service",
    "hop": "hop",
    "ran_at": "audited at",
    "checked": "rows checked",
    "state": "state",
}
OnlyServiceOption = Annotated[
    Service | None, typer.Option("--service", help="Only this service; without it, all four.", show_default=False)
]


def audit_command(
    service: OnlyServiceOption = None,
    *,
    closed: Annotated[bool, typer.Option("--all", help="Also gaps that have closed.")] = False,
    limit: Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many gaps of a service.")] = 200,
    output: Format = OutputFormat.TEXT,
) -> None:
    """List what the conservation audit found missing.

    Exit code 1 where a gap is open, or a hop is not audited any more.
    """
    services = [service] if service is not None else list(Service)
    run(list_audit(load_command_settings(CommandSettings), services, closed=closed, limit=limit, output=output))


async def list_audit(
    settings: CommandSettings, services: Sequence[Service], *, closed: bool, limit: int, output: OutputFormat
) -> int:
    gaps: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for service in services:
        async with operator_pool(settings, service) as pool:
            gaps += [{"service": str(service), **row} for row in await pool.fetch(QUERIES.list_gaps, closed, limit)]
            runs += [{"service": str(service), **row} for row in await pool.fetch(QUERIES.list_runs)]
    for one in runs:
        one["state"] = "late" if machine_now() - one["ran_at"] > STALE_AFTER else "audited"
    if output is OutputFormat.JSON:
        print_json([*({"kind": "gap"} | gap for gap in gaps), *({"kind": "run"} | one for one in runs)])
    else:
        print_rows(gaps, _GAP_COLUMNS, output, empty="no gaps")
        print_rows(runs, _RUN_COLUMNS, output, empty="no service has been audited yet")
    is_open = any(gap["closed_at"] is None for gap in gaps)
    is_late = {one["service"] for one in runs if one["state"] == "audited"} != set(map(str, services)) or any(
        one["state"] == "late" for one in runs
    )
    return ExitCode.FINDINGS if is_open or is_late else ExitCode.FINE
