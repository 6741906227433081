"""``stet drain``: pause the tenant, then wait until nothing is under way, and say what is left.

For a move of the database or the broker, or before the last replica is stopped: afterwards everything is in the tables
of PostgreSQL, and ``stet resume tenant`` goes on from there.
"""

import asyncio
from typing import Annotated, Any

import typer

from ops.changes import ReasonOption, Yes, audited, confirm
from ops.command_line import ExitCode, Format, OutputFormat, print_error, print_json, print_lines
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.pauses import PausedKind, set_pause
from ops.status import QUERIES, lag_by_service
from ops.topic_reader import kept_ranges
from shared.contracts.topics import SERVICES
from shared.runtime.postgres import Pool

_POLL_SECONDS = 1.0
_CALM_ROUNDS = 2  # a record may be on its way between a service's outbox and the next one's topic


def drain_command(
    *,
    reason: ReasonOption,
    timeout: Annotated[int, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 120,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Pause the tenant, wait until nothing is under way, and say what is left in the queues.

    Events that come in are still read, decided and kept. Ends with 1 where something is still under way after
    --timeout. Where the broker or the database does not answer it ends with 2. Then, and where it is interrupted, the
    tenant stays paused, and it says so.
    """
    settings = load_command_settings(OperatorSettings)
    confirm(f"Pause {settings.tenant} and wait until nothing is under way?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings) as pool, audited(pool, "drain", settings.tenant, reason) as entry:
            await set_pause(pool, settings.tenant, PausedKind.TENANT, settings.tenant, reason)
            entry.kept_change = f"{settings.tenant} is paused, and what is under way is not known"
            busy = await _until_idle(pool, settings, timeout)
            left = await _remaining_work(pool, settings.tenant)
            entry.result = f"under way: {busy}" if busy else "drained"
        _print(busy, left, output)
        return ExitCode.FINDINGS if busy else ExitCode.FINE

    run(command())


async def _until_idle(pool: Pool, settings: OperatorSettings, timeout_seconds: int) -> dict[str, int]:
    """Wait until two rounds in a row find nothing under way; returns what still is when the time is over."""
    ends = asyncio.get_running_loop().time() + timeout_seconds
    calm, printed = 0, ""
    while True:
        busy = await under_way(pool, settings)
        calm = 0 if busy else calm + 1
        if calm == _CALM_ROUNDS or asyncio.get_running_loop().time() > ends:
            return busy
        counts = ", ".join(f"{name} {count}" for name, count in busy.items())
        if counts and counts != printed:
            print_error(f"waiting for {counts}")
            printed = counts
        await asyncio.sleep(_POLL_SECONDS)


async def under_way(pool: Pool, settings: OperatorSettings) -> dict[str, int]:
    """How much is under way, by kind: records not read, records in outboxes, sends and writes in flight."""
    lag = await lag_by_service(pool, await kept_ranges(settings))
    outboxes = {
        f"outbox of {service}": (await pool.fetchrow(QUERIES.outbox.replace("SCHEMA", service)))["count"]
        for service in SERVICES
    }
    messages = await pool.fetchrow(QUERIES.messages, settings.tenant)
    writes = await pool.fetchrow(QUERIES.writes, settings.tenant)
    counts = {
        **{f"lag of {service}": records for service, records in lag.items()},
        **outboxes,
        "sends in flight": messages["in_flight"],
        "writes in flight": writes["in_flight"],
    }
    return {name: count for name, count in counts.items() if count}


async def _remaining_work(pool: Pool, tenant: str) -> dict[str, int]:
    """How much stays in the queues until the tenant is resumed, or until a person settles it, by kind."""
    messages = await pool.fetchrow(QUERIES.messages, tenant)
    writes = await pool.fetchrow(QUERIES.writes, tenant)
    waiting = await pool.fetchrow(QUERIES.waiting_events, tenant)
    return {
        "messages waiting": messages["waiting"] + messages["paused"],
        "uncertain sends": messages["uncertain"],
        "writes waiting": writes["queued"] + writes["behind_tasks"],
        "events waiting": waiting["count"],
    }


def _print(busy: dict[str, int], left: dict[str, int], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        fields: dict[str, Any] = {"drained": not busy, "under_way": busy, "left": left}
        print_json([fields])
        return
    first = "drained: nothing is under way" if not busy else "not drained: these are still under way"
    print_lines(
        [
            first,
            *(f"  {name}: {count}" for name, count in busy.items()),
            "left in the queues, safe in the database:",
            *(f"  {name}: {count}" for name, count in left.items()),
            "stet resume tenant --reason … lets them go on",
        ]
    )
