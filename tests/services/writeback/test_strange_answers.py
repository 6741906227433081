"""A Consonance that answers what no GraphQL server says: it is waited out, and nothing of it is taken for an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import aiohttp
import pytest
from aiohttp import web

from dev.ports import LOOPBACK
from services.writeback.abilities import Abilities
from services.writeback.carry import Carrier
from services.writeback.gate import Gate
from services.writeback.ledger import SERVICE, Ledger
from services.writeback.mapping_file import read_mapping
from services.writeback.queue import Queue
from shared.clients.consonance_graphql import NoAnswer, QueryFailed
from shared.contracts.errors import Throttled, Unavailable
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import connect
from tests.dev.consonance.stand import standing
from tests.services.writeback.desk import MAPPING, Desk, client, pool_on
from tests.services.writeback.samples import metadata, request

pytestmark = pytest.mark.integration

STRANGE = {
    "null": b"null",
    "a list": b"[]",
    "a string": b'"data"',
    "a number": b"7",
    "a page": b"<html><body>We will be back soon</body></html>",
    "nothing": b"",
    "no UTF-8": b'{"data":{"work":{"id":1,"title":"\xff\xfe"}}}',
    "data is null": b'{"data":null}',
    "data is a list": b'{"data":[]}',
    "data is a string": b'{"data":"work"}',
    "neither": b"{}",
    "nested deeply": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "half of it": b'{"data":{"work":{"id":1',
}
SCHEMAS = {
    "no schema": b'{"data":{"__schema":null}}',
    "no types": b'{"data":{"__schema":{"types":null}}}',
    "a null type": b'{"data":{"__schema":{"types":[null]}}}',
    "no queries": b'{"data":{"__schema":{"types":[],"queryType":{"name":"Query"},"directives":[]}}}',
}
MISSHAPEN = {
    "left out": b'{"data":{}}',
    "a text": b'{"data":{"work":"gone"}}',
    "a list": b'{"data":{"work":[{"id":1},{"id":2}]}}',
    "texts that are objects": b'{"data":{"work":{"id":61417,"title":{"html":"x"},"subtitle":{"html":"x"}}}}',
    "lists that are numbers": b'{"data":{"work":{"id":61417,"title":7,"subtitle":7,"marketingTexts":7}}}',
}


class Between:
    """Stands before a Consonance that is well; ``strange`` is answered instead to operations whose name begins so."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.strange: tuple[str, bytes] | None = None
        self.answered = 0

    async def reply(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.strange is not None and self.strange[0].encode() in body:
            self.answered += 1
            return web.Response(body=self.strange[1], content_type="text/html")
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url, data=body, headers={"Authorization": request.headers["Authorization"]}) as answer,
        ):
            return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")


@asynccontextmanager
async def between(url: str) -> AsyncIterator[tuple[Between, str]]:
    server = Between(url)
    app = web.Application()
    app.router.add_post("/graphql", server.reply)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        yield server, f"http://{LOOPBACK}:{runner.addresses[0][1]}/graphql"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("body", STRANGE.values(), ids=list(STRANGE))
async def test_an_answer_of_any_shape_says_nothing(body: bytes) -> None:
    async with between("") as (server, url), client(url, 5) as consonance:
        server.strange = ("query", body)
        with pytest.raises(Unavailable) as fault:
            await consonance.query("{ work { id } }", {})
        assert not isinstance(fault.value, QueryFailed)
        if b"{" not in body or b"[[[" in body:  # no object
            with pytest.raises(NoAnswer):
                await consonance.mutate("mutation { x }", {})


@pytest.mark.parametrize("body", [*STRANGE.values(), *SCHEMAS.values()], ids=[*STRANGE, *SCHEMAS])
async def test_a_schema_of_any_shape_is_none(body: bytes) -> None:
    async with between("") as (server, url), client(url, 5) as consonance:
        server.strange = ("query", body)
        with pytest.raises(Unavailable):
            await consonance.fetch_schema()


@pytest.mark.parametrize("asked", ["99999999999999999999", "²", "-5", "soon", "0", ""])
async def test_a_pause_of_any_length_ends_within_the_hour(asked: str) -> None:
    async def throttled(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": asked.encode().decode("latin-1")})

    app = web.Application()
    app.router.add_post("/graphql", throttled)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    url = f"http://{LOOPBACK}:{runner.addresses[0][1]}/graphql"
    try:
        async with client(url, 5) as consonance:
            with pytest.raises(Throttled) as fault:
                await consonance.query("{ work { id } }", {})
    finally:
        await runner.cleanup()
    assert timedelta(0) <= fault.value.wait <= timedelta(hours=1)


@pytest.fixture
async def placed(postgres_database: str) -> AsyncIterator[tuple[Desk, Between]]:
    """A queue that asks its Consonance through another."""
    async with (
        pool_on(postgres_database) as pool, standing() as stand, between(f"{stand.url}/graphql") as (server, url),
        client(url, 2) as consonance,
    ):  # fmt: skip
        ledger, gate = Ledger(pool, SystemClock()), Gate(4)
        carrier = Carrier(ledger, consonance, Abilities(read_mapping(MAPPING)), timedelta(seconds=1))
        queue = Queue(partial(connect, postgres_database, SERVICE), ledger, carrier, consonance, gate)
        server.strange = ("__schema", b"null")
        running = asyncio.create_task(queue.run())
        try:
            yield Desk(pool, ledger, queue, gate, stand, consonance), server
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def wait_out(desk: Desk, server: Between, operation: str, bodies: list[bytes]) -> None:
    for body in bodies:
        server.strange, server.answered = (operation, body), 0
        desk.gate.answered()  # a pause is no part of what is tested
        await desk.until(lambda: asked_again(server))
    server.strange = None
    desk.gate.answered()


async def asked_again(server: Between) -> bool:
    return server.answered > 0


@pytest.mark.timeout(120)
async def test_a_queue_waits_out_strange_answers_and_then_writes_once(placed: tuple[Desk, Between]) -> None:
    desk, server = placed
    await desk.ask(request(metadata()))
    await wait_out(desk, server, "__schema", [STRANGE["a page"], *SCHEMAS.values()])
    await wait_out(desk, server, "ReadWorkSubtitle", [STRANGE["null"], STRANGE["data is null"], MISSHAPEN["left out"]])
    await desk.heard("verified", "approved")
    assert len(await desk.log("updateWork")) == 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [name for name in MISSHAPEN if name != "left out"])
async def test_a_record_shown_in_another_shape_is_never_taken_for_written(
    placed: tuple[Desk, Between], name: str
) -> None:
    desk, server = placed
    server.strange = ("ReadWorkSubtitle", MISSHAPEN[name])
    await desk.ask(request(metadata()))
    await desk.until(lambda: asked_again(server))
    server.strange = None
    await desk.heard("verified", "approved")
    assert len(await desk.log("updateWork")) == 1
