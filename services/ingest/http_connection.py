"""One HTTP/1.1 connection of the public port, over httptools' parser: whole requests in, whole replies out, in order.

What a connection may hold is bounded: a header, a body, and a few requests sent ahead of their answers. What does not
fit is answered with the reason, and the connection is closed once its sender has had time to read that.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import monotonic, time
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from services.ingest.connections import Connections, Cut, Stage
from services.ingest.door import MAX_BODY, Door, Reply, Request

MAX_HEADER = 16 * 1024
"""Bytes of a request's target and headers; WhatsApp's have some hundred."""

_SENT_AHEAD = 16
"""Requests that may follow before the first is answered; WhatsApp and reverse proxies send none."""

_PIECES = 1024
_PIECE_BYTES = 16
"""A body in more than so many pieces has so many bytes in each, or it costs more to read than to send."""

_DRAIN_BYTES = 8 * MAX_BODY
_BUSY = frozenset({Stage.ANSWER, Stage.SENDING})
_CUT = {
    Cut.HEADER: HTTPStatus.REQUEST_TIMEOUT,
    Cut.BODY: HTTPStatus.REQUEST_TIMEOUT,
    Cut.BYTES: HTTPStatus.SERVICE_UNAVAILABLE,
}
_TO_STRANGERS = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
    }
)
"""The connection is not kept."""


@dataclass(slots=True)
class _Incoming:
    """A request as far as it was read."""

    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    header_size: int = 0
    method: str = ""
    path: str = ""
    query: bytes = b""
    body: bytes | bytearray = b""
    pieces: int = 0
    headed: bool = False
    keep: bool = True

    def add(self, piece: bytes) -> None:
        """A body that comes in one piece is not copied; one that comes in drops holds no more than its bytes."""
        if not self.body:
            self.body = piece
        elif isinstance(self.body, bytes):
            self.body = bytearray(self.body) + piece
        else:
            self.body += piece

    @property
    def crumbled(self) -> bool:
        return self.pieces > _PIECES and len(self.body) < self.pieces * _PIECE_BYTES

    def request(self) -> Request:
        return Request(self.method, self.path, self.headers, self.query, bytes(self.body))


class _Refused(Exception):
    """Ends the parser's work; the reply is known."""


class HttpConnection(asyncio.Protocol):
    """``stage`` and ``held`` are kept by ``Connections``."""

    def __init__(self, door: Door, connections: Connections) -> None:
        self.stage = Stage.HEADER
        self.held = 0
        self._door = door
        self._connections = connections
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._incoming: _Incoming | None = None
        self._complete: deque[Request] = deque()  # read, and not begun
        self._later: list[bytes] = []  # came while a request was in hand
        self._header_bytes = 0  # of the request that is being read
        self._drained = 0
        self._said_all = False
        self._last = False  # nothing is read after what is complete
        self._stopping = False  # nothing is begun after what is in hand
        self._parting: Reply | None = None  # said after what is complete

    # ------------------------------------------------------------------ what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
        if not self._connections.admit(self, monotonic()):
            self._transport.write(_spelled(Reply(HTTPStatus.SERVICE_UNAVAILABLE), last=True))
            self._transport.close()
            self._transport = None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._transport = None
        self._connections.leave(self)

    def eof_received(self) -> bool:
        """A sender that has said all may still wait for its answer."""
        self._said_all = True
        return self.stage in _BUSY

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self.stage in _BUSY:
            self._later.append(data)
            self._transport.pause_reading()
        elif self.stage is Stage.CLOSING:
            self._drained += len(data)
            if self._drained > _DRAIN_BYTES:
                self.abort()
        else:
            self._feed(data)
            self._go_on()

    def pause_writing(self) -> None:
        """The answer is longer than its sender reads at once."""
        if self.stage is Stage.ANSWER:
            self._enter(Stage.SENDING)

    def resume_writing(self) -> None:
        if self.stage is Stage.SENDING:
            self._go_on()

    # ------------------------------------------------------------------ what the table of connections asks

    def cut(self, why: Cut) -> None:
        """End it; a sender in the middle of a request is told why."""
        status, incoming = _CUT.get(why), self._incoming
        if status is None or incoming is None:
            self.close()
        else:
            self._end_with(self._door.cut_off(incoming.path, status))
            self._go_on()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def close(self) -> None:
        """Nothing more is said; what was said is still delivered."""
        if self._transport is not None:
            self._enter(Stage.CLOSING)
            self._transport.close()

    def close_after_answer(self) -> None:
        """The port is being closed; a request whose body is under way still has its time."""
        self._stopping = True
        if self.stage in {Stage.HEADER, Stage.IDLE}:
            self.close()

    # ------------------------------------------------------------------ what the parser finds

    def on_message_begin(self) -> None:
        self._incoming = _Incoming()

    def on_url(self, url: bytes) -> None:
        self._reading.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, which follow a body in chunks, count for nothing but their size."""
        incoming = self._reading
        incoming.header_size += len(name) + len(value)
        if incoming.header_size + len(incoming.url) > MAX_HEADER:
            self._refuse(Reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        if not incoming.headed:
            incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        incoming, parser = self._reading, self._parser
        target = parse_url(incoming.url)
        self._header_bytes = 0
        incoming.headed = True
        incoming.method = parser.get_method().decode("latin-1")
        incoming.path = (target.path or b"").decode("latin-1")
        incoming.query = target.query or b""
        incoming.keep = parser.should_keep_alive() and not parser.should_upgrade()
        refusal = self._door.refusal(incoming.method, incoming.path, incoming.headers)
        if refusal is not None:
            self._refuse(refusal)
        if incoming.headers.get(b"expect", b"").lower() == b"100-continue" and not self._complete:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        incoming = self._reading
        incoming.pieces += 1
        if len(incoming.body) + len(body) > MAX_BODY:
            self._refuse(self._door.cut_off(incoming.path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
        if incoming.crumbled:
            self._refuse(Reply(HTTPStatus.BAD_REQUEST))
        if self._connections.hold(self, len(body)):
            incoming.add(body)
        elif self._last:  # its own body was the oldest
            raise _Refused
        else:
            self._refuse(self._door.cut_off(incoming.path, HTTPStatus.SERVICE_UNAVAILABLE))

    def on_message_complete(self) -> None:
        incoming, self._incoming = self._reading, None
        self._complete.append(incoming.request())
        self._last = not incoming.keep or len(self._complete) > _SENT_AHEAD
        if self._last:
            raise _Refused  # the rest

    # ------------------------------------------------------------------ from bytes to an answer

    @property
    def _reading(self) -> _Incoming:
        assert self._incoming is not None  # noqa: S101 -- the parser begins every request
        return self._incoming

    def _feed(self, data: bytes) -> None:
        if self._last:
            return
        if self._incoming is None or not self._incoming.headed:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._last = True  # what follows is another protocol; the request itself is answered
        except HttpParserError:
            if not self._last:
                self._end_with(Reply(HTTPStatus.BAD_REQUEST))
        else:
            if self._header_bytes > MAX_HEADER and (self._incoming is None or not self._incoming.headed):
                self._end_with(Reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    def _refuse(self, reply: Reply) -> None:
        """Of what is being read nothing more is read. Raises _Refused."""
        self._end_with(reply)
        raise _Refused

    def _end_with(self, reply: Reply) -> None:
        """The reply follows those to what was complete before, and is the last."""
        if not self._last:
            self._last, self._parting = True, reply
        if self._incoming is not None:
            self._connections.release(self, len(self._incoming.body))
            self._incoming = None

    def _go_on(self) -> None:
        """Answer the next request; else say goodbye, or wait for more."""
        if self._transport is None or self.stage is Stage.CLOSING:
            return
        if self._complete:
            self._enter(Stage.ANSWER)
            self._connections.answer(self._serve(self._complete.popleft()))
        elif self._parting is not None:
            self._part(self._parting)
        elif self._last or (self._said_all and not self._later):
            self.close()
        else:
            self._wait()

    async def _serve(self, request: Request) -> None:
        reply = await self._door.answer(request)
        if self._transport is None:
            return
        self._connections.release(self, len(request.body))
        self._last = self._last or self._stopping
        if reply.status in _TO_STRANGERS:
            self._last, self._parting = True, None
            self._complete.clear()
        self._write(_spelled(reply, last=self._last and not self._complete and self._parting is None))
        if self.stage is Stage.ANSWER:
            self._go_on()

    def _part(self, reply: Reply) -> None:
        """Closed on while it still sends, a sender would not see its answer: it may finish, within reason."""
        self._enter(Stage.CLOSING)
        self._write(_spelled(reply, last=True))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()

    def _wait(self) -> None:
        """For the rest of a request, or for another; what came meanwhile is read first."""
        if self._later:
            data = b"".join(self._later)
            self._later.clear()
            self._enter(Stage.IDLE)
            if self._transport is not None:
                self._transport.resume_reading()
            self._feed(data)
            self._go_on()
            return
        stage = Stage.IDLE if self._header_bytes == 0 else Stage.HEADER
        if self._incoming is not None:
            stage = Stage.BODY if self._incoming.headed else Stage.HEADER
        if stage is not self.stage:
            self._enter(stage)

    def _enter(self, stage: Stage) -> None:
        self._connections.enter(self, stage, monotonic())

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _spelled(reply: Reply, *, last: bool) -> bytes:
    lines = [
        b"HTTP/1.1 %d %s" % (reply.status, reply.status.phrase.encode()),
        b"date: " + _date(int(time())),
        b"content-type: " + reply.media,
        b"content-length: %d" % len(reply.body),
        *(b"%s: %s" % header for header in reply.headers),
    ]
    if last:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", reply.body])


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
