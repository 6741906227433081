"""The relay sends a decision once everything that the decision asks for, or takes back, has arrived."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from shared.contracts.ids import TenantId
from shared.contracts.topics import DECISIONS, MESSAGES_REQUESTED, WRITES_REQUESTED
from shared.runtime.kafka import OutgoingRecord
from shared.runtime.metrics import exposition
from shared.runtime.outbox import Relay
from shared.runtime.settings import ServiceSettings

NAMES = (DECISIONS.name, MESSAGES_REQUESTED.name, DECISIONS.name, WRITES_REQUESTED.name)
ROWS = [{"id": number, "topic": name, "key": b"k", "value": b"v", "headers": None} for number, name in enumerate(NAMES)]


class RecordingProducer:
    """Keeps what it is given, and the futures of it, which the test ends."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.futures: list[asyncio.Future[None]] = []

    async def send_all(self, records: Sequence[OutgoingRecord]) -> list[asyncio.Future[None]]:
        self.calls.append([record.topic for record in records])
        added = [asyncio.get_running_loop().create_future() for _ in records]
        self.futures += added
        return added

    def end(self, error: BaseException | None = None) -> None:
        for future in self.futures:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


async def begin(producer: RecordingProducer) -> "asyncio.Task[list[Any]]":
    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    relay = Relay(settings, "rules", producer)  # type: ignore[arg-type]
    sending = asyncio.create_task(relay._send(None, ROWS))
    await asyncio.sleep(0.05)
    return sending


async def test_decisions_are_sent_once_all_others_have_arrived() -> None:
    producer = RecordingProducer()
    sending = await begin(producer)
    assert producer.calls == [[MESSAGES_REQUESTED.name, WRITES_REQUESTED.name]]
    producer.end()
    await asyncio.sleep(0.05)
    assert producer.calls[1:] == [[DECISIONS.name, DECISIONS.name]]
    producer.end()
    results = await sending
    assert len(results) == len(ROWS)
    assert all(result.exception() is None for result in results)


async def test_decisions_wait_for_another_round_where_the_broker_took_nothing() -> None:
    producer = RecordingProducer()
    sending = await begin(producer)
    producer.end(KafkaConnectionError())
    results = await sending
    assert len(producer.calls) == 1, "no decision was sent"
    assert isinstance(results[0], KafkaError)
    assert isinstance(results[2], KafkaError)


async def test_a_record_that_is_refused_keeps_no_decision_back() -> None:
    producer = RecordingProducer()
    sending = await begin(producer)
    producer.end(MessageSizeTooLargeError())
    await asyncio.sleep(0.05)
    assert len(producer.calls) == 2
    producer.end()
    results = await sending
    assert results[0].exception() is None


class DeletingConnection:
    """Keeps the ids of the rows that are deleted."""

    def __init__(self) -> None:
        self.deleted: list[int] = []

    async def execute(self, _: str, *arguments: Any, **__: Any) -> None:
        if isinstance(arguments[0], list):
            self.deleted += arguments[0]


async def test_a_topic_that_is_refused_for_a_moment_waits_for_a_moment() -> None:
    """After an outage a broker refuses topics for a second; withdrawals would come ten seconds late."""
    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    producer = RecordingProducer()
    relay = Relay(settings, "rules", producer)  # type: ignore[arg-type]

    async def send(error: KafkaError | None) -> float:
        sending = asyncio.create_task(relay._send_round(DeletingConnection(), ROWS[1:2]))
        await asyncio.sleep(0.05)
        producer.end(error)
        await sending
        return relay._blocked_topics.pop(MESSAGES_REQUESTED.name, now := time.monotonic()) - now

    refused = UnknownTopicOrPartitionError()
    assert [await send(refused) for _ in range(8)] == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 10, 10], abs=0.1)
    assert [await send(None), await send(refused)] == pytest.approx([0, 0.25], abs=0.1)


async def test_a_replica_that_no_longer_leads_blocks_no_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is added to those of the others, one of which leads and may send."""
    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    relay = Relay(settings, "rules", RecordingProducer())  # type: ignore[arg-type]

    async def lead_until_the_lease_ends(_: object) -> None:
        relay._block_topics({DECISIONS.name})
        assert relay._blocked_now() == [DECISIONS.name]
        raise ConnectionError

    monkeypatch.setattr(relay, "_await_predecessor", lead_until_the_lease_ends)
    with pytest.raises(ConnectionError):
        await relay._lead(None)
    assert 'stet_outbox_blocked_topics{service="rules"} 0.0' in exposition("rules", "")[0].decode()


class HoldingConnection:
    """Keeps until when the relay is held."""

    def __init__(self) -> None:
        self.held: list[datetime] = []

    async def execute(self, _: str, until: datetime, **__: Any) -> None:
        self.held.append(until)


async def test_the_leader_proves_that_it_leads_each_second_also_after_its_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")
    relay, connection = Relay(settings, "rules", RecordingProducer()), HoldingConnection()  # type: ignore[arg-type]
    noon, window = datetime(2027, 3, 3, 12, tzinfo=UTC), timedelta(seconds=3)
    an_hour_back = noon - timedelta(hours=1)
    proved = []
    for now in (noon, noon + timedelta(seconds=0.9), noon + timedelta(seconds=1.1), an_hour_back):
        monkeypatch.setattr("shared.runtime.outbox.machine_now", lambda now=now: now)
        await relay._renew(connection)
        proved.append(len(connection.held))
    assert proved == [1, 1, 2, 3]
    assert connection.held[-1] == an_hour_back + window
