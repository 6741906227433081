"""``/{version}/{business account}/message_templates`` and the edges of one template, as the Graph API answers them."""

import base64
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from dev.whatsapp.access import check_access
from dev.whatsapp.graph_errors import MISSING_OBJECT, GraphError, envelope, http_status
from dev.whatsapp.simulator import WhatsAppSimulator

_PAGE, _LARGEST_PAGE = 25, 1000
BAD_CURSOR = 131059
"""Graph API from v24.0 on: a cursor that belongs to no list."""


@dataclass(frozen=True, slots=True)
class TemplateApi:
    simulator: WhatsAppSimulator

    async def list(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._list)

    async def create(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._create)

    async def delete(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._delete)

    async def edit(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._edit)

    async def unpause(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._unpause)

    async def begin_upload(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._begin_upload)

    async def upload(self, request: web.Request) -> web.Response:
        """The one call that takes the token as OAuth, and not as Bearer."""
        return await self._answer(request, self._upload, scheme="OAuth")

    async def upload_progress(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._upload_progress, scheme="OAuth")

    async def _answer(self, request: web.Request, handle: Any, *, scheme: str = "Bearer") -> web.Response:
        content = await request.read()
        try:
            self._authorise(request, scheme)
            body = _json(handle(request, content))
        except GraphError as error:
            self.simulator.counters.add(f"errors.answer.{error.code}")
            return web.Response(
                body=orjson.dumps(envelope(error, "Atemplates")),
                status=http_status(error.code),
                content_type="application/json",
            )
        return body

    def _authorise(self, request: web.Request, scheme: str) -> None:
        check_access(request, self.simulator.options, scheme)
        account = request.match_info.get("account")
        if account is not None and account != self.simulator.options.business_account:
            raise GraphError(100, f"object {account} does not exist or may not be used", subcode=MISSING_OBJECT)
        app = request.match_info.get("app")
        if app is not None and app != self.simulator.options.app:
            raise GraphError(100, f"object {app} does not exist or may not be used", subcode=MISSING_OBJECT)

    def _list(self, request: web.Request, _: bytes) -> Any:
        """Pages of the list, by name and language; ``fields``, ``name``, ``status``, ``limit`` and ``after`` count."""
        if self.simulator.templates.accept_any:
            raise GraphError(100, "every template is accepted here (--accept-any-template), so there is no list")
        query = request.query
        entries = [
            entry
            for entry in self.simulator.template_account.listed()
            if query.get("name", entry["name"]) == entry["name"]
            and query.get("status", entry["status"]) == entry["status"]
        ]
        limit = min(max(int(query.get("limit", _PAGE)), 1), _LARGEST_PAGE)
        start = _place(query["after"], len(entries)) if "after" in query else 0
        fields = {name for name in query.get("fields", "").split(",") if name} | {"id"}
        page = [
            {key: value for key, value in entry.items() if len(fields) == 1 or key in fields}
            for entry in entries[start : start + limit]
        ]
        paging: dict[str, Any] = {"cursors": {"before": _cursor(start), "after": _cursor(start + len(page))}}
        if start + len(page) < len(entries):
            following = {**query, "limit": str(limit), "after": _cursor(start + len(page))}
            paging["next"] = str(request.url.with_query(following))
        return {"data": page, "paging": paging}

    def _create(self, _: web.Request, content: bytes) -> Any:
        return self.simulator.template_account.create(_parsed(content))

    def _delete(self, request: web.Request, _: bytes) -> Any:
        return self.simulator.template_account.delete(request.query.get("name", ""))

    def _edit(self, request: web.Request, content: bytes) -> Any:
        return self.simulator.template_account.edit(request.match_info["template_id"], _parsed(content))

    def _begin_upload(self, request: web.Request, _: bytes) -> Any:
        return self.simulator.template_account.uploads.begin(request.query)

    def _upload(self, request: web.Request, content: bytes) -> Any:
        offset = request.headers.get("file_offset", "")
        return self.simulator.template_account.uploads.add(_session(request), offset, content)

    def _upload_progress(self, request: web.Request, _: bytes) -> Any:
        return self.simulator.template_account.uploads.progress(_session(request))

    def _unpause(self, request: web.Request, _: bytes) -> Any:
        return self.simulator.template_account.unpause(request.match_info["template_id"])


def _session(request: web.Request) -> str:
    """The id of an upload session has a query of its own."""
    return f"upload:{request.match_info['session']}?{request.query_string}"


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"place-{place}".encode()).decode().rstrip("=")


def _place(cursor: str, most: int) -> int:
    for place in range(most + 1):
        if _cursor(place) == cursor:
            return place
    raise GraphError(BAD_CURSOR, "the cursor is not valid")


def _parsed(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise GraphError(100, "the body is not JSON") from error


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
