"""Scans files for malware while they are read: the interface of a scanner, and clamd.

clamd's INSTREAM: https://docs.clamav.net/manual/Usage/Scanning.html#clamd
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from shared.clients.file_types import FileRefused
from shared.contracts.errors import Unavailable
from shared.contracts.whatsapp import MediaRefusal, ScanVerdict

_CONNECT_SECONDS = 5.0
_CLAMD_PORT = 3310
_LONGEST_REPLY = 4096


class Scan(Protocol):
    """One file on its way through a scanner."""

    async def feed(self, chunk: bytes) -> None:
        """Raises Unavailable where the scanner is away."""

    async def verdict(self) -> ScanVerdict:
        """After the last chunk. Raises FileRefused for an infected file, Unavailable where there is no answer."""


class Scanner(Protocol):
    """Opens a scan for each file."""

    def open(self) -> AbstractAsyncContextManager[Scan]:
        """Raises Unavailable where the scanner is away: a file is never kept unscanned because of it."""


class _Unscanned:
    async def feed(self, chunk: bytes) -> None:
        """Ignore the chunk, since no scanner is set up."""

    async def verdict(self) -> ScanVerdict:
        return ScanVerdict.NOT_SCANNED


@dataclass(frozen=True, slots=True)
class NoScanner:
    """Stands in where no scanner is set up; its verdict says so."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Scan]:
        yield _Unscanned()


@dataclass(frozen=True, slots=True)
class ClamdScanner:
    """``address``: ``tcp://host:3310``, or ``unix:///run/clamav/clamd.ctl``. ``seconds`` is for one answer."""

    address: str
    seconds: float = 60.0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Scan]:
        async with self._connection() as (reader, writer):
            writer.write(b"zINSTREAM\0")
            yield _ClamdScan(reader, writer, self.seconds)

    async def ping(self) -> None:
        """Raises Unavailable where no clamd answers there."""
        async with self._connection() as (reader, writer):
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    writer.write(b"zPING\0")
                    answer = await reader.readuntil(b"\0")
            except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
                raise Unavailable(f"clamd: {type(error).__name__}") from error
        if answer != b"PONG\0":
            raise Unavailable("clamd: what answers there is no clamd")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Raises Unavailable where the scanner is away."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await self._connect()
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"clamd: {type(error).__name__}") from error
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.address)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(parts.path)
        return await asyncio.open_connection(parts.hostname, parts.port or _CLAMD_PORT)


@dataclass(frozen=True, slots=True)
class _ClamdScan:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seconds: float

    async def feed(self, chunk: bytes) -> None:
        self.writer.write(struct.pack("!L", len(chunk)) + chunk)
        with suppress(OSError):  # clamd closed the connection: its answer says why
            async with asyncio.timeout(self.seconds):
                await self.writer.drain()
                return
        await self.verdict()

    async def verdict(self) -> ScanVerdict:
        answer = await self._answer()
        if answer.endswith(" FOUND"):
            raise FileRefused(MediaRefusal.INFECTED)
        if answer.endswith(": OK"):
            return ScanVerdict.CLEAN
        raise Unavailable("clamd: it could not scan the file; is its StreamMaxLength as large as STET_MEDIA_MAX_MB?")

    async def _answer(self) -> str:
        try:
            with suppress(OSError):
                self.writer.write(struct.pack("!L", 0))
            async with asyncio.timeout(self.seconds):
                with suppress(OSError):
                    await self.writer.drain()
                answer = await self.reader.readuntil(b"\0")
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            raise Unavailable(f"clamd: {type(error).__name__}") from error
        return answer[:_LONGEST_REPLY].rstrip(b"\0\n").decode("latin-1")
