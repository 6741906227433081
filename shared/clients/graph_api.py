"""Meta's Graph API, for calls other than sends: the session of a client, and the templates of a business account.

The session carries the account's token, keeps no cookies, and is opened and closed with the client. Templates are
listed, created and edited by ``GET`` and ``POST /{version}/{business account}/message_templates`` and ``POST
/{version}/{template id}``. Meta counts these calls apart from sends: 200 an hour, 5,000 for an active account
(docs/reference/whatsapp.md). The example of a document goes up by the Resumable Upload API:
https://developers.facebook.com/docs/graph-api/guides/upload
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from shared.contracts.errors import Unavailable

_LONGEST_ANSWER = 64 * 1024  # bytes; Meta's own have some hundred


async def read_answer(content: aiohttp.StreamReader) -> bytes:
    """The body of an answer, in however many parts it arrives; of a very long one the beginning."""
    answer = bytearray()
    while (room := _LONGEST_ANSWER - len(answer)) > 0 and (part := await content.read(room)):
        answer += part
    return bytes(answer)


class GraphApiClient:
    """An async context; ``session`` may be used within it."""

    def __init__(self, token: str, timeout: aiohttp.ClientTimeout) -> None:
        self._token = token
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}"}
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        return self._session


# ------------------------------------------------------------------ message templates

_FIELDS = "id,name,language,status,category,previous_category,quality_score,rejected_reason,parameter_format,components"
_PAGE = 100
_MOST_PAGES = 200  # 6,000 templates are the most an account may have
_SESSION = re.compile(r"upload:[^\s/#]+")
_UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=600, connect=5)
_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)


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
    def base(self) -> URL:
        return URL(f"{self.graph_url.rstrip('/')}/{self.version}")


class TemplateClient(GraphApiClient):
    """An async context. Every call raises TemplateRefused, or Unavailable where no readable answer came."""

    def __init__(self, endpoint: TemplateEndpoint) -> None:
        super().__init__(endpoint.token, _TIMEOUT)
        self._endpoint = endpoint
        self._list_url = endpoint.base / endpoint.account / "message_templates"

    @property
    def account(self) -> str:
        return self._endpoint.account

    async def list(self) -> list[dict[str, Any]]:
        """Every template in every language, page by page."""
        query = {"fields": _FIELDS, "limit": str(_PAGE)}
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            page = await self._call("GET", self._list_url.with_query(query))
            found += [entry for entry in page.get("data", ()) if isinstance(entry, dict)]
            paging = page.get("paging") or {}
            after = (paging.get("cursors") or {}).get("after")
            if not paging.get("next") or not after:
                return found
            query["after"] = after  # not the address in "next", which may carry the token
        raise Unavailable("the list of templates does not end")

    async def create(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Meta's answer: the new template's ``id``, ``status`` and ``category``."""
        return await self._call("POST", self._list_url, template)

    async def edit(self, template_id: str, change: Mapping[str, Any]) -> None:
        await self._call("POST", self._endpoint.base / template_id, change)

    async def upload(self, app: str, name: str, mime: str, content: bytes) -> str:
        """Upload a file under the app with this id; returns the handle that an example of a template names."""
        query = {"file_name": name, "file_length": str(len(content)), "file_type": mime}
        session = (await self._call("POST", (self._endpoint.base / app / "uploads").with_query(query))).get("id")
        if not isinstance(session, str) or _SESSION.fullmatch(session) is None:
            raise Unavailable("the answer names no upload session")
        # this call takes the token as OAuth alone; the id has a query of its own
        headers = {"Authorization": f"OAuth {self._endpoint.token}", "file_offset": "0", "Content-Type": mime}
        url = URL(f"{self._endpoint.base}/{session}", encoded=True)
        handle = (await self._request("POST", url, content, headers, _UPLOAD_TIMEOUT)).get("h")
        if not isinstance(handle, str) or not handle:
            raise Unavailable("the upload was taken, and no handle came")
        return handle

    async def _call(self, method: str, url: URL, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if body is None:
            return await self._request(method, url, None, {}, _TIMEOUT)
        return await self._request(method, url, orjson.dumps(body), {"Content-Type": "application/json"}, _TIMEOUT)

    async def _request(
        self, method: str, url: URL, content: bytes | None, headers: Mapping[str, str], within: aiohttp.ClientTimeout
    ) -> dict[str, Any]:
        try:
            async with self.session.request(
                method, url, data=content, headers=headers, timeout=within, allow_redirects=False
            ) as response:
                answer = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
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
