"""Events that cannot be judged yet: they name somebody, a work or a message rules has not heard of.

They wait in a table. Later events of the same key queue behind; the partition does not. What never arrives is judged
without it. What an event may wait for never queues itself: states, and news of our own messages.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.rules.conversation.facts import Facts
from services.rules.conversation.recipients import people_in
from services.rules.conversation.replies import QUOTE_PATIENCE
from services.rules.conversation.required_facts import is_opt_out
from services.rules.store import QUERIES
from shared.contracts import consonance
from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Unprocessable
from shared.contracts.ids import PersonId, TenantId, Wamid, WorkId, derive_id
from shared.contracts.messages import MessageEventData
from shared.contracts.topics import CONSONANCE_EVENTS, CONTACTS, MESSAGES_EVENTS, WHATSAPP_MESSAGES, WRITES_EVENTS
from shared.contracts.values import format_instant
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.outbox import RecordOrigin, Transaction
from shared.runtime.postgres import Connection

PATIENCE = timedelta(minutes=2)
"""Business time: ``contacts`` and ``work.observed`` travel at most one poll behind what names them."""

TOPICS = (CONSONANCE_EVENTS, CONTACTS, WHATSAPP_MESSAGES, MESSAGES_EVENTS, WRITES_EVENTS)
"""What rules reads: an event of any of their kinds may stand in a queue, and must be readable there."""

_KINDS = {kind: model for topic in TOPICS for kind, model in topic.kinds.items()}


@dataclass(frozen=True, slots=True)
class MissingFacts:
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
class WaitingEvent:
    """``event`` is what could be read, or why it could not: then there is nothing to wait for."""

    place: int
    value: bytes
    event: Event | Unprocessable
    judge_now: bool


def find_missing(event: Event, facts: Facts) -> MissingFacts:
    """What has to arrive before this event can be judged well; state itself never waits."""
    data = event.data
    if isinstance(data, MessageReceived):
        unknown = () if data.person_id in facts.people else (data.person_id,)
        quoted = data.quoted_id if data.button_id is None and not is_opt_out(data) else None
        return MissingFacts(unknown, wamid=None if quoted in facts.wamids else quoted)
    if event.type not in consonance.KINDS or isinstance(data, WorkObserved):
        return MissingFacts()
    named = dict.fromkeys(people_in(data))
    work = getattr(data, "work", None)
    unknown_work = work.work_id if work is not None and work.work_id not in facts.works else None
    return MissingFacts(tuple(person for person in named if person not in facts.people), unknown_work)


def may_queue(event: Event) -> bool:
    """Whether it may stand behind others of its key: not what they may be waiting for."""
    return not isinstance(event.data, (WorkObserved, PersonObserved, MessageEventData))


async def queued_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    rows = await connection.fetch(QUERIES.queued_keys, list(set(keys)))
    return {row["key"] for row in rows}


async def enqueue(
    connection: Connection, tenant: TenantId, waiting: Sequence[tuple[Event, MissingFacts]], now: datetime
) -> None:
    if waiting:
        rows = [_row(event, lacks, now).decode() for event, lacks in waiting]
        await connection.execute(QUERIES.enqueue, tenant, rows)


def _row(event: Event, lacks: MissingFacts, now: datetime) -> bytes:
    return orjson.dumps(
        {
            "key": event.partitionkey,
            "event_id": event.id,
            "value": base64.b64encode(event.to_bytes()).decode(),
            "people": lacks.people,
            "work_id": lacks.work,
            "wamid": lacks.wamid,
            "since": format_instant(now),
            "until": format_instant(now + lacks.patience),
        }
    )


async def ready_keys(connection: Connection, now: datetime, spared: Iterable[str] = (), most: int = 100) -> list[str]:
    """Keys of which something can be judged; ``spared`` ones are not looked at."""
    if not await connection.fetchval(QUERIES.any_waiting):
        return []
    return [row["key"] for row in await connection.fetch(QUERIES.ready_keys, now, most, list(spared))]


async def ready_events(connection: Connection, key: str, now: datetime, most: int) -> list[WaitingEvent]:
    """What of a key need not wait any more, in order, up to the first event that must."""
    rows = await connection.fetch(QUERIES.find_waiting, key, most)
    queued = [_queued(row, now) for row in rows]
    return queued[: next((place for place, one in enumerate(queued) if not one.judge_now), len(queued))]


def _queued(row: Any, now: datetime) -> WaitingEvent:
    try:
        event: Event | Unprocessable = parse_event(row["value"], _KINDS)
    except Unprocessable as error:
        event = error
    ready = isinstance(event, Unprocessable) or not row["misses"] or row["until"] <= now
    return WaitingEvent(row["place"], row["value"], event, ready)


async def dequeue(connection: Connection, places: Iterable[int]) -> None:
    await connection.execute(QUERIES.dequeue, list(places))


async def expire_waits(connection: Connection, keys: Iterable[str], now: datetime) -> None:
    """Nothing of these keys is waited for any more: what stands there is judged without it, in order."""
    await connection.execute(QUERIES.expire_waits, list(keys), now)


# ------------------------------------------------------------------ what cannot be judged


async def park_event(tx: Transaction, key: str, queued: WaitingEvent, reason: str, sentence: str) -> None:
    """Out of the queue and among the parked, as one that never came: replayed, it is new again."""
    said = _attributes(queued.value)
    topic = _topic_of(said.get("type", ""))
    identity = (said.get("tenantid"), said.get("source"), said.get("id"))
    event = derive_id(*identity) if all(identity) else None
    await tx.park(queued.value, reason, sentence, RecordOrigin(topic, key=key.encode(), event=event))
    await tx.connection.execute(QUERIES.forget_seen_event, *identity)
    await dequeue(tx.connection, [queued.place])


def _attributes(value: bytes) -> dict[str, str]:
    """What can still be read of an event whose whole cannot be."""
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    said = read if isinstance(read, dict) else {}
    return {name: text.replace("\0", "") for name, text in said.items() if isinstance(text, str)}


def _topic_of(kind: str) -> str:
    """Where an event of this kind, known here or not, came from; ``waiting`` where that cannot be told."""
    known = next((topic.name for topic in TOPICS if kind in topic.kinds), None)
    area = next((topic.name for topic in TOPICS if topic.name.partition(".")[0] == kind.partition(".")[0]), "waiting")
    return known or area
