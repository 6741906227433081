"""Reads Kafka: one FastStream batch subscriber for all topics of a service, positioned by PostgreSQL's progress.

The offsets committed to Kafka are not used: every assignment is paused, compared with what the broker still has,
positioned where progress says, and only then read. A batch that waits for a dependency is given up before the consumer
group would miss this replica, and fetched again.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512

from shared.contracts.errors import Throttled
from shared.runtime.aiokafka_faults import mend_consumers
from shared.runtime.batch import BatchProcessor
from shared.runtime.connection_settings import KafkaSettings, SaslMechanism, SecurityProtocol
from shared.runtime.failures import TRANSIENT_ERRORS, FailureKind, FailureLog, classify_failure
from shared.runtime.kafka import READ_BACKOFF_MS, client_options, discard_consumer
from shared.runtime.postgres import Pool
from shared.runtime.progress import Fenced, LagMonitor, OffsetOutOfRange, Partition, load_progress
from shared.runtime.retry import Backoff, until_available
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

log = get_logger()
_MAX_RECORDS = 4000
_POLL_MS = 500  # at most until an idle consumer asks again; records end the wait at once
_MAX_BATCH_WAIT_SECONDS = 25.0
_TRANSIENT_BACKOFF = Backoff(first=0.2, longest=5.0)
_COLLISION_BACKOFF = Backoff(first=0.05, longest=0.05)
_ASSIGNMENT_BACKOFF = Backoff(first=0.5, longest=0.5, jitter=0.6)
_FINISH_SECONDS = 3.0
_COMMIT_SECONDS = 2.0
_FAILURES_OF_CONNECTIONS = 5  # in a row, after which the connections of the pool are replaced
_LOOKUP_SECONDS = 30.0  # for the positions of an assignment
_STOP_SECONDS = 10.0
_SESSION_MS = 6000  # the least a broker takes by default; the group notices a killed process after it
_KAFKA_OPTIONS: dict[str, Any] = {
    "auto_offset_reset": "none",
    "fetch_max_wait_ms": 200,  # a partition just read to its end waits for the fetch under way
    "fetch_max_bytes": 16 * 1024 * 1024,
    "max_partition_fetch_bytes": 1024 * 1024,
    "session_timeout_ms": _SESSION_MS,
    "heartbeat_interval_ms": _SESSION_MS // 4,
}


class BatchConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """``run`` ends by cancellation or with an error; after an unforeseen error it may run again."""

    def __init__(self, settings: ServiceSettings, processor: BatchProcessor, pool: Pool, lag: LagMonitor) -> None:
        self.processor = processor
        self._settings = settings
        self._pool = pool
        self._lag = lag
        self._prefix = settings.topic_prefix
        self._failures = 0
        self._failure_log = FailureLog("batch.retried")
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._processing = asyncio.Lock()
        self._interrupted = asyncio.Event()
        self._fetched: dict[Partition, int] = {}
        self._positioning: asyncio.Task[None] | None = None
        self._broker: Any = None
        self._subscriber: Any = None

    async def run(self) -> None:
        self._fatal = asyncio.get_running_loop().create_future()
        self._processing, self._interrupted = asyncio.Lock(), asyncio.Event()
        self._broker, self._subscriber = self._subscribed()
        try:
            await self._start()
            await self._fatal
        finally:
            await self._stop()

    @property
    def is_waiting(self) -> bool:
        """Whether it reads nothing for a known reason: a dependency is away, or it is looking for its positions."""
        is_retrying = self._processing.locked() and self._failures > 0
        return is_retrying or (self._positioning is not None and not self._positioning.done())

    async def is_assigned(self) -> bool:
        """Whether it has partitions and reads them."""
        return bool(self.processor.positions)

    def _subscribed(self) -> tuple[KafkaBroker, Any]:
        settings, service = self._settings, self.processor.service
        broker = KafkaBroker(
            **broker_options(settings), client_id=f"stet-{service}", consumer_only=True,
            allow_auto_create_topics=False, apply_types=False, retry_backoff_ms=READ_BACKOFF_MS,
            logger=_error_logger(), log_level=logging.DEBUG, graceful_timeout=_FINISH_SECONDS,
        )  # fmt: skip
        group = f"{self._prefix}stet.{service}"
        instance = f"{group}.{settings.instance}" if settings.instance else None
        subscriber = broker.subscriber(
            *(self._prefix + name for name in self.processor.topics), batch=True, group_id=group,
            group_instance_id=instance, ack_policy=AckPolicy.MANUAL, listener=self, parser=_unparsed,
            decoder=_raw_records, **_KAFKA_OPTIONS,
        )  # fmt: skip
        subscriber(self._on_batch)
        subscriber.get_msg = self._next_records
        mend_consumers()
        return broker, subscriber

    async def _start(self) -> None:
        await until_available("kafka", "STET_KAFKA_BOOTSTRAP", self._started, errors=(KafkaError, OSError))

    async def _started(self) -> None:
        try:
            await self._broker.start()
        except (KafkaError, OSError):
            await self._broker.stop()
            raise

    async def _stop(self) -> None:
        """Finish the current batch, then leave the group."""
        self._interrupted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._processing.acquire()
        self.processor.positions.clear()
        if self._positioning is not None:
            self._positioning.cancel()
        consumer = self._consumer
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._broker.stop()
        except Exception as error:  # noqa: BLE001 -- a client that cannot stop must not keep a new one from reading
            log.warning("consumer.stop_failed", error=type(error).__name__)
            if consumer is not None:
                await discard_consumer(consumer)

    # -------------------------------------------------------------- assignment

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 -- eager assignors revoke all
        """The current batch may finish, unless it waits for a dependency. Progress decides which batches count.

        Positions still being looked up are those of the ended assignment: they would be read and committed.
        """
        self._interrupted.set()
        if self._positioning is not None:
            self._positioning.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                async with self._processing:
                    pass
        self.processor.positions.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Returns at once, since no heartbeat is sent meanwhile; partitions stay paused until they are positioned."""
        self._start_positioning(assigned)

    def _start_positioning(self, assigned: Iterable[TopicPartition]) -> None:
        assigned = list(assigned)
        self._consumer.pause(*assigned)
        for partition in assigned:
            self._consumer.seek(partition, 0)  # else the client looks for a committed offset, and fails without one
        self.processor.positions.clear()
        self._interrupted = asyncio.Event()
        if self._positioning is not None:
            self._positioning.cancel()
        self._positioning = asyncio.ensure_future(self._position(assigned)) if assigned else None

    async def _position(self, assigned: list[TopicPartition]) -> None:
        logged = ""
        while True:
            try:
                positions = await self._load_positions(assigned)
                self._read_from(positions)
            except (KafkaError, *TRANSIENT_ERRORS) as error:
                if logged != type(error).__name__:
                    logged = type(error).__name__
                    log.warning("assignment.retried", error=logged)
                await asyncio.sleep(_ASSIGNMENT_BACKOFF.wait(1))
            except Exception as error:  # noqa: BLE001 -- partitions without a position would stay unread, unnoticed
                return self.halt(error)
            else:
                return None

    async def _load_positions(self, assigned: list[TopicPartition]) -> dict[Partition, int]:
        """Raises OffsetOutOfRange where the broker deleted records that were not read yet, or TopicRecreated."""
        async with asyncio.timeout(_LOOKUP_SECONDS):
            partitions = [self._from_kafka(partition) for partition in assigned]
            ids = await self._lag.topic_ids({topic for topic, _ in partitions})
            firsts = await self._lag.first_offsets(partitions)
            positions = await load_progress(self._pool, firsts, ids)
        for partition, offset in positions.items():
            if offset < firsts[partition]:
                raise OffsetOutOfRange(partition, offset, firsts[partition])
        return positions

    def _read_from(self, positions: dict[Partition, int]) -> None:
        for partition, offset in positions.items():
            self._consumer.seek(self._to_kafka(partition), offset)
        self.processor.positions.update(positions)
        self._fetched = dict(positions)
        self._consumer.resume(*map(self._to_kafka, positions))
        log.info("partitions.assigned", partitions=len(positions))

    # -------------------------------------------------------------- records

    async def _next_records(self, consumer: Any) -> tuple[ConsumerRecord[bytes, bytes], ...]:
        """FastStream's own sleeps after an empty poll, while records may lie there; a short sleep costs CPU all day.

        After an error the client goes on behind the records that it had parsed before it, so all are fetched again.
        """
        try:
            records = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
        except Exception:
            self._fetch_again()
            raise
        return tuple(chain.from_iterable(records.values()))

    async def _on_batch(self, records: tuple[ConsumerRecord[bytes, bytes], ...]) -> None:
        async with self._processing:
            try:
                await self._process([(record.topic.removeprefix(self._prefix), record) for record in records])
            except Fenced as error:
                log.warning("batch.fenced", sentence=str(error))
                if not self._interrupted.is_set():
                    self._start_positioning(self._consumer.assignment())
            except Exception as error:  # noqa: BLE001 -- FastStream would swallow it
                self.halt(error)

    async def _process(self, records: list[tuple[str, Any]]) -> None:
        if not self._is_contiguous(records):
            self._fetch_again()
            return
        until, interrupted = time.monotonic() + _MAX_BATCH_WAIT_SECONDS, self._interrupted
        while not interrupted.is_set():
            try:
                await self.processor.process(records)
            except Fenced:
                raise
            except Exception as error:
                if classify_failure(error) not in {FailureKind.TRANSIENT, FailureKind.RETRYABLE}:
                    raise
                await self._wait_after(error)
                if time.monotonic() > until:
                    self._fetch_again()
                    return
            else:
                self._failures = 0
                return

    def _is_contiguous(self, records: list[tuple[str, Any]]) -> bool:
        """Whether all records fetched before these were handled; a batch given up must be fetched again first."""
        after = {(topic, record.partition): record.offset + 1 for topic, record in records}
        positions = self.processor.positions
        is_contiguous = all(self._fetched.get(partition) == positions.get(partition) for partition in after)
        if is_contiguous:
            self._fetched.update(after)
        return is_contiguous

    async def _wait_after(self, error: Exception) -> None:
        """A rebalance or the end of the process interrupts the wait; after a deadlock it is very short."""
        self._failures += 1
        is_collision = classify_failure(error) is FailureKind.RETRYABLE
        wait = min(error.wait.total_seconds(), _MAX_BATCH_WAIT_SECONDS) if isinstance(error, Throttled) else 0
        wait += (_COLLISION_BACKOFF if is_collision else _TRANSIENT_BACKOFF).wait(self._failures)
        self._failure_log.warn(error, seconds=round(wait, 2), attempt=self._failures)
        if self._failures == _FAILURES_OF_CONNECTIONS:
            await self._pool.expire_connections()  # each is replaced when it is next used: one may fail for ever
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._interrupted.wait()

    def _fetch_again(self) -> None:
        """Give up the current records: the client polls, which keeps it in the group, and fetches them again."""
        assigned = self._consumer.assignment()
        for partition, offset in self.processor.positions.items():
            if self._to_kafka(partition) in assigned:
                self._consumer.seek(self._to_kafka(partition), offset)
        self._fetched = dict(self.processor.positions)

    # -------------------------------------------------------------- Kafka

    async def commit_offsets(self) -> None:
        """Commit offsets for Kafka's own tools, which show the lag; around a rebalance this may fail without harm."""
        assigned = self._consumer.assignment() if self._consumer else ()
        offsets = {self._to_kafka(partition): offset for partition, offset in self.processor.positions.items()}
        offsets = {partition: offset for partition, offset in offsets.items() if partition in assigned}
        if offsets:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(_COMMIT_SECONDS):
                    await self._consumer.commit(offsets)

    def restart(self) -> None:
        """Begin again where the progress in the database says, and give up the current batch."""
        if self._consumer is not None:
            self._interrupted.set()
            self._start_positioning(self._consumer.assignment())

    def halt(self, error: Exception) -> None:
        """Read nothing more, and end ``run`` with this error; the supervisor decides whether the process ends too."""
        log.critical("consumer.halted", exc_info=error)
        self._interrupted.set()
        if self._consumer is not None:
            self._consumer.pause(*self._consumer.assignment())
        self.processor.positions.clear()
        if not self._fatal.done():
            self._fatal.set_exception(error)

    @property
    def _consumer(self) -> Any:
        return self._subscriber.consumer if self._subscriber is not None else None

    def _to_kafka(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._prefix + partition[0], partition[1])

    def _from_kafka(self, partition: TopicPartition) -> Partition:
        return partition.topic.removeprefix(self._prefix), partition.partition


def _error_logger() -> logging.Logger:
    """A logger for FastStream, which would log every batch through a handler of its own."""
    logger = logging.getLogger("stet.faststream")
    logger.setLevel(logging.ERROR)
    return logger


async def _unparsed(records: Any) -> KafkaMessage:
    """FastStream's own parser decodes the headers of all records, and fails for the batch on one that is no text."""
    return KafkaMessage(raw_message=records, body=b"", consumer=FAKE_CONSUMER)


async def _raw_records(message: KafkaMessage) -> Any:
    return message.raw_message


# ------------------------------------------------------------------ the connection of FastStream's broker


def broker_options(settings: KafkaSettings) -> dict[str, Any]:
    """The brokers, TLS and the login, as FastStream's broker takes them."""
    options = client_options(settings)
    return {
        "bootstrap_servers": options["bootstrap_servers"],
        "security": _broker_security(settings.kafka_security_protocol, settings.kafka_sasl_mechanism, options),
        "sasl_oauth_token_provider": options.get("sasl_oauth_token_provider"),
    }


def _broker_security(
    protocol: SecurityProtocol, mechanism: SaslMechanism, options: Mapping[str, Any]
) -> BaseSecurity | None:
    context = options["ssl_context"]
    if not protocol.has_sasl:
        return BaseSecurity(ssl_context=context) if protocol.has_tls else None
    if mechanism is SaslMechanism.OAUTHBEARER:
        return SASLOAuthBearer(ssl_context=context)
    login = _LOGINS[mechanism]
    return login(options["sasl_plain_username"], options["sasl_plain_password"], ssl_context=context)


_LOGINS = {
    SaslMechanism.PLAIN: SASLPlaintext,
    SaslMechanism.SCRAM_SHA_256: SASLScram256,
    SaslMechanism.SCRAM_SHA_512: SASLScram512,
}
