"""The Graph API's route for sends: who may, faults on request, validation, and the answer in Meta's shape."""

import asyncio
import hmac
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from dev.whatsapp import validate
from dev.whatsapp.errors import MISSING_OBJECT, GraphError, envelope, http_status
from dev.whatsapp.faults import Fault, FaultKind
from dev.whatsapp.lines import Line
from dev.whatsapp.outbound import ReadReceipt
from dev.whatsapp.simulator import Simulator

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Graph:
    simulator: Simulator

    async def messages(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        try:
            line = self._authorised(request)
            body = _parsed(content)
            fault = self._fault(body, line) if self.simulator.faults else None
            if fault is not None:
                return await self._spoil(fault, request, line, body)
            return _answer(self._handle(line, body))
        except GraphError as error:
            return self._refusal(error)

    def _authorised(self, request: web.Request) -> Line:
        expected = f"Bearer {self.simulator.options.token}".encode()
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
            raise GraphError(190, "the access token cannot be read")
        number_id = request.match_info["phone_number_id"]
        line = self.simulator.lines.numbered(number_id)
        if line is None:
            raise GraphError(100, f"object {number_id} does not exist or may not be used", subcode=MISSING_OBJECT)
        return line

    def _handle(self, line: Line, body: object) -> dict[str, Any]:
        simulator = self.simulator
        asked = validate.request(body, simulator.templates)
        if isinstance(asked, ReadReceipt):
            if not any(reply.wamid == asked.wamid for reply in simulator.network.ledger.replies):
                raise GraphError(131009, "message_id is not a message received by this number")
            simulator.tally.add("read_receipts")
            return {"success": True}
        return simulator.network.send(line, asked)

    def _fault(self, body: object, line: Line) -> Fault | None:
        address = str(body.get("to") or body.get("recipient") or "") if isinstance(body, dict) else ""
        person = self.simulator.people.find(address)
        names = {address, address.lstrip("+")}
        if person is not None:
            names |= {person.id, person.bsuid, f"+{person.phone}", person.phone or ""}
        return self.simulator.faults.take(names, {line.name, line.phone_number_id})

    async def _spoil(self, fault: Fault, request: web.Request, line: Line, body: object) -> web.StreamResponse:
        self.simulator.tally.add(f"faults.{fault.kind}")
        match fault.kind:
            case FaultKind.ERROR_CODE:
                raise GraphError(fault.code or 1, "asked for by the control API")
            case FaultKind.HTTP_500:
                raise GraphError(131000, "asked for by the control API")
            case FaultKind.HTTP_503:  # as a proxy in front of the API answers: not even JSON
                return web.Response(status=503, text="<html><body>503</body></html>", content_type="text/html")
            case FaultKind.HANG:
                with self.simulator.busy("held"):
                    await asyncio.sleep(fault.seconds)
                return _answer(self._handle(line, body))
            case FaultKind.TIMEOUT_AFTER_ACCEPT:
                self._handle(line, body)
                await asyncio.sleep(fault.seconds)
            case FaultKind.TIMEOUT_BEFORE:
                await asyncio.sleep(fault.seconds)
            case FaultKind.REFUSE_CONNECTION:
                pass
        return _cut(request)

    def _refusal(self, error: GraphError) -> web.Response:
        tally = self.simulator.tally
        tally.add(f"errors.answer.{error.code}")
        trace = self.simulator.chance.whole(16, "trace", tally.total)
        return _answer(envelope(error, f"A{trace}"), http_status(error.code))


def _parsed(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise GraphError(100, "the body is not JSON") from error


def _answer(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type=_JSON)


def _cut(request: web.Request) -> web.StreamResponse:
    """Reset the connection; the response returned is never written to it."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
