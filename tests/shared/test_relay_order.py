"""The relay sends a decision once everything that the decision asks for, or takes back, has arrived."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from shared.contracts.ids import TenantId
from shared.contracts.topics import DECISIONS, MESSAGES_REQUESTED, WRITES_REQUESTED
from shared.runtime.kafka import OutgoingRecord
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
