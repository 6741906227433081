"""Kafka: the connection settings, the one producer of a process, and where a key's partition is."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.helpers import create_ssl_context
from aiokafka.partitioner import murmur2
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from shared.errors import Misconfigured
from shared.settings import ServiceSettings
from shared.telemetry import get_logger
from shared.topics import PARTITIONS

log = get_logger()

DELIVERY_SECONDS = 5
"""How long the producer tries to deliver a record; a new holder of the relay waits it out."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024
_BATCH_BYTES = 256 * 1024
_RETRY_SECONDS = 1.0


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
    """The same, in FastStream's words."""
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


async def open_producer(settings: ServiceSettings) -> AIOKafkaProducer:
    """Idempotent, ``acks=all``; a broker that is down is waited for, and said."""
    told = False
    while True:
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True,
            max_request_size=MAX_REQUEST_BYTES, max_batch_size=_BATCH_BYTES,
            request_timeout_ms=DELIVERY_SECONDS * 1000, retry_backoff_ms=50, **security(settings),
        )  # fmt: skip
        try:
            await producer.start()
        except (KafkaConnectionError, KafkaError, OSError) as error:
            await producer.stop()
            if not told:
                told = True
                name = type(error).__name__
                log.warning("neighbour.waited_for", neighbour="kafka", setting="STET_KAFKA_BOOTSTRAP", error=name)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return producer


def partition_of(key: str) -> int:
    """The partition a keyed record goes to: murmur2, as the producer's default partitioner and Java's have it."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS)
