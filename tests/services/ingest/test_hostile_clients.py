"""Hostile clients at the public port are dropped by time, number and bytes, while signed webhooks are answered."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiohttp
import psutil
import pytest

from shared.contracts.topics import WHATSAPP_ACCOUNT, WHATSAPP_MESSAGES
from shared.contracts.whatsapp import WebhookConfirmed
from shared.runtime.clock import machine_now
from tests.infrastructure import declare_topics
from tests.services.ingest.hostile_clients import (
    MEBIBYTE,
    body_byte_by_byte,
    half_a_header,
    header_byte_by_byte,
    kept_alive,
    seconds_allowed,
    silent,
    under_attack,
)
from tests.services.ingest.payloads import messages, status, statuses, text, webhook
from tests.services.ingest.service import IngestProcess, ingest_process, sender

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
IN_TIME = 5.0  # seconds
GROWTH = 96 * MEBIBYTE
"""The budget of bodies (32 MiB here), what the collector has not taken yet, and what malloc keeps of both."""


@pytest.fixture
async def service(kafka_bootstrap: str, postgres_database: str, run_folder: Path) -> AsyncIterator[IngestProcess]:
    limits = {
        "STET_LISTEN_CONNECTIONS": "1000",
        "STET_LISTEN_BODY_BYTES": str(32 * MEBIBYTE),
        "STET_LISTEN_HEADER_SECONDS": "2",
        "STET_LISTEN_BODY_SECONDS": "3",
        "STET_LISTEN_IDLE_SECONDS": "4",
        "STET_WHATSAPP_HEARTBEAT_SECONDS": "4",
    }
    ready = ingest_process(kafka_bootstrap, postgres_database, run_folder, **limits)
    await declare_topics(ready.bootstrap, ready.prefix)
    await ready.start()
    yield ready
    await ready.child.stop()
    print(ready.child.tail(40))  # noqa: T201 -- shown where a test fails


@dataclass
class DeliveryResults:
    """The responses to the webhooks that were sent, and the largest memory of the process."""

    accepted: int = 0
    slowest: float = 0.0
    other: list[str] = field(default_factory=list)
    largest: int = 0


async def wait_until_under_attack(service: IngestProcess) -> None:
    """Wait until connections are dropped for lack of room."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{service.health_url}/metrics") as answer:
                none = 'stet_connections_dropped_total{reason="too_many_connections",service="ingest"} 0.0'
                if none not in await answer.text():
                    return
            await asyncio.sleep(0.1)


async def send_webhooks(service: IngestProcess, seconds: float) -> DeliveryResults:
    """Signed webhooks, each on a connection of its own, ten a second."""
    found = DeliveryResults()
    process = psutil.Process(service.child.pid)

    async def one(number: int) -> None:
        began = time.monotonic()
        try:
            async with sender(service) as post:
                answer = await post.webhook(webhook(statuses(status(f"wamid.{number}"))))
        except (aiohttp.ClientError, TimeoutError) as error:
            found.other.append(type(error).__name__)
        else:
            found.slowest = max(found.slowest, time.monotonic() - began)
            found.accepted += answer == 200
            found.other += [] if answer == 200 else [str(answer)]

    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds * 10)):
            group.create_task(one(number))
            found.largest = max(found.largest, process.memory_info().rss)
            await asyncio.sleep(0.1)
    return found


async def test_signed_webhooks_are_answered_under_attack_and_memory_stays_flat(
    service: IngestProcess, run_folder: Path
) -> None:
    before = (await send_webhooks(service, 1)).largest
    async with under_attack(
        service.port, run_folder, silent=1200, half_a_header=200, header_byte_by_byte=100, body_byte_by_byte=100,
        body_without_end=16, forged_body=1, many_at_once=2, endless_header=2, endless_target=2, tiny_chunks=2,
    ):  # fmt: skip
        await wait_until_under_attack(service)
        full = machine_now()
        found = await send_webhooks(service, 6)
    assert found.other == []
    assert found.accepted == 60
    assert found.slowest < IN_TIME
    assert found.largest - before < GROWTH
    assert (await heartbeat_after(service, full)).since > full


async def heartbeat_after(service: IngestProcess, instant: datetime) -> WebhookConfirmed:
    async with asyncio.timeout(30):
        while True:
            for event in await service.read(WHATSAPP_ACCOUNT):
                if isinstance(event.data, WebhookConfirmed) and event.data.until > instant:
                    return event.data
            await asyncio.sleep(0.2)


async def test_silent_and_slow_clients_are_dropped_in_time(service: IngestProcess) -> None:
    attacks = (silent, half_a_header, header_byte_by_byte, body_byte_by_byte, kept_alive)
    seconds = await asyncio.gather(*(seconds_allowed(service.port, attack) for attack in attacks))
    longest = dict(zip(attacks, (2, 2, 2, 3, 4), strict=True))
    for attack, kept in zip(attacks, seconds, strict=True):
        assert longest[attack] - 0.5 < kept < longest[attack] + 3, attack.__name__


async def test_four_thousand_people_in_one_body_are_accepted_beside_other_webhooks(service: IngestProcess) -> None:
    before = (await send_webhooks(service, 0.5)).largest
    watching = asyncio.create_task(send_webhooks(service, 3))
    await wait_until_accepted(service, messages_of_strangers(4000))
    beside = await watching
    assert beside.other == []
    assert beside.slowest < IN_TIME
    assert beside.largest - before < GROWTH
    assert len({event.partitionkey for event in await service.read(WHATSAPP_MESSAGES)}) == 4000


async def wait_until_accepted(service: IngestProcess, body: bytes) -> None:
    """On a machine that is busy with other things it may take more than one delivery; each is answered in time."""
    async with asyncio.timeout(60), sender(service) as post:
        while True:
            began = time.monotonic()
            answer = await post.webhook(body)
            assert time.monotonic() - began < IN_TIME
            if answer == 200:
                return
            assert answer == 503


def messages_of_strangers(count: int) -> bytes:
    """A webhook with one message from each of so many strangers."""
    numbers = [f"4477{number:08}" for number in range(count)]
    contacts = [{"profile": {"name": f"Reader {number}"}, "wa_id": number} for number in numbers]
    return webhook(messages(*(text(f"wamid.{number}", sender=number) for number in numbers), contacts=contacts))
