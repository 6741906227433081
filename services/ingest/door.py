"""What the public port answers: paths and methods, whole requests in, whole replies out."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from shared.runtime.telemetry import get_logger

MAX_BODY = 3 * 1024 * 1024
"""WhatsApp's own limit for a webhook: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks"""

_log = get_logger()


class Request(NamedTuple):
    """Names of ``headers`` are in lower case; of a repeated header the last counts."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    query_string: bytes
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """Of a repeated name the last counts."""
        return {name: values[-1] for name, values in parse_qs(self.query_string.decode("latin-1")).items()}


class Reply(NamedTuple):
    status: HTTPStatus
    body: bytes = b""
    media: bytes = b"text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


Answer = Callable[[Request], Awaitable[Reply]]


def json_reply(status: HTTPStatus, **fields: Any) -> Reply:
    return Reply(status, orjson.dumps(fields), b"application/json")


class Door:
    """``routes``: path → method → who answers. ``refused`` is told the path and status of what never came whole."""

    def __init__(self, routes: Mapping[str, Mapping[str, Answer]], refused: Callable[[str, HTTPStatus], None]) -> None:
        self._routes = routes
        self._refused = refused
        self.in_hand = 0

    def refusal(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Reply | None:
        """What can be said before the body is read."""
        methods = self._routes.get(path)
        if methods is None:
            return Reply(HTTPStatus.NOT_FOUND)
        if method not in methods:
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, headers=((b"allow", ", ".join(methods).encode()),))
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > MAX_BODY:
            return self.cut_off(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return None

    def cut_off(self, path: str, status: HTTPStatus) -> Reply:
        """For a request that is not read to its end."""
        if path in self._routes:
            self._refused(path, status)
        return Reply(status)

    async def answer(self, request: Request) -> Reply:
        """Of a request that ``refusal`` let pass; never raises."""
        self.in_hand += 1
        try:
            return await self._routes[request.path][request.method](request)
        except Exception:  # noqa: BLE001 -- the outermost boundary of a request: the sender is told, and sends again
            _log.exception("request.failed")
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self.in_hand -= 1
