"""Reads works, products and contacts from Consonance, with the fields that the tenant's schema offers.

The schema is read at first, and again once Consonance refuses a query by it. Every failure is ``Unavailable``: a
response of the wrong shape counts as no response.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from importlib.resources import files
from typing import Any

from shared.clients.consonance_graphql import ConsonanceClient, QueryFailed
from shared.contracts.errors import Unavailable
from shared.contracts.values import JsonObject

REQUEST_TIMEOUT = timedelta(seconds=30)

_CONDITION = re.compile(r"#\s*where\s+(\w+)\.(\w+)\s*$")

SchemaMembers = frozenset[tuple[str, str]]
"""(type, field or enum value) pairs."""


class ConsonanceReader:
    """Each method raises Unavailable."""

    def __init__(self, client: ConsonanceClient) -> None:
        self._client = client
        self._schema: SchemaMembers | None = None

    async def key_detail(self) -> str:
        """The refused key and its remedy, as a detail of readiness; empty while the key is accepted."""
        return await self._client.key_detail()

    @property
    def clock_lead(self) -> timedelta:
        """How far the clock of this machine is ahead of Consonance's, as far as that is known; it raises nothing."""
        return self._client.clock_lead

    async def works(self, after: int, changed_since: date | None) -> list[Any]:
        """The next page above ``after``; empty at the end.

        ``changed_since`` counts whole days, and also returns works that did not change.
        """
        return await self._nodes("works", _search(after, changed_since))

    async def work(self, work_id: int) -> list[Any]:
        """The work with this id in a list, which is empty where there is none."""
        return await self._nodes("works", {"idEq": work_id})

    async def products(self, after: int, changed_since: date | None) -> list[Any]:
        """The products of a page, read as ``works`` reads works."""
        return await self._nodes("products", _search(after, changed_since))

    async def contacts(self) -> list[Any]:
        """All contacts of the publisher, in one answer."""
        return await self._nodes("contacts", None)

    async def _nodes(self, name: str, search: JsonObject | None) -> list[Any]:
        if self._schema is None:
            self._schema = await self._read_schema()
        query = select_offered(load_query(name), self._schema)
        answer = await self._query(query, {} if search is None else {"search": search})
        nodes = answer.get(name)
        if not isinstance(nodes, list):
            raise Unavailable(f"Consonance answered no {name}")
        return nodes

    async def _read_schema(self) -> SchemaMembers:
        schema = (await self._query(load_query("offered"), {})).get("__schema")
        members = frozenset(_members(schema.get("types") if isinstance(schema, dict) else None))
        if not members:
            raise Unavailable("Consonance did not describe its types")
        return members

    async def _query(self, query: str, variables: JsonObject) -> JsonObject:
        """The query is sent without its comments."""
        try:
            return await self._client.query(without_comments(query), variables)
        except QueryFailed as fault:
            if fault.schema_changed:
                self._schema = None
            raise


def _members(types: Any) -> Iterator[tuple[str, str]]:
    for kind in types if isinstance(types, list) else ():
        for members in ("fields", "enumValues"):
            listed = kind.get(members) if isinstance(kind, dict) else None
            for member in listed if isinstance(listed, list) else ():
                if isinstance(member, dict):
                    yield str(kind.get("name")), str(member.get("name"))


@asynccontextmanager
async def connect(url: str, key: str) -> AsyncIterator[ConsonanceReader]:
    """A session that stays open; no request is sent yet. Half a surrogate in one record does not cost the others."""
    client = ConsonanceClient(url, key, REQUEST_TIMEOUT, service="ingest", meanwhile="webhooks go on")
    async with client:
        yield ConsonanceReader(client)


def load_query(name: str) -> str:
    return files("services.ingest.poll").joinpath(f"graphql/{name}.graphql").read_text("utf-8")


def select_offered(query: str, schema: SchemaMembers) -> str:
    """The query without the lines that end in "# where Type.member" for a member that is not in the schema."""
    lines = ((line, _CONDITION.search(line)) for line in query.splitlines())
    return "\n".join(line for line, condition in lines if condition is None or condition.groups() in schema)


def without_comments(query: str) -> str:
    """The query without comments and blank lines; none of ours has the sign of a comment in a text."""
    lines = (line.partition("#")[0].rstrip() for line in query.splitlines())
    return "\n".join(line for line in lines if line)


def _search(after: int, changed_since: date | None) -> JsonObject:
    since = {} if changed_since is None else {"changedSince": changed_since.isoformat()}
    return {"after": after, **since}
