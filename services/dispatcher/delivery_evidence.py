"""Evidence that a message was sent: statuses, whenever they come, and taps on buttons that only a sent message has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.budget import ChargeStore
from services.dispatcher.delivery_reports import StatusReport, apply_status
from services.dispatcher.message_state import SendEvidence, prove_sent
from services.dispatcher.message_updates import MessageUpdate, MessageUpdater
from services.dispatcher.store import QUERIES
from shared.contracts.ids import EventId
from shared.contracts.messages import parse_callback
from shared.contracts.topics import WHATSAPP_STATUSES
from shared.contracts.whatsapp import DeliveryStatus, MessageReceived, StatusReported
from shared.runtime.outbox import RecordOrigin, Transaction
from shared.runtime.postgres import Connection

_KEPT_FOR = timedelta(days=14)  # as long as the inbox keeps the ids of statuses
_BATCH = 500


class ReceivedStatus(Struct, frozen=True):
    """A status and the event that brought it."""

    status: StatusReported
    event: EventId


@dataclass(frozen=True, slots=True)
class DeliveryEvidence:
    tenant: str
    updater: MessageUpdater
    charges: ChargeStore

    async def apply_statuses(self, tx: Transaction, received: Sequence[ReceivedStatus]) -> None:
        """Apply each status to its message; keep those whose message is not known yet by their wamid."""
        located = await self._locate(tx.connection, received)
        updates = [_status_update(one, *place) for one, place in zip(received, located, strict=True) if place]
        known = await self.updater.apply(tx, updates)
        reports = [(place, one.status) for one, place in zip(received, located, strict=True) if place]
        await self.charges.record(tx, reports)
        unknown = [one for one, place in zip(received, located, strict=True) if place is None or place[0] not in known]
        if unknown:
            await self._keep(tx.connection, unknown, tx.now)

    async def apply_taps(self, tx: Transaction, messages: Sequence[tuple[MessageReceived, EventId]]) -> None:
        """A tapped button was on the screen of a person who may share the address: its message was sent."""
        tapped = [
            (message, event, person_id)
            for message, event in messages
            if message.button_id
            for person_id in (message.person_id, *message.shared_with)
        ]
        if not tapped:
            return
        taps = [(person_id, message.button_id or "", message.quoted_id) for message, _, person_id in tapped]
        found = await self.updater.store.unproven_with_buttons(tx.connection, taps)
        updates = []
        for place, message_id in sorted(found.items()):
            message, event, _ = tapped[place]
            prove = partial(prove_sent, wamid=message.quoted_id, evidence=SendEvidence.TAP)
            updates.append(MessageUpdate(message_id, prove, event))
        proved = await self.updater.apply(tx, updates)
        await self.apply_early_statuses(tx, [message.wamid for message in proved.values() if message.wamid])

    async def apply_early_statuses(self, tx: Transaction, wamids: Sequence[str]) -> None:
        """Apply the statuses that came before the responses with these wamids."""
        if not wamids:
            return
        rows = await tx.connection.fetch(QUERIES.take_early_statuses, self.tenant, list(wamids))
        received = [ReceivedStatus(_read_status(row), EventId(row["event"])) for row in rows]
        if received:
            await self.apply_statuses(tx, received)

    async def park_early_statuses(self, tx: Transaction, wamid: str, reason: str, sentence: str) -> None:
        """Park the early statuses of a wamid that cannot be applied, for an operator."""
        for row in await tx.connection.fetch(QUERIES.take_early_statuses, self.tenant, [wamid]):
            raw = orjson.dumps({**row, "at": row["at"].isoformat()})
            await tx.park(raw, reason, sentence, RecordOrigin(WHATSAPP_STATUSES.name, event=row["event"]))

    async def matched_early_statuses(self, connection: Connection, after: str) -> tuple[list[str], str]:
        """Wamids of kept statuses whose attempt was committed in the same moment: neither transaction saw the other.

        Each call reads some of them, after the place ``after`` that the call before returned. Empty is the beginning,
        and is returned at the end.
        """
        rows = await connection.fetch(QUERIES.matched_early_statuses, self.tenant, after, _BATCH)
        matched = list(dict.fromkeys(row["wamid"] for row in rows if row["is_matched"]))
        return matched, rows[-1]["wamid"] if len(rows) == _BATCH else ""

    async def has_matched_early_status(self, connection: Connection) -> bool:
        """Whether there is any; for a development clock."""
        matched, after = await self.matched_early_statuses(connection, "")
        while after and not matched:
            matched, after = await self.matched_early_statuses(connection, after)
        return bool(matched)

    async def delete_old_early_statuses(self, connection: Connection, now: datetime) -> None:
        await connection.execute(QUERIES.delete_old_early_statuses, self.tenant, now - _KEPT_FOR, _BATCH)

    async def _locate(self, connection: Connection, received: Sequence[ReceivedStatus]) -> list[tuple[str, int] | None]:
        """(message id, attempt) by our callback data, else by the wamid of an accepted attempt."""
        callbacks = [parse_callback(one.status.callback) for one in received]
        wamids = {one.status.wamid for one, place in zip(received, callbacks, strict=True) if place is None}
        by_wamid = await self.updater.store.attempts_of_wamids(connection, wamids) if wamids else {}
        return [place or by_wamid.get(one.status.wamid) for one, place in zip(received, callbacks, strict=True)]

    async def _keep(self, connection: Connection, received: Sequence[ReceivedStatus], now: datetime) -> None:
        columns = zip(*map(_kept_columns, received), strict=True)
        await connection.execute(QUERIES.keep_early_statuses, self.tenant, now, *columns)


def _status_update(received: ReceivedStatus, message_id: str, attempt: int) -> MessageUpdate:
    status = received.status
    report = StatusReport(status.wamid, attempt, status.status, status.at, status.code)
    return MessageUpdate(message_id, partial(apply_status, report=report), received.event)


def _kept_columns(received: ReceivedStatus) -> tuple[Any, ...]:
    """The columns, in the order of the query keep_early_statuses."""
    status = received.status
    return (
        status.wamid, status.status.value, status.at, status.code, status.callback, received.event,
        status.pricing_category, status.pricing_type, status.country,
    )  # fmt: skip


def _read_status(row: Mapping[str, Any]) -> StatusReported:
    return StatusReported(
        wamid=row["wamid"],
        status=DeliveryStatus(row["status"]),
        at=row["at"],
        code=row["code"],
        callback=row["callback"],
        pricing_category=row["pricing_category"],
        pricing_type=row["pricing_type"],
        country=row["country"],
    )
