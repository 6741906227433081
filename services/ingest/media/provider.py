"""WhatsApp's side of a file: its id names a link for five minutes, and the link gives the bytes to our token.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media. A link is followed only to hosts that the
settings name, never through a redirect, and never to a private address: the address that was checked is the one that
is connected to.
"""

import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from shared.contracts.errors import Unavailable

_CHUNK_BYTES = 64 * 1024
_LONGEST_ANSWER = 64 * 1024  # bytes; Meta's own have some hundred
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 20.0
_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""IPv6 networks that lead to IPv4 addresses."""


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

    def is_trusted_origin(self, url: URL) -> bool:
        """Whether the settings name this very origin, so that it may be private: a simulator, or a proxy."""
        return bool(url.host) and str(url.origin()) in self.hosts

    def is_public_host(self, url: URL) -> bool:
        return url.scheme == "https" and url.port == 443 and url.host in self.hosts


@dataclass(frozen=True, slots=True)
class MediaLink:
    """``size`` in bytes and ``sha256`` where WhatsApp says them."""

    url: URL
    size: int | None
    sha256: str | None


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses alone."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError where a name has no public address."""
        found = [one for one in await self._inner.resolve(host, port, family) if is_public_address(one["host"])]
        if not found:
            raise OSError("the host has no public address")
        return found

    async def close(self) -> None:
        await self._inner.close()


def is_public_address(text: str) -> bool:
    """Whether an IP address is one of the public internet; False for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public_address(str(address.ipv4_mapped))
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast


class MediaClient:
    """An async context. Both calls raise Unavailable for whatever may be different at the next attempt."""

    def __init__(self, endpoint: MediaEndpoint, resolver: AbstractResolver | None = None) -> None:
        self._endpoint = endpoint
        self._resolver = resolver
        self._trusted: aiohttp.ClientSession | None = None
        self._public: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        resolver = PublicResolver(self._resolver or ThreadedResolver())
        self._trusted = self._session(aiohttp.TCPConnector())
        self._public = self._session(aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False))
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._trusted, self._public):
            if session is not None:
                await session.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        """Bytes come as they are: nothing is unpacked on the way."""
        headers = {"Authorization": f"Bearer {self._endpoint.token}", "Accept-Encoding": "identity"}
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        return aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def find(self, media_id: str, line: str) -> MediaLink:
        """A new link to the file, which lives five minutes."""
        session, url = self._opened(self._trusted), self._endpoint.media_url(media_id, line)
        try:
            async with session.get(url, allow_redirects=False) as response:
                answer = _parse_answer(await response.content.read(_LONGEST_ANSWER))
                if response.status != HTTPStatus.OK:
                    raise Unavailable(f"WhatsApp: {response.status}, code {_error_code(answer)}")
                return _to_link(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WhatsApp: {type(error).__name__}") from error

    @asynccontextmanager
    async def download(self, link: MediaLink) -> AsyncIterator[AsyncIterator[bytes]]:
        """The file's bytes in chunks."""
        session = self._session_for(link.url)
        try:
            async with session.get(link.url, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    raise Unavailable(f"WhatsApp: the link was answered {response.status}")
                yield _chunks(response.content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WhatsApp: {type(error).__name__}") from error

    def _session_for(self, url: URL) -> aiohttp.ClientSession:
        if self._endpoint.is_trusted_origin(url):
            return self._opened(self._trusted)
        host = url.host or ""
        if not self._endpoint.is_public_host(url) or host.replace(".", "").isdigit() or ":" in host:
            raise Unavailable("WhatsApp named a link to a host that STET_MEDIA_HOSTS does not name")
        return self._opened(self._public)

    def _opened(self, session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
        assert session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        return session


async def _chunks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        yield chunk


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
