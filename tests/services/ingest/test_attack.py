"""Strangers who hold the public port: cut off by time, number and bytes, while signed webhooks go on in time."""

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
from tests.services.ingest.attackers import (
    MEBIBYTE,
    besieged,
    body_in_drops,
    half_a_header,
    header_in_drops,
    kept_alive,
    seconds_allowed,
    silent,
)
from tests.services.ingest.payloads import messages, status, statuses, text, webhook
from tests.services.ingest.service import Ingest, ingest, prepare, sender

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
IN_TIME = 5.0  # seconds
GROWTH = 96 * MEBIBYTE
"""The budget of bodies (32 MiB here), what the collector has not taken yet, and what malloc keeps of both."""


@pytest.fixture
async def service(kafka_bootstrap: str, postgres_database: str, run_folder: Path) -> AsyncIterator[Ingest]:
    limits = {
        "STET_LISTEN_CONNECTIONS": "1000",
        "STET_LISTEN_BODY_BYTES": str(32 * MEBIBYTE),
        "STET_LISTEN_HEADER_SECONDS": "2",
        "STET_LISTEN_BODY_SECONDS": "3",
        "STET_LISTEN_IDLE_SECONDS": "4",
        "STET_WHATSAPP_HEARTBEAT_SECONDS": "4",
    }
    ready = ingest(kafka_bootstrap, postgres_database, run_folder, **limits)
    await prepare(ready, run_folder)
    await ready.start()
    yield ready
    await ready.child.stop()
    print(ready.child.tail(40))  # noqa: T201 -- shown where a test fails


@dataclass
class Watched:
    """What became of the webhooks that were sent, and how large the process grew."""

    taken: int = 0
    slowest: float = 0.0
    other: list[str] = field(default_factory=list)
    largest: int = 0


async def until_besieged(service: Ingest) -> None:
    """Connections are given up for want of room."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{service.health_url}/metrics") as answer:
                if 'stet_ingest_connections_cut_total{why="full"}' in await answer.text():
                    return
            await asyncio.sleep(0.1)


async def watch(service: Ingest, seconds: float) -> Watched:
    """Signed webhooks, each on a connection of its own, ten a second."""
    found = Watched()
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
            found.taken += answer == 200
            found.other += [] if answer == 200 else [str(answer)]

    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds * 10)):
            group.create_task(one(number))
            found.largest = max(found.largest, process.memory_info().rss)
            await asyncio.sleep(0.1)
    return found


async def test_a_siege_holds_up_no_signed_webhook_and_memory_stays_flat(service: Ingest, run_folder: Path) -> None:
    before = (await watch(service, 1)).largest
    async with besieged(
        service.port, run_folder, silent=1200, half_a_header=200, header_in_drops=100, body_in_drops=100,
        body_without_end=16, forged_body=1, many_at_once=2, endless_header=2, endless_target=2, tiny_chunks=2,
    ):  # fmt: skip
        await until_besieged(service)
        full = machine_now()
        found = await watch(service, 6)
    assert found.other == []
    assert found.taken == 60
    assert found.slowest < IN_TIME
    assert found.largest - before < GROWTH
    assert (await heartbeat_after(service, full)).since > full


async def heartbeat_after(service: Ingest, instant: datetime) -> WebhookConfirmed:
    async with asyncio.timeout(30):
        while True:
            for event in await service.read(WHATSAPP_ACCOUNT):
                if isinstance(event.data, WebhookConfirmed) and event.data.until > instant:
                    return event.data
            await asyncio.sleep(0.2)


async def test_who_sends_nothing_or_too_slowly_is_cut_off_in_time(service: Ingest) -> None:
    attacks = (silent, half_a_header, header_in_drops, body_in_drops, kept_alive)
    seconds = await asyncio.gather(*(seconds_allowed(service.port, attack) for attack in attacks))
    longest = dict(zip(attacks, (2, 2, 2, 3, 4), strict=True))
    for attack, kept in zip(attacks, seconds, strict=True):
        assert longest[attack] - 0.5 < kept < longest[attack] + 3, attack.__name__


async def test_four_thousand_people_in_one_body_are_taken_while_others_go_on(service: Ingest) -> None:
    before = (await watch(service, 0.5)).largest
    watching = asyncio.create_task(watch(service, 3))
    await until_taken(service, crowd(4000))
    beside = await watching
    assert beside.other == []
    assert beside.slowest < IN_TIME
    assert beside.largest - before < GROWTH
    assert len({event.partitionkey for event in await service.read(WHATSAPP_MESSAGES)}) == 4000


async def until_taken(service: Ingest, body: bytes) -> None:
    """On a machine that is busy with other things it may take more than one delivery; each is answered in time."""
    async with asyncio.timeout(60), sender(service) as post:
        while True:
            began = time.monotonic()
            answer = await post.webhook(body)
            assert time.monotonic() - began < IN_TIME
            if answer == 200:
                return
            assert answer == 503


def crowd(count: int) -> bytes:
    """A message of each of so many people nobody has heard of."""
    numbers = [f"4477{number:08}" for number in range(count)]
    contacts = [{"profile": {"name": f"Reader {number}"}, "wa_id": number} for number in numbers]
    return webhook(messages(*(text(f"wamid.{number}", sender=number) for number in numbers), contacts=contacts))
