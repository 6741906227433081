"""Audits by reading a topic back: rows of a table must have their records there, as events of the inbox have decisions.

The rows of a table and the records of the topic are read once each, in the order of their time, and matched in memory;
what has no match after its budget is a gap. A replica that begins to audit reads the topic from before the oldest row
that had no match.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.contracts.topics import PARTITIONS, Topic
from shared.runtime.aiokafka_faults import mend_consumers
from shared.runtime.audit import CONTROL, MAX_GAPS, ControlMissed, Gap, GapReason, HopResult, HopState
from shared.runtime.kafka import client_options
from shared.runtime.postgres import Connection
from shared.runtime.settings import ServiceSettings

NamesIn = Callable[[bytes], Iterable[str]]
"""Reads the names in the value of a record."""

EVENT_CONTROL = " ".join([CONTROL] * 3)
"""The subject of a planted event: a subject is tenant, source and id of an event, with spaces between them."""

_SETTLED = timedelta(seconds=60)
_SETTLED_ON_VIRTUAL_CLOCK = timedelta(seconds=2)
"""Rows younger than this may still be uncommitted; a transaction may take half as long. A test waits no minute."""

_SKEW = timedelta(seconds=60)
"""Between the clocks of two machines."""

_POLL_MILLISECONDS = 500
_MAX_NAMES = 200_000
_MAX_ROWS = 100_000
"""In one run; a minute of 1,600 events a second, and of twice as many names."""


class TopicReader:
    """Reads a topic onwards from an instant, without a consumer group."""

    def __init__(self, settings: ServiceSettings, topic: Topic) -> None:
        self.settled = _SETTLED if settings.development_clock is None else _SETTLED_ON_VIRTUAL_CLOCK
        self._settings = settings
        self._partitions = [TopicPartition(settings.topic_prefix + topic.name, n) for n in range(PARTITIONS)]
        self._consumer: Any = None

    async def read(self, since: datetime, names_in: NamesIn) -> tuple[list[str], bool]:
        """The names in the next values, and whether they reach to the end; ``since`` places the first read.

        Raises KafkaError. No values are kept: after a day without an audit they would not fit into memory.
        """
        if self._consumer is None:
            self._consumer = await self._connect(since)
        ends = await self._consumer.end_offsets(self._partitions)
        names: list[str] = []
        while behind := [p for p in self._partitions if await self._consumer.position(p) < ends[p]]:
            if len(names) >= _MAX_NAMES:
                return names, False
            found = await self._consumer.getmany(*behind, timeout_ms=_POLL_MILLISECONDS, max_records=10_000)
            values = (r.value for records in found.values() for r in records if r.value is not None)
            names += chain.from_iterable(map(names_in, values))
        return names, True

    async def close(self) -> None:
        """The next read begins at its ``since`` again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _connect(self, since: datetime) -> Any:
        mend_consumers()
        consumer = AIOKafkaConsumer(
            **client_options(self._settings), enable_auto_commit=False, auto_offset_reset="earliest",
        )  # fmt: skip
        try:
            await consumer.start()
            consumer.assign(self._partitions)
            at = int(since.timestamp() * 1000)
            first = await consumer.offsets_for_times(dict.fromkeys(self._partitions, at))
            ends = await consumer.end_offsets(self._partitions)
            for partition in self._partitions:
                found = first.get(partition)
                consumer.seek(partition, found.offset if found is not None else ends[partition])
        except BaseException:
            await consumer.stop()
            raise
        return consumer


@dataclass(slots=True)
class TopicHop:
    """Events of a table that a record of a topic must name within the budget; machine time.

    ``names_in`` returns the names in the value of a record, ``name_of`` the name of a subject; the two are compared.
    The rest are SQL: ``rows`` takes a window (from, to) and a limit, and returns subjects with their instants.
    ``expected`` takes subjects, and returns those that still exist; they are ``excused`` while the table shows that
    they are not due yet. ``plant`` takes an instant.
    """

    name: str
    reader: TopicReader
    names_in: NamesIn
    name_of: Callable[[str], str]
    rows: str
    expected: str
    plant: str
    reason: GapReason
    budget: timedelta
    is_business_time: bool = False
    _read_to: datetime | None = None
    _loaded_to: datetime | None = None
    _unmatched: dict[str, datetime] = field(default_factory=dict)
    _named: dict[str, datetime] = field(default_factory=dict)

    async def prepare(self, state: HopState) -> None:
        """Read the topic onwards."""
        if self._loaded_to is None:
            self._loaded_to = state.checked_to or state.machine - self.reader.settled
        names, is_at_end = await self.reader.read(self._loaded_to - _SKEW, self.names_in)
        self._named.update(dict.fromkeys(names, state.machine))
        if is_at_end:
            self._read_to = state.machine

    async def forget(self) -> None:
        """The next run begins where the last recorded one ended."""
        await self.reader.close()
        self._loaded_to = self._read_to = None
        self._unmatched.clear()
        self._named.clear()

    async def check(self, connection: Connection, state: HopState) -> HopResult:
        """Load the next rows, match them, and judge those that are older than their budget. Raises ControlMissed."""
        begin = self._loaded_to or state.machine
        end = max(begin, state.machine - self.reader.settled)
        await connection.execute(self.plant, begin)
        found = {row["subject"]: row["since"] for row in await connection.fetch(self.rows, begin, end, _MAX_ROWS)}
        if found.pop(EVENT_CONTROL, None) is None:
            raise ControlMissed
        self._loaded_to = end if len(found) + 1 < _MAX_ROWS else max(found.values(), default=end)
        self._unmatched.update(found)
        result = await self._judge(connection, state)
        self._match()
        self._named = {name: at for name, at in self._named.items() if at > self._loaded_to - _SKEW}
        oldest = min([*self._unmatched.values(), self._loaded_to])
        return replace(result, checked=len(found), checked_to=oldest)

    async def _judge(self, connection: Connection, state: HopState) -> HopResult:
        """The gaps, and the subjects that are excused. Nothing is judged before the topic was read to its end once."""
        if self._read_to is None:
            return HopResult(0, [], complete=False, pending=state.pending)
        due = self._read_to - self.budget
        pending = {subject: since for subject, since in state.pending.items() if not self._is_named(subject)}
        late = [s for s, since in self._unmatched.items() if since <= due and not self._is_named(s)]
        asked = dict.fromkeys([*late, *pending, *(subject for subject in state.open if not self._is_named(subject))])
        expected = {row["subject"]: row for row in await connection.fetch(self.expected, [EVENT_CONTROL, *asked])}
        if EVENT_CONTROL not in expected or expected[EVENT_CONTROL]["excused"]:
            raise ControlMissed
        gaps, still_pending = [], {}
        for subject in asked:
            self._unmatched.pop(subject, None)
            row = expected.get(subject)
            if row is not None and row["excused"]:
                still_pending[subject] = state.machine
            elif row is not None and pending.get(subject, due) > due:
                still_pending[subject] = pending[subject]
            elif row is not None:
                gaps.append(Gap(subject, row["since"], self.reason))
        return HopResult(0, gaps, complete=len(gaps) < MAX_GAPS, pending=still_pending)

    def _is_named(self, subject: str) -> bool:
        return self.name_of(subject) in self._named

    def _match(self) -> None:
        matched = [subject for subject in self._unmatched if self._is_named(subject)]
        for subject in matched:
            del self._unmatched[subject]
            self._named.pop(self.name_of(subject), None)


def event_id(subject: str) -> str:
    """The event's id alone."""
    return subject.split(" ", 2)[2]
