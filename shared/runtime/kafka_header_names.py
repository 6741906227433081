"""Lets aiokafka read records whose header names are not UTF-8.

Kafka's protocol has text there, but a broker takes any bytes. aiokafka raises at such a name, drops what it had parsed
before it in the same answer, and then fetches that record for ever. Here the batch is read again by aiokafka's parser
written in Python, and the name becomes an ``UnreadableName``, so that the record can be parked.
"""

# ruff: noqa: SLF001 -- aiokafka has no public way to the bytes of a batch

from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy


class UnreadableName(str):
    """The name of a header whose bytes are not UTF-8, with each such byte as an escape."""

    __slots__ = ()


def read_any_header_name() -> None:
    """From now on every consumer of this process reads such records. Costs the others 30 ns for each record."""
    fetcher.MemoryRecords = _Records


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
