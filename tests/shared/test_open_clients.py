"""A client of Kafka whose start fails, or is given up, is closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from ops import topic_reader
from services.ingest import erasure
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.runtime import kafka
from shared.runtime.settings import ServiceSettings

SETTINGS = ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="none:1", postgres_dsn="postgresql://none")


class StartingClient:
    """Its start fails with ``error``, or never ends."""

    error: Exception | None = None

    def __init__(self) -> None:
        self.is_open = True
        self.starting = asyncio.Event()

    async def start(self) -> None:
        self.starting.set()
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.is_open = False


async def _read() -> None:
    async with topic_reader.reader(SETTINGS):
        pass


async def _erase() -> None:
    await erasure.TopicEraser(SETTINGS)._end_offsets([])


async def _produce() -> None:
    await kafka.Producer(SETTINGS).start()


USES: list[tuple[Any, str, Callable[[], Awaitable[None]]]] = [
    (topic_reader, "AIOKafkaConsumer", _read),
    (erasure, "AIOKafkaConsumer", _erase),
    (kafka, "AIOKafkaProducer", _produce),
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> StartingClient:
    async def discard(client: StartingClient) -> None:
        await client.stop()

    monkeypatch.setattr(kafka, "discard_producer", discard)
    return StartingClient()


@pytest.mark.parametrize(("module", "name", "use"), USES, ids=["reader", "eraser", "producer"])
async def test_a_client_that_is_given_up_while_it_starts_is_closed(
    module: Any, name: str, use: Callable[[], Awaitable[None]], client: StartingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, lambda **_: client)
    using = asyncio.ensure_future(use())
    await client.starting.wait()
    using.cancel()
    await asyncio.wait({using})
    assert not client.is_open


@pytest.mark.parametrize(("module", "name", "use"), USES, ids=["reader", "eraser", "producer"])
async def test_a_client_whose_start_fails_unforeseen_is_closed(
    module: Any, name: str, use: Callable[[], Awaitable[None]], client: StartingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, lambda **_: client)
    client.error = ValueError("unforeseen")
    with pytest.raises(ValueError, match="unforeseen"):
        await use()
    assert not client.is_open


async def test_a_reader_that_no_broker_answers_is_closed_and_says_so(
    client: StartingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "AIOKafkaConsumer", lambda **_: client)
    client.error = KafkaConnectionError("away")
    with pytest.raises(Misconfigured):
        await _read()
    assert not client.is_open
