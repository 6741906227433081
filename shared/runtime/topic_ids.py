"""The ids of topics: a topic that was deleted and created again has the same name, offsets from 0 on, and another id.

https://cwiki.apache.org/confluence/display/KAFKA/KIP-516. aiokafka asks for no ids, so the request is declared here, as
https://kafka.apache.org/protocol has it.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, NodeNotReadyError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_UUID_BYTES = 16
_NO_ID = UUID(int=0)


async def fetch_topic_ids(client: AIOKafkaClient, names: Iterable[str]) -> Mapping[str, UUID]:
    """The ids of topics by name; a missing topic is left out, and all are where the broker knows no ids. Raises
    KafkaError.
    """
    asked = sorted(set(names))
    node = client.get_random_node()
    if node is None:
        raise NodeNotReadyError("no broker is known yet")
    try:
        response = await client.send(node, _IdsRequest(asked))
    except (IncompatibleBrokerVersion, NotImplementedError):  # before Kafka 2.8
        return {}
    found = ((topic["name"], topic["topic_id"]) for topic in response.to_object()["topics"] if not topic["error_code"])
    return {name: topic_id for name, topic_id in found if topic_id != _NO_ID}


class _Uuid(AbstractType[UUID]):  # type: ignore[misc] # aiokafka ships no types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(_UUID_BYTES))


class _IdsResponse(Response):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("rights", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_rights", Int32),
        ("tags", TaggedFields),
    )


class _VersionedIdsRequest(RequestStruct):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _IdsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("may_create", Boolean),
        ("with_cluster_rights", Boolean),
        ("with_topic_rights", Boolean),
        ("tags", TaggedFields),
    )


class _IdsRequest(Request[_VersionedIdsRequest]):  # type: ignore[misc] # aiokafka ships no types
    """Asks for the ids of topics; a topic that does not exist is not created."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_VersionedIdsRequest]) -> _VersionedIdsRequest:
        asked: list[tuple[UUID, str, dict[int, bytes]]] = [(_NO_ID, name, {}) for name in self._topics]
        return request_struct_class(asked, False, False, False, {})  # noqa: FBT003 -- the fields of the schema above
