"""Tells on ``whatsapp.account``, every few seconds of machine time, how far the webhook has been whole.

One row per account, so replicas of this service take turns at it. A replica that dies with requests in its hands is
seen by WhatsApp, which redelivers, and by its own next start, which opens a gap.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.ingest.database import writing
from services.ingest.measures import Measures
from services.ingest.records import Frame
from services.ingest.wholeness import Beat, Wholeness, beat, begin
from shared.contracts.envelope import EventData
from shared.contracts.errors import Unavailable
from shared.contracts.ids import TenantId, derive_id
from shared.contracts.topics import WHATSAPP_ACCOUNT
from shared.contracts.values import encode
from shared.contracts.whatsapp import WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.telemetry import get_logger
from shared.runtime.transaction import Transaction

queries = load_queries(__file__, "wholeness.sql")
_LATE = 3  # heartbeats
_PROBE_SECONDS = 3.0
"""A probe that waits longer for its answer takes it for a no."""

_log = get_logger()


@dataclass(slots=True)
class Stream:
    """What this process knows of the webhook between two heartbeats."""

    torn: datetime | None = None
    reason: str = ""
    arrived: dict[object, datetime] = field(default_factory=dict)
    unready: bool = False
    doubted: bool = False

    def tear(self, reason: str) -> None:
        """A webhook was refused, or may have been missed, until now; the first reason is told."""
        if self.torn is None:
            self.reason = reason
        self.torn = machine_now()

    def miss(self) -> None:
        """This process is not ready, so a load balancer keeps webhooks from it: now, and until it has looked again."""
        self.unready = True
        self.tear("unready")

    def doubt(self) -> None:
        """A webhook came that may have been WhatsApp's, signed with a secret we do not have."""
        self.doubted = True

    def trust(self) -> None:
        """One with a good signature came after it: so the other was a stranger's."""
        self.doubted = False

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
    ready: Callable[[], Awaitable[bool]]

    async def forever(self) -> None:
        self.stream.tear("restarted")
        while True:
            try:
                await self.beat()
            except Unavailable as fault:
                self.stream.miss()
                _log.warning("heartbeat.failed", fault=str(fault))
            await asyncio.sleep(self.every.total_seconds())

    async def beat(self) -> None:
        """What was torn stays torn until a heartbeat has said so.

        It vouches for nothing after it asked whether this process is ready, and for nothing until it has been ready
        for two heartbeats: a load balancer needs its time to send webhooks again.
        """
        asked = machine_now()
        ready = await self._look()
        async with writing(self.pool, self.clock, [f"{self.tenant}/webhook/{self.account}"]) as tx:
            state = await self._load(tx.connection)
            until = min(self.stream.settled_until(), asked)
            torn, reason = self.stream.torn, self.stream.reason
            if until <= state.until if state is not None else not ready:
                return
            taken = _first(until) if state is None else self._beat(state, until, torn)
            await self._save(tx.connection, taken.state)
            self._tell(taken, reason, tx)
        if self.stream.torn == torn:
            self.stream.torn = None

    async def _look(self) -> bool:
        """Whether webhooks can be taken, and could be since the last heartbeat."""
        was_unready, self.stream.unready = self.stream.unready, False
        asked = time.monotonic()
        ready = await self.ready() and time.monotonic() - asked < _PROBE_SECONDS
        if not ready:
            self.stream.miss()
        elif was_unready:
            self.stream.tear("unready")
        if self.stream.doubted:
            self.stream.doubted = False
            self.stream.tear("signature")
        return ready and not was_unready

    def _beat(self, state: Wholeness, until: datetime, torn: datetime | None) -> Beat:
        """A heartbeat that comes far too late is an absence: nobody was there to say that a webhook was refused."""
        absent = until - state.until > _LATE * self.every
        return beat(state, until, torn or (until if absent else None), self.redelivery)

    def _tell(self, taken: Beat, reason: str, tx: Transaction) -> None:
        if taken.gap is not None:
            self.measures.gap()
            self._publish(WebhookGapOpened(account=self.account, since=taken.gap, reason=reason or "away"), tx)
            _log.warning("webhook.gap_opened", since=taken.gap.isoformat(), reason=reason)
        self._publish(WebhookConfirmed(account=self.account, since=taken.vouched, until=taken.state.until), tx)

    def _publish(self, data: EventData, tx: Transaction) -> None:
        frame = Frame(self.tenant, tx.now, {})
        event_id = derive_id(self.tenant, self.account, data.kind, encode(data).decode())
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
