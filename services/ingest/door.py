"""The public HTTP door, as a small ASGI application: paths, methods, and a body that is read no further than its limit.

Whoever waits behind it sees whole requests and answers with whole replies.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from services.ingest.patience import Patience
from shared.telemetry import get_logger

MAX_BODY = 3 * 1024 * 1024
"""WhatsApp's own limit for a webhook: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks"""

BODY_SECONDS = 10.0
"""A sender that takes longer to send its body is let go."""

_CUT_OFF = frozenset({HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT})
_DRAIN_BYTES, _DRAIN_SECONDS = 8 * MAX_BODY, 2.0

_log = get_logger()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Request(NamedTuple):
    """Names of ``headers`` are in lower case; of a repeated header the last counts."""

    method: str
    headers: Mapping[bytes, bytes]
    query: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    status: HTTPStatus
    body: bytes = b""
    media: bytes = b"text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


Answer = Callable[[Request], Awaitable[Reply]]


def json_reply(status: HTTPStatus, **fields: Any) -> Reply:
    return Reply(status, orjson.dumps(fields), b"application/json")


class Door:
    """``routes``: path → method → who answers. ``refused`` is told the path and status of what is cut off here."""

    def __init__(self, routes: Mapping[str, Mapping[str, Answer]], refused: Callable[[str, HTTPStatus], None]) -> None:
        self._routes = routes
        self._refused = refused
        self._patience = Patience(BODY_SECONDS)
        self.in_hand = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.in_hand += 1
            try:
                reply = await self._answer(scope, receive)
                await _reply(send, reply)
                if reply.status in _CUT_OFF:
                    await _drain(receive)
            finally:
                self.in_hand -= 1

    async def _answer(self, scope: Message, receive: Receive) -> Reply:
        methods = self._routes.get(scope["path"])
        if methods is None:
            return Reply(HTTPStatus.NOT_FOUND)
        answer = methods.get(scope["method"])
        if answer is None:
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, headers=((b"allow", ", ".join(methods).encode()),))
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            with self._patience.limit():
                body = await _read(headers, receive)
        except TimeoutError:
            return self._refuse(scope, HTTPStatus.REQUEST_TIMEOUT)
        if body is None:
            return self._refuse(scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return await _answered(answer, Request(scope["method"], headers, _query(scope), body))

    def _refuse(self, scope: Message, status: HTTPStatus) -> Reply:
        self._refused(scope["path"], status)
        return Reply(status, headers=((b"connection", b"close"),))


async def _answered(answer: Answer, request: Request) -> Reply:
    try:
        return await answer(request)
    except Exception:  # noqa: BLE001 -- the outermost boundary of a request: the sender is told, and sends again
        _log.exception("request.failed")
        return Reply(HTTPStatus.INTERNAL_SERVER_ERROR)


async def _read(headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
    """The body, or None once it is known to exceed the limit; with or without a length announced."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > MAX_BODY:
        return None
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        more = message["type"] == "http.request" and message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _drain(receive: Receive) -> None:
    """Let a sender that is cut off finish, within reason: closed on while it sends, it would not see its answer."""
    left = _DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


def _query(scope: Message) -> dict[str, str]:
    if not scope["query_string"]:
        return {}
    return {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}


async def _reply(send: Send, reply: Reply) -> None:
    length = (b"content-length", b"%d" % len(reply.body))
    headers = [(b"content-type", reply.media), length, *reply.headers]
    await send({"type": "http.response.start", "status": int(reply.status), "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
