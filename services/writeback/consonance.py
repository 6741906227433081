"""The tenant's Consonance over GraphQL: reads, writes and introspection, each with the error that says what comes next.

A read that fails may be asked again. A write that got no clear answer is never repeated here: it raises Unanswered, and
whoever asked looks before doing anything else. Plain aiohttp rather than a GraphQL client's transport, because those
hide the HTTP status behind a JSON body and put the body into their error texts.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self, cast

import aiohttp
import orjson
from graphql import (
    GraphQLSchema,
    IntrospectionQuery,
    assert_valid_schema,
    build_client_schema,
    get_introspection_query,
)

from services.writeback.answers import (
    KeyRefused,
    NotReached,
    ReadFailed,
    Reply,
    Unanswered,
    is_schema_fault,
    reply_of,
)
from shared.clients.bounded_http import BoundedResponse
from shared.contracts.errors import Throttled, Unavailable

_PAUSE_IF_UNSAID = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(hours=1)
_LONGEST_NUMBER = 9  # digits
_INTROSPECTION = get_introspection_query(descriptions=False)
_NEVER_LEFT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_CONNECTIONS = 32


class Consonance:
    """``key`` goes into one header and nowhere else; ``timeout`` bounds one request as a whole."""

    def __init__(self, url: str, key: str, timeout: timedelta) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json; charset=utf-8"}
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds(), sock_connect=timeout.total_seconds())
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, headers=self._headers, response_class=BoundedResponse
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def schema(self) -> GraphQLSchema:
        """Raises Unavailable for an answer that describes none."""
        described = await self.read(_INTROSPECTION, {})
        try:
            schema = build_client_schema(cast("IntrospectionQuery", described))
            assert_valid_schema(schema)
        except Exception as error:  # noqa: BLE001 -- a library stumbles over what no GraphQL server says
            raise Unavailable(f"Consonance's schema cannot be read: {type(error).__name__}") from None
        return schema

    async def read(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The ``data`` of a query; ReadFailed where the server answered with errors.

        An answer of another shape says nothing, not even that a record is missing: it raises Unavailable.
        """
        status, body = await self._post(document, variables)
        if status >= 500 or not isinstance(body, dict):
            raise Unavailable(f"Consonance answered a read with HTTP {status}")
        if errors := body.get("errors"):
            raise ReadFailed(f"a read was answered with errors, HTTP {status}", schema_changed=is_schema_fault(errors))
        data = body.get("data")
        if not isinstance(data, dict):
            raise Unavailable(f"Consonance answered a read without data, HTTP {status}")
        return data

    async def write(self, document: str, variables: Mapping[str, Any], errors_field: str) -> Reply:
        """What the server said of a mutation. Raises Unanswered where that tells nothing of what became of it."""
        status, body = await self._post(document, variables)
        if status >= 500 or not isinstance(body, dict):
            raise Unanswered(f"Consonance answered a write with HTTP {status}")
        return reply_of(body, errors_field)

    async def _post(self, document: str, variables: Mapping[str, Any]) -> tuple[int, Any]:
        assert self._session is not None  # noqa: S101 -- used inside its own ``async with`` only
        payload = orjson.dumps({"query": document, "variables": variables})
        try:
            async with self._session.post(self._url, data=payload) as response:
                _heed(response.status, response.headers.get("Retry-After"))
                return response.status, _json_or_none(await response.read())
        except _NEVER_LEFT as error:
            raise NotReached(f"Consonance cannot be reached: {type(error).__name__}") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(f"Consonance did not answer: {type(error).__name__}") from None


def _heed(status: int, retry_after: str | None) -> None:
    """Statuses by which nothing was executed, whatever the body says."""
    if status in {401, 403}:
        raise KeyRefused(f"Consonance refused the key: HTTP {status}")
    if status == 429:
        raise Throttled("Consonance asked for a pause", wait=_pause(retry_after))


def _pause(retry_after: str | None) -> timedelta:
    """What was asked for in seconds, within reason: nobody is waited for a year on one answer's word."""
    said = retry_after is not None and retry_after.isascii() and retry_after.isdecimal()
    if retry_after is None or not said:
        return _PAUSE_IF_UNSAID
    return min(timedelta(seconds=int(retry_after[:_LONGEST_NUMBER])), _LONGEST_PAUSE)


def _json_or_none(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
