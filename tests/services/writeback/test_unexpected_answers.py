"""Answers that no GraphQL server gives: the worker waits until Consonance answers properly, and then writes once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from asyncpg import Record

from services.writeback.circuit_breaker import PauseReason
from services.writeback.protocol import MAX_ATTEMPTS, MAX_FAILED_READS, MAX_UNUSABLE_ANSWERS
from services.writeback.store import enqueue_writes
from shared.contracts.envelope import Event
from shared.contracts.writes import Attachment
from shared.runtime.postgres import Connection
from tests.dev.consonance.simulator_under_test import running_simulator
from tests.services.writeback.samples import item, metadata, pitch, request
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
        writeback.breaker.record_success(time.monotonic())  # the pauses are no part of this test
        await writeback.wait_until(proxy.has_replaced)
    proxy.replacement = None
    writeback.breaker.record_success(time.monotonic())


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
    "half an answer": (200, b'{"data":{"work":{"id":61421,"subtitle":'),
    "another record": (200, LEFT_OUT),
}


@pytest.mark.parametrize(("status", "body"), UNUSABLE.values(), ids=list(UNUSABLE))
async def test_a_record_that_cannot_be_read_for_an_hour_becomes_a_task(
    proxied: tuple[WritebackUnderTest, FaultyProxy], status: int, body: bytes
) -> None:
    """While Consonance shows other records, which are written meanwhile, or there are no others to ask for."""
    writeback, proxy = proxied
    proxy.replacement, proxy.status = (str(UNREADABLE), body), status
    others = [] if status == 200 else [written(61418)]
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [written(UNREADABLE), *others])
        await set_reads(connection, failed=MAX_UNUSABLE_ANSWERS - 2)
    await writeback.wait_until(proxy.has_replaced)
    await asyncio.sleep(0.2)
    assert "manual" not in await writeback.outcomes()
    await read_now(writeback)
    await writeback.wait_until(lambda: has_settled(writeback, 1 + len(others)))
    assert [row["record"] for row in await tasks(writeback)] == [f"works/{UNREADABLE}"]
    assert [row["reason"] for row in await tasks(writeback)] == ["unreadable"]
    assert others == [] or writeback.breaker.pause_reason is None


OUTAGES = {"an error of the server": (500, b"<html>Down</html>"), "errors": (200, b'{"errors":[{"message":"Down"}]}')}


@pytest.mark.parametrize(("status", "body"), OUTAGES.values(), ids=list(OUTAGES))
async def test_while_no_record_can_be_read_every_write_waits_as_in_an_outage(
    proxied: tuple[WritebackUnderTest, FaultyProxy], status: int, body: bytes
) -> None:
    """Introspection works all the while, and the writes have been read in vain for more than an hour."""
    writeback, proxy = proxied
    proxy.replacement, proxy.status = ("query Read", body), status
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [written(work) for work in (61418, 61420, 61421)])
        await set_reads(connection, failed=0)
        await connection.execute("update writes set reads = $1", 2 * MAX_UNUSABLE_ANSWERS)
    for _ in range(MAX_FAILED_READS + 1):
        proxy.replaced = 0
        await read_now(writeback)
        await writeback.wait_until(lambda: paused_as_unreadable(writeback, proxy))
        await skip_pause(writeback)
    assert await writeback.outcomes() == []
    assert {row["failed_reads"] for row in await writeback.pool.fetch("select failed_reads from writes")} == {0}
    proxy.replacement = None
    await read_now(writeback)
    await skip_pause(writeback)
    await writeback.wait_until(lambda: has_settled(writeback, 3))
    assert await tasks(writeback) == []
    assert writeback.breaker.pause_reason is None


async def test_while_no_record_of_an_operation_can_be_read_its_writes_wait_and_others_go_on(
    proxied: tuple[WritebackUnderTest, FaultyProxy],
) -> None:
    writeback, proxy = proxied
    proxy.replacement, proxy.status = ("query ReadWorkSubtitle", b"<html>Down</html>"), 500
    async with writeback.pool.acquire() as connection, connection.transaction():
        pitched = request(pitch(), "p1", "acquisitions/PITCH-7", None)
        await enqueue_writes(connection, [pitched, written(61418), written(61421)])
        await set_reads(connection, failed=MAX_UNUSABLE_ANSWERS)
    await writeback.wait_for_outcomes("verified")
    await writeback.wait_until(proxy.has_replaced)
    assert await tasks(writeback) == []
    proxy.replacement = None
    await read_now(writeback)
    await writeback.wait_until(lambda: has_settled(writeback, 3))
    assert await tasks(writeback) == []


async def test_many_writes_of_an_operation_that_cannot_be_read_pause_no_other_and_ask_once(
    proxied: tuple[WritebackUnderTest, FaultyProxy],
) -> None:
    """Each asks for its own record, and for those of others only where no write has found them missing lately."""
    writeback, proxy = proxied
    proxy.replacement, proxy.status = ("query ReadWorkSubtitle", b"<html>Down</html>"), 500
    await writeback.enqueue(request(pitch(), "p1", "acquisitions/PITCH-7", None))
    await writeback.wait_for_outcomes("verified")
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, list(map(written, MANY)))
        await connection.execute("update writes set reads = $1 where outcome is null", MAX_UNUSABLE_ANSWERS)
    await writeback.wait_until(lambda: are_paused_or_wait(writeback, len(MANY)))
    assert writeback.breaker.pause_reason is None
    assert await tasks(writeback) == []
    assert {row["failed_reads"] for row in await writeback.pool.fetch("select failed_reads from writes")} == {0}
    assert proxy.replaced <= len(MANY) + 4


async def test_a_write_that_waits_for_its_file_does_not_end_a_pause_in_which_no_record_is_shown(
    proxied: tuple[WritebackUnderTest, FaultyProxy],
) -> None:
    writeback, proxy = proxied
    proxy.replacement, proxy.status = ("query Read", b"<html>Down</html>"), 500
    await writeback.enqueue(written(61418), written(61420))
    await writeback.wait_until(lambda: paused_as_unreadable(writeback, proxy))
    await writeback.wait_until(lambda: has_waited(writeback, "works/61418"))
    await writeback.pool.execute("update writes set due_at = 'infinity'")
    file = Attachment(media_id="m1", file_id="f1")
    await writeback.enqueue(request(pitch(attachments=(file,)), "p1", "acquisitions/PITCH-7", None))
    await skip_pause(writeback)
    await writeback.wait_until(lambda: has_waited(writeback, "acquisitions/PITCH-7"))
    assert writeback.breaker.pause_reason is PauseReason.UNREADABLE


MANY = range(70000, 70012)
UNREADABLE = 61421


def written(work: int) -> Event:
    return request(metadata(item(target_ids=(work,), old=None)), f"w{work}", f"works/{work}", work)


async def set_reads(connection: Connection, *, failed: int) -> None:
    """As if the writes had been read for that long."""
    await connection.execute("update writes set reads = $1, failed_reads = $1", failed)


async def read_now(writeback: WritebackUnderTest) -> None:
    await writeback.pool.execute("update writes set due_at = now()")


async def are_paused_or_wait(writeback: WritebackUnderTest, count: int) -> bool:
    """Each was read in vain, and waits for half a minute."""
    waiting = "select count(*) = $1 from writes where outcome is null and due_at > now()"
    return writeback.breaker.pause_reason is not None or bool(await writeback.pool.fetchval(waiting, count))


async def has_waited(writeback: WritebackUnderTest, record: str) -> bool:
    running = writeback.worker._running
    return not running and bool(await writeback.pool.fetchval("select reads > 0 from writes where record = $1", record))


async def has_settled(writeback: WritebackUnderTest, count: int) -> bool:
    return bool(await writeback.pool.fetchval("select count(outcome) = $1 from writes", count))


async def tasks(writeback: WritebackUnderTest) -> list[Record]:
    return list(await writeback.pool.fetch("select reason, record from tasks join writes using (tenant, write_id)"))


async def paused_as_unreadable(writeback: WritebackUnderTest, proxy: FaultyProxy) -> bool:
    return proxy.replaced > 0 and writeback.breaker.pause_reason is PauseReason.UNREADABLE


async def skip_pause(writeback: WritebackUnderTest) -> None:
    """The breaker is half open from now on: the worker introspects, which ends no such pause, and tries a record."""
    writeback.breaker._retry_at = time.monotonic()
