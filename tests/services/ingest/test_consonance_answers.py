"""Invalid responses from Consonance are retried later, and webhooks are still accepted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from dev.ports import LOOPBACK
from services.ingest.metrics import IngestMetrics
from services.ingest.poll.consonance_reader import ConsonanceReader, connect
from services.ingest.poll.loop import PollLoop
from shared.clients import consonance_graphql
from shared.contracts.contacts import PersonObserved
from shared.contracts.errors import Throttled, Unavailable
from shared.contracts.topics import CONTACTS
from tests.infrastructure import declare_topics
from tests.services.ingest.payloads import messages, text, webhook
from tests.services.ingest.service import IngestProcess, ingest_process, sender

pytestmark = pytest.mark.integration

DEEP = b'{"data":{"works":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
STRANGE = {
    "null": b"null",
    "a list": b"[]",
    "a list of words": b'["data","errors"]',
    "a string": b'"data"',
    "a number": b"7",
    "a page": b"<html><body>We will be back soon</body></html>",
    "nothing": b"",
    "no UTF-8": b'{"data":{"works":[{"id":1,"title":"\xff\xfe"}]}}',
    "data is null": b'{"data":null}',
    "data is a list": b'{"data":[]}',
    "data is a string": b'{"data":"works"}',
    "no list": b'{"data":{"works":{"id":1}}}',
    "null for a list": b'{"data":{"works":null,"contacts":null}}',
    "neither data nor errors": b"{}",
    "errors are a string": b'{"errors":"no","data":null}',
    "errors are numbers": b'{"errors":[1,null],"data":{"works":[]}}',
    "nested deeply": DEEP,
    "infinite": b'{"data":{"works":[{"id":1e999}]}}',
    "half of it": b'{"data":{"works":[{"id":1',
}
SCHEMAS = {
    "no schema": b'{"data":{"__schema":null}}',
    "no types": b'{"data":{"__schema":{"types":null}}}',
    "a null type": b'{"data":{"__schema":{"types":[null]}}}',
    "types of no shape": b'{"data":{"__schema":{"types":[[],"x",{"fields":7,"enumValues":[null]}]}}}',
    "another shape": b'{"data":{"__schema":[]}}',
}
SCHEMA = b'{"data":{"__schema":{"types":[{"name":"Work","fields":[{"name":"id"}]}]}}}'


class FakeConsonanceServer:
    """Answers each query with the bytes that ``answer`` returns for its name, or ``answer_query`` for its text too."""

    def __init__(self) -> None:
        self.answer: Callable[[str], tuple[int, bytes]] = lambda _: (200, b"{}")
        self.answer_query: Callable[[str, str], tuple[int, bytes]] = lambda name, _: self.answer(name)
        self.asked = 0

    async def reply(self, request: web.Request) -> web.Response:
        self.asked += 1
        query = str((await request.json())["query"])
        status, body = self.answer_query(query.split()[1].partition("(")[0].lower(), query)
        return web.Response(status=status, body=body, content_type="application/json")


@asynccontextmanager
async def listening(server: FakeConsonanceServer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/graphql", server.reply)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    try:
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/graphql"
    finally:
        await runner.cleanup()


def healthy(**lists: Any) -> Callable[[str], tuple[int, bytes]]:
    def answer(name: str) -> tuple[int, bytes]:
        return 200, SCHEMA if name == "offered" else orjson.dumps({"data": {name: lists.get(name, [])}})

    return answer


async def ask_all(consonance: ConsonanceReader) -> list[str]:
    """The errors of one query of each kind."""
    asks: list[Callable[[], Awaitable[list[Any]]]] = [
        lambda: consonance.works(0, None), lambda: consonance.products(0, None), consonance.contacts,
        lambda: consonance.work(1),
    ]  # fmt: skip
    faults = []
    for ask in asks:
        with pytest.raises(Unavailable) as fault:
            await ask()
        faults.append(str(fault.value))
    return faults


@pytest.mark.parametrize("body", STRANGE.values(), ids=list(STRANGE))
@pytest.mark.parametrize("status", [200, 500])
async def test_any_invalid_response_is_unavailable(body: bytes, status: int) -> None:
    server = FakeConsonanceServer()
    server.answer = lambda name: (200, SCHEMA) if name == "offered" else (status, body)
    async with listening(server) as url, connect(url, "k" * 32) as consonance:
        for fault in await ask_all(consonance):
            assert fault.startswith("Consonance")


@pytest.mark.parametrize("body", [*STRANGE.values(), *SCHEMAS.values()], ids=[*STRANGE, *SCHEMAS])
async def test_an_invalid_schema_is_asked_for_again(body: bytes) -> None:
    server = FakeConsonanceServer()
    server.answer = lambda _: (200, body)
    async with listening(server) as url, connect(url, "k" * 32) as consonance:
        await ask_all(consonance)
        server.answer = healthy()
        assert await consonance.works(0, None) == []


async def test_an_endless_response_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consonance_graphql, "LARGEST_ANSWER", 100_000)
    server = FakeConsonanceServer()
    server.answer = lambda name: (200, SCHEMA if name == "offered" else b" " * 200_000)
    async with listening(server) as url, connect(url, "k" * 32) as consonance:
        await ask_all(consonance)


async def test_half_a_surrogate_in_one_record_does_not_cost_the_others() -> None:
    server = FakeConsonanceServer()
    server.answer = lambda name: (
        200, SCHEMA if name == "offered" else b'{"data":{"works":[{"id":1,"title":"\\ud83d"},{"id":2}]}}',
    )  # fmt: skip
    async with listening(server) as url, connect(url, "k" * 32) as consonance:
        assert [work["id"] for work in await consonance.works(0, None)] == [1, 2]


async def test_a_schema_that_changed_is_read_again() -> None:
    """A field that Consonance no longer has was asked for until ingest was restarted."""
    refused = b'{"errors":[{"message":"Field \'embargoUntil\' doesn\'t exist on type \'Work\'"}]}'
    server, has_field = FakeConsonanceServer(), True

    def answer(name: str, query: str) -> tuple[int, bytes]:
        if name == "offered":
            fields = [{"name": "id"}, *([{"name": "embargoUntil"}] if has_field else [])]
            return 200, orjson.dumps({"data": {"__schema": {"types": [{"name": "Work", "fields": fields}]}}})
        return 200, refused if "embargoUntil" in query and not has_field else b'{"data":{"works":[]}}'

    server.answer_query = answer
    async with listening(server) as url, connect(url, "k" * 32) as consonance:
        assert await consonance.works(0, None) == []
        has_field = False
        with pytest.raises(Unavailable):
            await consonance.works(0, None)
        assert await consonance.works(0, None) == []


async def test_a_pass_that_fails_stops_neither_the_others_nor_the_loop(metrics: IngestMetrics) -> None:
    passes: list[str] = []

    async def works() -> int:
        passes.append("works")
        raise KeyError("+447700900123")

    async def contacts() -> int:
        passes.append("contacts")
        return 3

    loop = PollLoop({"works": works, "contacts": contacts}, 60, metrics)
    with pytest.raises(Unavailable) as fault:
        await loop.run_once()
    assert (passes, loop.events_published, loop.completed) == (["works", "contacts"], 3, 0)
    assert "447700900123" not in str(fault.value)


async def test_a_pause_that_consonance_asks_for_is_kept(
    metrics: IngestMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passes after the one that was told so wait, too, and the next poll comes when the pause is over."""
    passes: list[str] = []
    waits: list[float] = []

    async def contacts() -> int:
        passes.append("contacts")
        raise Throttled("Consonance asked for a pause", wait=timedelta(minutes=20))

    async def works() -> int:
        passes.append("works")
        return 3

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await PollLoop({"contacts": contacts, "works": works}, 60, metrics).run_forever()
    assert (passes, waits) == (["contacts"], [1200.0])


@pytest.fixture
async def polled(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path
) -> AsyncIterator[tuple[IngestProcess, FakeConsonanceServer]]:
    server = FakeConsonanceServer()
    async with listening(server) as url:
        service = ingest_process(
            kafka_bootstrap, postgres_database, run_folder, url, STET_CONSONANCE_POLL_SECONDS="0.02"
        )
        await declare_topics(service.bootstrap, service.prefix)
        server.answer = lambda _: (200, b"null")
        await service.start()
        try:
            yield service, server
        finally:
            await service.child.stop()


@pytest.mark.timeout(180)
async def test_webhooks_are_accepted_whatever_consonance_answers(
    polled: tuple[IngestProcess, FakeConsonanceServer],
) -> None:
    service, server = polled
    async with sender(service) as post, aiohttp.ClientSession() as session:
        for number, body in enumerate([*STRANGE.values(), *SCHEMAS.values()]):
            server.answer = lambda _, body=body: (200, body)  # type: ignore[misc]
            async with session.get(f"{service.health_url}/readyz") as ready:
                assert ready.status == 200
            assert await post.webhook(webhook(messages(text(f"wamid.strange-{number}")))) == 200
        server.answer = healthy(contacts=[{"id": 801, "name": "Eleanor W."}, None, {"id": 802, "name": "Unknown"}])
        await service.child.wait_until(lambda: observed(service, 801, 802), 70)


async def observed(service: IngestProcess, *contacts: int) -> bool:
    events = [event.data for event in await service.read(CONTACTS)]
    return {*contacts} <= {data.contact_id for data in events if isinstance(data, PersonObserved)}
