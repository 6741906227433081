"""Waits after the load until everything decided is done, or the time is up, and names what is left."""

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp
import asyncpg
import orjson
from aiokafka.errors import KafkaError

from dev.chaos.recorder import RecordedStack, TopicRecorder, connect
from shared.runtime.postgres import load_queries

_POLL_SECONDS = 1.0
_REPEATS = 2  # looks in a row that have to find nothing left
_TABLES = load_queries(__file__, "tables.sql")


async def drain(stack: RecordedStack, recorder: TopicRecorder, still: float, longest: float) -> dict[str, int]:
    """Wait until no work is left, until nothing changes for ``still`` seconds, or for ``longest`` seconds in all.

    Returns the work that is left, by kind.
    """
    ends = changed = time.monotonic()
    ends, quiet, left = ends + longest, 0, {"nothing looked at yet": 1}
    while quiet < _REPEATS and time.monotonic() < min(ends, changed + still):
        await asyncio.sleep(_POLL_SECONDS)
        before, left = left, await _left(stack, recorder)
        changed = time.monotonic() if _steady(left) != _steady(before) else changed
        quiet = quiet + 1 if not left else 0
    return left


def _steady(left: dict[str, int]) -> dict[str, int]:
    """Without heartbeats, which are written and read as long as ingest runs."""
    return {name: number for name, number in left.items() if not name.startswith("records ")}


async def _left(stack: RecordedStack, recorder: TopicRecorder) -> dict[str, int]:
    try:
        return {name: number for name, number in (await _count_open_work(stack, recorder)).items() if number}
    except (OSError, asyncpg.PostgresError, KafkaError, aiohttp.ClientError, TimeoutError) as error:
        return {f"no look was possible: {type(error).__name__}": 1}


async def _count_open_work(stack: RecordedStack, recorder: TopicRecorder) -> dict[str, int]:
    found = {f"{name} not ready": 1 for name in await stack.not_ready()} | await _simulators(stack)
    connection = await connect(stack)
    try:
        found |= dict(await connection.fetchrow(_TABLES.unfinished))
        found |= await _unread(connection, recorder)
    finally:
        await connection.close()
    found["records not recorded"] = await recorder.behind()
    return found


async def _simulators(stack: RecordedStack) -> dict[str, int]:
    found = {}
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for name, url in (("whatsapp", stack.layout.whatsapp_url), ("consonance", stack.layout.consonance_url)):
            async with session.get(f"{url}/_simulator/idle") as answer:
                report = orjson.loads(await answer.read())
            found[f"deliveries of {name}"] = len(report["busy"]) + (report["next_due"] is not None)
    return found


async def _unread(connection: Any, recorder: TopicRecorder) -> dict[str, int]:
    """Records of each topic that a service has not read, by its own progress."""
    ends, rows = await recorder.ends(), await connection.fetch(_TABLES.read)
    found: Counter[str] = Counter()
    for row in rows:
        unread = max(0, ends.get((row["topic"], row["partition"]), 0) - row["next_offset"])
        found[f"records of {row['topic']} unread by {row['service']}"] += unread
    return found
