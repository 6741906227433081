"""The checks of ``stet doctor`` about files: the two stores, clamd, and the hosts that files come from.

Each tries exactly what the service needs: ingest writes and deletes in its store, the dispatcher reads from its own.
A probe has a name of its own and is deleted again.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

import aiohttp
import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore
from yarl import URL

from ops.command_line import Service
from ops.command_settings import cause_of
from ops.findings import Finding, fine, warning, wrong
from services.dispatcher.settings import DispatcherSettings
from services.ingest.media.file_store import FileStore
from services.ingest.media.scanner import ClamdScanner
from services.ingest.settings import IngestSettings
from shared.clients.object_stores import open_object_store
from shared.clients.public_hosts import AllowedHosts, FileHosts
from shared.contracts.errors import Unavailable

_STORE_SECONDS = 20.0  # a provider's client retries for minutes where no server answers
_MEDIA, _DOCUMENTS = "STET_MEDIA_STORE", "STET_DOCUMENT_STORE"
_PROBE = b"stet doctor"
_MEGABYTE = bytes(1_000_000)
_DENIED = re.compile(r"status code: 403|AccessDenied|Access Denied")
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


# ------------------------------------------------------------------ the stores


async def check_media_store(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    """Write, read back and delete a small object, with the client of ingest."""
    if not settings.keeps_files:
        cause = f"STET_INGEST_ROLE is {settings.ingest_role}" if settings.media_store else f"{_MEDIA} is not set"
        return [fine("media store", f"none: files that people send are not fetched, as {cause}")]
    store = FileStore(settings.media_store, settings.media_link)
    key = f"{settings.tenant}/doctor-{uuid4().hex}.txt"
    if (fault := await _fault_of(store.put(key, "text/plain", _probe()))) is not None:
        advice = "ingest needs the right to write objects and to delete them"
        return [
            wrong("media store", f"{_MEDIA}: an object cannot be written to {settings.media_store} ({fault}); {advice}")
        ]
    findings = await _read_back(open_object_store(settings.media_store, _MEDIA), key)
    if (fault := await _fault_of(store.delete([key]))) is not None:
        advice = f"without the right to delete no person can be erased; grant it, and delete {key} by hand"
        findings.append(wrong("media store", f"{_MEDIA}: the object cannot be deleted again ({fault}); {advice}"))
    done = fine("media store", f"{settings.media_store} takes an object and deletes it again")
    return findings or [done]


async def _probe() -> AsyncIterator[bytes]:
    yield _PROBE


async def _read_back(store: ObjectStore, key: str) -> list[Finding]:
    """A fault is another content. Ingest itself never reads, so its login need not have the right to."""
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            found = bytes(await (await obstore.get_async(store, key)).bytes_async())
    except (BaseError, OSError) as error:
        if _is_denied(error):
            return []
        sentence = f"{_MEDIA}: an object was written, and cannot be read back ({_described(error)}): is it one store?"
        return [wrong("media store", sentence)]
    return [] if found == _PROBE else [wrong("media store", f"{_MEDIA}: an object is read back with another content")]


async def check_document_store(settings: DispatcherSettings, _: Service) -> Sequence[Finding]:
    """Look for one object and read it; the dispatcher needs no other right, so nothing is written."""
    url = settings.document_store
    if not url:
        return [fine("documents", f"no store of documents, as {_DOCUMENTS} is not set")]
    if (missing := _missing_folder(url)) is not None:
        return [wrong("documents", f"{_DOCUMENTS}: there is no folder {missing}: mount it, or name another")]
    return [await _document_finding(open_object_store(url, _DOCUMENTS), url)]


def _missing_folder(url: str) -> Path | None:
    """Opening a folder would create it, and an empty one holds no documents."""
    parts = urlsplit(url)
    folder = Path(url2pathname(parts.path))
    return folder if parts.scheme == "file" and not folder.is_dir() else None


async def _document_finding(store: ObjectStore, url: str) -> Finding:
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            key = await _first_key(store)
    except (BaseError, OSError) as error:
        if _is_denied(error):
            return await _unlisted(store, url)
        sentence = (
            f"{_DOCUMENTS}: {url} cannot be listed ({_described(error)}); does it exist, and does it answer here?"
        )
        return wrong("documents", sentence)
    if key is None:
        return fine("documents", f"{url} can be listed; it holds no document yet")
    if (fault := await _fault_of(_read_byte(store, key))) is not None:
        advice = "let the dispatcher read objects (s3:GetObject, storage.objects.get, Storage Blob Data Reader)"
        return wrong("documents", f"{_DOCUMENTS}: {url} can be listed, and not read ({fault}): {advice}")
    return fine("documents", f"{url} can be listed and read")


async def _unlisted(store: ObjectStore, url: str) -> Finding:
    """Without the right to list, S3 answers for a missing object as for one that may not be read."""
    fault = await _fault_of(_read_byte(store, f"doctor-{uuid4().hex}.txt"))
    if fault in {None, _MISSING}:
        return fine("documents", f"{url} can be read; it may not be listed")
    return wrong(
        "documents",
        f"{_DOCUMENTS}: {url} may not be listed nor, as it seems, read ({fault}): let the dispatcher read and list "
        "(s3:GetObject, s3:ListBucket). Who may not list is told “denied” of a missing document too, and tries it "
        "until the message expires",
    )


async def _first_key(store: ObjectStore) -> str | None:
    async for portion in obstore.list(store, chunk_size=1):
        return str(portion[0]["path"]) if portion else None
    return None


async def _read_byte(store: ObjectStore, key: str) -> None:
    await obstore.get_range_async(store, key, start=0, length=1)


_MISSING = "there is no such object or bucket"


async def _fault_of(attempt: Awaitable[object]) -> str | None:
    """Why the store failed to do it; None where it did it."""
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            await attempt
    except Unavailable as fault:
        return _described(fault.__cause__ or fault)
    except (BaseError, OSError) as error:
        return _described(error)
    return None


def _is_denied(error: BaseException) -> bool:
    """Obstore has a class for it, and uses another one for lists and for deletions."""
    return isinstance(error, PermissionDeniedError) or _DENIED.search(str(error)) is not None


def _described(error: BaseException) -> str:
    """The cause in a few words. The text itself is left out: it may quote an address with a signature in it."""
    if _is_denied(error):
        return "the store says: permission denied"
    if isinstance(error, UnauthenticatedError):
        return "the store does not know these credentials"
    if isinstance(error, (NotFoundError, FileNotFoundError)):
        return _MISSING
    if isinstance(error, TimeoutError):
        return f"no answer in {_STORE_SECONDS:.0f} seconds"
    if (found := _SYSTEM_ERROR.search(str(error))) is not None:
        return os.strerror(int(found[1])).lower()
    return f"{type(error).__name__}: no usable answer; are address, region and credentials right?"


# ------------------------------------------------------------------ the scanner and the hosts


async def check_scanner(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    """Ask clamd whether it is there, and let it scan as many bytes as the largest file has."""
    if not settings.keeps_files:
        return []
    if not settings.media_scanner:
        sentence = "STET_MEDIA_SCANNER is not set: files are kept unscanned, and their records say so"
        return [warning("scanner", sentence)]
    scanner = ClamdScanner(settings.media_scanner)
    try:
        await scanner.ping()
    except Unavailable as fault:
        advice = "is clamd running there, and may this process reach it? Files wait until it answers"
        why = fault if fault.__cause__ is None else f"clamd: {cause_of(fault.__cause__)}"
        return [wrong("scanner", f"STET_MEDIA_SCANNER: {settings.media_scanner} does not answer ({why}); {advice}")]
    try:
        async with scanner.open() as scan:
            for _megabyte in range(settings.media_max_mb):
                await scan.feed(_MEGABYTE)
            await scan.verdict()
    except Unavailable:
        advice = "set its StreamMaxLength to STET_MEDIA_MAX_MB or more, and restart it"
        sentence = (
            f"STET_MEDIA_SCANNER: clamd does not scan {settings.media_max_mb} MB: {advice}; until then a larger file "
        )
        return [wrong("scanner", sentence + "is tried until WhatsApp has deleted it")]
    return [fine("scanner", f"{settings.media_scanner} answers, and scans {settings.media_max_mb} MB")]


async def check_media_hosts(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    return await _host_findings("STET_MEDIA_HOSTS", settings.media_hosts) if settings.keeps_files else []


async def check_document_hosts(settings: DispatcherSettings, _: Service) -> Sequence[Finding]:
    return await _host_findings("STET_DOCUMENT_HOSTS", settings.document_hosts)


async def _host_findings(setting: str, names: Sequence[str]) -> list[Finding]:
    """Ask each host for its root without a token: any answer will do."""
    async with FileHosts(AllowedHosts(tuple(names))) as hosts:
        return await asyncio.gather(*(_host_finding(setting, name, hosts) for name in names))


async def _host_finding(setting: str, name: str, hosts: FileHosts) -> Finding:
    url = URL(name if "://" in name else f"https://{name}/")
    try:
        async with hosts.session_for(url).head(url, allow_redirects=False):
            return fine("hosts", f"{setting}: {name} answers")
    except (aiohttp.ClientError, OSError) as error:
        advice = (
            "correct the name, or open the way to it (a network policy, a firewall); the address must be a public one"
        )
        return wrong("hosts", f"{setting}: {name} does not answer ({cause_of(error)}): {advice}")
