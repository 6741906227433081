"""Consonance over GraphQL: reads only. Whatever goes wrong on the way is ``Unavailable``, a refused key too.

The schema of a tenant is asked for once; fields it does not offer are left out of the queries.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from importlib.resources import files
from typing import Any

import aiohttp
from gql import Client, gql
from gql.client import AsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportError

from shared.errors import Unavailable

REQUEST_SECONDS = 30

_WHERE = re.compile(r"#\s*where\s+(\w+)\.(\w+)\s*$")

Offered = frozenset[tuple[str, str]]
"""(type, field or enum value) pairs."""

Node = dict[str, Any]


class Consonance:
    def __init__(self, session: AsyncClientSession) -> None:
        self._session = session
        self._offered: Offered | None = None

    async def works(self, after: int, changed_since: date | None) -> list[Node]:
        """The next page above ``after``; empty at the end. ``changed_since`` counts whole days and over-reports."""
        return await self._nodes("works", _search(after, changed_since))

    async def work(self, work_id: int) -> list[Node]:
        return await self._nodes("works", {"idEq": work_id})

    async def products(self, after: int, changed_since: date | None) -> list[Node]:
        return await self._nodes("products", _search(after, changed_since))

    async def contacts(self) -> list[Node]:
        return await self._nodes("contacts", None)

    async def _nodes(self, name: str, search: Node | None) -> list[Node]:
        if self._offered is None:
            self._offered = await self._introspect()
        query = only_offered(query_text(name), self._offered)
        answer = await self._ask(query, {} if search is None else {"search": search})
        nodes = answer.get(name)
        if not isinstance(nodes, list):
            raise Unavailable(f"Consonance answered no {name}")
        return [node for node in nodes if isinstance(node, dict)]

    async def _introspect(self) -> Offered:
        schema = (await self._ask(query_text("offered"), {})).get("__schema") or {}
        return frozenset(
            (kind["name"], member["name"])
            for kind in schema.get("types", ())
            for members in ("fields", "enumValues")
            for member in kind.get(members) or ()
        )

    async def _ask(self, query: str, variables: Node) -> Node:
        """Errors count whatever the HTTP status: a partial answer is none."""
        request = gql(query)
        request.variable_values = variables
        try:
            return await self._session.execute(request)
        except TransportError as error:
            raise Unavailable(f"Consonance: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"Consonance cannot be reached: {type(error).__name__}") from error


@asynccontextmanager
async def connected(url: str, key: str) -> AsyncIterator[Consonance]:
    """A session kept open; nothing is asked yet."""
    headers = {"Authorization": f"Bearer {key}"}
    transport = AIOHTTPTransport(url=url, headers=headers, timeout=REQUEST_SECONDS)
    async with Client(transport=transport, execute_timeout=REQUEST_SECONDS) as session:
        yield Consonance(session)


def query_text(name: str) -> str:
    return files("services.ingest").joinpath(f"graphql/{name}.graphql").read_text()


def only_offered(query: str, offered: Offered) -> str:
    """The query without the lines whose "# where" the schema does not meet."""
    lines = ((line, _WHERE.search(line)) for line in query.splitlines())
    return "\n".join(line for line, where in lines if where is None or (where[1], where[2]) in offered)


def _search(after: int, changed_since: date | None) -> Node:
    since = {} if changed_since is None else {"changedSince": changed_since.isoformat()}
    return {"after": after, **since}
