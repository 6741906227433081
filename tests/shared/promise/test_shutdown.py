"""SIGTERM: a service leaves within two seconds, whatever its neighbours do, and first says that it is not ready."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from dev.ports import LOOPBACK, free_ports
from dev.postgres import login_of
from tests.services.ingest.payloads import status, statuses, webhook
from tests.services.ingest.service import APP_SECRET, VERIFY_TOKEN, WEBHOOK_SECRET, signed
from tests.shared.promise.testbed import DeliveryTestbed, SampleService, event, until

pytestmark = pytest.mark.integration
_SECONDS = 2.0


@contextmanager
def dead_server() -> Iterator[str]:
    """Its address: it takes connections and never answers."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield f"{LOOPBACK}:{server.getsockname()[1]}"


async def test_rules_leaves_within_two_seconds_though_its_collector_is_dead(testbed: DeliveryTestbed) -> None:
    keys = json.dumps(["a-key-to-sign-buttons-with"])
    with dead_server() as collector:
        rules = await testbed.service(
            "rules", "services.rules", STET_RULES_DIR="rules", STET_SIGNING_KEYS=keys,
            STET_OTLP_ENDPOINT=f"http://{collector}",
        )  # fmt: skip
        await until(lambda: rules.has_logged("partitions.assigned"))
        await testbed.produce(event(f"person-{number}", number) for number in range(50))
        await until(testbed.all_read)
        assert await seconds_to_leave(rules) < _SECONDS


@pytest.mark.parametrize("setting", ["STET_POSTGRES_DSN", "STET_KAFKA_BOOTSTRAP"])
async def test_a_service_leaves_while_it_waits_for_a_neighbour(testbed: DeliveryTestbed, setting: str) -> None:
    """By itself: the first process of a container takes no notice of a signal that it does not handle."""
    with dead_server() as address:
        values = {"STET_POSTGRES_DSN": f"postgresql://stet_rules@{address}/stet", "STET_KAFKA_BOOTSTRAP": address}
        sample = await testbed.sample(**{setting: values[setting]})
        await until(lambda: sample.has_logged(setting))
        assert await seconds_to_leave(sample) < _SECONDS
        assert await sample.ended() == 0


async def test_a_service_leaves_while_it_is_still_being_imported(testbed: DeliveryTestbed) -> None:
    sample = await testbed.service("rules", "services.rules")
    await until(lambda: handles(sample, signal.SIGTERM))
    assert not await sample.has_logged("{")
    assert await seconds_to_leave(sample) < _SECONDS
    assert await sample.ended() == 0


async def test_a_batch_in_hand_is_finished_first(testbed: DeliveryTestbed) -> None:
    sample = await testbed.sample(STET_SAMPLE_PAUSE="0.5")
    await until(lambda: sample.has_logged("partitions.assigned"))
    await testbed.produce(event(f"person-{number}", number) for number in range(50))
    await until(lambda: testbed.reached(1))
    assert await seconds_to_leave(sample) < _SECONDS
    assert not await sample.has_logged("batch.retried")


async def test_readiness_falls_before_the_public_port_closes(testbed: DeliveryTestbed) -> None:
    port, health = free_ports(2)
    ingest = await testbed.service("ingest", "services.ingest", **ingest_settings(testbed.dsn, port, health))
    async with aiohttp.ClientSession() as session:
        await until(lambda: answers(session, f"http://{LOOPBACK}:{health}/readyz", HTTPStatus.OK))
        os.kill(ingest.pid, signal.SIGTERM)
        await until(lambda: answers(session, f"http://{LOOPBACK}:{health}/readyz", HTTPStatus.SERVICE_UNAVAILABLE), 1)
        body = webhook(statuses(status()))
        url = f"http://{LOOPBACK}:{port}/whatsapp/webhook"
        async with session.post(url, data=body, headers=signed(body)) as answer:
            assert (answer.status, answer.headers.get("Connection")) == (HTTPStatus.OK, "close")
        await until(lambda: ended(ingest), 8)


def ingest_settings(dsn: str, port: int, health: int) -> dict[str, str]:
    return {
        "STET_POSTGRES_DSN": login_of(dsn, "ingest"), "STET_LISTEN_PORT": str(port),
        "STET_HEALTH_PORT": str(health), "STET_DRAIN_SECONDS": "2",
        "STET_WHATSAPP_APP_SECRETS": json.dumps([APP_SECRET]), "STET_WHATSAPP_VERIFY_TOKEN": VERIFY_TOKEN,
        "STET_WHATSAPP_LINES": '{"sample":"106540352242922"}',
        "STET_PSEUDONYM_KEY": "5a" * 16, "STET_CONSONANCE_URL": f"http://{LOOPBACK}:9", "STET_CONSONANCE_KEY": "k",
        "STET_CONSONANCE_WEBHOOK_SECRETS": json.dumps([WEBHOOK_SECRET]), "STET_CONSONANCE_POLL_SECONDS": "0",
    }  # fmt: skip


async def answers(session: aiohttp.ClientSession, url: str, status: HTTPStatus) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(url) as answer:
            return answer.status == status
    return False


async def handles(process: SampleService, number: signal.Signals) -> bool:
    return number in caught_signals(process.pid)


def caught_signals(pid: int) -> set[int]:
    found = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    mask = int(found[1], 16) if found is not None else 0
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


async def seconds_to_leave(process: SampleService) -> float:
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    await until(lambda: ended(process), 30)
    return time.monotonic() - began


async def ended(process: SampleService) -> bool:
    return not process.alive
