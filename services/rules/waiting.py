"""Events that cannot be judged yet: they name somebody, a work or a message rules has not heard of.

They wait in a table. Later events of the same key queue behind; the partition does not. What never arrives is judged
without it.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from services.rules.recipients import parties_in
from services.rules.reply import QUOTE_PATIENCE
from services.rules.world import World
from shared.events import consonance, whatsapp
from shared.events.consonance import WorkObserved
from shared.events.envelope import Event, parse
from shared.events.values import spell_instant
from shared.events.whatsapp import MessageReceived
from shared.ids import PersonId, TenantId, Wamid, WorkId
from shared.postgres import Connection, load_queries

QUERIES = load_queries(__file__, "waiting.sql")
PATIENCE = timedelta(minutes=2)
"""Business time: ``contacts`` and ``work.observed`` travel at most one poll behind what names them."""

_KINDS = {**consonance.KINDS, **whatsapp.MESSAGE_KINDS}


@dataclass(frozen=True, slots=True)
class Missing:
    """What an event names that rules does not know."""

    people: tuple[PersonId, ...] = ()
    work: WorkId | None = None
    wamid: Wamid | None = None

    def __bool__(self) -> bool:
        return bool(self.people or self.work is not None or self.wamid is not None)

    @property
    def patience(self) -> timedelta:
        return QUOTE_PATIENCE if self.wamid is not None else PATIENCE


@dataclass(frozen=True, slots=True)
class Queued:
    place: int
    event: Event
    judge_now: bool


def missing(event: Event, world: World) -> Missing:
    """What has to arrive before this event can be judged well; state itself never waits."""
    data = event.data
    if isinstance(data, MessageReceived):
        unknown = () if data.person_id in world.people else (data.person_id,)
        quoted = data.quoted_id if data.quoted_id and data.button_id is None else None
        return Missing(unknown, wamid=None if quoted in world.wamids else quoted)
    if event.type not in consonance.KINDS or isinstance(data, WorkObserved):
        return Missing()
    named = dict.fromkeys(parties_in(data))
    work = getattr(data, "work", None)
    unknown_work = work.work_id if work is not None and work.work_id not in world.works else None
    return Missing(tuple(person for person in named if person not in world.people), unknown_work)


async def queued_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    rows = await connection.fetch(QUERIES.queued_keys, list(set(keys)))
    return {row["key"] for row in rows}


async def queue(
    connection: Connection, tenant: TenantId, waiting: Sequence[tuple[Event, Missing]], now: datetime
) -> None:
    if waiting:
        rows = [_row(event, lacks, now).decode() for event, lacks in waiting]
        await connection.execute(QUERIES.queue, tenant, rows)


def _row(event: Event, lacks: Missing, now: datetime) -> bytes:
    return orjson.dumps(
        {
            "key": event.partitionkey, "event_id": event.id, "value": base64.b64encode(event.to_bytes()).decode(),
            "people": lacks.people, "work_id": lacks.work, "wamid": lacks.wamid,
            "since": spell_instant(now), "until": spell_instant(now + lacks.patience),
        }
    )  # fmt: skip


async def ready_keys(connection: Connection, now: datetime, most: int = 100) -> list[str]:
    if not await connection.fetchval(QUERIES.any_waiting):
        return []
    return [row["key"] for row in await connection.fetch(QUERIES.ready_keys, now, most)]


async def queue_of(connection: Connection, key: str, now: datetime, most: int = 200) -> list[Queued]:
    rows = await connection.fetch(QUERIES.queue_of, key, most)
    return [Queued(row["place"], parse(row["value"], _KINDS), not row["misses"] or row["until"] <= now) for row in rows]


async def leave_queue(connection: Connection, places: Iterable[int]) -> None:
    await connection.execute(QUERIES.leave_queue, list(places))
