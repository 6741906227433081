"""Mends three faults of aiokafka, for every consumer of the process.

A partition without a leader, as of a topic that was deleted or whose brokers are away, makes a consumer ask for
metadata as fast as the broker answers: 1,400 times a second, with a fifth of a core. Here it rests in between.

The name of a header is text in Kafka's protocol, but a broker takes any bytes. aiokafka raises at a name that is not
UTF-8, drops what it had parsed before it in the same answer, and then fetches that record for ever. Here the batch is
read again by aiokafka's parser written in Python, and the name becomes an ``UnreadableName``, so that the record can be
parked.

While a consumer joins its group, the broker keeps the request to join until all members have come, and with it all
later requests of that connection. A commit of offsets that is sent meanwhile is judged after the join, by then with the
generation before it, and aiokafka takes the refusal for one of its new generation: it joins again, and the group begins
anew. Here such a commit fails at once, as in Java's client.
"""

# ruff: noqa: SLF001 -- aiokafka has no public way to its requests for metadata, to a batch's bytes and to its group

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import RebalanceInProgressError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

_ask_for_metadata = AIOKafkaClient._metadata_update
_commit = GroupCoordinator._do_commit_offsets


def mend_consumers() -> None:
    """From now on. Costs 30 ns for each record."""
    AIOKafkaClient._metadata_update = _fetch_and_rest
    fetcher.MemoryRecords = _Records
    GroupCoordinator._do_commit_offsets = _commit_unless_joining


# ------------------------------------------------------------------ metadata


async def _fetch_and_rest(client: Any, cluster: Any, topics: Any) -> Any:
    """Where a topic has no leader, the answer comes after the client's backoff: every asker waits for it."""
    answered = await _ask_for_metadata(client, cluster, topics)
    if any(_lacks_leader(cluster, topic) for topic in topics or ()):
        await asyncio.sleep(client._retry_backoff)
    return answered


def _lacks_leader(cluster: Any, topic: str) -> bool:
    led = cluster.available_partitions_for_topic(topic)
    return led is None or led != cluster.partitions_for_topic(topic)


# ------------------------------------------------------------------ commits of offsets


async def _commit_unless_joining(coordinator: Any, assignment: Any, offsets: Any) -> None:
    """From the end of ``on_partitions_revoked`` to the end of ``on_partitions_assigned`` a commit is refused."""
    if coordinator._performed_join_prepare:
        raise RebalanceInProgressError(coordinator.group_id)
    await _commit(coordinator, assignment, offsets)


# ------------------------------------------------------------------ names of headers


class UnreadableName(str):
    """The name of a header whose bytes are not UTF-8, with each such byte as an escape."""

    __slots__ = ()


def has_unreadable_name(headers: Iterable[tuple[str, Any]]) -> bool:
    return any(isinstance(name, UnreadableName) for name, _ in headers)


class _Records:
    """The batches of a fetched answer, as the fetcher of aiokafka takes them."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._records = MemoryRecords(answer)
        self._count = 0
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        self._count += 1
        return batch if batch is None or batch.is_control_batch else _Batch(batch, self._answer, self._count)


class _Batch:
    """A batch of records; an attribute is that of the batch of aiokafka."""

    def __init__(self, batch: Any, answer: bytes, number: int) -> None:
        self._batch, self._answer, self._number = batch, answer, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        """After a name that cannot be read all records come again; the fetcher leaves out those that it had."""
        try:
            yield from self._batch
        except UnicodeDecodeError:
            yield from _parsed_in_python(self._answer, self._number)


def _parsed_in_python(answer: bytes, number: int) -> Any:
    records: Any = _MemoryRecordsPy(answer)
    for _ in range(number - 1):
        records._cache_next()
    batch: Any = _DefaultRecordBatchPy(records._next_slice)
    batch._maybe_uncompress()
    batch._buffer = _AnyText(batch._buffer)
    return batch


class _AnyText(bytearray):
    """Bytes whose parts can be decoded, whatever they are."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _AnyText(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return UnreadableName(super().decode(encoding, "backslashreplace"))
