"""Finds and downloads a file at WhatsApp: its id gives a link for five minutes, and the link the bytes, with our token.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media. A link is followed only to hosts that the
settings name, never through a redirect, and never to a private address: the address that was checked is the one that
is connected to.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from shared.clients.public_hosts import AllowedHosts, FileHosts, HostRefused, read_chunks, read_response
from shared.contracts.errors import Unavailable


@dataclass(frozen=True, slots=True)
class MediaEndpoint:
    """``hosts`` are names of public hosts, reached by HTTPS, or whole origins (``http://…``), reached as they stand.

    ``numbers`` maps a line to its phone number id.
    """

    graph_url: str
    version: str
    token: str = field(repr=False)
    hosts: tuple[str, ...]
    numbers: Mapping[str, str]

    def media_url(self, media_id: str, line: str) -> URL:
        url = URL(f"{self.graph_url.rstrip('/')}/{self.version}/{media_id}")
        number = self.numbers.get(line)
        return url if number is None else url.with_query(phone_number_id=number)


@dataclass(frozen=True, slots=True)
class MediaLink:
    """``size`` in bytes and ``sha256`` where WhatsApp says them."""

    url: URL
    size: int | None
    sha256: str | None


class MediaClient:
    """An async context. Both calls raise Unavailable for every failure that the next attempt may not meet."""

    def __init__(self, endpoint: MediaEndpoint, resolver: AbstractResolver | None = None) -> None:
        self._endpoint = endpoint
        headers = {"Authorization": f"Bearer {endpoint.token}"}
        self._hosts = FileHosts(AllowedHosts(endpoint.hosts), headers, resolver)

    async def __aenter__(self) -> Self:
        await self._hosts.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hosts.__aexit__()

    async def find(self, media_id: str, line: str) -> MediaLink:
        """A new link to the file, which lives five minutes."""
        session, url = self._hosts.trusted, self._endpoint.media_url(media_id, line)
        try:
            async with session.get(url, allow_redirects=False) as response:
                answer = _parse_answer(await read_response(response.content))
                if response.status != HTTPStatus.OK:
                    raise Unavailable(f"WhatsApp: {response.status}, code {_error_code(answer)}")
                return _to_link(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WhatsApp: {type(error).__name__}") from error

    @asynccontextmanager
    async def download(self, link: MediaLink) -> AsyncIterator[AsyncIterator[bytes]]:
        """The file's bytes in chunks."""
        try:
            session = self._hosts.session_for(link.url)
            async with session.get(link.url, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    raise Unavailable(f"WhatsApp: the link was answered {response.status}")
                yield read_chunks(response.content)
        except HostRefused:
            raise Unavailable("WhatsApp named a link to a host that STET_MEDIA_HOSTS does not name") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WhatsApp: {type(error).__name__}") from error


def _parse_answer(content: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _error_code(answer: Mapping[str, Any]) -> int | None:
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if type(code) is int else None


def _to_link(answer: Mapping[str, Any]) -> MediaLink:
    try:
        url = URL(answer["url"])
        url.origin()
    except (KeyError, TypeError, ValueError):
        raise Unavailable("WhatsApp: it named no link") from None
    size, sha256 = answer.get("file_size"), answer.get("sha256")
    return MediaLink(
        url,
        int(size) if isinstance(size, int | str) and str(size).isdecimal() else None,
        sha256 if isinstance(sha256, str) else None,
    )
