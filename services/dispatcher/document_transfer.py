"""Opens the documents that go with messages, and uploads them to WhatsApp: over connections that no send uses.

A document comes by HTTPS from hosts that a setting names, or from a store of documents. The guards are those of files
that people send (``shared/clients/public_hosts.py``): no redirect, no private address. It goes by
``POST /{phone number id}/media``, whose id only that number may send.
https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#upload-media
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import obstore
import orjson
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from yarl import URL

from services.dispatcher.documents import CheckedDocument, DocumentRefused, OpenDocument
from services.dispatcher.provider_responses import ErrorAction, error_policy
from services.dispatcher.reasons import MessageReason
from services.dispatcher.whatsapp_client import WhatsAppEndpoint
from shared.clients.object_stores import open_object_store
from shared.clients.public_hosts import AllowedHosts, FileHosts, HostRefused, read_chunks, read_response
from shared.contracts.errors import Unavailable

_CHUNK_BYTES = 1024 * 1024
_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)  # refusals that another attempt may not meet


class DocumentSource:
    """An async context. ``store`` is the URL of the store of documents; empty where there is none."""

    def __init__(self, hosts: AllowedHosts, store: str = "", resolver: AbstractResolver | None = None) -> None:
        """Raises Misconfigured for a store that cannot be opened."""
        self._hosts = FileHosts(hosts, resolver=resolver)
        self._base = f"{store.rstrip('/')}/" if store else ""
        self._store = open_object_store(store, "STET_DOCUMENT_STORE") if store else None

    async def __aenter__(self) -> Self:
        await self._hosts.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hosts.__aexit__()

    @asynccontextmanager
    async def open(self, address: str) -> AsyncIterator[OpenDocument]:
        """Raises DocumentRefused, or Unavailable for whatever may be different at the next attempt."""
        if self._store is not None and (key := self._key(address)) is not None:
            async with _open_object(self._store, key) as found:
                yield found
            return
        async with self._open_link(address) as found:
            yield found

    def _key(self, address: str) -> str | None:
        """The key in the store; None where the address is that of another place."""
        key = address.removeprefix(self._base)
        if urlsplit(key).scheme:
            return None
        if any(part in {"", ".", ".."} for part in key.split("/")):
            raise DocumentRefused(MessageReason.DOCUMENT_NOT_ALLOWED)
        return key

    @asynccontextmanager
    async def _open_link(self, address: str) -> AsyncIterator[OpenDocument]:
        try:
            url = URL(address)
            session = self._hosts.session_for(url)
        except (HostRefused, ValueError):
            raise DocumentRefused(MessageReason.DOCUMENT_NOT_ALLOWED) from None
        try:
            async with session.get(url, allow_redirects=False) as response:
                _check_status(response.status)
                yield OpenDocument(response.content_type, response.content_length, read_chunks(response.content))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"the document's host: {type(error).__name__}") from error


def _check_status(status: int) -> None:
    if status == HTTPStatus.OK:
        return
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        raise Unavailable(f"the document's host: {status}")
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    raise DocumentRefused(MessageReason.DOCUMENT_NOT_ALLOWED if is_redirect else MessageReason.DOCUMENT_MISSING)


@asynccontextmanager
async def _open_object(store: ObjectStore, key: str) -> AsyncIterator[OpenDocument]:
    try:
        found = await obstore.get_async(store, key)
        mime = found.attributes.get("Content-Type")
        chunks = (bytes(chunk) async for chunk in found.stream(min_chunk_size=_CHUNK_BYTES))
        yield OpenDocument(str(mime) if mime else None, found.meta["size"], chunks)
    except FileNotFoundError:
        raise DocumentRefused(MessageReason.DOCUMENT_MISSING) from None
    except (BaseError, OSError) as error:
        raise Unavailable(f"the store of documents: {type(error).__name__}") from error


# ------------------------------------------------------------------ uploads

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
                answer = _parse(await read_response(response.content))
                return _read_id(response.status, answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WhatsApp: {type(error).__name__}") from error

    def _url(self, line: str) -> URL:
        number = self._endpoint.numbers.get(line)
        if number is None:
            raise DocumentRefused(MessageReason.UNKNOWN_LINE)
        return URL(f"{self._endpoint.graph_url.rstrip('/')}/{self._endpoint.version}/{number}/media")


def _form(document: CheckedDocument, chunks: AsyncIterator[bytes]) -> aiohttp.MultipartWriter:
    """The form of an upload. Its file name does not matter: people see the one in the message."""
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
