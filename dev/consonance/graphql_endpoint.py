"""``POST /graphql``: checks the key, applies requested faults, then lets ariadne answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson
from aiohttp import web
from ariadne import graphql
from graphql import GraphQLError, GraphQLSchema, OperationType, parse
from graphql.language import FieldNode, OperationDefinitionNode

from dev.consonance.faults import ErrorPlace, RequestFault, RequestFaultKind
from dev.consonance.simulator import ConsonanceSimulator, MutationContext


@dataclass(frozen=True)
class RequestTarget:
    """The names in a document that a fault may match, and whether it writes."""

    names: frozenset[str]
    writes: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """A document that does not parse is about nothing; ariadne will say what is wrong with it."""
        query = document.get("query")
        try:
            parsed = parse(query if isinstance(query, str) else "", no_location=True)
        except GraphQLError:
            return cls(frozenset(), writes=False)
        operations = [node for node in parsed.definitions if isinstance(node, OperationDefinitionNode)]
        named = {node.name.value for node in operations if node.name}
        fields = {
            field.name.value
            for node in operations
            for field in node.selection_set.selections
            if isinstance(field, FieldNode)
        }
        return cls(frozenset(named | fields), any(node.operation is OperationType.MUTATION for node in operations))

    def hit_by(self, fault: RequestFault) -> bool:
        return fault.operation is None or fault.operation in self.names


class GraphqlEndpoint:
    def __init__(self, simulator: ConsonanceSimulator, schema: GraphQLSchema) -> None:
        self._simulator = simulator
        self._schema = schema

    async def graphql(self, request: web.Request) -> web.StreamResponse:
        self._simulator.work_count += 1
        self._simulator.answering += 1
        try:
            return await self._answer(request)
        finally:
            self._simulator.answering -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("authorization") != f"Bearer {self._simulator.options.key}":
            return _json({"error": "HTTP Token: Access denied."}, status=401)
        try:
            document = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _json({"error": "The body is not JSON."}, status=400)
        if not isinstance(document, dict):
            return _json({"error": "The body is not a JSON object."}, status=400)
        return await self._apply_faults(request, document, RequestTarget.of(document))

    async def _apply_faults(
        self, request: web.Request, document: dict[str, Any], asked: RequestTarget
    ) -> web.StreamResponse:
        if self._take(RequestFaultKind.REVOKED_KEY, asked):
            return _json({"error": "HTTP Token: Access denied."}, status=401)
        if self._take(RequestFaultKind.HTTP_503, asked):
            return _json({"error": "The service is being deployed."}, status=503, headers={"Retry-After": "1"})
        if late := self._take(RequestFaultKind.LATENCY, asked):
            await asyncio.sleep(late.seconds)
        if edit := self._take_aimed_edit(asked):
            self._simulator.edit_before_write(edit)
        refusal = self._take(RequestFaultKind.OK_WITH_ERRORS, asked)
        if refusal and (refusal.place is ErrorPlace.GRAPHQL or not asked.writes):
            return _json({"data": None, "errors": [{"message": refusal.message}]})
        lost = self._take(RequestFaultKind.WRITE_THEN_TIMEOUT, asked) if asked.writes else None
        answer = await self._execute(document, refusal)
        return answer if lost is None else await _close_after_write(request, lost.seconds)

    def _take(self, kind: RequestFaultKind, asked: RequestTarget) -> RequestFault | None:
        return self._simulator.faults.take(kind, asked.hit_by)

    def _take_aimed_edit(self, asked: RequestTarget) -> RequestFault | None:
        """One without an operation waits for the mutation itself (``MutationContext``)."""
        return self._simulator.faults.take(
            RequestFaultKind.EDIT_BEFORE_WRITE, lambda fault: fault.operation in asked.names
        )

    async def _execute(self, document: dict[str, Any], refusal: RequestFault | None) -> web.Response:
        session = MutationContext(self._simulator, refusal)
        _, answer = await graphql(self._schema, document, context_value=session, logger="dev.consonance")
        return _json(answer)


async def _close_after_write(request: web.Request, seconds: float) -> web.StreamResponse:
    """Close the connection without an answer after the write has taken effect."""
    await asyncio.sleep(seconds)
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
