"""Message templates in Meta's Graph API: the list of a business account, and how they are created and edited.

``GET`` and ``POST /{version}/{business account}/message_templates`` and ``POST /{version}/{template id}``. Meta counts
these calls apart from sends: 200 an hour, 5,000 for an active account (docs/reference/whatsapp.md). The example of a
document goes up by the Resumable Upload API: https://developers.facebook.com/docs/graph-api/guides/upload
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlencode

import orjson

from shared.clients.http_requests import HttpClient, RequestFailed
from shared.contracts.errors import Unavailable

_CONNECTIONS = 4
_FIELDS = "id,name,language,status,category,previous_category,quality_score,rejected_reason,parameter_format,components"
_PAGE = 100
_MOST_PAGES = 200  # 6,000 templates are the most an account may have
_SESSION = re.compile(r"upload:[^\s/#]+")
_UPLOAD_TIMEOUT = timedelta(minutes=10)
_TIMEOUT = timedelta(seconds=30)
_LONGEST_ANSWER = 16 * 1024 * 1024  # bytes; a page of a hundred templates has some hundred thousand


class TemplateRefused(Exception):
    """The Graph API refuses a call; the sentence is Meta's own, with its code."""

    def __init__(self, code: int | None, sentence: str) -> None:
        super().__init__(f"{sentence} (code {code})" if code is not None else sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class TemplateEndpoint:
    """``account`` is the id of the WhatsApp business account."""

    graph_url: str
    version: str
    account: str
    token: str = field(repr=False)

    @property
    def base(self) -> str:
        return f"{self.graph_url.rstrip('/')}/{self.version}"


class TemplateClient:
    """An async context. Every call raises TemplateRefused, or Unavailable where no readable answer came."""

    def __init__(self, endpoint: TemplateEndpoint) -> None:
        self._endpoint = endpoint
        self._list_url = f"{endpoint.base}/{endpoint.account}/message_templates"
        self._http = HttpClient(_CONNECTIONS)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    @property
    def account(self) -> str:
        return self._endpoint.account

    async def list(self) -> list[dict[str, Any]]:
        """Every template in every language, page by page."""
        query = {"fields": _FIELDS, "limit": str(_PAGE)}
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            page = await self._call(f"{self._list_url}?{urlencode(query)}")
            found += [entry for entry in page.get("data", ()) if isinstance(entry, dict)]
            paging = page.get("paging") or {}
            after = (paging.get("cursors") or {}).get("after")
            if not paging.get("next") or not after:
                return found
            query["after"] = after  # not the address in "next", which may carry the token
        raise Unavailable("the list of templates does not end")

    async def create(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Meta's answer: the new template's ``id``, ``status`` and ``category``."""
        return await self._call(self._list_url, template)

    async def edit(self, template_id: str, change: Mapping[str, Any]) -> None:
        await self._call(f"{self._endpoint.base}/{template_id}", change)

    async def upload(self, app: str, name: str, mime: str, content: bytes) -> str:
        """Upload a file under the app with this id; returns the handle that an example of a template names."""
        query = urlencode({"file_name": name, "file_length": len(content), "file_type": mime})
        session = (await self._request(f"{self._endpoint.base}/{app}/uploads?{query}", self._bearer, b"")).get("id")
        if not isinstance(session, str) or _SESSION.fullmatch(session) is None:
            raise Unavailable("the answer names no upload session")
        # this call takes the token as OAuth alone; the id has a query of its own
        headers = {"Authorization": f"OAuth {self._endpoint.token}", "file_offset": "0", "Content-Type": mime}
        handle = (await self._request(f"{self._endpoint.base}/{session}", headers, content, _UPLOAD_TIMEOUT)).get("h")
        if not isinstance(handle, str) or not handle:
            raise Unavailable("the upload was taken, and no handle came")
        return handle

    async def _call(self, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET, or POST of ``body``."""
        if body is None:
            return await self._request(url, self._bearer)
        return await self._request(url, {**self._bearer, "Content-Type": "application/json"}, orjson.dumps(body))

    @property
    def _bearer(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._endpoint.token}"}

    async def _request(
        self, url: str, headers: Mapping[str, str], content: bytes | None = None, within: timedelta = _TIMEOUT
    ) -> dict[str, Any]:
        try:
            response = await self._http.request(url, headers, content, timeout=within, longest=_LONGEST_ANSWER)
            answer = orjson.loads(response.body)
        except RequestFailed as error:
            raise Unavailable(f"{error}: no readable answer came") from error
        except orjson.JSONDecodeError as error:
            raise Unavailable(f"{type(error).__name__}: no readable answer came") from error
        if not isinstance(answer, dict):
            raise Unavailable("the answer is no JSON object")
        if "error" in answer:
            raise _refusal(answer["error"])
        return answer


def _refusal(error: Any) -> TemplateRefused:
    """``error_user_msg`` is the sentence for people, ``error_data.details`` that for developers."""
    if not isinstance(error, dict):
        return TemplateRefused(None, "an error without details")
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, dict) else None
    sentence = error.get("error_user_msg") or details or error.get("message") or "an error without details"
    code = error.get("code")
    return TemplateRefused(code if isinstance(code, int) else None, str(sentence))
