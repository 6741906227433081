"""What ingest reads from Consonance: works, products and contacts, with the fields that the tenant's schema offers.

The schema is asked for once. Whatever goes wrong is ``Unavailable``: an answer that has not the shape it was asked for
is waited out as if none had come.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from importlib.resources import files
from typing import Any

from graphql import parse, print_ast

from services.ingest.records import parse_json
from shared.clients.consonance_graphql import ConsonanceClient
from shared.contracts.errors import Unavailable

REQUEST_TIMEOUT = timedelta(seconds=30)

_WHERE = re.compile(r"#\s*where\s+(\w+)\.(\w+)\s*$")

Offered = frozenset[tuple[str, str]]
"""(type, field or enum value) pairs."""

Answer = dict[str, Any]


class ConsonanceReader:
    """Each method raises Unavailable."""

    def __init__(self, client: ConsonanceClient) -> None:
        self._client = client
        self._offered: Offered | None = None

    async def key(self) -> str:
        """For readiness: the refused secret and the remedy, or nothing."""
        return await self._client.key_detail()

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
        """The query is sent without its comments."""
        return await self._client.query(print_ast(parse(query)), variables)


def _offered(types: Any) -> Iterator[tuple[str, str]]:
    for kind in types if isinstance(types, list) else ():
        for members in ("fields", "enumValues"):
            listed = kind.get(members) if isinstance(kind, dict) else None
            for member in listed if isinstance(listed, list) else ():
                if isinstance(member, dict):
                    yield str(kind.get("name")), str(member.get("name"))


@asynccontextmanager
async def connected(url: str, key: str) -> AsyncIterator[ConsonanceReader]:
    """A session kept open; nothing is asked yet. Half a surrogate in one record does not cost the others."""
    client = ConsonanceClient(
        url, key, REQUEST_TIMEOUT, service="ingest", meanwhile="webhooks go on", decode=parse_json
    )
    async with client:
        yield ConsonanceReader(client)


def query_text(name: str) -> str:
    return files("services.ingest").joinpath(f"graphql/{name}.graphql").read_text()


def only_offered(query: str, offered: Offered) -> str:
    """The query without the lines whose "# where" the schema does not meet."""
    lines = ((line, _WHERE.search(line)) for line in query.splitlines())
    return "\n".join(line for line, where in lines if where is None or (where[1], where[2]) in offered)


def _search(after: int, changed_since: date | None) -> Answer:
    since = {} if changed_since is None else {"changedSince": changed_since.isoformat()}
    return {"after": after, **since}
