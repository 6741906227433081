"""Consonance over GraphQL: reads only. Whatever goes wrong on the way is ``Unavailable``, a refused key too.

An answer that has not the shape it was asked for is a failure of Consonance: it is waited out as if none had come.

The schema of a tenant is asked for once; fields it does not offer are left out of the queries.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from importlib.resources import files
from typing import Any

import aiohttp
from gql import Client, gql
from gql.client import AsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportError, TransportServerError

from services.ingest.updates import read_json
from shared.clients.bounded_http import BoundedResponse
from shared.contracts.errors import Unavailable
from shared.runtime.telemetry import gauge, get_logger

REQUEST_SECONDS = 30

log = get_logger()
_REFUSED = frozenset({401, 403})
_KEY_SETTING = "STET_CONSONANCE_KEY"
_WHEN_REFUSED = "Consonance refuses it: make a new key in Consonance, put it in place, restart ingest; webhooks go on"

_WHERE = re.compile(r"#\s*where\s+(\w+)\.(\w+)\s*$")

Offered = frozenset[tuple[str, str]]
"""(type, field or enum value) pairs."""

Answer = dict[str, Any]


class Consonance:
    def __init__(self, session: AsyncClientSession) -> None:
        self._session = session
        self._offered: Offered | None = None
        self._key_refused = False

    async def key(self) -> str:
        """For readiness: which secret is refused and what to do, or nothing."""
        return f"{_KEY_SETTING}: {_WHEN_REFUSED}" if self._key_refused else ""

    async def works(self, after: int, changed_since: date | None) -> list[Any]:
        """The next page above ``after``; empty at the end. ``changed_since`` counts whole days and over-reports."""
        return await self._nodes("works", _search(after, changed_since))

    async def work(self, work_id: int) -> list[Any]:
        return await self._nodes("works", {"idEq": work_id})

    async def products(self, after: int, changed_since: date | None) -> list[Any]:
        return await self._nodes("products", _search(after, changed_since))

    async def contacts(self) -> list[Any]:
        return await self._nodes("contacts", None)

    async def _nodes(self, name: str, search: Answer | None) -> list[Any]:
        if self._offered is None:
            self._offered = await self._introspect()
        query = only_offered(query_text(name), self._offered)
        answer = await self._ask(query, {} if search is None else {"search": search})
        nodes = answer.get(name)
        if not isinstance(nodes, list):
            raise Unavailable(f"Consonance answered no {name}")
        return nodes

    async def _introspect(self) -> Offered:
        schema = (await self._ask(query_text("offered"), {})).get("__schema")
        offered = frozenset(_offered(schema.get("types") if isinstance(schema, dict) else None))
        if not offered:
            raise Unavailable("Consonance did not describe its types")
        return offered

    async def _ask(self, query: str, variables: Answer) -> Answer:
        """Errors count whatever the HTTP status: a partial answer is none."""
        request = gql(query)
        request.variable_values = variables
        try:
            answer = await self._session.execute(request)
        except TransportError as error:
            self._note_key(refused=getattr(error, "code", None) in _REFUSED)
            raise Unavailable(f"Consonance: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"Consonance cannot be reached: {type(error).__name__}") from error
        except Exception as error:  # a client library stumbles over what no GraphQL server says
            raise Unavailable(f"Consonance's answer cannot be read: {type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise Unavailable("Consonance answered without data")
        self._note_key(refused=False)
        return answer

    def _note_key(self, *, refused: bool) -> None:
        if refused is self._key_refused:
            return
        self._key_refused = refused
        gauge("stet_ingest_consonance_key_refused", "1 while Consonance refuses STET_CONSONANCE_KEY").set(refused)
        if refused:
            log.error("secret.refused", setting=_KEY_SETTING, hint=_WHEN_REFUSED)
        else:
            log.info("secret.accepted", setting=_KEY_SETTING)


def _offered(types: Any) -> Iterator[tuple[str, str]]:
    for kind in types if isinstance(types, list) else ():
        for members in ("fields", "enumValues"):
            listed = kind.get(members) if isinstance(kind, dict) else None
            for member in listed if isinstance(listed, list) else ():
                if isinstance(member, dict):
                    yield str(kind.get("name")), str(member.get("name"))


def _read(text: str) -> Any:
    """Half a surrogate in one record must not cost the others."""
    return read_json(text.encode("utf-8", "replace"))


async def _heed_refusal(response: aiohttp.ClientResponse) -> None:
    """Whatever the body says: gql looks at the status only where the body is no GraphQL."""
    if response.status in _REFUSED:
        raise TransportServerError("the key was refused", response.status)


@asynccontextmanager
async def connected(url: str, key: str) -> AsyncIterator[Consonance]:
    """A session kept open; nothing is asked yet."""
    headers = {"Authorization": f"Bearer {key}"}
    transport = AIOHTTPTransport(
        url=url,
        headers=headers,
        timeout=REQUEST_SECONDS,
        json_deserialize=_read,
        client_session_args={"response_class": BoundedResponse, "raise_for_status": _heed_refusal},
    )
    async with Client(transport=transport, execute_timeout=REQUEST_SECONDS) as session:
        yield Consonance(session)


def query_text(name: str) -> str:
    return files("services.ingest").joinpath(f"graphql/{name}.graphql").read_text()


def only_offered(query: str, offered: Offered) -> str:
    """The query without the lines whose "# where" the schema does not meet."""
    lines = ((line, _WHERE.search(line)) for line in query.splitlines())
    return "\n".join(line for line, where in lines if where is None or (where[1], where[2]) in offered)


def _search(after: int, changed_since: date | None) -> Answer:
    since = {} if changed_since is None else {"changedSince": changed_since.isoformat()}
    return {"after": after, **since}
