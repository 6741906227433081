"""How long a partition counts as unread, and when the broker counts as having lost records."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from shared.contracts.ids import TenantId
from shared.runtime import progress
from shared.runtime.clock import SystemClock
from shared.runtime.progress import LagMonitor, OffsetOutOfRange, Partition, TopicRecreated
from shared.runtime.settings import ServiceSettings

PLACE: Partition = ("contacts", 0)


class MeasuredLag:
    """A lag monitor whose time and ends the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.positions = {PLACE: 100}
        settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
        self._monitor = LagMonitor(settings, ["contacts"], self.positions, pool=None, clock=SystemClock())
        self._now = 1000.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self._now))

    def look(self, end: int | None, after: float = 1.0) -> float:
        """``after`` so many seconds; the age that is shown. Without an ``end`` the broker does not answer."""
        self._now += after
        if end is None:
            self._monitor._show_ages()
        else:
            self._monitor._measure(dict(self.positions), dict.fromkeys(self.positions, end))
        return float(progress._LAG_SECONDS.labels("contacts")._value.get())


@pytest.fixture
def lag(monkeypatch: pytest.MonkeyPatch) -> MeasuredLag:
    return MeasuredLag(monkeypatch)


async def test_a_partition_is_caught_up_to_the_clock_of_now_where_it_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second, as between two replicas, is not a clock that was set back."""
    now, recorded = datetime(2027, 3, 3, 10, tzinfo=UTC), list[datetime]()

    async def record(_: object, read_to_end: dict[Partition, int], at: datetime) -> set[Partition]:
        recorded.extend([at] if read_to_end else [])
        return set(read_to_end)

    async def ends(_: object) -> dict[Partition, int]:
        return {PLACE: 100}

    monkeypatch.setattr(progress, "record_caught_up", record)
    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    clock = SimpleNamespace(now=lambda: now)
    monitor = LagMonitor(settings, ["contacts"], {PLACE: 100}, pool=None, clock=clock)
    monkeypatch.setattr(monitor, "end_offsets", ends)
    for step in (timedelta(), -timedelta(seconds=1), -timedelta(days=1)):
        now += step
        await monitor.refresh()
    assert recorded == [now + timedelta(days=1, seconds=1), now]


def test_an_age_grows_from_when_all_was_last_read(lag: MeasuredLag) -> None:
    assert [lag.look(100), lag.look(101), lag.look(101, 40)] == [0, 1, 41]


def test_an_age_grows_while_the_broker_does_not_answer(lag: MeasuredLag) -> None:
    lag.look(100)
    ages = [lag.look(None) for _ in range(100)]
    assert [ages[-1], lag.look(101)] == [100, 101]


def test_a_partition_that_comes_back_is_not_as_old_as_its_absence(lag: MeasuredLag) -> None:
    lag.look(100)
    lag.positions.clear()
    for _ in range(3600):
        lag.look(None)
    lag.positions[PLACE] = 500
    assert [lag.look(501), lag.look(501, 5)] == [0, 5]


def test_a_rebalance_in_a_backlog_does_not_make_it_young(lag: MeasuredLag) -> None:
    lag.look(100)
    lag.look(101, 50)
    lag.positions.clear()
    lag.look(None, 5)
    lag.positions[PLACE] = 100
    assert lag.look(101) == 56


def test_an_end_that_stays_before_what_was_read_is_a_loss(lag: MeasuredLag) -> None:
    lag.look(100)
    lag.look(90, 2)
    lag.look(90, 29)
    with pytest.raises(OffsetOutOfRange):
        lag.look(90, 2)


def test_a_broker_that_comes_back_after_a_minute_may_report_an_old_end_for_a_moment(lag: MeasuredLag) -> None:
    lag.look(100)
    for _ in range(60):
        lag.look(None)
    lag.look(90)
    lag.look(90, 10)
    assert lag.look(100, 10) == 0


async def test_a_recreated_topic_of_which_this_replica_reads_no_partition_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a topic is missing, the group is assigned the partitions of the others alone."""
    earlier: UUID | None = UUID(int=1)
    later = UUID(int=2)

    async def ids(topics: Iterable[str]) -> dict[str, UUID]:
        return dict.fromkeys(topics, later)

    async def fetch(_: str, topics: Sequence[str], numbers: Sequence[int]) -> list[dict[str, object]]:
        places = zip(topics, numbers, strict=True)
        return [
            {"topic": topic, "partition": number, "next_offset": 7, "topic_id": earlier} for topic, number in places
        ]

    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    pool = SimpleNamespace(fetch=fetch)
    monitor = LagMonitor(settings, ["contacts"], {}, pool=pool, clock=SystemClock())
    monkeypatch.setattr(monitor, "topic_ids", ids)
    with pytest.raises(TopicRecreated):
        await monitor._check_ranges()
    earlier = None  # of before topics had ids, and not loaded since
    await monitor._check_ranges()


class OpeningClient:
    """A consumer that the broker takes when the test says so."""

    opened: list["OpeningClient"] = []  # noqa: RUF012 -- of the test, which sets it
    may_open: asyncio.Event

    def __init__(self, **_: object) -> None:
        self.is_open = True
        self.opened.append(self)

    async def start(self) -> None:
        await self.may_open.wait()

    async def stop(self) -> None:
        self.is_open = False

    async def end_offsets(self, partitions: Iterable[object]) -> dict[object, int]:
        return dict.fromkeys(partitions, 7)


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> type[OpeningClient]:
    monkeypatch.setattr(OpeningClient, "opened", [])
    monkeypatch.setattr(OpeningClient, "may_open", asyncio.Event(), raising=False)
    monkeypatch.setattr(progress, "AIOKafkaConsumer", OpeningClient)
    return OpeningClient


def new_monitor() -> LagMonitor:
    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    return LagMonitor(settings, ["contacts"], {}, pool=None, clock=SystemClock())


async def test_all_who_ask_at_once_share_one_connection(opening: type[OpeningClient]) -> None:
    """As the checks of its own and the positions of an assignment do when a process begins."""
    monitor = new_monitor()
    asking = [asyncio.ensure_future(monitor.end_offsets([PLACE])) for _ in range(3)]
    await asyncio.sleep(0)
    opening.may_open.set()
    await asyncio.gather(*asking)
    assert len(opening.opened) == 1
    await monitor.stop()
    assert not opening.opened[0].is_open


async def test_a_connection_that_is_opened_while_the_monitor_stops_is_closed(opening: type[OpeningClient]) -> None:
    monitor = new_monitor()
    asking = asyncio.ensure_future(monitor.end_offsets([PLACE]))
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(monitor.stop())
    await asyncio.sleep(0)
    opening.may_open.set()
    await asyncio.wait({asking, stopping})
    assert [client.is_open for client in opening.opened] == [False]


async def test_a_connection_that_is_given_up_while_it_opens_is_closed(opening: type[OpeningClient]) -> None:
    asking = asyncio.ensure_future(new_monitor().end_offsets([PLACE]))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    assert [client.is_open for client in opening.opened] == [False]
