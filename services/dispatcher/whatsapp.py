"""The WhatsApp Cloud API: one POST per message over a pool of kept connections, and what it came to.

There is no idempotency key: a request is never repeated here, and once its first byte may have left, anything but a
readable answer is doubtful. The body asks its lease at the instant it is written, after any wait for a connection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from services.dispatcher.errors import Action, Fault
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Unsent, read_answer
from services.dispatcher.states import Reason
from shared.runtime.failures import describe_failure
from shared.runtime.telemetry import get_logger

log = get_logger()

_CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 15.0  # shorter than Meta's: a connection the far side closes under a request leaves it in doubt
_MOST_ANSWER = 256 * 1024  # bytes; WhatsApp's own have some hundred
_LONGEST_WAIT = timedelta(days=1)
_DIGITS = 9
_UNSENDABLE = Faulted(None, Fault(Action.REFUSE_MESSAGE))
_THROTTLE_HEADER = "X-Business-Use-Case-Usage"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to send; ``numbers`` maps a line to its phone number id."""

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
    """JSON that is written only while ``may_write()``, and remembers whether it was."""

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


class WhatsApp:
    """Open it as an async context; ``send`` may run as often at once as there are connections."""

    def __init__(self, endpoint: Endpoint, connections: int) -> None:
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=endpoint.timeout.total_seconds(), connect=_CONNECT_SECONDS)
        self._headers = {"Authorization": f"Bearer {endpoint.token}"}
        self._urls = {line: endpoint.messages_url(line) for line in endpoint.numbers}
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

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> Outcome:
        assert self._session is not None, "open it first"  # noqa: S101 -- a mistake of ours, not of the world
        payload = _Body(body, may_write)
        try:
            async with self._session.post(self._urls[line], data=payload, allow_redirects=False) as response:
                answer = await _read(response.content)
                return read_answer(response.status, answer, _asked_to_wait(response.headers))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return _without_answer(payload)
        except Exception as error:  # noqa: BLE001 -- one answer, or one body, that surprises must not end all sends
            log.error("send.surprised", line=line, begun=payload.begun, sentence=describe_failure(error))  # noqa: TRY400 -- a trace shows texts
            return Doubtful(Reason.UNREADABLE_ANSWER) if payload.begun else _UNSENDABLE


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The answer; of one that is far longer than WhatsApp's are, nothing that could be read as JSON."""
    parts = bytearray()
    while chunk := await content.read(_MOST_ANSWER):
        parts += chunk
        if len(parts) > _MOST_ANSWER:
            return b""
    return bytes(parts)


def _without_answer(payload: _Body) -> Outcome:
    if payload.begun:
        return Doubtful(Reason.NO_ANSWER)
    return Unsent(Reason.LEASE_ENDED if payload.refused else Reason.NOT_REACHED)


def _asked_to_wait(headers: Mapping[str, str]) -> timedelta | None:
    """``Retry-After`` in seconds, or the minutes Meta estimates in its usage header."""
    after = headers.get("Retry-After", "")
    if after.isascii() and after.isdigit():
        return _LONGEST_WAIT if len(after) > _DIGITS else min(timedelta(seconds=int(after)), _LONGEST_WAIT)
    usage = headers.get(_THROTTLE_HEADER)
    return _estimated(usage) if usage else None


def _estimated(usage: str) -> timedelta | None:
    try:
        accounts = orjson.loads(usage)
        minutes = max(use["estimated_time_to_regain_access"] for uses in accounts.values() for use in uses)
        return min(timedelta(minutes=minutes), _LONGEST_WAIT) if minutes > 0 else None
    except OverflowError:
        return _LONGEST_WAIT
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return None
