"""What was seen before: an event enters once, however often it comes, and is forgotten when it cannot come again."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

import asyncpg
import orjson

from shared.contracts.envelope import Event
from shared.contracts.topics import WHATSAPP_STATUSES, Topic
from shared.runtime.clock import machine_now
from shared.runtime.failures import TRANSIENT_ERRORS
from shared.runtime.postgres import Connection, Pool
from shared.runtime.telemetry import get_logger
from shared.runtime.transaction import QUERIES

log = get_logger()

KEPT = timedelta(days=100)
"""Longer than any topic keeps a record, where an effect hangs on it."""

KEPT_BRIEFLY = timedelta(days=14)
"""Statuses: their rank makes them harmless a second time."""

PARKED_KEPT = timedelta(days=90)
BRIEF = frozenset({WHATSAPP_STATUSES.name})
_A_FEW = 1000
_EVERY_SECONDS = 600.0


class HasEvent(Protocol):
    """What carries an event out of a topic."""

    @property
    def event(self) -> Event: ...
    @property
    def topic(self) -> Topic: ...


C = TypeVar("C", bound=HasEvent)


async def enter_inbox(connection: Connection, received: Sequence[C]) -> list[C]:
    """Enter all; those the inbox did not hold, in order, each once even where the batch holds it twice."""
    first: dict[tuple[str, str, str], C] = {}
    for one in received:
        event = one.event
        first.setdefault((event.tenantid, event.source, event.id), one)
    now = machine_now()
    kinds: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for (tenant, source, event_id), one in first.items():
        kinds.setdefault((tenant, one.topic.name in BRIEF), []).append((source, event_id))
    for (tenant, brief), names in kinds.items():
        sources, ids = (orjson.dumps(column).decode() for column in zip(*names, strict=True))
        for row in await connection.fetch(QUERIES.see, tenant, sources, ids, brief, now):
            del first[tenant, *names[row["place"] - 1]]
    return list(first.values())


async def purge_expired(pool: Pool) -> None:
    """Forever, in small batches, so that nobody waits for it."""
    while True:
        for query, arguments in _chores():
            await _chore(pool, query, arguments)
        await asyncio.sleep(_EVERY_SECONDS)


def _chores() -> Iterator[tuple[str, tuple[object, ...]]]:
    now = machine_now()
    yield QUERIES.forget_seen, (False, now - KEPT)
    yield QUERIES.forget_seen, (True, now - KEPT_BRIEFLY)
    yield QUERIES.forget_parked, (now - PARKED_KEPT,)


async def _chore(pool: Pool, query: str, arguments: tuple[object, ...]) -> None:
    try:
        while await pool.execute(query, *arguments, _A_FEW) == f"DELETE {_A_FEW}":
            await asyncio.sleep(0.1)
    except (*TRANSIENT_ERRORS, asyncpg.PostgresError) as error:
        log.info("chore.waits", error=type(error).__name__)  # the next round will find it; the other chores go on
