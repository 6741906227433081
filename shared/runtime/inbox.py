"""The inbox: the ids of events already handled. An event enters once, and is deleted when it cannot come again."""

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
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.telemetry import get_logger

log = get_logger()
QUERIES = load_queries(__file__, "delivery.sql")

KEPT = timedelta(days=100)
"""Longer than any topic keeps a record that has an effect."""

KEPT_BRIEFLY = timedelta(days=14)
"""For statuses, which their rank makes harmless a second time."""

PARKED_KEPT = timedelta(days=90)
BRIEF_TOPICS = frozenset({WHATSAPP_STATUSES.name})
_PURGE_ROWS = 1000
_PURGE_EVERY_SECONDS = 600.0


class HasEvent(Protocol):
    """An event with the topic it came from."""

    @property
    def event(self) -> Event: ...
    @property
    def topic(self) -> Topic: ...


E = TypeVar("E", bound=HasEvent)


async def enter_inbox(connection: Connection, received: Sequence[E]) -> list[E]:
    """Enter all events; return those that are new, in order, each once even where the batch holds it twice."""
    new: dict[tuple[str, str, str], E] = {}
    for one in received:
        event = one.event
        new.setdefault((event.tenantid, event.source, event.id), one)
    now = machine_now()
    groups: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for (tenant, source, event_id), one in new.items():
        groups.setdefault((tenant, one.topic.name in BRIEF_TOPICS), []).append((source, event_id))
    for (tenant, brief), names in groups.items():
        sources, ids = (orjson.dumps(column).decode() for column in zip(*names, strict=True))
        for row in await connection.fetch(QUERIES.insert_inbox, tenant, sources, ids, brief, now):
            del new[tenant, *names[row["place"] - 1]]
    return list(new.values())


async def purge_expired(pool: Pool, inbox: timedelta = KEPT, parked: timedelta = PARKED_KEPT) -> None:
    """For ever: delete expired rows of the inbox and of the parked records, a few at a time."""
    while True:
        for query, arguments in _purges(inbox, parked):
            await _purge(pool, query, arguments)
        await asyncio.sleep(_PURGE_EVERY_SECONDS)


def _purges(inbox: timedelta, parked: timedelta) -> Iterator[tuple[str, tuple[object, ...]]]:
    now = machine_now()
    yield QUERIES.delete_old_inbox, (False, now - inbox)
    yield QUERIES.delete_old_inbox, (True, now - min(inbox, KEPT_BRIEFLY))
    yield QUERIES.delete_old_parked, (now - parked,)


async def _purge(pool: Pool, query: str, arguments: tuple[object, ...]) -> None:
    try:
        while await pool.execute(query, *arguments, _PURGE_ROWS) == f"DELETE {_PURGE_ROWS}":
            await asyncio.sleep(0.1)
    except (*TRANSIENT_ERRORS, asyncpg.PostgresError) as error:
        log.info("purge.postponed", error=type(error).__name__)  # the next round deletes them; other purges go on
