"""The client of the WhatsApp Cloud API: one POST per message over a pool of kept connections, and its outcome.

The API has no idempotency key. A request is therefore never repeated here, and once its first byte may have left,
anything but a readable response is uncertain. The body checks its lease in the instant it is written, after any wait
for a connection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS
from yarl import URL

from services.dispatcher.provider_responses import (
    ErrorAction,
    ErrorPolicy,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
    parse_response,
)
from services.dispatcher.reasons import MessageReason
from shared.runtime.failures import describe_failure
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import annotate

log = get_logger()

_CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 15.0  # shorter than Meta's: a connection closed under a request leaves the request uncertain
_LONGEST_RESPONSE = 256 * 1024  # bytes; WhatsApp's own have some hundred
_LONGEST_WAIT = timedelta(days=1)
_MOST_DIGITS = 9
_INVALID_REQUEST = SendError(None, ErrorPolicy(ErrorAction.REFUSE_MESSAGE))
_USAGE_HEADER = "X-Business-Use-Case-Usage"


@dataclass(frozen=True, slots=True)
class WhatsAppEndpoint:
    """``numbers`` maps a line to its phone number id; ``timeout`` is for one request."""

    graph_url: str
    version: str
    token: str
    numbers: Mapping[str, str]
    timeout: timedelta = timedelta(seconds=10)

    def messages_url(self, line: str) -> URL:
        return URL(f"{self.graph_url.rstrip('/')}/{self.version}/{self.numbers[line]}/messages")


class _LeaseEnded(Exception):
    """Nothing was written; aiohttp wraps it in a connection error."""


class _Body(aiohttp.BytesPayload):
    """JSON that is written only while ``may_write()``, and that remembers whether it was."""

    def __init__(self, body: bytes, may_write: Callable[[], bool]) -> None:
        super().__init__(body, content_type="application/json")
        self._may_write = may_write
        self.begun = False
        self.refused = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if not self._may_write():
            self.refused = True
            raise _LeaseEnded
        self.begun = True
        await super().write_with_length(writer, content_length)


class WhatsAppClient:
    """An async context. As many ``send`` calls may run at once as there are connections."""

    def __init__(self, endpoint: WhatsAppEndpoint, connections: int) -> None:
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=endpoint.timeout.total_seconds(), connect=_CONNECT_SECONDS)
        self._headers = {"Authorization": f"Bearer {endpoint.token}"}
        self._urls = {line: endpoint.messages_url(line) for line in endpoint.numbers}
        self._span_attributes = {
            HTTP_REQUEST_METHOD: "POST",
            "url.template": "/{version}/{phone_number_id}/messages",
            SERVER_ADDRESS: URL(endpoint.graph_url).host or "",
        }
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEPALIVE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector, headers=self._headers, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> SendOutcome:
        """Never raises for an error of the network or the response; ``may_write`` is called as the body is written."""
        assert self._session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        payload = _Body(body, may_write)
        annotate(self._span_attributes)
        try:
            async with self._session.post(self._urls[line], data=payload, allow_redirects=False) as response:
                annotate({HTTP_RESPONSE_STATUS_CODE: response.status})
                content = await _read(response.content)
                return parse_response(response.status, content, _parse_wait(response.headers))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return _outcome_without_response(payload)
        except Exception as error:  # noqa: BLE001 -- one unexpected response, or body, must not end all sends
            log.error("send.failed", line=line, begun=payload.begun, sentence=describe_failure(error))  # noqa: TRY400 -- a trace quotes texts
            return SendUncertain(MessageReason.UNREADABLE_ANSWER) if payload.begun else _INVALID_REQUEST

    async def display_number(self, line: str) -> str | None:
        """The digits of the number as people see it, by which webhooks name it; None where WhatsApp does not say."""
        assert self._session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        url = self._urls[line].parent.with_query(fields="display_phone_number")
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                document = orjson.loads(await _read(response.content))
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return None
        number = document.get("display_phone_number") if isinstance(document, dict) else None
        return "".join(filter(str.isdigit, number)) if isinstance(number, str) else None


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The response; empty, and so unreadable, if it is far longer than WhatsApp's are."""
    parts = bytearray()
    while chunk := await content.read(_LONGEST_RESPONSE):
        parts += chunk
        if len(parts) > _LONGEST_RESPONSE:
            return b""
    return bytes(parts)


def _outcome_without_response(payload: _Body) -> SendOutcome:
    if payload.begun:
        return SendUncertain(MessageReason.NO_ANSWER)
    return SendNotStarted(MessageReason.LEASE_ENDED if payload.refused else MessageReason.NOT_REACHED)


def _parse_wait(headers: Mapping[str, str]) -> timedelta | None:
    """``Retry-After`` in seconds, or the minutes that Meta estimates in its usage header; a day at most."""
    after = headers.get("Retry-After", "")
    if after.isascii() and after.isdigit():
        return _LONGEST_WAIT if len(after) > _MOST_DIGITS else min(timedelta(seconds=int(after)), _LONGEST_WAIT)
    usage = headers.get(_USAGE_HEADER)
    return _parse_usage(usage) if usage else None


def _parse_usage(usage: str) -> timedelta | None:
    try:
        accounts = orjson.loads(usage)
        minutes = max(use["estimated_time_to_regain_access"] for uses in accounts.values() for use in uses)
        return min(timedelta(minutes=minutes), _LONGEST_WAIT) if minutes > 0 else None
    except OverflowError:
        return _LONGEST_WAIT
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return None
