"""What proves or moves a send: statuses, whenever they come, and taps on buttons that only a sent message has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.advance import Change, Progress
from services.dispatcher.payload import read_callback
from services.dispatcher.receipts import Report, reported
from services.dispatcher.standing import Standing, Step, proved
from services.dispatcher.states import Evidence
from shared.contracts.ids import EventId, Wamid
from shared.contracts.topics import WHATSAPP_STATUSES
from shared.contracts.whatsapp import MessageReceived, Status, StatusReported
from shared.runtime.postgres import Connection, load_queries
from shared.runtime.transaction import RecordOrigin, Transaction

_sql = load_queries(__file__, "evidence.sql")
_KEPT_FOR = timedelta(days=14)  # as long as their inbox rows
_BATCH = 500


class Told(Struct, frozen=True):
    """A status and the event that brought it."""

    status: StatusReported
    event: EventId


@dataclass(frozen=True, slots=True)
class Proofs:
    tenant: str
    progress: Progress

    async def hear(self, tx: Transaction, told: Sequence[Told]) -> None:
        """Apply each status to its message; keep those whose message is not known yet by their wamid."""
        located = await self._locate(tx.connection, told)
        changes = [_change(one, *place, tx.now) for one, place in zip(told, located, strict=True) if place]
        known = await self.progress.advance(tx, changes)
        unknown = [one for one, place in zip(told, located, strict=True) if place is None or place[0] not in known]
        if unknown:
            await self._keep(tx.connection, unknown, tx.now)

    async def taps(self, tx: Transaction, messages: Sequence[tuple[MessageReceived, EventId]]) -> None:
        """A tapped button was on the person's screen, who may share the address: its message was sent."""
        tapped = [
            (one, event, who) for one, event in messages if one.button_id for who in (one.person_id, *one.shared_with)
        ]
        if not tapped:
            return
        taps = [(person, message.button_id or "", message.quoted_id) for message, _, person in tapped]
        offering = await self.progress.ledger.offering(tx.connection, taps)
        changes = [
            Change(message_id, partial(_tapped, tapped[place][0].quoted_id, tx.now), tapped[place][1])
            for place, message_id in sorted(offering.items())
        ]
        standings = await self.progress.advance(tx, changes)
        await self.catch_up(tx, [standing.wamid for standing in standings.values() if standing.wamid])

    async def catch_up(self, tx: Transaction, wamids: Sequence[str]) -> None:
        """Apply the statuses that came before the receipts of these wamids."""
        if not wamids:
            return
        rows = await tx.connection.fetch(_sql.take_early, self.tenant, list(wamids))
        told = [Told(_status(row), EventId(row["event"])) for row in rows]
        if told:
            await self.hear(tx, told)

    async def park(self, tx: Transaction, wamid: str, reason: str, sentence: str) -> None:
        """Keep the early statuses of a wamid that cannot be applied for a person to look at."""
        for row in await tx.connection.fetch(_sql.take_early, self.tenant, [wamid]):
            raw = orjson.dumps({**row, "at": row["at"].isoformat()})
            await tx.park(raw, reason, sentence, RecordOrigin(WHATSAPP_STATUSES.name, event=row["event"]))

    async def matched(self, connection: Connection) -> list[str]:
        """Wamids of kept statuses whose receipt was committed at the same moment: neither side saw the other."""
        return [row["wamid"] for row in await connection.fetch(_sql.matched_early, self.tenant, _BATCH)]

    async def forget(self, connection: Connection, now: datetime) -> None:
        await connection.execute(_sql.forget_early, self.tenant, now - _KEPT_FOR, _BATCH)

    async def _locate(self, connection: Connection, told: Sequence[Told]) -> list[tuple[str, int] | None]:
        """(message, attempt) by our callback data, else by the wamid of a receipt."""
        callbacks = [read_callback(one.status.callback) for one in told]
        wamids = {one.status.wamid for one, place in zip(told, callbacks, strict=True) if place is None}
        by_wamid = await self.progress.ledger.attempts_of(connection, wamids) if wamids else {}
        return [place or by_wamid.get(one.status.wamid) for one, place in zip(told, callbacks, strict=True)]

    async def _keep(self, connection: Connection, told: Sequence[Told], now: datetime) -> None:
        rows = [
            (one.status.wamid, one.status.status.value, one.status.at, one.status.code, one.status.callback, one.event)
            for one in told
        ]
        await connection.execute(_sql.keep_early, self.tenant, now, *zip(*rows, strict=True))


def _change(told: Told, message_id: str, attempt: int, now: datetime) -> Change:
    status = told.status
    report = Report(status.wamid, attempt, status.status, status.at, status.code)
    return Change(message_id, partial(_reported, report, now), told.event)


def _reported(report: Report, now: datetime, standing: Standing) -> Step:
    return reported(standing, report, now)


def _tapped(wamid: Wamid | None, now: datetime, standing: Standing) -> Step:
    return proved(standing, wamid, Evidence.TAP, now)


def _status(row: Mapping[str, Any]) -> StatusReported:
    return StatusReported(
        wamid=row["wamid"], status=Status(row["status"]), at=row["at"], code=row["code"], callback=row["callback"]
    )
