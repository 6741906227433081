"""The records of the conservation audit of a running stack."""

import re
from dataclasses import dataclass

import aiohttp

from dev.layout import SERVICES
from dev.stack import Stack
from shared.runtime.audit import QUERIES
from shared.runtime.postgres import connect
from tests.shared.promise.testbed import until

HOPS = 4 + 3 + 5 + 4 + 3
"""The outbox of each service, and the hops of ingest, rules, dispatcher and writeback."""

_FAILED = re.compile(rb"^stet_audit_failed_runs_total\{.*\} [1-9].*$", re.MULTILINE)


@dataclass(frozen=True)
class AuditState:
    """``checked``: rows by service and hop. ``failed``: the metrics of failed runs."""

    gaps: list[tuple[str, str, str, str]]
    checked: dict[tuple[str, str], int]
    failed: list[bytes]


async def read_audit(stack: Stack) -> AuditState:
    """After the next run of every hop."""
    gaps: list[tuple[str, str, str, str]] = []
    checked: dict[tuple[str, str], int] = {}
    for service in SERVICES:
        connection = await connect(stack.neighbours.postgres_dsn, service)
        try:
            asked = await connection.fetchval("select clock_timestamp()")

            async def has_run() -> bool:
                query = "select count(*) > 0 and min(ran_at) > $1 from audit_runs"
                return bool(await connection.fetchval(query, asked))  # noqa: B023 -- awaited within the iteration

            await until(has_run)
            gaps += [
                (service, row["hop"], row["subject"], row["reason"])
                for row in await connection.fetch(QUERIES.list_gaps, True, 100)  # noqa: FBT003
            ]
            checked |= {(service, row["hop"]): row["checked"] for row in await connection.fetch(QUERIES.list_runs)}
        finally:
            await connection.close()
    return AuditState(gaps, checked, await _failed_runs(stack))


async def _failed_runs(stack: Stack) -> list[bytes]:
    found: list[bytes] = []
    async with aiohttp.ClientSession() as session:
        for service in SERVICES:
            async with session.get(f"{stack.layout.health_url(service)}/metrics") as answer:
                found += _FAILED.findall(await answer.read())
    return found
