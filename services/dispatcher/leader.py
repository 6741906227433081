"""The leader: win the lease, catch up with the topics, load the limits, send until the lease is lost.

One replica at a time sends for all numbers, because the rate limits live in its memory. It commits intents over the
session that holds the lease; intents of an earlier leader are fenced by their own leases. Before it sends, it reads
every topic up to the end it had at that moment: withdrawals, addresses, windows, pauses. From then on the people of a
partition that is not read, by whichever replica, get nothing.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aiokafka.errors import KafkaError

from services.dispatcher import metrics
from services.dispatcher.account_store import (
    TEMPLATES_CHANNEL,
    AccountStore,
    FetchDisplayNumber,
    ReportedLimits,
    TemplateCache,
)
from services.dispatcher.budget import Budget
from services.dispatcher.claimer import Claimer, Moment
from services.dispatcher.document_store import DocumentStore
from services.dispatcher.handlers import WAKE_CHANNEL, WITHDRAWN_CHANNEL
from services.dispatcher.pauses import OperatorPauses
from services.dispatcher.provider_responses import SendUncertain
from services.dispatcher.rate_limits import RateUsage, SendLimits
from services.dispatcher.reasons import MessageReason
from services.dispatcher.sender import Sender
from services.dispatcher.store import QUERIES, MessageStore
from services.dispatcher.throttle_store import THROTTLED_CHANNEL, ThrottleStore
from services.dispatcher.throttles import SendTarget
from services.dispatcher.unread_partitions import FetchEndOffsets, UnreadPartitions
from shared.contracts.errors import Unavailable
from shared.contracts.topics import PARTITIONS
from shared.runtime.failures import SERIALIZATION_FAILURES, TRANSIENT_ERRORS, FailureLog, record_loop_error
from shared.runtime.leader import LeaderLease
from shared.runtime.postgres import Connection
from shared.runtime.progress import Partition
from shared.runtime.retry import until_available
from shared.runtime.telemetry import get_logger

log = get_logger()

LEADER_SESSION = {"idle_session_timeout": "15s"}
"""Settings of the session that holds the lease: the database ends it where the process stands still."""

_POLL_SECONDS = 0.1
_BROKER_SECONDS = 5.0  # one question to the broker; the session that holds the lease must be used within 15 seconds
_LOG_EVERY = 30.0  # seconds
_MOST_NAMED = 5  # partitions in a log line
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class TopicBacklog:
    """The records published before this replica became the leader; without ``fetch_ends`` there is no broker."""

    topics: Collection[str]
    fetch_ends: FetchEndOffsets | None

    async def wait_until_read(self, connection: Connection) -> None:
        """Return once any replicas have read everything that was published before the call."""
        if self.fetch_ends is None:
            return
        metrics.CATCHING_UP.set(1)
        try:
            await self._wait_for(connection, await self._ends(self.fetch_ends, connection))
        finally:
            metrics.CATCHING_UP.set(0)

    async def _ends(self, fetch: FetchEndOffsets, connection: Connection) -> Mapping[Partition, int]:
        partitions = [(topic, partition) for topic in self.topics for partition in range(PARTITIONS)]

        async def attempt() -> Mapping[Partition, int]:
            await connection.execute("select")  # a session that stays silent while the broker is away would end
            async with asyncio.timeout(_BROKER_SECONDS):
                return await fetch(partitions)

        errors = (KafkaError, Unavailable, OSError, TimeoutError)
        return await until_available("kafka", "STET_KAFKA_BOOTSTRAP", attempt, errors=errors)

    async def _wait_for(self, connection: Connection, ends: Mapping[Partition, int]) -> None:
        logged_at = time.monotonic()
        while unread := _unread(await self._positions(connection), ends):
            if time.monotonic() - logged_at > _LOG_EVERY:
                logged_at = time.monotonic()
                named = [f"{topic}:{partition}" for topic, partition in unread[:_MOST_NAMED]]
                log.error("backlog.unread", partitions=len(unread), first=named)
            await asyncio.sleep(_POLL_SECONDS)

    async def _positions(self, connection: Connection) -> Mapping[Partition, int]:
        rows = await connection.fetch(QUERIES.read_positions, list(self.topics))
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


@dataclass(frozen=True, slots=True)
class Leader:
    lease: LeaderLease
    backlog: TopicBacklog
    unread: UnreadPartitions
    throttle_store: ThrottleStore
    store: MessageStore
    sender: Sender
    account: AccountStore
    limits: SendLimits
    lines: Collection[str]
    send_lease: timedelta
    templates: TemplateCache
    documents: DocumentStore
    accounts: Mapping[str, str]
    own_accounts: Collection[str] | None
    fetch_display_number: FetchDisplayNumber
    make_budget: Callable[[], Budget]
    failures: FailureLog = field(init=False, default_factory=lambda: FailureLog("leadership.lost"))

    async def run(self) -> None:
        """Wait for the lease, and send while it is held; again and again, until the task is cancelled."""
        while True:
            try:
                async with self.lease.held() as connection:
                    await self._lead(connection)
            except SERIALIZATION_FAILURES:
                log.info("leadership.retried", task="sender")
            except TRANSIENT_ERRORS as error:
                self.failures.warn(error, task="sender")
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
                record_loop_error("leader", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _lead(self, connection: Connection) -> None:
        for channel, listener in self._listeners():
            await connection.add_listener(channel, listener)
        await self.backlog.wait_until_read(connection)
        claimer = await self._load_claimer(connection, self.sender.moment())
        log.info("leadership.acquired", task="sender", lines=len(self.lines))
        watch = asyncio.create_task(self.unread.watch())
        try:
            await self.sender.claim(connection, claimer)
        finally:
            watch.cancel()

    def _listeners(self) -> Sequence[tuple[str, Callable[..., None]]]:
        sender = self.sender
        return (
            (WAKE_CHANNEL, sender.wake),
            (WITHDRAWN_CHANNEL, sender.cancel),
            (THROTTLED_CHANNEL, sender.reload_throttles),
            (TEMPLATES_CHANNEL, self.templates.expire),
        )

    async def _load_claimer(self, connection: Connection, moment: Moment) -> Claimer:
        """Sends of an earlier leader count: its last burst must still be waited out, its open sends slow lines down. A
        send that was noted later than now, since a clock was set back, counts as made now.
        """
        usage, since = RateUsage(self.limits), moment.business - self.limits.pair.horizon
        for line, person_id, at in await self.store.recent_attempts(connection, since):
            usage.record(line, person_id, min(at, moment.business))
        throttles = self.sender.throttles
        await self.throttle_store.delete_old(connection, moment.business)
        throttles.merge(await self.throttle_store.load(connection), moment.machine)
        for line in await self.store.lines_with_intents(connection, self.sender.in_flight.message_ids):
            outcome = SendUncertain(MessageReason.LEASE_ENDED)
            throttles.record(outcome, SendTarget(line, ""), moment.business, moment.machine)
        self.templates.start()
        pauses = OperatorPauses(self.store)
        unset = [line for line in self.lines if line not in self.limits.numbers]
        reported_limits = ReportedLimits(self.account, usage, unset, self.fetch_display_number, self.own_accounts)
        return Claimer(
            self.store,
            usage,
            throttles,
            self.unread,
            self.lines,
            self.send_lease,
            pauses,
            self.templates,
            reported_limits,
            self.documents,
            self.make_budget(),
            self.accounts,
        )


def _unread(positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> list[Partition]:
    return [place for place, end in sorted(ends.items()) if positions.get(place, 0) < end]
