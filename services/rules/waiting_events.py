"""Events that cannot be decided yet, since they name a person, a work or a message that is unknown.

They wait in a table, and later events of the same key queue behind them; the partition goes on. After their longest
wait they are decided without the facts that they miss. Events that others may wait for never queue: states, and reports
on messages.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.rules.conversation.facts import Facts
from services.rules.conversation.question_lookup import QUOTE_WAIT
from services.rules.conversation.recipients import people_in
from services.rules.conversation.required_facts import is_opt_out
from services.rules.store import QUERIES
from shared.contracts import consonance
from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Unprocessable
from shared.contracts.ids import PersonId, TenantId, Wamid, WorkId, derive_id
from shared.contracts.messages import MessageEventData
from shared.contracts.topics import CONSUMED
from shared.contracts.values import format_instant
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import FAR_AHEAD
from shared.runtime.outbox import RecordOrigin, Transaction
from shared.runtime.postgres import Connection

LONGEST_WAIT = timedelta(minutes=2)
"""Business time: ``contacts`` and ``work.observed`` arrive at most one poll after the events that name them."""

TOPICS = CONSUMED["rules"]
"""The topics of rules. An event of any of their kinds may be queued, and must be readable there."""

_KINDS = {kind: model for topic in TOPICS for kind, model in topic.kinds.items()}


@dataclass(frozen=True, slots=True)
class MissingFacts:
    """The people and the work that an event names and rules does not know.

    ``version`` is that of the people's state which is on its way, where an earlier one is known.
    """

    people: tuple[PersonId, ...] = ()
    work: WorkId | None = None
    wamid: Wamid | None = None
    version: int | None = None

    def __bool__(self) -> bool:
        return bool(self.people or self.work is not None or self.wamid is not None)

    @property
    def longest_wait(self) -> timedelta:
        return QUOTE_WAIT if self.wamid is not None else LONGEST_WAIT


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """``event`` is the event, or why it cannot be read: then there is nothing to wait for."""

    place: int
    value: bytes
    event: Event | Unprocessable
    is_ready: bool


def find_missing(event: Event, facts: Facts) -> MissingFacts:
    """The facts that must arrive before this event can be decided; an event that carries state never waits."""
    data = event.data
    if isinstance(data, MessageReceived):
        known, version = facts.people.get(data.person_id), data.person_version
        is_there = known is not None and known.version >= (version or 0)
        quoted = data.quoted_id if data.button_id is None and not is_opt_out(data) else None
        unknown = () if is_there else (data.person_id,)
        return MissingFacts(unknown, wamid=None if quoted in facts.wamids else quoted, version=version)
    if event.type not in consonance.KINDS or isinstance(data, WorkObserved):
        return MissingFacts()
    named = dict.fromkeys(people_in(data))
    work = getattr(data, "work", None)
    unknown_work = work.work_id if work is not None and work.work_id not in facts.works else None
    return MissingFacts(tuple(person for person in named if person not in facts.people), unknown_work)


def may_queue(event: Event) -> bool:
    """Whether an event may queue behind others of its key: not if they may be waiting for it."""
    return not isinstance(event.data, (WorkObserved, PersonObserved, MessageEventData))


async def queued_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    rows = await connection.fetch(QUERIES.queued_keys, list(set(keys)))
    return {row["key"] for row in rows}


async def enqueue(
    connection: Connection, tenant: TenantId, waiting: Sequence[tuple[Event, MissingFacts]], now: datetime
) -> None:
    if waiting:
        rows = [_row(event, missing, now).decode() for event, missing in waiting]
        await connection.execute(QUERIES.enqueue, tenant, rows)


def _row(event: Event, missing: MissingFacts, now: datetime) -> bytes:
    return orjson.dumps(
        {
            "key": event.partitionkey,
            "event_id": event.id,
            "value": base64.b64encode(event.to_bytes()).decode(),
            "people": missing.people,
            "work_id": missing.work,
            "wamid": missing.wamid,
            "version": missing.version,
            "since": format_instant(now),
            "until": format_instant(now + missing.longest_wait),
        }
    )


async def ready_keys(connection: Connection, now: datetime, excluded: Iterable[str] = (), most: int = 100) -> list[str]:
    """Keys with an event that can be decided; ``excluded`` keys are left out."""
    if not await connection.fetchval(QUERIES.any_waiting):
        return []
    return [row["key"] for row in await connection.fetch(QUERIES.ready_keys, now, most, list(excluded))]


async def ready_events(connection: Connection, key: str, now: datetime, most: int) -> list[WaitingEvent]:
    """The first events of a key that need not wait, up to the first that must."""
    rows = await connection.fetch(QUERIES.find_waiting, key, most)
    queued = [_queued(row, now) for row in rows]
    return queued[: next((place for place, one in enumerate(queued) if not one.is_ready), len(queued))]


def _queued(row: Any, now: datetime) -> WaitingEvent:
    try:
        event: Event | Unprocessable = parse_event(row["value"], _KINDS)
    except Unprocessable as error:
        event = error
    is_over = not now < row["until"] <= now + FAR_AHEAD
    ready = isinstance(event, Unprocessable) or not row["misses"] or is_over
    return WaitingEvent(row["place"], row["value"], event, ready)


async def dequeue(connection: Connection, places: Iterable[int]) -> None:
    await connection.execute(QUERIES.dequeue, list(places))


async def expire_waits(connection: Connection, keys: Iterable[str], now: datetime) -> None:
    """End the wait of all events of these keys: they are decided without what they miss, in order."""
    await connection.execute(QUERIES.expire_waits, list(keys), now)


async def park_event(tx: Transaction, key: str, queued: WaitingEvent, reason: str, sentence: str) -> None:
    """Move an event from the queue to the parked ones; it leaves the inbox, so that its replay is new."""
    attributes = _attributes(queued.value)
    topic = _topic_of(attributes.get("type", ""))
    identity = (attributes.get("tenantid"), attributes.get("source"), attributes.get("id"))
    event = derive_id(*identity) if all(identity) else None
    await tx.park(queued.value, reason, sentence, RecordOrigin(topic, key=key.encode(), event=event))
    await tx.connection.execute(QUERIES.delete_inbox_row, *identity)
    await dequeue(tx.connection, [queued.place])


def _attributes(value: bytes) -> dict[str, str]:
    """The attributes that can be read of an event that is otherwise unreadable."""
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    attributes = read if isinstance(read, dict) else {}
    return {name: text.replace("\0", "") for name, text in attributes.items() if isinstance(text, str)}


def _topic_of(kind: str) -> str:
    """The topic of an event of this kind, by its area if the kind is unknown; ``waiting`` where that fails too."""
    known = next((topic.name for topic in TOPICS if kind in topic.kinds), None)
    area = next((topic.name for topic in TOPICS if topic.name.partition(".")[0] == kind.partition(".")[0]), "waiting")
    return known or area
