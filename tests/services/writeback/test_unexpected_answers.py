"""Answers that no GraphQL server gives: the worker waits until Consonance answers properly, and then writes once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from services.writeback.protocol import MAX_ATTEMPTS, MAX_UNUSABLE_ANSWERS
from services.writeback.store import enqueue_writes
from shared.runtime.clock import machine_now
from tests.dev.consonance.simulator_under_test import running_simulator
from tests.services.writeback.samples import metadata, request
from tests.services.writeback.writeback_under_test import WritebackUnderTest, consonance_client, running_worker
from tests.shared.unexpected_answers import NOT_GRAPHQL, NOT_SCHEMAS
from tests.web_servers import serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

WRONG_SHAPES = {
    "a text": b'{"data":{"work":"gone"}}',
    "a list": b'{"data":{"work":[{"id":1},{"id":2}]}}',
    "texts that are objects": b'{"data":{"work":{"id":61417,"title":{"html":"x"},"subtitle":{"html":"x"}}}}',
    "lists that are numbers": b'{"data":{"work":{"id":61417,"title":7,"subtitle":7,"marketingTexts":7}}}',
}
LEFT_OUT = b'{"data":{}}'


class FaultyProxy:
    """A proxy before a healthy Consonance; answers requests that contain ``operation`` with ``body`` instead."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.replacement: tuple[str, bytes] | None = None
        self.status = 200
        self.replaced = 0

    async def reply(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.replacement is not None and self.replacement[0].encode() in body:
            self.replaced += 1
            return web.Response(status=self.status, body=self.replacement[1], content_type="text/html")
        headers = {"Authorization": request.headers["Authorization"]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url, data=body, headers=headers) as answer,
        ):
            return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")

    async def has_replaced(self) -> bool:
        return self.replaced > 0


@asynccontextmanager
async def faulty_proxy(url: str) -> AsyncIterator[tuple[FaultyProxy, str]]:
    proxy = FaultyProxy(url)
    async with serving([web.post("/graphql", proxy.reply)]) as root:
        yield proxy, f"{root}/graphql"


@pytest.fixture
async def proxied(postgres_database: str) -> AsyncIterator[tuple[WritebackUnderTest, FaultyProxy]]:
    """A worker that reaches Consonance through the proxy; introspection fails at first."""
    async with (
        running_simulator() as simulator,
        faulty_proxy(f"{simulator.url}/graphql") as (proxy, url),
        consonance_client(url, 2) as client,
    ):
        proxy.replacement = ("__schema", b"null")
        async with running_worker(postgres_database, simulator, client, timedelta(seconds=1)) as writeback:
            yield writeback, proxy


async def wait_through(writeback: WritebackUnderTest, proxy: FaultyProxy, operation: str, bodies: list[bytes]) -> None:
    for body in bodies:
        proxy.replacement, proxy.replaced = (operation, body), 0
        writeback.breaker.record_success(machine_now())  # the pauses are no part of this test
        await writeback.wait_until(proxy.has_replaced)
    proxy.replacement = None
    writeback.breaker.record_success(machine_now())


async def test_a_worker_waits_through_unexpected_answers_and_then_writes_once(
    proxied: tuple[WritebackUnderTest, FaultyProxy],
) -> None:
    writeback, proxy = proxied
    await writeback.enqueue(request(metadata()))
    await wait_through(writeback, proxy, "__schema", [NOT_GRAPHQL["a page"], *NOT_SCHEMAS.values()])
    unreadable = [NOT_GRAPHQL["null"], NOT_GRAPHQL["data is null"], LEFT_OUT]
    await wait_through(writeback, proxy, "ReadWorkSubtitle", unreadable)
    await writeback.wait_for_outcomes("verified", "approved")
    assert len(await writeback.mutation_log("updateWork")) == 1


@pytest.mark.parametrize("body", WRONG_SHAPES.values(), ids=list(WRONG_SHAPES))
async def test_a_record_in_another_shape_is_never_taken_for_written(
    proxied: tuple[WritebackUnderTest, FaultyProxy], body: bytes
) -> None:
    writeback, proxy = proxied
    proxy.replacement = ("ReadWorkSubtitle", body)
    await writeback.enqueue(request(metadata()))
    await writeback.wait_until(proxy.has_replaced)
    proxy.replacement = None
    await writeback.wait_for_outcomes("verified", "approved")
    assert len(await writeback.mutation_log("updateWork")) == 1


@pytest.mark.parametrize("status", [403, 413])
async def test_a_mutation_that_is_always_refused_becomes_a_task_and_is_no_refused_key(
    proxied: tuple[WritebackUnderTest, FaultyProxy], status: int
) -> None:
    """A firewall before Consonance takes a pitch for an attack, a text is too large, or the key may only read."""
    writeback, proxy = proxied
    proxy.replacement, proxy.status = ("mutation SetWorkSubtitle", b"<html>Forbidden</html>"), status
    await writeback.enqueue(request(metadata()), request(metadata(), "w2", "works/61418", 61418))
    await writeback.wait_for_outcomes("manual", "manual")
    tasks = await writeback.pool.fetch("select reason, error_messages from tasks")
    assert {task["reason"] for task in tasks} == {"not_taken"}
    assert all(f"HTTP {status}" in task["error_messages"] for task in tasks)
    assert proxy.replaced == 2 * MAX_ATTEMPTS
    assert (writeback.breaker.pause_reason, await writeback.client.key_detail()) == (None, "")


UNUSABLE = {
    "an error of the server": (500, b"<html>Something went wrong</html>"),
    "half a surrogate": (200, b'{"data":{"work":{"id":61421,"subtitle":"\\ud83d"}}}'),
    "another record": (200, LEFT_OUT),
}


@pytest.mark.parametrize(("status", "body"), UNUSABLE.values(), ids=list(UNUSABLE))
async def test_a_record_that_cannot_be_read_for_an_hour_becomes_a_task(
    proxied: tuple[WritebackUnderTest, FaultyProxy], status: int, body: bytes
) -> None:
    writeback, proxy = proxied
    proxy.replacement, proxy.status = ("ReadWorkSubtitle", body), status
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [request(metadata())])
        await connection.execute("update writes set reads = $1", MAX_UNUSABLE_ANSWERS - 2)
    await writeback.wait_until(proxy.has_replaced)
    await asyncio.sleep(0.2)
    assert await writeback.outcomes() == []
    async with writeback.pool.acquire() as connection:
        await connection.execute("update writes set due_at = now()")
    await writeback.wait_for_outcomes("manual")
    assert await writeback.pool.fetchval("select reason from tasks") == "unreadable"
