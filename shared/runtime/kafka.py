"""Kafka: the connection settings, and the one producer of a process."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    ProducerClosed,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownTopicOrPartitionError,
    UnsupportedForMessageFormatError,
)
from aiokafka.helpers import create_ssl_context
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from shared.contracts.errors import Misconfigured
from shared.runtime.partitioner import partition
from shared.runtime.retry import until_available
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

log = get_logger()

MAX_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024
BATCH_BYTES = 512 * 1024
"""Per partition; half of what a topic takes in one piece."""

_REQUEST_SECONDS = 4
_FLUSH_SECONDS = 2

Headers = list[tuple[str, bytes]]

_BROKER_AWAY = (KafkaError, OSError)

RECORD_REFUSED = (
    MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, UnsupportedForMessageFormatError,
    PolicyViolationError, UnknownError,
)  # fmt: skip
"""The broker will never take such a record. aiokafka does not know INVALID_RECORD, and reports it as UnknownError."""

TOPIC_REFUSED = (TopicAuthorizationFailedError, UnknownTopicOrPartitionError, InvalidTopicError)
"""The topic is missing, or this login may not write it, until an operator mends that."""


def security(settings: ServiceSettings) -> dict[str, Any]:
    """The keyword arguments every aiokafka client takes."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if "SSL" in settings.kafka_security_protocol:
        ca_file = settings.kafka_tls_ca_file
        options["ssl_context"] = create_ssl_context(cafile=str(ca_file) if ca_file else None)
    if "SASL" in settings.kafka_security_protocol:
        password = settings.kafka_sasl_password
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return options


def subscriber_security(settings: ServiceSettings) -> BaseSecurity | None:
    """The same as FastStream takes it. Raises Misconfigured for an unknown mechanism."""
    if settings.kafka_security_protocol == "PLAINTEXT":
        return None
    context = security(settings).get("ssl_context")
    if "SASL" not in settings.kafka_security_protocol:
        return BaseSecurity(ssl_context=context)
    password = settings.kafka_sasl_password.get_secret_value() if settings.kafka_sasl_password else ""
    user = settings.kafka_sasl_username or ""
    wrapped = _SASL.get(settings.kafka_sasl_mechanism)
    if wrapped is None:
        raise Misconfigured("STET_KAFKA_SASL_MECHANISM", f"is one of {', '.join(_SASL)}")
    return wrapped(username=user, password=password, ssl_context=context)


_SASL = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


class OutgoingRecord(NamedTuple):
    """A record for Kafka; ``topic`` has the installation's prefix."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


class Producer:
    """The one producer of a process: idempotent, ``acks=all``; records of a partition arrive in the order sent.

    aiokafka's idempotent producer retries a record until the broker is back; ``restart`` discards what is undelivered.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._producer: Any = None

    @property
    def client(self) -> Any:
        return self._producer.client

    async def start(self) -> None:
        """Waits for a broker that is down."""
        self._producer = await until_available("kafka", "STET_KAFKA_BOOTSTRAP", self._connected, errors=_BROKER_AWAY)

    async def _connected(self) -> Any:
        producer = self._new()
        try:
            await producer.start()
        except _BROKER_AWAY:
            await discard_producer(producer)
            raise
        return producer

    async def send(self, topic: str, value: bytes, key: bytes | None, headers: Headers | None = None) -> Any:
        """A future, done when every replica in sync has the record. Raises KafkaError."""
        return await self._producer.send(topic, value, key, headers=headers)

    async def send_all(self, records: Sequence[OutgoingRecord]) -> list[Any]:
        """For each record a future, as of ``send``, or the KafkaError that keeps it back; in order within a partition.

        Records of one partition are sent in one batch, which costs much less than one by one.
        """
        results: list[Any] = [None] * len(records)
        partitions = {topic: await self._partitions(topic) for topic in {record.topic for record in records}}
        batches: dict[tuple[str, int], list[int]] = {}
        for index, record in enumerate(records):
            every = partitions[record.topic]
            if isinstance(every, KafkaError):
                results[index] = every
            else:
                batches.setdefault((record.topic, partition(record.key, every, every)), []).append(index)
        for to, indexes in batches.items():
            while indexes:
                future, taken = await self._send_batch(to, [records[index] for index in indexes])
                for index in indexes[:taken]:
                    results[index] = future
                del indexes[:taken]
        return results

    async def _send_batch(self, to: tuple[str, int], records: Sequence[OutgoingRecord]) -> tuple[Any, int]:
        """One batch of as many of these as it holds."""
        batch = self._producer.create_batch()
        taken = 0
        for record in records:
            if batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                break
            taken += 1
        return await self._producer.send_batch(batch, to[0], partition=to[1]), taken

    async def _partitions(self, topic: str) -> list[int] | KafkaError:
        try:
            return sorted(await self._producer.partitions_for(topic))
        except TOPIC_REFUSED as error:
            return error

    async def restart(self) -> None:
        """Discard the records that are not acknowledged, and start with none."""
        await discard_producer(self._producer)
        await self.start()

    async def stop(self) -> None:
        """Deliver what is left, if the broker takes it within two seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._producer.flush()
        await discard_producer(self._producer)

    def _new(self) -> Any:
        return AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap, acks="all", enable_idempotence=True,
            max_request_size=MAX_REQUEST_BYTES, max_batch_size=BATCH_BYTES, partitioner=partition,
            request_timeout_ms=_REQUEST_SECONDS * 1000, retry_backoff_ms=50, **security(self._settings),
        )  # fmt: skip


async def discard_producer(producer: Any) -> None:
    """Close a producer without delivering what it holds; aiokafka has no public way to, and would wait for ever.

    Its sender may fail meanwhile: aiokafka looks for the batch of a failed request among those just discarded. That
    error has no consequence.
    """
    sender = producer._sender  # noqa: SLF001 -- see above
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 -- the same
    for close in (sender.close, producer.stop):
        try:
            await close()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the producer is discarded
            log.info("producer.discarded", error=type(error).__name__)
