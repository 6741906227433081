"""The rights at the broker that each service needs, and the question which of them its login has.

Strimzi's KafkaUsers are made from them, and ``stet doctor`` asks for them. A login that may only describe a topic sees
it, and can neither read nor write it. aiokafka does not ask for rights, so the two requests are declared here, as
https://kafka.apache.org/protocol has them.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import stamina
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, GroupCoordinatorNotAvailableError
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from shared.contracts.personal_data import DELETED_TOPICS
from shared.contracts.topics import CONSUMED, PRODUCED, READ_BACK

_NOT_REPORTED, _ALL = -(2**31), -1
_COORDINATOR_SECONDS = 10.0  # a new broker first makes the topic of the groups


class KafkaRight(IntEnum):
    """Kafka's number of an operation, which is the bit of the right to it."""

    READ = 3
    WRITE = 4
    DELETE = 6
    DESCRIBE = 8


Rights = Mapping[str, frozenset[KafkaRight]]
"""By the name of a topic or of a consumer group."""


def topic_rights(service: str) -> Rights:
    """A service may write what it consumes, too: it sends a parked record to its topic again.

    Its conservation audit reads some of what it writes. Ingest deletes records of people who are erased.
    """
    needed = (
        (KafkaRight.READ, (*CONSUMED[service], *READ_BACK.get(service, ()))),
        (KafkaRight.WRITE, (*CONSUMED[service], *PRODUCED[service])),
    )
    pairs = [(topic.name, right) for right, topics in needed for topic in topics]
    pairs += [(name, KafkaRight.DELETE) for name in (DELETED_TOPICS if service == "ingest" else ())]
    return _collected([*pairs, *((name, KafkaRight.DESCRIBE) for name, _ in pairs)])


def group_rights(service: str) -> Rights:
    """Ingest deletes records up to where every reader has committed."""
    pairs = [(f"stet.{service}", KafkaRight.READ)] if CONSUMED[service] else []
    readers = [reader for reader, topics in CONSUMED.items() if topics]
    seen = readers if service == "ingest" else [service] if CONSUMED[service] else []
    return _collected([*pairs, *((f"stet.{reader}", KafkaRight.DESCRIBE) for reader in seen)])


def _collected(pairs: Iterable[tuple[str, KafkaRight]]) -> Rights:
    found: dict[str, set[KafkaRight]] = {}
    for name, right in pairs:
        found.setdefault(name, set()).add(right)
    return {name: frozenset(rights) for name, rights in found.items()}


async def missing_rights(admin: AIOKafkaAdminClient, prefix: str, service: str) -> list[str]:
    """A line for each topic and group on which this login lacks a right of the service. Raises KafkaError."""
    topics = topic_rights(service)
    response = await _send(admin, _TopicsRequest([prefix + name for name in topics]))
    has = {topic["name"]: _rights_in(topic, "rights") for topic in response.to_object()["topics"]}
    lines = [
        _describe_missing("topic", prefix + name, rights, has.get(prefix + name, 0)) for name, rights in topics.items()
    ]
    for name, rights in group_rights(service).items():
        lines.append(
            _describe_missing("consumer group", prefix + name, rights, await _rights_on_group(admin, prefix + name))
        )
    return [line for line in lines if line]


def _describe_missing(kind: str, name: str, needed: Iterable[KafkaRight], has: int) -> str:
    lacks = [right.name for right in sorted(needed) if not has & 1 << right]
    return f"{name}: this login has no right to {', '.join(lacks)} on the {kind}" if lacks else ""


async def _rights_on_group(admin: AIOKafkaAdminClient, group: str) -> int:
    """The rights on a group, as its coordinator says them; also for a group that has no members yet."""
    try:
        async for attempt in stamina.retry_context(GroupCoordinatorNotAvailableError, timeout=_COORDINATOR_SECONDS):
            with attempt:
                coordinator = await admin.find_coordinator(group)
    except GroupAuthorizationFailedError:
        return 0
    response = await _send(admin, _GroupRequest(group), coordinator)
    (found,) = response.to_object()["groups"]
    return _rights_in(found, "authorized_operations")


def _rights_in(answer: Mapping[str, Any], name: str) -> int:
    """The rights in an answer, as bits; all of them where the broker knows no rights."""
    if answer["error_code"]:
        return 0
    return _ALL if answer[name] == _NOT_REPORTED else int(answer[name])


async def _send(admin: AIOKafkaAdminClient, request: Any, node: int | None = None) -> Any:
    return await admin._send_request(request, node)  # noqa: SLF001 -- the client has no public way to send a request


# ------------------------------------------------------------------ requests

_RIGHTS_OF_TOPICS = (False, False, True)
_WITH_RIGHTS = (True,)


class _TopicsResponse(Response):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("in_sync", Array(Int32)),
                        ("offline", Array(Int32)),
                    ),
                ),
                ("rights", Int32),
            ),
        ),
        ("cluster_rights", Int32),
    )


class _VersionedTopicsRequest(RequestStruct):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String())),
        ("may_create", Boolean),
        ("with_cluster_rights", Boolean),
        ("with_topic_rights", Boolean),
    )


class _TopicsRequest(Request[_VersionedTopicsRequest]):  # type: ignore[misc] # aiokafka ships no types
    """Asks for the rights on topics; a topic that does not exist is not created, and the answer has no rights on it."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_VersionedTopicsRequest]) -> _VersionedTopicsRequest:
        return request_struct_class(self._topics, *_RIGHTS_OF_TOPICS)


class _VersionedGroupRequest(RequestStruct):  # type: ignore[misc] # aiokafka ships no types
    """aiokafka's own declares the response of version 2, which has no rights."""

    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(String())), ("with_rights", Boolean))


class _GroupRequest(Request[_VersionedGroupRequest]):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_VersionedGroupRequest]) -> _VersionedGroupRequest:
        return request_struct_class([self._group], *_WITH_RIGHTS)
