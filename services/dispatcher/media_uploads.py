"""Uploads files to WhatsApp: ``POST /{phone number id}/media``, whose id only that number may send.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#upload-media
"""

from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from services.dispatcher.documents import CheckedDocument, DocumentRefused
from services.dispatcher.provider_responses import ErrorAction, error_policy
from services.dispatcher.reasons import MessageReason
from services.dispatcher.whatsapp_client import WhatsAppEndpoint
from shared.clients.public_hosts import read_answer
from shared.contracts.errors import Unavailable

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=60.0)
_REFUSING = frozenset({ErrorAction.REFUSE_MESSAGE, ErrorAction.REFUSE_PERSON})


class _FilePart(aiohttp.Payload):
    """A part of known size whose bytes come from an iterator, so that the request names its length."""

    def __init__(self, chunks: AsyncIterator[bytes], size: int, mime: str) -> None:
        super().__init__(chunks, content_type=mime)
        self._size = size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 -- aiohttp's signature
        """Raises TypeError: the bytes can be read once only."""
        raise TypeError("a file on its way cannot be decoded")

    async def write(self, writer: AbstractStreamWriter) -> None:
        async for chunk in self._value:
            await writer.write(chunk)


class WhatsAppUploads:
    """An async context with its own connections; the sends use others."""

    def __init__(self, endpoint: WhatsAppEndpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._endpoint.token}"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def upload(self, line: str, document: CheckedDocument, chunks: AsyncIterator[bytes]) -> str:
        """The file's id. Raises DocumentRefused or Unavailable, and what ``chunks`` raises."""
        assert self._session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        try:
            async with self._session.post(
                self._url(line), data=_form(document, chunks), allow_redirects=False
            ) as response:
                answer = _parse(await read_answer(response.content))
                return _read_id(response.status, answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WhatsApp: {type(error).__name__}") from error

    def _url(self, line: str) -> URL:
        number = self._endpoint.numbers.get(line)
        if number is None:
            raise DocumentRefused(MessageReason.UNKNOWN_LINE)
        return URL(f"{self._endpoint.graph_url.rstrip('/')}/{self._endpoint.version}/{number}/media")


def _form(document: CheckedDocument, chunks: AsyncIterator[bytes]) -> aiohttp.MultipartWriter:
    """Its file name says nothing: people see the one in the message."""
    form = aiohttp.MultipartWriter("form-data")
    for name, value in (("messaging_product", "whatsapp"), ("type", document.mime)):
        form.append(value).set_content_disposition("form-data", name=name)
    part = form.append(_FilePart(chunks, document.size, document.mime))
    part.set_content_disposition("form-data", name="file", filename="document")
    return form


def _parse(content: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _read_id(status: int, answer: dict[str, Any]) -> str:
    if isinstance(media_id := answer.get("id"), str) and media_id:
        return media_id
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and error_policy(code, http_status=status).action in _REFUSING:
        raise DocumentRefused(MessageReason.DOCUMENT_REFUSED)
    raise Unavailable(f"WhatsApp: {status}, code {code}")
