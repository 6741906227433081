"""The answers that a probe gets, over a real socket."""

import asyncio
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import aiohttp
import pytest

from dev.ports import LOOPBACK, free_ports
from shared.contracts.errors import Misconfigured
from shared.runtime import health as health_module
from shared.runtime.health import Detail, Health, ReadinessCheck
from shared.runtime.http.router import HttpRequest, HttpResponse, text_response


async def readiness(checks: dict[str, ReadinessCheck], *details: Detail) -> tuple[int, str]:
    (port,) = free_ports(1)
    health, url = (
        Health(has_development_clock=False, checks=checks, details=list(details)),
        f"http://{LOOPBACK}:{port}/readyz",
    )
    async with health.serving(LOOPBACK, port), aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def no() -> bool:
    return False


async def yes() -> bool:
    return True


async def test_readiness_names_the_checks_that_fail() -> None:
    assert await readiness({"kafka": no, "relay": yes, "poll": no}) == (503, "kafka\npoll\n")
    assert await readiness({"kafka": yes}) == (200, "ready\n")


async def test_a_part_may_start_while_a_probe_asks() -> None:
    checks: dict[str, ReadinessCheck] = {}

    async def starts_another() -> bool:
        checks["relay"] = no
        return False

    checks["kafka"] = starts_another
    assert await readiness(checks) == (503, "kafka\n")


async def test_a_refused_secret_is_named_and_takes_nothing_out_of_service() -> None:
    async def refused() -> str:
        return "STET_CONSONANCE_KEY: refused"

    async def accepted() -> str:
        return ""

    assert await readiness({"kafka": yes}, refused, accepted) == (200, "ready\nSTET_CONSONANCE_KEY: refused\n")
    assert await readiness({"kafka": no}, refused) == (503, "kafka\nSTET_CONSONANCE_KEY: refused\n")


async def test_an_answer_that_keeps_requests_away_is_reported() -> None:
    heard: list[str] = []
    health = Health(has_development_clock=False, checks={"kafka": yes})
    health.on_unready.append(lambda: heard.append("unready"))
    assert (await health.failing_checks(), heard) == ([], [])
    health.checks["relay"] = no
    assert (await health.failing_checks(), heard) == (["relay"], ["unready"])


async def test_checks_are_asked_at_once_so_that_the_answer_comes_before_the_probe_gives_up() -> None:
    all_asked = asyncio.Barrier(3)

    async def together() -> bool:
        await all_asked.wait()
        return True

    assert await readiness({"broker": together, "database": together, "consumer": together}) == (200, "ready\n")


@contextmanager
def in_another_thread(health: Health, port: int) -> Iterator[asyncio.AbstractEventLoop]:
    """The loop on which ``health`` is served, until the end of the block."""
    loop, served, ends = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with health.serving(LOOPBACK, port):
            served.set()
            await ends.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert served.wait(10)
        yield loop
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join()
        loop.close()


def is_alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/healthz", timeout=0.5) as answer:
            return bool(answer.status == 200)
    except TimeoutError:
        return False


def test_an_event_loop_that_stands_still_is_not_alive_and_may_have_missed_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health_module, "PROBE_SECONDS", 0.5)
    (port,) = free_ports(1)
    heard: list[str] = []
    health = Health(has_development_clock=False, on_unready=[lambda: heard.append("unready")])
    with in_another_thread(health, port) as loop:
        assert (is_alive(port), heard) == (True, [])
        loop.call_soon_threadsafe(time.sleep, 2)
        assert not is_alive(port)
        deadline = time.monotonic() + 10
        while not heard and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (is_alive(port), heard) == (True, ["unready"])


async def test_a_check_that_does_not_answer_fails_in_time_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_CHECK_SECONDS", 0.1)
    asked = 0
    frozen = asyncio.Event()

    async def stands_still_even_when_cancelled() -> bool:
        nonlocal asked
        asked += 1
        while not frozen.is_set():
            with suppress(asyncio.CancelledError):
                await frozen.wait()
        return True

    health = Health(has_development_clock=False, checks={"database": stands_still_even_when_cancelled})
    assert await asyncio.wait_for(health.failing_checks(), 5) == ["database"]
    assert await asyncio.wait_for(health.failing_checks(), 5) == ["database"]
    assert asked == 1
    frozen.set()
    await asyncio.sleep(0)
    assert await health.failing_checks() == []


async def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    (port,) = free_ports(1)
    async with Health(has_development_clock=False).serving(LOOPBACK, port):
        with pytest.raises(Misconfigured, match=f"STET_HEALTH_PORT: {LOOPBACK}:{port} cannot be opened: .*in use"):
            async with Health(has_development_clock=False).serving(LOOPBACK, port):
                pass


async def test_development_routes_exist_with_a_development_clock_alone() -> None:
    async def poll(_: HttpRequest) -> HttpResponse:
        return text_response(HTTPStatus.OK, "polled")

    for has_clock, statuses in ((True, [200, 200, 405]), (False, [404, 404, 404])):
        (port,) = free_ports(1)
        health, origin = Health(has_development_clock=has_clock), f"http://{LOOPBACK}:{port}"
        health.add_development_route("/development/poll", poll)
        async with health.serving(LOOPBACK, port), aiohttp.ClientSession() as session:
            answers = [
                await session.get(f"{origin}/development/idle"),
                await session.post(f"{origin}/development/poll"),
                await session.get(f"{origin}/development/poll"),
            ]
            assert [answer.status for answer in answers] == statuses


async def test_a_scrape_in_open_metrics_keeps_its_connection() -> None:
    (port,) = free_ports(1)
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    async with (
        Health(has_development_clock=False, service="rules").serving(LOOPBACK, port),
        aiohttp.ClientSession() as session,
    ):
        for _ in range(2):
            async with session.get(f"http://{LOOPBACK}:{port}/metrics", headers=accept) as answer:
                assert answer.content_type == "application/openmetrics-text"
                assert "connection" not in answer.headers
                assert (await answer.text()).endswith("# EOF\n")
