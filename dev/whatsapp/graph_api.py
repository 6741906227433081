"""``POST /{version}/{phone number id}/messages``, numbers and files: the Graph API, and the faults of tests."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from dev.whatsapp.access import check_access
from dev.whatsapp.directory import BusinessLine
from dev.whatsapp.faults import SendFault, SendFaultKind
from dev.whatsapp.graph_errors import MISSING_OBJECT, GraphError, envelope, http_status
from dev.whatsapp.media import LINK_PATH
from dev.whatsapp.messages import ReadReceipt
from dev.whatsapp.send_validation import read_send
from dev.whatsapp.simulator import WhatsAppSimulator

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class GraphApi:
    simulator: WhatsAppSimulator

    async def messages(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        try:
            line = self._authorised(request)
            body = _parsed(content)
            fault = self._fault(body, line) if self.simulator.faults else None
            if fault is not None:
                return await self._apply_fault(fault, request, line, body)
            return _answer(self._handle(line, body))
        except GraphError as error:
            return self._refusal(error)

    async def lookup(self, request: web.Request) -> web.StreamResponse:
        """``GET /{version}/{id}``: what a token may see of a number, or a link to a file."""
        try:
            self._check_token(request)
            object_id = request.match_info["phone_number_id"]
            line = self.simulator.lines.numbered(object_id)
            if line is None:
                return _answer(self._media_link(request, object_id))
            facts = {"id": object_id, "quality_rating": self.simulator.qualities.get(line.name, "GREEN")}
            level = "HIGH" if line.name in self.simulator.upgraded else "STANDARD"
            more: dict[str, Any] = {"name_status": "APPROVED", "throughput": {"level": level}}
            limit = self.simulator.people_a_day
            if limit is not None:
                more["whatsapp_business_manager_messaging_limit"] = limit
            return _answer({**facts, **more, "display_phone_number": f"+{line.display}"})
        except GraphError as error:
            return self._refusal(error)

    async def app(self, request: web.Request) -> web.StreamResponse:
        """``GET /{version}/app``: the app that the token belongs to."""
        try:
            self._check_token(request)
        except GraphError as error:
            return self._refusal(error)
        return _answer(self._app())

    async def subscribed_apps(self, request: web.Request) -> web.StreamResponse:
        """``/{version}/{business account}/subscribed_apps``: GET lists, POST subscribes our app, DELETE ends that.

        https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/subscribed_apps/
        """
        account, delivery = request.match_info["account"], self.simulator.delivery
        try:
            self._check_token(request)
            self._check_account(account)
        except GraphError as error:
            return self._refusal(error)
        if request.method == "GET":
            return _answer({"data": [{"whatsapp_business_api_data": self._app()}] if delivery.subscribed else []})
        delivery.subscribed = request.method == "POST"
        return _answer({"success": True})

    def _check_account(self, account: str) -> None:
        if account != self.simulator.options.business_account:
            raise GraphError(100, f"object {account} does not exist or may not be used", subcode=MISSING_OBJECT)

    def _app(self) -> dict[str, Any]:
        app = self.simulator.options.app
        return {"link": f"https://www.facebook.com/games/?app_id={app}", "name": "Stet", "id": app}

    def _media_link(self, request: web.Request, media_id: str) -> dict[str, Any]:
        """https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#retrieve-media-url"""
        number = request.query.get("phone_number_id")
        if number is not None and self.simulator.lines.numbered(number) is None:
            raise GraphError(100, f"object {number} does not exist or may not be used", subcode=MISSING_OBJECT)
        files = self.simulator.network.media
        file = files.find(media_id)
        self.simulator.counters.add("media.links")
        return {
            "messaging_product": "whatsapp",
            "url": f"{request.scheme}://{request.host}{LINK_PATH}/?mid={files.link(media_id)}",
            "mime_type": file.mime,
            "sha256": file.digest.hex(),
            "file_size": len(file.content),
            "id": media_id,
        }

    async def download(self, request: web.Request) -> web.StreamResponse:
        """The link of a file, on another host at Meta: 401 without our token, 404 after five minutes."""
        try:
            self._check_token(request)
        except GraphError:
            return web.Response(status=401)
        file = self.simulator.network.media.linked(request.query.get("mid", ""))
        if file is None:
            return web.Response(status=404)
        self.simulator.counters.add("media.downloads")
        return web.Response(body=file.content, content_type=file.mime)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """``POST /{version}/{phone number id}/media``, multipart: ``messaging_product``, ``file``, ``type``."""
        try:
            number = self._authorised(request).phone_number_id
            kept = self.simulator.network.media.upload(*await _uploaded(request), number)
        except GraphError as error:
            return self._refusal(error)
        self.simulator.counters.add("media.uploads")
        return _answer({"id": kept.media_id})

    def _check_token(self, request: web.Request) -> None:
        check_access(request, self.simulator.options)

    def _authorised(self, request: web.Request) -> BusinessLine:
        self._check_token(request)
        number_id = request.match_info["phone_number_id"]
        line = self.simulator.lines.numbered(number_id)
        if line is None:
            raise GraphError(100, f"object {number_id} does not exist or may not be used", subcode=MISSING_OBJECT)
        return line

    def _handle(self, line: BusinessLine, body: object) -> dict[str, Any]:
        simulator = self.simulator
        files = partial(simulator.network.media.check_sendable, number=line.phone_number_id)
        asked = read_send(body, simulator.templates, files)
        if isinstance(asked, ReadReceipt):
            if not any(reply.wamid == asked.wamid for reply in simulator.network.message_log.replies):
                raise GraphError(131009, "message_id is not a message received by this number")
            simulator.counters.add("read_receipts")
            return {"success": True}
        return simulator.network.send(line, asked)

    def _fault(self, body: object, line: BusinessLine) -> SendFault | None:
        address = str(body.get("to") or body.get("recipient") or "") if isinstance(body, dict) else ""
        person = self.simulator.people.find(address)
        names = {address, address.lstrip("+")}
        if person is not None:
            names |= {person.id, person.bsuid, f"+{person.phone}", person.phone or ""}
        return self.simulator.faults.take(names, {line.name, line.phone_number_id})

    async def _apply_fault(
        self, fault: SendFault, request: web.Request, line: BusinessLine, body: object
    ) -> web.StreamResponse:
        self.simulator.counters.add(f"faults.{fault.kind}")
        match fault.kind:
            case SendFaultKind.ERROR_CODE:
                raise GraphError(fault.code or 1, "asked for by the control API")
            case SendFaultKind.HTTP_500:
                raise GraphError(131000, "asked for by the control API")
            case SendFaultKind.HTTP_503:  # as a proxy in front of the API answers: not even JSON
                return web.Response(status=503, text="<html><body>503</body></html>", content_type="text/html")
            case SendFaultKind.HANG:
                with self.simulator.busy("held"):
                    await asyncio.sleep(fault.seconds)
                return _answer(self._handle(line, body))
            case SendFaultKind.TIMEOUT_AFTER_ACCEPT:
                self._handle(line, body)
                await asyncio.sleep(fault.seconds)
            case SendFaultKind.TIMEOUT_BEFORE:
                await asyncio.sleep(fault.seconds)
            case SendFaultKind.REFUSE_CONNECTION:
                pass
        return _cut(request)

    def _refusal(self, error: GraphError) -> web.Response:
        counters = self.simulator.counters
        counters.add(f"errors.answer.{error.code}")
        trace = self.simulator.chance.whole(16, "trace", counters.total)
        return _answer(envelope(error, f"A{trace}"), http_status(error.code))


async def _uploaded(request: web.Request) -> tuple[str, bytes]:
    """Content type and bytes of an upload."""
    if not request.content_type.startswith("multipart/"):
        raise GraphError(100, "the body is not multipart/form-data")
    form = await request.post()
    file = form.get("file")
    if form.get("messaging_product") != "whatsapp" or not isinstance(file, web.FileField):
        raise GraphError(100, "the parameters messaging_product and file are required")
    return str(form.get("type") or file.content_type), file.file.read()


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
