"""Kafka: how every client connects and logs in, the one producer of a process, and the partition of a key."""

import asyncio
import random
import ssl
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    ProducerClosed,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownTopicOrPartitionError,
    UnsupportedForMessageFormatError,
    UnsupportedSaslMechanismError,
)
from aiokafka.structs import TopicPartition
from pydantic import SecretStr

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import PARTITIONS, Topic
from shared.runtime.connection_settings import KafkaSettings, SaslMechanism, TlsFiles
from shared.runtime.retry import until_available
from shared.runtime.telemetry import get_logger

log = get_logger()

MAX_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024
BATCH_BYTES = 512 * 1024
"""Per partition; half of what a topic takes in one piece."""

READ_BACKOFF_MS = 300
"""Between the attempts of a client that reads; at aiokafka's 100 each process makes fifty attempts a second in vain."""

_REQUEST_SECONDS = 4
_FLUSH_SECONDS = 2
_CLOSE_SECONDS = 2

HeaderList = list[tuple[str, bytes]]

_BROKER_AWAY = (KafkaError, OSError)

RECORD_REFUSED = (
    MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, UnsupportedForMessageFormatError,
    PolicyViolationError, UnknownError,
)  # fmt: skip
"""The broker will never take such a record. aiokafka does not know INVALID_RECORD, and reports it as UnknownError."""

TOPIC_REFUSED = (TopicAuthorizationFailedError, UnknownTopicOrPartitionError, InvalidTopicError)
"""The topic is missing, or this login may not write it, until an operator mends that."""


# ------------------------------------------------------------------ connections


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The keyword arguments of every aiokafka client: the brokers, TLS and the login."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": protocol.value,
        "ssl_context": settings.kafka_tls.context() if protocol.has_tls else None,
    }
    if not protocol.has_sasl:
        return options
    options["sasl_mechanism"] = mechanism.value
    if mechanism is SaslMechanism.OAUTHBEARER:
        return {**options, "sasl_oauth_token_provider": _token_provider(settings)}
    return {
        **options,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": _secret(settings.kafka_sasl_password),
    }


def _token_provider(settings: KafkaSettings) -> AbstractTokenProvider:
    return ClientCredentialsTokens(
        settings.kafka_oauth_token_url or "",
        settings.kafka_oauth_client_id or "",
        _secret(settings.kafka_oauth_client_secret),
        settings.kafka_oauth_scope,
        settings.kafka_oauth_tls,
    )


def _secret(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


async def connection_fault(settings: KafkaSettings) -> Misconfigured | None:
    """The setting because of which no broker accepts this connection; None where a broker accepts it, or none answers.

    aiokafka tells its callers only that no broker could be reached.
    """
    options = client_options(settings)
    for address in options.pop("bootstrap_servers").split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            connection = await create_conn(
                host.strip("[]"), int(port), request_timeout_ms=_REQUEST_SECONDS * 1000, **options
            )
        except (KafkaError, OSError, TimeoutError) as error:
            if (fault := _fault_of(settings, error)) is not None:
                return fault
        else:
            connection.close()
            return None
    return None


def _fault_of(settings: KafkaSettings, error: BaseException) -> Misconfigured | None:
    """The error of TLS is hidden behind an error of aiokafka's own, as its cause."""
    found = _tls_fault(error) if isinstance(error, ssl.SSLError) else _login_fault(settings, error)
    if found is None and error.__cause__ is not None:
        return _fault_of(settings, error.__cause__)
    return found


def _tls_fault(error: ssl.SSLError) -> Misconfigured:
    if isinstance(error, ssl.SSLCertVerificationError):
        sentence = f"the broker's certificate is not trusted: {error.verify_message}"
        return Misconfigured("STET_KAFKA_TLS_CA_FILE", sentence)
    if "ALERT" in (error.reason or ""):
        return Misconfigured("STET_KAFKA_TLS_CERTIFICATE_FILE", f"the broker refuses it: {error.reason}")
    return Misconfigured("STET_KAFKA_SECURITY_PROTOCOL", f"no TLS with the broker's port: {error.reason}")


def _login_fault(settings: KafkaSettings, error: BaseException) -> Misconfigured | None:
    is_oauth = settings.kafka_sasl_mechanism is SaslMechanism.OAUTHBEARER
    if isinstance(error, (SaslAuthenticationFailed, AuthenticationFailedError)):
        setting = "STET_KAFKA_OAUTH_CLIENT_SECRET" if is_oauth else "STET_KAFKA_SASL_PASSWORD"
        return Misconfigured(setting, f"the login is refused: {error}")
    if isinstance(error, UnsupportedSaslMechanismError):
        return Misconfigured("STET_KAFKA_SASL_MECHANISM", "the broker does not offer it")
    if isinstance(error, IllegalSaslStateError):
        return Misconfigured("STET_KAFKA_SECURITY_PROTOCOL", "the broker's port asks for no login")
    return None


# ------------------------------------------------------------------ the producer


class OutgoingRecord(NamedTuple):
    """A record for Kafka; ``topic`` has the installation's prefix. Without a value it is a tombstone of its key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: HeaderList


class Producer:
    """The one producer of a process: idempotent, ``acks=all``; records of a partition arrive in the order sent.

    aiokafka's idempotent producer retries a record until the broker is back; ``restart`` discards what is undelivered.
    """

    def __init__(self, settings: KafkaSettings) -> None:
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
        except BaseException:
            await discard_producer(producer)
            raise
        return producer

    async def send_together(self, records: Iterable[OutgoingRecord]) -> list[Any]:
        """Futures; when all are done, every replica in sync has all of these records. Raises KafkaError.

        The records of these that travel in one batch share a future, and each is written straight into the batch that
        aiokafka fills next: its ``send`` makes a future for each record and looks its topic up again, at six times the
        cost. aiokafka has no public function for it.
        """
        accumulator = self._producer._message_accumulator  # noqa: SLF001 -- see above
        partitions: dict[str, list[int]] = {}
        futures: dict[Any, Any] = {}  # by batch
        for topic, key, value, headers in records:
            every = partitions.get(topic)
            if every is None:
                every = partitions[topic] = sorted(await self._producer.partitions_for(topic))
            to = TopicPartition(topic, partition(key, every, every))
            waiting = accumulator._batches.get(to)  # noqa: SLF001 -- the same
            if waiting and _append(waiting[-1], key, value, headers, futures):
                continue
            future = await accumulator.add_message(to, key, value, _REQUEST_SECONDS, headers=headers)
            futures[accumulator._batches[to][-1]] = future  # noqa: SLF001 -- the same
        return list(futures.values())

    async def send_all(self, records: Sequence[OutgoingRecord]) -> list[Any]:
        """Send all records; returns for each a future, like those of ``send_together``, or the KafkaError that keeps it
        back.

        Records of one partition are sent in order and in one batch, which costs much less than one by one.
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
            **client_options(self._settings), acks="all", enable_idempotence=True,
            max_request_size=MAX_REQUEST_BYTES, max_batch_size=BATCH_BYTES, partitioner=partition,
            request_timeout_ms=_REQUEST_SECONDS * 1000, retry_backoff_ms=50,
        )  # fmt: skip


def _append(
    batch: Any, key: bytes | None, value: bytes | None, headers: HeaderList, futures: dict[Any, asyncio.Future[Any]]
) -> bool:
    """Whether the batch had room for the record; a failed one has none. Adds a future where ``futures`` has none."""
    if batch in futures:
        builder = batch._builder  # noqa: SLF001 -- see Producer.send_together
        return builder.append(timestamp=None, key=key, value=value, headers=headers) is not None
    if batch.future.done():
        return False
    future = batch.append(key, value, None, asyncio.get_running_loop().create_future, headers)
    if future is not None:
        futures[batch] = future
    return future is not None


async def discard_producer(producer: Any) -> None:
    """Close a producer without delivering what it holds: aiokafka has no public function for it, and would wait.

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


async def discard_consumer(consumer: Any) -> None:
    """Close a consumer that does not stop by itself; aiokafka has no public function for it, and may wait for minutes.

    Without its tasks and its connection it leaves the group when its session ends.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 -- see above
    tasks = (coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task)  # noqa: SLF001
    for task in filter(None, tasks):
        task.cancel()
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await consumer._client.close()  # noqa: SLF001 -- the same
    except Exception as error:  # noqa: BLE001 -- whatever it is, the consumer is discarded
        log.info("consumer.discarded", error=type(error).__name__)


# ------------------------------------------------------------------ tokens for OAUTHBEARER
# by the client credentials grant: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

_TOKEN_SECONDS = 5.0
_ASSUMED_SECONDS = 300.0  # the life of a token whose answer does not tell it
_USED_SHARE = 0.8  # of its life; a connection made later asks for another


class _TokenResponse(msgspec.Struct):
    access_token: str
    expires_in: float = _ASSUMED_SECONDS


@dataclass(slots=True)
class ClientCredentialsTokens(AbstractTokenProvider):  # type: ignore[misc] # aiokafka ships no types
    """Gives every connection of a client the same token until most of its life has passed."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None
    tls: TlsFiles
    _token: str = field(default="", repr=False)
    _usable_until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> str:
        """Raises AuthenticationFailedError where the endpoint refuses the client, else KafkaConnectionError."""
        async with self._asking:
            if time.monotonic() >= self._usable_until:
                asked_at = time.monotonic()
                response = await self._request()
                self._token = response.access_token
                self._usable_until = asked_at + response.expires_in * _USED_SHARE
            return self._token

    async def _request(self) -> _TokenResponse:
        import aiohttp  # noqa: PLC0415 -- an HTTP client, for this login alone

        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        login = aiohttp.encode_basic_auth(quote(self.client_id, safe=""), quote(self.client_secret, safe=""))
        timeout = aiohttp.ClientTimeout(total=_TOKEN_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    self.token_url,
                    data=form,
                    headers={"Authorization": login},
                    ssl=self.tls.context(),
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KafkaConnectionError(f"the token endpoint cannot be reached: {type(error).__name__}") from error
        if response.status in {400, 401, 403}:
            raise AuthenticationFailedError(f"the token endpoint answers {response.status}")
        try:
            return msgspec.json.decode(body, type=_TokenResponse)
        except msgspec.DecodeError:
            raise KafkaConnectionError(f"the token endpoint answers {response.status}, without a token") from None


# ------------------------------------------------------------------ partitions

_SEED, _MULTIPLIER = 0x9747B28C, 0x5BD1E995
_WORD, _POSITIVE = 0xFFFFFFFF, 0x7FFFFFFF


@lru_cache(maxsize=16_384)
def murmur2(key: bytes) -> int:
    """The hash of Java's clients, at under half the cost of aiokafka's own. Cached: the same people and works recur.

    32 bits, unsigned.
    https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/utils/Utils.java (murmur2)
    """
    tail = len(key) & 3
    mixed = _SEED ^ len(key)
    for word in _words_of_32_bits(len(key) >> 2).unpack_from(key):
        scattered = word * _MULTIPLIER & _WORD
        mixed = (mixed * _MULTIPLIER & _WORD) ^ ((scattered ^ scattered >> 24) * _MULTIPLIER & _WORD)
    if tail:
        mixed = (mixed ^ int.from_bytes(key[-tail:], "little")) * _MULTIPLIER & _WORD
    mixed = (mixed ^ mixed >> 13) * _MULTIPLIER & _WORD
    return mixed ^ mixed >> 15


def partition(key: bytes | None, every: Sequence[int], available: Sequence[int]) -> int:
    """Aiokafka's partitioner: the key's among ``every`` partition; without a key a random one of the available."""
    if key is None:
        return random.choice(available or every)
    return every[(murmur2(key) & _POSITIVE) % len(every)]


def partition_for_key(key: str) -> int:
    """The partition of one of Stet's topics that a record with this key goes to."""
    return (murmur2(key.encode()) & _POSITIVE) % PARTITIONS


def partition_guards(key: str, *topics: Topic) -> list[str]:
    """``consonance.events:7``: the partitions of these topics in which everything about ``key`` arrives.

    A timer with these guards fires only when each of them is caught up to the timer's due instant.
    """
    number = partition_for_key(key)
    return [f"{topic.name}:{number}" for topic in topics]


@cache
def _words_of_32_bits(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")
