"""Publishes the coverage of the webhook on ``whatsapp.account``, every few seconds of machine time.

There is one row per account, so replicas of this service take turns at it. Each has a row of its own, too, which it
removes when it has answered all of its webhooks and ends. Where a replica dies, the others find its row: WhatsApp sends
again what the replica did not answer, and until then there is a gap.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from services.ingest.coverage import Coverage, CoverageTracker, CoverageUpdate, extend_coverage, start_coverage
from services.ingest.metrics import IngestMetrics
from services.ingest.records import EventContext
from services.ingest.store import ReplicaStore, load_coverage, save_coverage, write_transaction
from shared.contracts.envelope import EventData
from shared.contracts.errors import Unavailable
from shared.contracts.ids import TenantId, derive_id
from shared.contracts.topics import WHATSAPP_ACCOUNT
from shared.contracts.values import encode
from shared.contracts.whatsapp import WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import Clock, MachineInstant
from shared.runtime.health import PROBE_SECONDS
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

_ABSENT_AFTER = 3  # heartbeats
_END_SECONDS = 2.0
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    tracker: CoverageTracker
    pool: Pool
    clock: Clock
    tenant: TenantId
    account: str
    interval: timedelta
    redelivery_period: timedelta
    metrics: IngestMetrics
    is_ready: Callable[[], Awaitable[bool]]
    replica: str = field(default_factory=lambda: uuid4().hex)

    async def run_forever(self) -> None:
        self.tracker.record_miss("restarted")
        try:
            while True:
                try:
                    await self.beat()
                except Unavailable as fault:
                    self.tracker.record_unready()
                    _log.warning("heartbeat.failed", fault=str(fault))
                await asyncio.sleep(self.interval.total_seconds())
        except asyncio.CancelledError:
            await self.end()
            raise

    async def end(self) -> None:
        """Tell the other replicas that this one leaves nothing unanswered; otherwise they will open a gap."""
        if self.tracker.in_flight:
            return
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._replicas.remove(self.pool, self.replica)
        except (Unavailable, TimeoutError) as fault:
            _log.warning("heartbeat.failed", fault=str(fault) or "too slow")

    async def beat(self) -> None:
        """Publish one heartbeat. Raises Unavailable; then a recorded miss is kept for the next one.

        It confirms nothing after the instant at which it asked whether this process is ready, and nothing until the
        process has been ready for two heartbeats: a load balancer needs some time to send webhooks again.
        """
        began = MachineInstant.read()
        self.tracker.begin_heartbeat(began, _ABSENT_AFTER * self.interval)
        is_ready = await self._check_readiness()
        async with write_transaction(self.pool, self.clock, [f"{self.tenant}/webhook/{self.account}"]) as tx:
            coverage = await load_coverage(tx.connection, self.tenant, self.account)
            await self._replicas.record(tx.connection, self.replica)
            until = min(self.tracker.complete_until(), began.wall)
            if coverage is not None and coverage.is_ahead(began.wall):
                coverage = coverage.set_back(until)
                self.tracker.record_miss("clock")
            elif until <= coverage.until if coverage is not None else not is_ready:
                self._show(coverage)
                return
            if await self._replicas.remove_lost(tx.connection, _ABSENT_AFTER * self.interval):
                self.tracker.record_miss("replica_lost")
            missed_at, reason = self.tracker.missed_at, self.tracker.reason
            update = start_coverage(until) if coverage is None else self._extend(coverage, until, missed_at)
            await save_coverage(tx.connection, self.tenant, self.account, update.coverage)
            self._publish_update(update, reason, tx)
            tx.on_commit(partial(self._show, update.coverage))
        if self.tracker.missed_at == missed_at:
            self.tracker.missed_at = None

    @property
    def _replicas(self) -> ReplicaStore:
        return ReplicaStore(self.tenant, self.account)

    def _show(self, coverage: Coverage | None) -> None:
        self.metrics.set_gap_open(is_open=coverage is not None and coverage.gap_since is not None)

    async def _check_readiness(self) -> bool:
        """Whether webhooks can be accepted, and could be since the last heartbeat."""
        was_unready, self.tracker.was_unready = self.tracker.was_unready, False
        asked_at = time.monotonic()
        is_ready = await self.is_ready() and time.monotonic() - asked_at < PROBE_SECONDS
        if not is_ready:
            self.tracker.record_unready()
        elif was_unready:
            self.tracker.record_miss("unready")
        if self.tracker.has_suspect_signature:
            self.tracker.has_suspect_signature = False
            self.tracker.record_miss("signature")
        return is_ready and not was_unready

    def _extend(self, coverage: Coverage, until: datetime, missed_at: datetime | None) -> CoverageUpdate:
        """A heartbeat that is far too late means absence of all: a rejected webhook could not be recorded meanwhile."""
        was_absent = until - coverage.until > _ABSENT_AFTER * self.interval
        return extend_coverage(coverage, until, missed_at or (until if was_absent else None), self.redelivery_period)

    def _publish_update(self, update: CoverageUpdate, reason: str, tx: Transaction) -> None:
        if update.new_gap is not None:
            self.metrics.count_gap()
            self._publish(WebhookGapOpened(account=self.account, since=update.new_gap, reason=reason or "away"), tx)
            _log.warning("gap.opened", since=update.new_gap.isoformat(), reason=reason)
        confirmed = WebhookConfirmed(account=self.account, since=update.confirmed_since, until=update.coverage.until)
        self._publish(confirmed, tx)

    def _publish(self, data: EventData, tx: Transaction) -> None:
        context = EventContext(self.tenant, tx.now, {})
        event_id = derive_id(self.tenant, self.account, data.kind, encode(data).decode())
        tx.publish(WHATSAPP_ACCOUNT, context.event(data, id=event_id, key=self.account, at=tx.now))
