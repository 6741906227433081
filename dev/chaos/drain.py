"""After the load: until everything decided is done, or until patience is over; what is left is named."""

import asyncio
import time
from typing import Any

import aiohttp
import asyncpg
import orjson
from aiokafka.errors import KafkaError

from dev.chaos.rig import Rig, connect
from dev.chaos.witness import Witness
from shared.runtime.postgres import load_queries

_LOOK_SECONDS = 1.0
_AGAIN = 2  # looks in a row that find nothing left
_TABLES = load_queries(__file__, "tables.sql")


async def drain(run: Rig, witness: Witness, still: float, patience: float) -> dict[str, int]:
    """What is left of each kind: nothing, unless it stood still for ``still`` seconds or took all of ``patience``."""
    ends = changed = time.monotonic()
    ends, quiet, left = ends + patience, 0, {"nothing looked at yet": 1}
    while quiet < _AGAIN and time.monotonic() < min(ends, changed + still):
        await asyncio.sleep(_LOOK_SECONDS)
        before, left = left, await _left(run, witness)
        changed = time.monotonic() if _steady(left) != _steady(before) else changed
        quiet = quiet + 1 if not left else 0
    return left


def _steady(left: dict[str, int]) -> dict[str, int]:
    """Without what comes and goes for ever: heartbeats are written and read as long as ingest runs."""
    return {name: number for name, number in left.items() if not name.startswith("records ")}


async def _left(run: Rig, witness: Witness) -> dict[str, int]:
    try:
        return {name: number for name, number in (await _look(run, witness)).items() if number}
    except (OSError, asyncpg.PostgresError, KafkaError, aiohttp.ClientError, TimeoutError) as error:
        return {f"no look was possible: {type(error).__name__}": 1}


async def _look(run: Rig, witness: Witness) -> dict[str, int]:
    found = {"replicas not ready": len(await run.not_ready()), **await _simulators(run)}
    connection = await connect(run)
    try:
        found |= dict(await connection.fetchrow(_TABLES.left))
        found["records unread"] = await _unread(connection, witness)
    finally:
        await connection.close()
    found["records not written down"] = await witness.behind()
    return found


async def _simulators(run: Rig) -> dict[str, int]:
    found = {}
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for name, url in (("whatsapp", run.layout.whatsapp_url), ("consonance", run.layout.consonance_url)):
            async with session.get(f"{url}/_simulator/idle") as answer:
                said = orjson.loads(await answer.read())
            found[f"deliveries of {name}"] = len(said["busy"]) + (said["next_due"] is not None)
    return found


async def _unread(connection: Any, witness: Witness) -> int:
    """Records that a service has not read, by its own account of how far it has."""
    ends, rows = await witness.ends(), await connection.fetch(_TABLES.read)
    return sum(max(0, ends.get((row["topic"], row["partition"]), 0) - row["next_offset"]) for row in rows)
