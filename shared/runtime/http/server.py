"""The HTTP/1.1 server of every port, over httptools' parser: requests in, responses out, in order.

The memory of a connection is bounded: a header, a body, and a few pipelined requests. A request that exceeds a limit is
answered with the reason, and the connection is closed after its sender has had time to read that.
"""

import asyncio
import resource
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import monotonic, time
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from shared.contracts.errors import Misconfigured
from shared.runtime.http.connections import ConnectionLimits, ConnectionState, ConnectionTable, DropReason
from shared.runtime.http.router import MAX_BODY_BYTES, HttpRequest, HttpResponse, Router

MAX_HEADER_BYTES = 16 * 1024
"""Of a request's target and headers; WhatsApp's have some hundred bytes."""

_MAX_PIPELINED = 16
"""Requests that may follow before the first is answered; WhatsApp and reverse proxies send none."""

_MAX_SMALL_CHUNKS = 1024
_SMALL_CHUNK_BYTES = 16
"""A body in more than 1,024 chunks has this many bytes in each on average, or it costs more to read than to send."""

_MAX_DISCARDED_BYTES = 8 * MAX_BODY_BYTES
_BUSY = frozenset({ConnectionState.HANDLING, ConnectionState.SENDING})
_DROP_STATUS = {
    DropReason.HEADER_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    DropReason.BODY_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    DropReason.BODY_MEMORY_FULL: HTTPStatus.SERVICE_UNAVAILABLE,
}
_CLOSING_STATUSES = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
    }
)
"""The responses that strangers get: the connection is not kept after them."""

_BACKLOG = 1024
"""Connections the kernel keeps until they are accepted."""

_SWEEP_SECONDS = 0.25
_STOP_SECONDS = 4.0
_OTHER_FILES = 256
"""Open files beside the connections: the broker, the database, files."""


@dataclass(slots=True)
class _PartialRequest:
    """A request as far as it has been read."""

    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    header_bytes: int = 0
    method: str = ""
    path: str = ""
    query: bytes = b""
    body: bytes | bytearray = b""
    chunks: int = 0
    has_header: bool = False
    keep_alive: bool = True

    def append(self, chunk: bytes) -> None:
        """A body of one chunk is not copied; a body of many small chunks takes no more memory than its bytes."""
        if not self.body:
            self.body = chunk
        elif isinstance(self.body, bytes):
            self.body = bytearray(self.body) + chunk
        else:
            self.body += chunk

    @property
    def is_fragmented(self) -> bool:
        return self.chunks > _MAX_SMALL_CHUNKS and len(self.body) < self.chunks * _SMALL_CHUNK_BYTES

    def complete(self) -> HttpRequest:
        return HttpRequest(self.method, self.path, self.headers, self.query, bytes(self.body))


class _StopParsing(Exception):
    """Ends the parser's work on the bytes it was given; the response is known."""


class HttpConnection(asyncio.Protocol):
    """One connection. ``state`` and ``body_bytes`` are changed by the ``ConnectionTable``."""

    def __init__(self, router: Router, connections: ConnectionTable) -> None:
        self.state = ConnectionState.HEADER
        self.body_bytes = 0
        self._router = router
        self._connections = connections
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._partial: _PartialRequest | None = None
        self._complete: deque[HttpRequest] = deque()  # read, and not handled yet
        self._buffered: list[bytes] = []  # received while a request was handled
        self._header_bytes = 0  # of the request that is being read
        self._discarded_bytes = 0
        self._sender_finished = False  # the sender will send nothing more
        self._stops_reading = False  # nothing is read after the complete requests
        self._stops_handling = False  # the request that is handled is the last
        self._final_response: HttpResponse | None = None  # sent after those to the complete requests

    # ------------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
        if not self._connections.admit(self, monotonic()):
            self._transport.write(_serialize(HttpResponse(HTTPStatus.SERVICE_UNAVAILABLE), last=True))
            self._transport.close()
            self._transport = None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._transport = None
        self._connections.remove(self)

    def eof_received(self) -> bool:
        """A sender that has closed its side may still wait for its response."""
        self._sender_finished = True
        return self.state in _BUSY

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self.state in _BUSY:
            self._buffered.append(data)
            self._transport.pause_reading()
        elif self.state is ConnectionState.CLOSING:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _MAX_DISCARDED_BYTES:
                self.abort()
        else:
            self._parse(data)
            self._proceed()

    def pause_writing(self) -> None:
        """The response is longer than its sender reads at once."""
        if self.state is ConnectionState.HANDLING:
            self._set_state(ConnectionState.SENDING)

    def resume_writing(self) -> None:
        if self.state is ConnectionState.SENDING:
            self._proceed()

    # ------------------------------------------------------------------ called by the table of connections

    def drop(self, reason: DropReason) -> None:
        """End it; a sender in the middle of a request gets the reason as a status."""
        status, partial = _DROP_STATUS.get(reason), self._partial
        if status is None or partial is None:
            self.close()
        else:
            self._end_with(self._router.reject(partial.path, status))
            self._proceed()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def close(self) -> None:
        """Write nothing more; what was written is still delivered."""
        if self._transport is not None:
            self._set_state(ConnectionState.CLOSING)
            self._transport.close()

    def close_after_next_response(self) -> None:
        """The response says so: a connection that is closed while its sender sends again would refuse the request."""
        self._stops_handling = True

    def close_after_response(self) -> None:
        """The port is being closed; a request whose body is being read keeps its time."""
        self._stops_handling = True
        if self.state in {ConnectionState.HEADER, ConnectionState.IDLE}:
            self.close()

    # ------------------------------------------------------------------ called by the parser

    def on_message_begin(self) -> None:
        self._partial = _PartialRequest()

    def on_url(self, url: bytes) -> None:
        self._reading.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header. Of trailers, which follow a chunked body, only the size counts."""
        partial = self._reading
        partial.header_bytes += len(name) + len(value)
        if partial.header_bytes + len(partial.url) > MAX_HEADER_BYTES:
            self._reject(self._router.reject_unreadable(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        if not partial.has_header:
            partial.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        partial, parser = self._reading, self._parser
        target = parse_url(partial.url)
        self._header_bytes = 0
        partial.has_header = True
        partial.method = parser.get_method().decode("latin-1")
        partial.path = (target.path or b"").decode("latin-1")
        partial.query = target.query or b""
        partial.keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        rejection = self._router.check_header(partial.method, partial.path, partial.headers)
        if rejection is not None:
            self._reject(rejection)
        if partial.headers.get(b"expect", b"").lower() == b"100-continue" and not self._complete:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        partial = self._reading
        partial.chunks += 1
        if len(partial.body) + len(body) > MAX_BODY_BYTES:
            self._reject(self._router.reject(partial.path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
        if partial.is_fragmented:
            self._reject(self._router.reject_unreadable(HTTPStatus.BAD_REQUEST))
        if self._connections.reserve_bytes(self, len(body)):
            partial.append(body)
        elif self._stops_reading:  # its own body was the oldest
            raise _StopParsing
        else:
            self._reject(self._router.reject(partial.path, HTTPStatus.SERVICE_UNAVAILABLE))

    def on_message_complete(self) -> None:
        partial, self._partial = self._reading, None
        self._complete.append(partial.complete())
        self._stops_reading = not partial.keep_alive or len(self._complete) > _MAX_PIPELINED
        if self._stops_reading:
            raise _StopParsing

    # ------------------------------------------------------------------ from bytes to a response

    @property
    def _reading(self) -> _PartialRequest:
        assert self._partial is not None  # noqa: S101 -- the parser begins every request
        return self._partial

    def _parse(self, data: bytes) -> None:
        if self._stops_reading:
            return
        if self._partial is None or not self._partial.has_header:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._stops_reading = True  # another protocol follows; the request itself is answered
        except HttpParserError:
            if not self._stops_reading:
                self._end_with(self._router.reject_unreadable(HTTPStatus.BAD_REQUEST))
        else:
            if self._header_bytes > MAX_HEADER_BYTES and (self._partial is None or not self._partial.has_header):
                self._end_with(self._router.reject_unreadable(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    def _reject(self, response: HttpResponse) -> None:
        """Read nothing more of the request. Raises _StopParsing."""
        self._end_with(response)
        raise _StopParsing

    def _end_with(self, response: HttpResponse) -> None:
        """The response follows those to the complete requests, and is the last."""
        if not self._stops_reading:
            self._stops_reading, self._final_response = True, response
        if self._partial is not None:
            self._connections.release_bytes(self, len(self._partial.body))
            self._partial = None

    def _proceed(self) -> None:
        """Handle the next request; else send the final response, close, or wait for more data."""
        if self._transport is None or self.state is ConnectionState.CLOSING:
            return
        if self._complete:
            self._set_state(ConnectionState.HANDLING)
            self._connections.start_handling(self._handle(self._complete.popleft()))
        elif self._final_response is not None:
            self._send_final(self._final_response)
        elif self._stops_reading or (self._sender_finished and not self._buffered):
            self.close()
        else:
            self._wait_for_data()

    async def _handle(self, request: HttpRequest) -> None:
        response = await self._router.handle(request)
        if self._transport is None:
            return
        self._connections.release_bytes(self, len(request.body))
        self._stops_reading = self._stops_reading or self._stops_handling
        if response.status in _CLOSING_STATUSES:
            self._stops_reading, self._final_response = True, None
            self._complete.clear()
        is_last = self._stops_reading and not self._complete and self._final_response is None
        self._write(_serialize(response, last=is_last))
        if self.state is ConnectionState.HANDLING:
            self._proceed()

    def _send_final(self, response: HttpResponse) -> None:
        """A sender whose connection closes while it sends does not see the response: so it may go on for a while."""
        self._set_state(ConnectionState.CLOSING)
        self._write(_serialize(response, last=True))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()

    def _wait_for_data(self) -> None:
        """Wait for the rest of a request or for another one; first parse the data received meanwhile."""
        if self._buffered:
            data = b"".join(self._buffered)
            self._buffered.clear()
            self._set_state(ConnectionState.IDLE)
            if self._transport is not None:
                self._transport.resume_reading()
            self._parse(data)
            self._proceed()
            return
        state = ConnectionState.IDLE if self._header_bytes == 0 else ConnectionState.HEADER
        if self._partial is not None:
            state = ConnectionState.BODY if self._partial.has_header else ConnectionState.HEADER
        if state is not self.state:
            self._set_state(state)

    def _set_state(self, state: ConnectionState) -> None:
        self._connections.set_state(self, state, monotonic())

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class HttpServer:
    """Opens a port, drops overdue connections, and closes the port after the requests in flight are answered.

    ``setting`` is the one that names the port. ``on_dropped`` gets the reason of each connection that is dropped.
    """

    def __init__(
        self,
        router: Router,
        limits: ConnectionLimits,
        on_dropped: Callable[[DropReason], None],
        *,
        address: str,
        port: int,
        setting: str,
    ) -> None:
        self._router = router
        self._address = address
        self._port = port
        self._setting = setting
        self._backlog = min(_BACKLOG, limits.connections // 2)  # accepted all at once, they do not drop each other
        self._connections = ConnectionTable(limits, on_dropped)
        self._is_bound = False
        self._is_draining = False

    async def serve(self) -> None:
        """Serve until cancelled; the requests in flight are answered first. Raises what ``listening`` raises."""
        async with self.listening():
            await asyncio.Event().wait()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Serve until the block ends. Raises Misconfigured where the port cannot be opened."""
        server = await self._open()
        sweeping = asyncio.ensure_future(self._sweep_forever())
        self._is_bound = True
        try:
            yield
        finally:
            self._is_bound = False
            server.close()
            await self._finish()
            sweeping.cancel()

    async def _open(self) -> asyncio.Server:
        try:
            return await asyncio.get_running_loop().create_server(
                self._new_connection, self._address, self._port, backlog=self._backlog
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Misconfigured(self._setting, f"{self._address}:{self._port} cannot be opened: {reason}") from None

    def drain(self) -> None:
        """From now on each connection ends with a response, so that senders go elsewhere before the port closes."""
        self._is_draining = True
        for connection in self._connections.in_states(*ConnectionState):
            connection.close_after_next_response()

    async def is_listening(self) -> bool:
        return self._is_bound

    def open_connections(self) -> int:
        return len(self._connections)

    def body_bytes(self) -> int:
        """Bytes of the bodies in memory."""
        return self._connections.body_bytes

    def _new_connection(self) -> HttpConnection:
        connection = HttpConnection(self._router, self._connections)
        if self._is_draining:
            connection.close_after_next_response()
        return connection

    async def _sweep_forever(self) -> None:
        swept = monotonic()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = monotonic()
            if now - swept < 4 * _SWEEP_SECONDS:  # else this process was late itself: it first reads what has arrived
                self._connections.drop_overdue(now)
            swept = now

    async def _finish(self) -> None:
        for connection in self._connections.in_states(*ConnectionState):
            connection.close_after_response()
        if self._connections.handling:
            await asyncio.wait(self._connections.handling, timeout=_STOP_SECONDS)
        for connection in self._connections.in_states(*ConnectionState):
            connection.close()


def _serialize(response: HttpResponse, *, last: bool) -> bytes:
    headers = (*response.headers, (b"connection", b"close")) if last else response.headers
    size = len(response.body)
    return _response_header(int(time()), response.status, response.media_type, size, headers) + response.body


@lru_cache(maxsize=16)  # the responses of one second are nearly all alike
def _response_header(
    second: int, status: HTTPStatus, media_type: bytes, size: int, headers: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    lines = [
        b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
        b"date: " + formatdate(second, usegmt=True).encode(),
        b"content-type: " + media_type,
        b"content-length: %d" % size,
        *(b"%s: %s" % header for header in headers),
    ]
    return b"\r\n".join([*lines, b"", b""])


def allow_open_files(connections: int, setting: str) -> None:
    """Raise the limit of open files. Raises Misconfigured, with ``setting``, where the system allows fewer."""
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise Misconfigured(setting, f"this process may open {hard} files, {wanted} are needed")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
