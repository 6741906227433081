"""The client tells apart a request that never left, one that may have left, and WhatsApp's own errors."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from services.dispatcher.payload import MessageContent, RecipientAddress, build_body
from services.dispatcher.provider_responses import ErrorAction, SendAccepted, SendError, SendNotStarted, SendUncertain
from services.dispatcher.reasons import MessageReason
from services.dispatcher.whatsapp_client import WhatsAppClient, WhatsAppEndpoint, _parse_wait
from shared.contracts.ids import Wamid
from shared.contracts.messages import MessageForm
from tests.dev.whatsapp.simulator_under_test import MAIN, TOKEN, SimulatorUnderTest
from tests.services.dispatcher.builders import REACHED
from tests.shared.certificates import Authority

_CALL = {"name": "rights_request_v3", "language": "en", "parameters": {"person": "Ada", "title": "Home"}}
_BUTTONS = (("id-yes", "Approve"), ("id-no", "Decline"))


def _endpoint(url: str, token: str = TOKEN, seconds: float = 5) -> WhatsAppEndpoint:
    return WhatsAppEndpoint(url, "v25.0", token, {"main": MAIN}, timedelta(seconds=seconds))


def _body(wording: MessageForm = MessageForm.TEMPLATE, address: RecipientAddress = REACHED) -> bytes:
    return build_body(MessageContent("Agree?", _BUTTONS, _CALL), wording, address, "m1.1")


def _always() -> bool:
    return True


@pytest.fixture
async def whatsapp(simulator: SimulatorUnderTest) -> AsyncIterator[WhatsAppClient]:
    async with WhatsAppClient(_endpoint(simulator.url, seconds=1), 4) as whatsapp:
        yield whatsapp


@pytest.mark.parametrize("address", [REACHED, RecipientAddress(None, "GB.12345")])
async def test_whatsapp_accepts_the_bodies_that_we_build(
    whatsapp: WhatsAppClient, simulator: SimulatorUnderTest, address: RecipientAddress
) -> None:
    await simulator.tell("people", {"id": "wren", "bsuid": "GB.12345"})
    assert isinstance(await whatsapp.send("main", _body(address=address), _always), SendAccepted)
    assert isinstance(
        await whatsapp.send("main", _body(MessageForm.FREE_TEXT, address), _always), SendAccepted | SendError
    )


async def test_without_a_lease_nothing_is_written(whatsapp: WhatsAppClient, simulator: SimulatorUnderTest) -> None:
    assert await whatsapp.send("main", _body(), lambda: False) == SendNotStarted(MessageReason.LEASE_ENDED)
    assert await simulator.ask("messages") == []


async def test_a_refused_connection_carried_nothing() -> None:
    async with WhatsAppClient(_endpoint("http://127.0.0.1:9"), 4) as whatsapp:
        assert await whatsapp.send("main", _body(), _always) == SendNotStarted(MessageReason.NOT_REACHED)


@pytest.mark.parametrize("kind", ["timeout_after_accept", "timeout_before", "refuse_connection"])
async def test_a_written_request_without_a_response_is_uncertain(
    whatsapp: WhatsAppClient, simulator: SimulatorUnderTest, kind: str
) -> None:
    await simulator.tell("faults", {"kind": kind, "seconds": 10})
    assert await whatsapp.send("main", _body(), _always) == SendUncertain(MessageReason.NO_ANSWER)


async def test_a_revoked_token_is_the_operators(simulator: SimulatorUnderTest) -> None:
    async with WhatsAppClient(_endpoint(simulator.url, token="revoked"), 4) as whatsapp:  # noqa: S106 -- made up
        outcome = await whatsapp.send("main", _body(), _always)
    assert isinstance(outcome, SendError)
    assert (outcome.code, outcome.policy.action) == (190, ErrorAction.OPERATOR)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, timedelta(seconds=7)),
        ({"retry-after": "soon"}, None),
        (
            {"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":3}]}'},
            timedelta(minutes=3),
        ),
        ({"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":0}]}'}, None),
        ({"x-business-use-case-usage": "[]"}, None),
    ],
)
def test_the_wait_that_whatsapp_asks_for_is_read_from_its_headers(
    headers: dict[str, str], wait: timedelta | None
) -> None:
    assert _parse_wait(headers) == wait


_ACCEPTED = b'{"messages":[{"id":"wamid.one"}]}'


@asynccontextmanager
async def _server(
    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Reads whole requests from kept connections and gives each body to ``answer``; its address."""
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await answer(await reader.readexactly(length), writer)
        writer.close()

    async def forgiving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            tasks.append(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(forgiving, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"
        await asyncio.gather(*tasks)


def _respond(
    writer: asyncio.StreamWriter, body: bytes = _ACCEPTED, status: bytes = b"200 OK", more: bytes = b""
) -> None:
    writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(body), more, body))


async def test_a_request_under_which_a_kept_connection_closes_is_not_repeated() -> None:
    bodies: list[bytes] = []

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        if len(bodies) == 1:
            _respond(writer)
        else:
            writer.transport.abort()

    async with _server(answer) as url, WhatsAppClient(_endpoint(url), 1) as whatsapp:
        assert await whatsapp.send("main", b"first", _always) == SendAccepted(Wamid("wamid.one"))
        assert await whatsapp.send("main", b"second", _always) == SendUncertain(MessageReason.NO_ANSWER)
        await asyncio.sleep(0.1)
    assert bodies == [b"first", b"second"]


async def test_not_even_its_head_leaves_for_a_request_that_may_not_be_written() -> None:
    received: list[bytes] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(record, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with WhatsAppClient(_endpoint(url), 1) as whatsapp:
            assert await whatsapp.send("main", b"{}", lambda: False) == SendNotStarted(MessageReason.LEASE_ENDED)
        async with asyncio.timeout(5):
            while not received:
                await asyncio.sleep(0.01)
    assert received == [b""]


async def test_a_long_body_leaves_whole() -> None:
    bodies: list[bytes] = []

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        _respond(writer)

    long = b"x" * 500_000
    async with _server(answer) as url, WhatsAppClient(_endpoint(url), 1) as whatsapp:
        assert isinstance(await whatsapp.send("main", long, _always), SendAccepted)
    assert bodies == [long]


async def test_a_redirect_is_not_followed() -> None:
    bodies: list[bytes] = []

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        _respond(writer, b"", b"307 Temporary Redirect", b"location: /elsewhere\r\n")

    async with _server(answer) as url, WhatsAppClient(_endpoint(url), 1) as whatsapp:
        assert isinstance(await whatsapp.send("main", b"{}", _always), SendError)
    assert bodies == [b"{}"]


async def test_a_cancelled_request_leaves_the_client_usable() -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        if body != b"slow":
            _respond(writer)

    async with _server(answer) as url, WhatsAppClient(_endpoint(url), 1) as whatsapp:
        slow = asyncio.create_task(whatsapp.send("main", b"slow", _always))
        await asyncio.sleep(0.1)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        assert isinstance(await whatsapp.send("main", b"next", _always), SendAccepted)


async def test_no_more_requests_are_open_than_connections() -> None:
    opened, most = 0, 0

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal opened, most
        opened, most = opened + 1, max(most, opened + 1)
        await asyncio.sleep(0.02)
        opened -= 1
        _respond(writer)

    async with _server(answer) as url, WhatsAppClient(_endpoint(url), 3) as whatsapp:
        outcomes = await asyncio.gather(*(whatsapp.send("main", b"{}", _always) for _ in range(9)))
    assert all(isinstance(outcome, SendAccepted) for outcome in outcomes)
    assert most == 3


async def test_only_a_trusted_server_gets_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        _respond(writer)

    authority = Authority(tmp_path)
    files = authority.issue("server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    async with _server(answer, tls) as url:
        async with WhatsAppClient(_endpoint(url), 1) as whatsapp:
            assert await whatsapp.send("main", b"{}", _always) == SendNotStarted(MessageReason.NOT_REACHED)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        async with WhatsAppClient(_endpoint(url), 1) as whatsapp:
            assert isinstance(await whatsapp.send("main", b"{}", _always), SendAccepted)
