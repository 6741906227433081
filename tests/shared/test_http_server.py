"""HTTP/1.1 requests over real sockets: whole, in small pieces, pipelined, malformed, too large."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

import pytest

from dev.ports import LOOPBACK, free_ports
from shared.contracts.errors import Misconfigured
from shared.runtime.http.connections import ConnectionLimits, ConnectionTable, DropReason
from shared.runtime.http.router import MAX_BODY_BYTES, HttpRequest, HttpResponse, RequestHandler, Router
from shared.runtime.http.server import MAX_HEADER_BYTES, HttpConnection, HttpServer, allow_open_files

LIMITS = ConnectionLimits(
    connections=8, body_bytes=4 * MAX_BODY_BYTES, header_seconds=5, body_seconds=10, idle_seconds=30
)
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nping"
GET = b"GET /echo?a=1&a=2 HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.01)
    return HttpResponse(HTTPStatus.OK, request.body or request.query.get("a", "").encode())


async def large(_: HttpRequest) -> HttpResponse:
    return HttpResponse(HTTPStatus.OK, b"x" * 20_000_000)


async def broken(_: HttpRequest) -> HttpResponse:
    raise KeyError


class ServerUnderTest:
    """A port with a few routes; ``reasons`` are those of dropped connections."""

    def __init__(self) -> None:
        self.reasons: list[DropReason] = []
        self.rejected: list[tuple[str, HTTPStatus]] = []
        routes: dict[str, dict[str, RequestHandler]] = {
            "/echo": {"GET": echo, "POST": echo},
            "/broken": {"GET": broken},
            "/large": {"GET": large},
        }
        self.router = Router(routes, lambda path, status: self.rejected.append((path, status)))
        self.connections = ConnectionTable(LIMITS, self.reasons.append)
        self.number = 0

    def server(self, port: int) -> HttpServer:
        return HttpServer(
            self.router, LIMITS, self.reasons.append, address=LOOPBACK, port=port, setting="STET_LISTEN_PORT"
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(LOOPBACK, self.number)

    async def ask(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """Everything that is answered, until the port closes or nothing more comes."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        answered = b""
        try:
            while more := await asyncio.wait_for(reader.read(65536), 0.3):
                answered += more
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
        return answered


@pytest.fixture
async def tested() -> AsyncIterator[ServerUnderTest]:
    tested = ServerUnderTest()
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpConnection(tested.router, tested.connections), LOOPBACK, 0
    )
    tested.number = server.sockets[0].getsockname()[1]
    yield tested
    server.close()
    async with asyncio.timeout(5):
        while len(tested.connections):
            await asyncio.sleep(0.01)
    assert tested.connections.body_bytes == 0


def codes(answered: bytes) -> list[int]:
    return [int(part[:3]) for part in answered.split(b"HTTP/1.1 ")[1:]]


def pieces_of(data: bytes, size: int = 1) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (POST, [200]),
        (GET, [200]),
        (b"\r\n\r\n" + POST, [200]),
        (POST + POST, [200, 200]),
        (POST + GET.replace(b"GET", b"PUT") + POST, [200, 405]),
        (POST.replace(b"Host: x", b"Connection: close") + POST, [200]),
        (POST.replace(b"1.1", b"1.0"), [200]),
        (GET.replace(b"/echo?", b"http://anywhere/echo?"), [200]),
        (GET.replace(b"Host: x", b"Connection: Upgrade\r\nUpgrade: h2c"), [200]),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n0\r\n\r\n", [200]),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", [100]),
        (GET.replace(b"/echo", b"/broken"), [500]),
        (GET.replace(b"/echo", b"/nowhere"), [404]),
        (GET.replace(b"GET", b"HEAD"), [405]),
        (GET * 40, [200] * 17),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", [400]),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\npings", [400]),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nping", [400]),
        (b"POST /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n", [400]),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000, [400]),
        (b"GET /" + b"x" * 2 * MAX_HEADER_BYTES, [431]),
        (b"\r\n" * 2 * MAX_HEADER_BYTES, [431]),
        (b"GET /echo HTTP/1.1\r\n" + b"x-more: and more\r\n" * 2000, [431]),
        (b"GET /echo HTTP/1.1\r\nx: " + b"x" * 2 * MAX_HEADER_BYTES + b"\r\n\r\n", [431]),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 20_000, [431]),
        (b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), [413]),
    ],
)
async def test_requests_are_answered_in_order_and_strangers_are_disconnected(
    tested: ServerUnderTest, sent: bytes, answers: list[int]
) -> None:
    assert codes(await tested.ask(sent)) == answers


@pytest.mark.parametrize("size", [1, 7, 60])
async def test_a_request_may_arrive_in_small_pieces(tested: ServerUnderTest, size: int) -> None:
    answered = await tested.ask(*pieces_of(POST + GET, size), pause=0.001)
    assert codes(answered) == [200, 200]
    assert answered.endswith(b"\r\n\r\n2")
    assert b"\r\n\r\nping" in answered


async def test_a_connection_serves_many_requests(tested: ServerUnderTest) -> None:
    assert codes(await tested.ask(*[POST] * 5, pause=0.05)) == [200] * 5


async def test_a_sender_that_closed_its_side_still_gets_its_response(tested: ServerUnderTest) -> None:
    reader, writer = await tested.connect()
    writer.write(POST)
    writer.write_eof()
    assert codes(await asyncio.wait_for(reader.read(), 5)) == [200]
    writer.close()


async def test_trailers_do_not_replace_headers(tested: ServerUnderTest) -> None:
    head = b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n4\r\nping\r\n0\r\nX-A: 2\r\n\r\n"
    assert codes(await tested.ask(head)) == [200]


async def test_a_large_response_is_sent_at_the_pace_of_its_reader(tested: ServerUnderTest) -> None:
    reader, writer = await tested.connect()
    writer.write(GET.replace(b"/echo", b"/large") + GET)
    await asyncio.sleep(0.2)
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(20_000_000)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_sender_that_disconnects_in_the_middle_leaves_nothing_in_memory(tested: ServerUnderTest) -> None:
    for sent in (b"", b"POST", POST[:-2], POST, GET.replace(b"/echo", b"/large")):
        _, writer = await tested.connect()
        writer.write(sent)
        await asyncio.sleep(0.005)
        writer.transport.abort()


async def test_a_body_of_the_largest_allowed_size_is_accepted(tested: ServerUnderTest) -> None:
    body = bytes(range(256)) * (MAX_BODY_BYTES // 256)
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    answered = await tested.ask(head, *pieces_of(body, 500_000))
    assert answered.partition(b"\r\n\r\n")[2] == body


async def test_new_connections_replace_silent_ones(tested: ServerUnderTest) -> None:
    silent = [await tested.connect() for _ in range(LIMITS.connections)]
    await asyncio.sleep(0.05)
    assert codes(await tested.ask(POST)) == [200]
    assert tested.reasons == [DropReason.TOO_MANY_CONNECTIONS]
    assert await asyncio.wait_for(silent[0][0].read(), 5) == b""
    for _, writer in silent:
        writer.close()


async def test_bodies_share_a_memory_limit_and_the_oldest_gets_503(tested: ServerUnderTest) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    unfinished = [await tested.connect() for _ in range(5)]
    for _, writer in unfinished:
        writer.write(head + b" " * (MAX_BODY_BYTES - 1))
        await writer.drain()
        await asyncio.sleep(0.05)
        assert tested.connections.body_bytes <= LIMITS.body_bytes
    assert (await asyncio.wait_for(unfinished[0][0].readline(), 5)).startswith(b"HTTP/1.1 503")
    assert codes(await tested.ask(POST)) == [200]
    for _, writer in unfinished:
        writer.transport.abort()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The header and body of the response to one more request."""
    writer.write(POST)
    return await asyncio.wait_for(reader.readuntil(b"ping"), 5)


async def test_a_draining_port_ends_each_connection_with_a_response(tested: ServerUnderTest) -> None:
    """A sender that had its connection closed while it sends again would take it for a refused request."""
    [port] = free_ports(1)
    server = tested.server(port)
    serving = asyncio.create_task(server.serve())
    while not await server.is_listening():
        await asyncio.sleep(0.01)
    kept, silent = [await asyncio.open_connection(LOOPBACK, port) for _ in range(2)]
    assert b"connection: close" not in await exchange(*kept)
    server.drain()
    for connection in (kept, silent, await asyncio.open_connection(LOOPBACK, port)):
        assert b"HTTP/1.1 200" in (answer := await exchange(*connection))
        assert b"connection: close" in answer
        assert await asyncio.wait_for(connection[0].read(), 5) == b""
        connection[1].close()
        await connection[1].wait_closed()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_port_that_cannot_be_opened_is_named_with_its_setting(tested: ServerUnderTest) -> None:
    with pytest.raises(
        Misconfigured, match=rf"STET_LISTEN_PORT: {LOOPBACK}:{tested.number} cannot be opened: .*in use"
    ):
        await tested.server(tested.number).serve()


def test_more_connections_than_the_system_allows_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    with pytest.raises(Misconfigured, match="STET_LISTEN_CONNECTIONS: this process may open 1024 files, 1256 are"):
        allow_open_files(1000, "STET_LISTEN_CONNECTIONS")
