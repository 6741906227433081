"""The type of a file by its content, the hosts it comes from, and a scanner that speaks clamd's protocol."""

import asyncio
import struct
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO

import pytest
from yarl import URL

from services.ingest.media.provider import MediaClient, MediaEndpoint, MediaLink
from services.ingest.media.scanner import ClamdScanner
from shared.clients.file_types import ACCEPTED_TYPES, FileRefused, content_type
from shared.clients.public_hosts import is_public_address
from shared.contracts.errors import Unavailable
from shared.contracts.whatsapp import MediaRefusal, ScanVerdict

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PDF_HEAD, ZIP_HEAD, OLE_HEAD = (
    b"%PDF-1.4\n...",
    b"PK\x03\x04\x14\0\0\0\0\0" + b"\0" * 40,
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
)
EPUB = "application/epub+zip"


def archive(*parts: str) -> bytes:
    """A ZIP file with parts of these names."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for part in parts:
            file.writestr(part, b"x" * 60)
    return content.getvalue()


PROGRAM, ELF = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + b"\0" * 60, b"\x7fELF\x02\x01\x01" + b"\0" * 60


@pytest.mark.parametrize(
    ("head", "declared", "expected"),
    [
        (PDF_HEAD, "application/pdf", "application/pdf"),
        (PDF_HEAD, None, "application/pdf"),
        (PDF_HEAD, DOCX, "application/pdf"),  # the content's own type is kept, whatever was declared
        (ZIP_HEAD, DOCX, DOCX),
        (ZIP_HEAD, "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
        (OLE_HEAD + b"\0" * 600, "application/msword", "application/msword"),
        (b"{\\rtf1\\ansi Hello}", "text/rtf", "application/rtf"),
        ("Ein Vers, schön".encode(), "text/plain; charset=utf-8", "text/plain"),
        ("Chapitre un, déjà".encode("latin-1"), None, "text/plain"),
        (b"# Title\n", "text/markdown", "text/markdown"),
        (b"\r\n" + PDF_HEAD + b"\x01", "application/pdf", "application/pdf"),
        (b"\0\0" + PDF_HEAD, "application/pdf", "application/pdf"),
        (b"Mzungu, a novel", None, "text/plain"),
        (b"MZ was his name", "text/plain", "text/plain"),
        (archive("_rels/.rels", "docProps/core.xml", "word/document.xml"), DOCX, DOCX),
        (archive("mimetype", "META-INF/container.xml", "OEBPS/js/page.js"), EPUB, EPUB),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg", "image/jpeg"),
    ],
)
def test_a_file_is_what_its_content_says(head: bytes, declared: str | None, expected: str) -> None:
    assert content_type(head, declared, ACCEPTED_TYPES) == expected


@pytest.mark.parametrize(
    ("head", "declared", "reason"),
    [
        (PROGRAM, "application/pdf", MediaRefusal.WRONG_TYPE),
        (ELF, DOCX, MediaRefusal.WRONG_TYPE),
        (b"<!DOCTYPE html><script>", "text/plain", MediaRefusal.WRONG_TYPE),
        (b"#!/bin/sh\nrm -rf ~", "text/plain", MediaRefusal.WRONG_TYPE),
        (b"\x00\x01\x02\x03" * 9, "application/pdf", MediaRefusal.WRONG_TYPE),
        (ZIP_HEAD, "application/pdf", MediaRefusal.WRONG_TYPE),  # a bare archive
        (archive("META-INF/MANIFEST.MF", "Main.class"), DOCX, MediaRefusal.WRONG_TYPE),
        (archive("AndroidManifest.xml", "classes.dex"), EPUB, MediaRefusal.WRONG_TYPE),
        (archive("Manuscript.pdf.exe"), DOCX, MediaRefusal.WRONG_TYPE),
        (b"<html>" + PDF_HEAD, "application/pdf", MediaRefusal.WRONG_TYPE),
        (PROGRAM, "text/plain", MediaRefusal.WRONG_TYPE),
        (b"", "application/pdf", MediaRefusal.EMPTY),
    ],
)
def test_a_file_that_is_no_accepted_document_is_refused(head: bytes, declared: str, reason: MediaRefusal) -> None:
    with pytest.raises(FileRefused) as refused:
        content_type(head, declared, ACCEPTED_TYPES)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0", "::1", "fe80::1%eth0",  # noqa: S104
        "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1", "localhost", "",
        "::7f00:1", "::ffff:0:127.0.0.1", "fec0::1", "3fff::1", "5f00::1", "2130706433", "0x7f.1", "127.1",
    ],
)  # fmt: skip
def test_private_addresses_are_no_place_to_download_from(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["157.240.1.35", "2a03:2880:f12f:83:face:b00c:0:25de", "::ffff:157.240.1.35"])
def test_public_addresses_are(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/file", "http://lookaside.fbsbx.com/file", "https://lookaside.fbsbx.com:8443/file",
        "https://lookaside.fbsbx.com.evil.example/file", "https://127.0.0.1/file", "https://[::1]/file",
        "http://127.0.0.1:9/file", "file:///etc/passwd",
    ],
)  # fmt: skip
async def test_a_link_to_another_place_is_not_followed(url: str) -> None:
    endpoint = MediaEndpoint("https://graph.facebook.com", "v25.0", "token", ("lookaside.fbsbx.com",), {})
    async with MediaClient(endpoint) as client:
        with pytest.raises(Unavailable, match="STET_MEDIA_HOSTS"):
            async with client.download(MediaLink(URL(url), None, None)):
                pass


async def test_a_named_host_at_a_private_address_is_not_reached() -> None:
    endpoint = MediaEndpoint("https://graph.facebook.com", "v25.0", "token", ("localhost",), {})
    async with MediaClient(endpoint) as client:
        with pytest.raises(Unavailable):
            async with client.download(MediaLink(URL("https://localhost/file"), None, None)):
                pass


# ------------------------------------------------------------------ clamd


@dataclass
class Clamd:
    """Speaks PING and INSTREAM: finds ``EICAR`` anywhere, and refuses streams of more than ``most`` bytes."""

    most: int = 1_000_000
    address: str = ""
    streams: list[bytes] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command, stream = await reader.readuntil(b"\0"), b""
        if command == b"zPING\0":
            writer.write(b"PONG\0")
            writer.close()
            return
        while command == b"zINSTREAM\0" and (size := struct.unpack("!L", await reader.readexactly(4))[0]):
            stream += await reader.readexactly(size)
            if len(stream) > self.most:
                writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                break
        else:
            self.streams.append(stream)
            writer.write(b"stream: Eicar-Test-Signature FOUND\0" if b"EICAR" in stream else b"stream: OK\0")
        writer.close()


@asynccontextmanager
async def clamd(most: int = 1_000_000) -> AsyncIterator[Clamd]:
    scanner = Clamd(most)
    server = await asyncio.start_server(scanner.answer, "127.0.0.1", 0)
    scanner.address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield scanner


async def scan(address: str, *chunks: bytes) -> ScanVerdict:
    async with ClamdScanner(address).open() as scanned:
        for chunk in chunks:
            await scanned.feed(chunk)
        return await scanned.verdict()


async def test_clamd_gets_the_whole_file_and_finds_it_clean() -> None:
    async with clamd() as scanner:
        assert await scan(scanner.address, b"Chapter", b" one") is ScanVerdict.CLEAN
        assert scanner.streams == [b"Chapter one"]


async def test_an_infected_file_is_refused_also_when_the_mark_lies_across_chunks() -> None:
    async with clamd() as scanner:
        with pytest.raises(FileRefused) as refused:
            await scan(scanner.address, b"EIC", b"AR")
    assert refused.value.reason is MediaRefusal.INFECTED


async def test_a_scanner_that_cannot_say_is_awaited_and_never_taken_for_clean() -> None:
    async with clamd(most=1000) as scanner:
        with pytest.raises(Unavailable):
            await scan(scanner.address, *[b"a" * 900] * 50)
    with pytest.raises(Unavailable):
        await scan(scanner.address, b"nobody listens there now")
