"""Creates the topics, compares them with their declaration, and waits for them when a service starts."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import ALL_TOPICS, COMPACTED_WITHIN, CONSUMED, PARTITIONS, PRODUCED, Topic
from shared.runtime.kafka import client_options, connection_fault
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

log = get_logger()
_RETRY_SECONDS = 1.0
_MAX_TRIES = 30
_REQUEST_MS = 5000  # aiokafka's own 40 seconds would pass before a broker that does not answer is named
MISSING, NOT_ALLOWED = "missing", "this login may not see it"
UNREADABLE = "its configuration cannot be read"


def config_of(topic: Topic) -> dict[str, str]:
    lag = str(int(COMPACTED_WITHIN.total_seconds() * 1000))
    kept = {"cleanup.policy": "compact", "max.compaction.lag.ms": lag, "delete.retention.ms": lag}
    if topic.keep is not None:
        kept = {"cleanup.policy": "delete", "retention.ms": str(int(topic.keep.total_seconds() * 1000))}
    return {**kept, "max.message.bytes": str(topic.max_message_bytes)}


async def topic_differences(admin: AIOKafkaAdminClient, prefix: str, topics: Sequence[Topic] = ALL_TOPICS) -> list[str]:
    """A line for each topic that is missing on the broker or differs from its declaration."""
    found = await topic_problems(admin, prefix, topics)
    there = [topic for topic in topics if topic.name not in found]
    lines = [f"{prefix}{name}: {lack}" for name, lack in found.items()]
    return lines + await _config_differences(admin, prefix, there)


async def topic_problems(admin: AIOKafkaAdminClient, prefix: str, topics: Sequence[Topic]) -> dict[str, str]:
    """Topic → what keeps a service from using it. One that this login may not see may well be there."""
    described = {t["topic"]: t for t in await admin.describe_topics([prefix + topic.name for topic in topics])}
    found = {}
    for topic in topics:
        there = described.get(prefix + topic.name)
        error = there["error_code"] if there else UnknownTopicOrPartitionError.errno
        if error == TopicAuthorizationFailedError.errno:
            found[topic.name] = NOT_ALLOWED
        elif there is None or error:
            found[topic.name] = MISSING
        elif len(there["partitions"]) != PARTITIONS:
            found[topic.name] = f"{len(there['partitions'])} partitions, not {PARTITIONS}"
    return found


async def _config_differences(admin: AIOKafkaAdminClient, prefix: str, topics: Sequence[Topic]) -> list[str]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, prefix + topic.name) for topic in topics]
    wanted = {prefix + topic.name: config_of(topic) for topic in topics}
    found = []
    for response in await admin.describe_configs(resources) if resources else ():
        for error, _, _, name, entries in response.resources:
            if error:
                found.append(f"{name}: {UNREADABLE}: {for_code(error).__name__}")
                continue
            there = {entry[0]: entry[1] for entry in entries}
            found += [
                f"{name}: {key} is {there.get(key)}, not {value}"
                for key, value in wanted[name].items()
                if there.get(key) != value
            ]
    return found


async def create_topics(admin: AIOKafkaAdminClient, prefix: str, replication: int | None) -> list[str]:
    """Create missing topics and wait until every partition has a leader; returns their names.

    Raises Misconfigured where the broker refuses one.
    """
    missing = {
        prefix + name for name, lack in (await topic_problems(admin, prefix, ALL_TOPICS)).items() if lack == MISSING
    }
    copies = replication or min(3, len((await admin.describe_cluster())["brokers"]))
    new = [
        NewTopic(prefix + topic.name, PARTITIONS, copies, topic_configs=config_of(topic))
        for topic in ALL_TOPICS
        if prefix + topic.name in missing
    ]
    if new:
        response = await admin.create_topics(new)
        failed = [e for e in response.topic_errors if e[1] not in {0, TopicAlreadyExistsError.errno}]
        if failed:
            raise Misconfigured("STET_KAFKA_BOOTSTRAP", f"the broker refused {failed[0][0]}: {failed[0][-1]}")
        await _wait_for_leaders(admin, [topic.name for topic in new])
    return sorted(missing)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: Iterable[str]) -> None:
    names = list(names)
    while True:
        described = await admin.describe_topics(names)
        if all(_has_leaders(topic) for topic in described):
            return
        await asyncio.sleep(0.1)


def _has_leaders(topic: Mapping[str, Any]) -> bool:
    """A topic just made is known to the broker a moment before its partitions are."""
    led = [p for p in topic["partitions"] if p["leader"] >= 0 and not p["error_code"]]
    return not topic["error_code"] and len(led) == PARTITIONS


async def wait_for_topics(settings: ServiceSettings, service: str) -> None:
    """Wait until the broker answers, and has every topic that the service uses, with its twelve partitions.

    Raises Misconfigured where the broker answers several times, and topics or rights are still missing.
    """
    logged = ""
    tries = 0
    while (fault := await _fault(settings, service)) is not None:
        if fault.sentence != logged:
            logged = fault.sentence
            log.warning("dependency.awaited", dependency="kafka", setting=fault.setting, state=logged)
        tries += fault.is_known
        if tries >= _MAX_TRIES:
            raise Misconfigured(fault.setting, fault.sentence)
        await asyncio.sleep(_RETRY_SECONDS)


class _Fault(NamedTuple):
    """``is_known``: the broker answered, so waiting may not help."""

    setting: str
    sentence: str
    is_known: bool


def _advice(state: str, service: str) -> str:
    if NOT_ALLOWED in state:
        return f"let the login of {service} read and write the topics that docs/operations/install.md names"
    return "run: stet topics create"


async def _fault(settings: ServiceSettings, service: str) -> _Fault | None:
    """Why the service cannot begin to read, if so."""
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=_REQUEST_MS)
    try:
        await admin.start()
        found = await topic_problems(admin, settings.topic_prefix, (*CONSUMED[service], *PRODUCED[service]))
    except (KafkaError, OSError) as error:
        known = await connection_fault(settings)
        if known is not None:
            return _Fault(known.setting, known.sentence, is_known=True)
        return _Fault("STET_KAFKA_BOOTSTRAP", type(error).__name__, is_known=False)
    finally:
        await admin.close()
    if not found:
        return None
    state = "; ".join([f"{settings.topic_prefix}{name}: {lack}" for name, lack in found.items()][:3])
    return _Fault("STET_KAFKA_BOOTSTRAP", f"{state}; {_advice(state, service)}", is_known=True)
