"""The file store: a folder, S3, Google Cloud Storage or Azure, by its URL.

Loaded where a store is set: the library for all of them takes some megabytes.
"""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError, NotFoundError

from shared.clients.object_stores import open_object_store
from shared.contracts.errors import Unavailable

if TYPE_CHECKING:
    from obstore import Attributes

_CHUNK_BYTES = 5 * 1024 * 1024  # the least that S3 takes as a part of an upload
_PARTS_AT_ONCE = 2


class FileStore:
    """``link`` stands in the place of ``url`` in links, where people reach the files elsewhere."""

    def __init__(self, url: str, link: str = "") -> None:
        """Raises Misconfigured for a URL that cannot be opened."""
        self._folder = Path(url2pathname(urlsplit(url).path)) if urlsplit(url).scheme == "file" else None
        self._store = open_object_store(url, "STET_MEDIA_STORE")
        self._base = (link or url).rstrip("/")

    def url_of(self, key: str) -> str:
        return f"{self._base}/{key}"

    async def put(self, key: str, mime: str, chunks: AsyncIterator[bytes]) -> None:
        """Returns when the whole file is there; it appears only at the end. Memory holds a few parts of it.

        An error of ``chunks`` is raised as it is, and nothing is kept. Raises Unavailable where the store is away.
        """
        self._remove_remains(key)
        attributes: Attributes = {"Content-Type": mime, "Content-Disposition": "attachment"}
        try:
            await obstore.put_async(
                self._store,
                key,
                chunks,
                attributes=None if self._folder is not None else attributes,  # a folder has nowhere to keep them
                chunk_size=_CHUNK_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        except (BaseError, OSError) as error:
            raise Unavailable(f"the file store: {type(error).__name__}") from error

    async def delete(self, keys: Iterable[str]) -> None:
        """Returns when all of these are gone; raises Unavailable where the store is away."""
        for key in keys:
            self._remove_remains(key)
            try:
                await obstore.delete_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                continue
            except (BaseError, OSError) as error:
                raise Unavailable(f"the file store: {type(error).__name__}") from error

    def _remove_remains(self, key: str) -> None:
        """Remove the parts that a killed attempt left. In a bucket, the bucket's own rule removes them."""
        if self._folder is not None:
            path = self._folder / key
            for remains in path.parent.glob(f"{path.name}#*"):
                remains.unlink(missing_ok=True)
