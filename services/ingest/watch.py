"""Tells on ``whatsapp.account``, every few seconds of machine time, how far the webhook has been whole.

One row per account, so replicas of this service take turns at it. A replica that dies with requests in its hands is
seen by WhatsApp, which redelivers, and by its own next start, which opens a gap.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.ingest.database import writing
from services.ingest.measures import Measures
from services.ingest.records import Frame
from services.ingest.wholeness import Beat, Wholeness, beat, begin
from shared.clock import Clock, machine_now
from shared.errors import Unavailable
from shared.events.envelope import Data
from shared.events.values import encode
from shared.events.whatsapp import GapOpened, WebhookWhole
from shared.ids import TenantId, derive
from shared.postgres import Connection, Pool, load_queries
from shared.telemetry import get_logger
from shared.topics import WHATSAPP_ACCOUNT
from shared.transaction import Transaction

queries = load_queries(__file__, "wholeness.sql")
_LATE = 3  # heartbeats
_log = get_logger()


@dataclass(slots=True)
class Stream:
    """What this process knows of the webhook between two heartbeats."""

    torn: datetime | None = None
    reason: str = ""
    arrived: dict[object, datetime] = field(default_factory=dict)

    def tear(self, reason: str) -> None:
        """A webhook was refused, or may have been missed, until now."""
        self.torn, self.reason = machine_now(), reason

    def begin(self) -> object:
        """A webhook arrives; until ``end`` nobody can say that it was taken."""
        token = object()
        self.arrived[token] = machine_now()
        return token

    def end(self, token: object) -> None:
        del self.arrived[token]

    def settled_until(self) -> datetime:
        return min(self.arrived.values(), default=machine_now())


@dataclass(frozen=True, slots=True)
class Watch:
    stream: Stream
    pool: Pool
    clock: Clock
    tenant: TenantId
    account: str
    every: timedelta
    redelivery: timedelta
    measures: Measures

    async def forever(self) -> None:
        self.stream.tear("restarted")
        while True:
            try:
                await self.beat()
            except Unavailable as fault:
                _log.warning("heartbeat.failed", fault=str(fault))
            await asyncio.sleep(self.every.total_seconds())

    async def beat(self) -> None:
        """What was torn stays torn until a heartbeat has said so."""
        torn, reason = self.stream.torn, self.stream.reason
        async with writing(self.pool, self.clock, [f"{self.tenant}/webhook/{self.account}"]) as tx:
            state = await self._load(tx.connection)
            until = self.stream.settled_until()
            if state is not None and until <= state.until:
                return
            taken = _first(until) if state is None else self._beat(state, until, torn)
            await self._save(tx.connection, taken.state)
            self._tell(taken, reason, tx)
        if self.stream.torn == torn:
            self.stream.torn = None

    def _beat(self, state: Wholeness, until: datetime, torn: datetime | None) -> Beat:
        """A heartbeat that comes far too late is an absence: nobody was there to say that a webhook was refused."""
        absent = until - state.until > _LATE * self.every
        return beat(state, until, torn or (until if absent else None), self.redelivery)

    def _tell(self, taken: Beat, reason: str, tx: Transaction) -> None:
        if taken.gap is not None:
            self.measures.gap()
            self._publish(GapOpened(account=self.account, since=taken.gap, reason=reason or "away"), tx)
            _log.warning("webhook.gap_opened", since=taken.gap.isoformat(), reason=reason)
        self._publish(WebhookWhole(account=self.account, since=taken.vouched, until=taken.state.until), tx)

    def _publish(self, data: Data, tx: Transaction) -> None:
        frame = Frame(self.tenant, tx.now, {})
        event_id = derive(self.tenant, self.account, data.kind, encode(data).decode())
        tx.publish(WHATSAPP_ACCOUNT, frame.event(data, id=event_id, key=self.account, at=tx.now))

    async def _load(self, connection: Connection) -> Wholeness | None:
        row = await connection.fetchrow(queries.load, self.tenant, self.account)
        return None if row is None else Wholeness(**row)

    async def _save(self, connection: Connection, state: Wholeness) -> None:
        edges = (state.since, state.until, state.gap_since, state.gap_until)
        await connection.execute(queries.save, self.tenant, self.account, *edges)


def _first(now: datetime) -> Beat:
    state = begin(now)
    return Beat(state, vouched=state.since)
