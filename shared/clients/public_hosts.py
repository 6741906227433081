"""The hosts that files are downloaded from: those that a setting names, by HTTPS and at public addresses alone.

A file is never fetched through a redirect, and the address that was checked is the one that is connected to.
"""

import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_CHUNK_BYTES = 64 * 1024
_LONGEST_RESPONSE = 64 * 1024  # bytes; Meta's own have some hundred
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 20.0
_TRANSLATED = ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96")
"""IPv6 networks that lead to IPv4 addresses; addresses of the last two end with one."""
_OF_A_SITE = ("fec0::/10", "5f00::/16", "3fff::/20")
"""IPv6 networks of a site, of segment routing and of documentation, which ``is_global`` of Python takes for public.

https://www.rfc-editor.org/rfc/rfc3879, rfc9602, rfc9637
"""
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, (*_TRANSLATED, *_OF_A_SITE)))


class HostRefused(Exception):
    """A link leads to a host that no setting names, to a port or a scheme that is not HTTPS, or to an IP address."""


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
        if any(address in network for network in _NOT_PUBLIC):
            return False
    return address.is_global and not address.is_multicast


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """``hosts`` are names of public hosts, reached by HTTPS, or whole origins (``http://…``), reached as they stand."""

    hosts: tuple[str, ...]

    def is_trusted_origin(self, url: URL) -> bool:
        """Whether the settings name this very origin, so that it may be private: a simulator, or a proxy."""
        return bool(url.host) and str(url.origin()) in self.hosts

    def is_public_host(self, url: URL) -> bool:
        """Whether the settings name this host; an IP address is no name."""
        host = url.host or ""
        is_address = host.replace(".", "").isdigit() or ":" in host
        return url.scheme == "https" and url.port == 443 and host in self.hosts and not is_address


class FileHosts:
    """An async context: one session for trusted origins, and one that connects to public addresses alone.

    Bytes come as they are: nothing is unpacked on the way. ``headers`` go along with each request.
    """

    def __init__(
        self, hosts: AllowedHosts, headers: Mapping[str, str] | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        self._hosts = hosts
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
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

    @property
    def trusted(self) -> aiohttp.ClientSession:
        """The session for addresses that a setting names."""
        return _opened(self._trusted)

    def session_for(self, url: URL) -> aiohttp.ClientSession:
        """Raises HostRefused. Requests are made with ``allow_redirects=False``."""
        if self._hosts.is_trusted_origin(url):
            return _opened(self._trusted)
        if not self._hosts.is_public_host(url):
            raise HostRefused("the host is not allowed")
        return _opened(self._public)

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


async def read_chunks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The body of a response as it arrives."""
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        yield chunk


async def read_response(content: aiohttp.StreamReader) -> bytes:
    """The body of a JSON answer, joined from its parts; only the beginning of a very long one."""
    answer = bytearray()
    while (room := _LONGEST_RESPONSE - len(answer)) > 0 and (part := await content.read(room)):
        answer += part
    return bytes(answer)


def _opened(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    assert session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
    return session
