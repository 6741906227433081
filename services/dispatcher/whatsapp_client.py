"""The client of the WhatsApp Cloud API: one POST per message over a pool of kept connections, and its outcome.

The API has no idempotency key. A request is therefore never repeated here, and once its first byte may have left,
anything but a readable response is uncertain. The body checks its lease in the instant it is written, after any wait
for a connection. libcurl sends them with less than half the CPU that aiohttp needs (docs/decisions/0104).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import orjson
import pycurl
from msgspec import Struct
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS

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
from shared.clients.http_requests import Exchange, open_multi, request_options
from shared.runtime.failures import describe_failure
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import annotate

log = get_logger()

_KEEPALIVE_SECONDS = 15  # shorter than Meta's: a connection closed under a request leaves the request uncertain
_LONGEST_RESPONSE = 256 * 1024  # bytes; WhatsApp's own have some hundred
_LONGEST_WAIT = timedelta(days=1)
_MOST_DIGITS = 9
_HTTP_OK = 200
_HTTP_REDIRECT = 300
_INVALID_REQUEST = SendError(None, ErrorPolicy(ErrorAction.REFUSE_MESSAGE))
_USAGE_HEADER = "x-business-use-case-usage"


@dataclass(frozen=True, slots=True)
class WhatsAppEndpoint:
    """``numbers`` maps a line to its phone number id; ``timeout`` is for one request."""

    graph_url: str
    version: str
    token: str
    numbers: Mapping[str, str]
    timeout: timedelta = timedelta(seconds=10)

    def number_url(self, line: str) -> str:
        return f"{self.graph_url.rstrip('/')}/{self.version}/{self.numbers[line]}"


_NUMBER_FIELDS = "display_phone_number,quality_rating,throughput"
_PEOPLE_FIELD = "whatsapp_business_manager_messaging_limit"


class NumberReport(Struct, frozen=True):
    """Meta's words: ``quality`` GREEN, YELLOW, RED or UNKNOWN; ``throughput`` STANDARD or HIGH.

    ``display_number`` has the digits by which webhooks name the number; ``people`` a day are like TIER_2K.
    """

    quality: str
    throughput: str | None = None
    display_number: str = ""
    people: str | None = None


class WhatsAppClient:
    """An async context. As many ``send`` calls may run at once as there are connections."""

    def __init__(self, endpoint: WhatsAppEndpoint, connections: int) -> None:
        self._connections = connections
        self._urls = {line: f"{endpoint.number_url(line)}/messages" for line in endpoint.numbers}
        self._number_urls = {line: endpoint.number_url(line) for line in endpoint.numbers}
        self._options = _options(endpoint)
        self._idle: list[Exchange] = []
        self._multi: pycurl.AsyncCurlMulti | None = None
        self._span_attributes = {
            HTTP_REQUEST_METHOD: "POST",
            "url.template": "/{version}/{phone_number_id}/messages",
            SERVER_ADDRESS: urlsplit(endpoint.graph_url).hostname or "",
        }

    async def __aenter__(self) -> Self:
        self._multi = open_multi(self._connections)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._multi is not None:
            await self._multi.aclose()
        self._idle.clear()

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> SendOutcome:
        """Never raises for an error of the network or the response; ``may_write`` is called as the body is written."""
        assert self._multi is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        annotate(self._span_attributes)
        url = self._urls[line]
        exchange = self._idle.pop() if self._idle else Exchange(url, self._options, _LONGEST_RESPONSE)
        exchange.prepare(url, body, may_write)
        outcome = await self._perform(self._multi, exchange, line)
        self._idle.append(exchange)  # one whose request was cancelled is still libcurl's, and does not come here
        return outcome

    async def _perform(self, multi: pycurl.AsyncCurlMulti, exchange: Exchange, line: str) -> SendOutcome:
        try:
            await multi.perform(exchange.curl)
        except pycurl.error as error:
            if error.args[0] != pycurl.E_WRITE_ERROR:  # which is a response that is too long
                return _outcome_without_response(exchange)
        try:
            return _read_outcome(exchange)
        except Exception as error:  # noqa: BLE001 -- one unexpected response must not end all sends
            log.error("send.failed", line=line, begun=exchange.begun, sentence=describe_failure(error))  # noqa: TRY400 -- a trace quotes texts
            return SendUncertain(MessageReason.UNREADABLE_ANSWER) if exchange.begun else _INVALID_REQUEST

    async def display_number(self, line: str) -> str | None:
        """The digits of the number as people see it, by which webhooks name it; None where WhatsApp does not say."""
        return _digits(await self._read_number(line, "display_phone_number")) or None

    async def number_report(self, line: str) -> NumberReport | None:
        """The number's quality and throughput; None where WhatsApp does not say."""
        document = await self._read_number(line, _NUMBER_FIELDS)
        quality, throughput = document.get("quality_rating"), document.get("throughput")
        if not isinstance(quality, str) or not quality:
            return None
        level = throughput.get("level") if isinstance(throughput, dict) else None
        return NumberReport(
            quality=quality.upper(),
            throughput=level.upper() if isinstance(level, str) else None,
            display_number=_digits(document),
            people=await self._people_a_day(line),
        )

    async def _people_a_day(self, line: str) -> str | None:
        """Asked by itself: versions before v24.0 refuse a question for this field."""
        limit = (await self._read_number(line, _PEOPLE_FIELD)).get(_PEOPLE_FIELD)
        return limit if isinstance(limit, str) else None

    async def _read_number(self, line: str, fields: str) -> Mapping[str, Any]:
        """Empty where WhatsApp does not answer with an object."""
        assert self._multi is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        query = urlencode({"fields": fields})
        exchange = Exchange(
            f"{self._number_urls[line]}?{query}", {**self._options, pycurl.HTTPGET: 1}, _LONGEST_RESPONSE
        )
        try:
            await self._multi.perform(exchange.curl)
            document = orjson.loads(exchange.content)
        except (pycurl.error, orjson.JSONDecodeError):
            return {}
        return document if isinstance(document, dict) else {}


def _digits(document: Mapping[str, Any]) -> str:
    """The digits of the number as people see it; empty where WhatsApp does not say them."""
    number = document.get("display_phone_number")
    return "".join(filter(str.isdigit, number)) if isinstance(number, str) else ""


def _options(endpoint: WhatsAppEndpoint) -> dict[int, object]:
    headers = [f"Authorization: Bearer {endpoint.token}", "Content-Type: application/json", "Expect:"]
    own = {pycurl.HTTPHEADER: headers, pycurl.MAXAGE_CONN: _KEEPALIVE_SECONDS}
    return request_options(endpoint.timeout) | own


def _read_outcome(exchange: Exchange) -> SendOutcome:
    status = exchange.status
    annotate({HTTP_RESPONSE_STATUS_CODE: status})
    wait = None if _HTTP_OK <= status < _HTTP_REDIRECT else _parse_wait(exchange.headers())
    return parse_response(status, bytes(exchange.content), wait)


def _outcome_without_response(exchange: Exchange) -> SendOutcome:
    if exchange.begun:
        return SendUncertain(MessageReason.NO_ANSWER)
    return SendNotStarted(MessageReason.LEASE_ENDED if exchange.refused else MessageReason.NOT_REACHED)


def _parse_wait(headers: Mapping[str, str]) -> timedelta | None:
    """``Retry-After`` in seconds, or the minutes that Meta estimates in its usage header; a day at most.

    The names of ``headers`` are in lower case.
    """
    after = headers.get("retry-after", "")
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
