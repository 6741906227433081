"""Opens the documents that go with messages: by HTTPS from hosts that a setting names, or from a store of documents.

The guards are those of files that people send (``shared/clients/public_hosts.py``): no redirect, no private address.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import obstore
from aiohttp.abc import AbstractResolver
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from yarl import URL

from services.dispatcher.documents import DocumentRefused, OpenDocument
from services.dispatcher.reasons import MessageReason
from shared.clients.object_stores import open_object_store
from shared.clients.public_hosts import AllowedHosts, FileHosts, HostRefused, read_chunks
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
