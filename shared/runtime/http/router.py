"""Requests and responses, and the router from path and method to a handler."""

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from shared.runtime.metrics import OTHER, count_request
from shared.runtime.telemetry import get_logger

MAX_BODY_BYTES = 3 * 1024 * 1024
"""WhatsApp's own limit for a webhook: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks"""

_log = get_logger()


class HttpRequest(NamedTuple):
    """A complete request. Header names are in lower case; of a repeated header the last counts."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    query_string: bytes
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated name the last counts."""
        return {name: values[-1] for name, values in parse_qs(self.query_string.decode("latin-1")).items()}


class HttpResponse(NamedTuple):
    status: HTTPStatus
    body: bytes = b""
    media_type: bytes = b"text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


RequestHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def text_response(status: HTTPStatus, text: str) -> HttpResponse:
    return HttpResponse(status, text.encode())


def json_response(status: HTTPStatus, **fields: Any) -> HttpResponse:
    return HttpResponse(status, orjson.dumps(fields), b"application/json")


class Router:
    """``routes``: path → method → handler. ``on_rejected`` is called for each request that is rejected half read."""

    def __init__(
        self, routes: Mapping[str, Mapping[str, RequestHandler]], on_rejected: Callable[[str, HTTPStatus], None]
    ) -> None:
        self._routes = routes
        self._on_rejected = on_rejected
        self.in_flight = 0

    def check_header(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> HttpResponse | None:
        """The response to a request that is rejected before its body is read; None where the body may be read."""
        methods = self._routes.get(path)
        if methods is None:
            return self.reject(path, HTTPStatus.NOT_FOUND)
        if method not in methods:
            count_request(path, HTTPStatus.METHOD_NOT_ALLOWED)
            return HttpResponse(HTTPStatus.METHOD_NOT_ALLOWED, headers=((b"allow", ", ".join(methods).encode()),))
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            return self.reject(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return None

    def reject(self, path: str, status: HTTPStatus) -> HttpResponse:
        """The response to a request that is not read to its end; reported where the path is ours."""
        if path in self._routes:
            self._on_rejected(path, status)
        return self.reject_unreadable(status, path)

    def reject_unreadable(self, status: HTTPStatus, path: str = "") -> HttpResponse:
        """The response to a request whose path is not known, or not asked for."""
        count_request(path if path in self._routes else OTHER, status)
        return HttpResponse(status)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Call the handler of a request that passed ``check_header``. Never raises."""
        self.in_flight += 1
        began = time.perf_counter()
        try:
            response = await self._routes[request.path][request.method](request)
        except Exception:  # noqa: BLE001 -- the outermost boundary of a request: the sender gets 500 and sends again
            _log.exception("request.failed")
            response = HttpResponse(HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self.in_flight -= 1
        count_request(request.path, response.status, time.perf_counter() - began)
        return response
