"""The HTTP client on libcurl, before servers that break off, stand still or answer too much."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from shared.clients import http_requests
from shared.clients.http_requests import HttpClient, RequestFailed, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Word: Yes\r\n\r\n{}"
LONGEST = 1000


@asynccontextmanager
async def raw_server(
    answer: Callable[[int, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """``answer`` is called with the number of each request, from 1, over all connections; yields what was read."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
                requests.append(head + await reader.readexactly(length))
                await answer(len(requests), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", requests


async def answer_ok(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def post(client: HttpClient, url: str, seconds: float = 5) -> Response:
    return await client.request(url, {"X-Our": "a"}, b"body", timeout=timedelta(seconds=seconds), longest=LONGEST)


async def test_a_request_is_answered_over_the_connection_of_the_one_before() -> None:
    ports = set()

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername")[1])
        writer.write(OK)

    async with raw_server(answer) as (url, requests), HttpClient(2) as client:
        first = await post(client, url)
        second = await client.request(url, {}, timeout=timedelta(seconds=5), longest=LONGEST)
    assert (first.status, first.headers["x-word"], first.body, second.body) == (200, "Yes", b"{}", b"{}")
    assert [request.split(b" ")[0] for request in requests] == [b"POST", b"GET"]
    assert len(ports) == 1


async def test_a_request_whose_kept_connection_is_closed_under_it_is_not_repeated() -> None:
    """A client that sends it again by itself would have a mutation executed twice."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(OK)
        else:
            writer.close()

    async with raw_server(answer) as (url, requests), HttpClient(2) as client:
        await post(client, url)
        with pytest.raises(RequestFailed) as failure:
            await post(client, url)
    assert failure.value.sent
    assert [request.endswith(b"body") for request in requests] == [True, True]


async def test_a_request_that_is_not_answered_in_time_was_sent() -> None:
    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        """No answer comes."""

    async with raw_server(answer) as (url, requests), HttpClient(2) as client:
        with pytest.raises(RequestFailed, match="timed out") as failure:
            await post(client, url, seconds=0.2)
    assert failure.value.sent
    assert len(requests) == 1


async def test_a_request_that_reaches_no_server_was_not_sent() -> None:
    async with raw_server(answer_ok) as (url, _):
        pass
    async with HttpClient(2) as client:
        with pytest.raises(RequestFailed, match=r"127\.0\.0\.1") as failure:
            await post(client, url)
    assert not failure.value.sent


async def test_an_answer_is_read_up_to_its_limit_and_the_next_one_again() -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b" " * 5000 if number == 1 else OK)

    async with raw_server(answer) as (url, _), HttpClient(2) as client:
        with pytest.raises(RequestFailed, match="larger than 1,000 bytes"):
            await post(client, url)
        assert (await post(client, url)).body == b"{}"


async def test_an_answer_leaves_nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may have 20 MB, and the collector of garbage seldom comes."""
    made: list[weakref.ref[http_requests.Exchange]] = []

    class Watched(http_requests.Exchange):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            made.append(weakref.ref(self))

    monkeypatch.setattr(http_requests, "Exchange", Watched)
    gc.disable()
    try:
        async with raw_server(answer_ok) as (url, _), HttpClient(2) as client:
            await post(client, url)
            assert [each() for each in made] == [None]
    finally:
        gc.enable()
