"""The inbox: the ids of events already handled. An event enters once, and is deleted when it cannot come again."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import orjson

from shared.contracts.envelope import Event
from shared.contracts.topics import WHATSAPP_STATUSES, Topic
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.retention import Expiry, deletion

QUERIES = load_queries(__file__, "delivery.sql")

DAYS_KEPT_BRIEFLY = 14
"""For statuses, which their rank makes harmless a second time."""

BRIEF_TOPICS = frozenset({WHATSAPP_STATUSES.name})


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


def inbox_expiries(pool: Pool, inbox_days: int, parked_days: int) -> tuple[Expiry, ...]:
    """When ids of events and settled parked records expire, by machine time."""
    classes = ((False, inbox_days), (True, min(inbox_days, DAYS_KEPT_BRIEFLY)))
    return (
        *(Expiry(deletion(pool, QUERIES.delete_old_inbox, is_brief), days) for is_brief, days in classes),
        Expiry(deletion(pool, QUERIES.delete_old_parked), parked_days),
    )
