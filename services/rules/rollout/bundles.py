"""A bundle of rule files that is fetched when its digest changes: an archive at an address, or in an OCI registry."""

import asyncio
import hashlib
import tarfile
import tempfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from services.rules.rollout.sources import SourceContent, read_content
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Location
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Revision

MOST_BUNDLE_BYTES = 64 * 2**20
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_COMMIT_ANNOTATION = "org.opencontainers.image.revision"


@dataclass(slots=True)
class BundleSource:
    """A tar archive of a folder of rules, plain or compressed, whose SHA-256 is checked.

    ``https://…/rules.tar.gz#sha256=…`` never changes; without the digest it stands beside, in ``….sha256``, and is
    asked for at each look. ``oci://registry/name:tag`` (or ``@sha256:…``) is an artifact of an OCI registry with the
    archive as its first layer; a tag is asked for at each look.
    """

    url: str
    token: str | None = None
    commit: str | None = None
    setting: str = "STET_RULES_BUNDLE"
    _digest: str | None = None
    _headers: dict[str, str] = field(default_factory=dict)

    async def read(self) -> SourceContent | None:
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
                return await self._read_with(session)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{self.setting}: {_safe(self.url)} cannot be fetched: {type(error).__name__}") from error

    async def _read_with(self, session: aiohttp.ClientSession) -> SourceContent | None:
        if self.token is not None:
            self._headers["Authorization"] = f"Bearer {self.token}"
        if self.url.startswith("oci://"):
            return await self._read_artifact(session)
        address, _, fragment = self.url.partition("#")
        digest = fragment.removeprefix("sha256=") or await self._digest_beside(session, address)
        if digest == self._digest:
            return None
        return await self._unpacked(await self._fetch(session, address), digest, None)

    async def _digest_beside(self, session: aiohttp.ClientSession, address: str) -> str:
        words = (await self._fetch(session, f"{address}.sha256")).decode("ascii", "replace").split()
        return words[0].lower() if words else ""

    async def _read_artifact(self, session: aiohttp.ClientSession) -> SourceContent | None:
        base, reference = _registry_address(self.url)
        raw = await self._fetch(session, f"{base}/manifests/{reference}", _MANIFESTS)
        if reference.startswith("sha256:"):
            _check_digest(raw, reference.removeprefix("sha256:"), self.url)
        manifest: dict[str, Any] = orjson.loads(raw)
        try:
            layer = str(manifest["layers"][0]["digest"])
        except (KeyError, IndexError, TypeError):
            raise Unavailable(f"{self.setting}: the manifest of {_safe(self.url)} has no layer") from None
        digest = layer.removeprefix("sha256:")
        if digest == self._digest:
            return None
        named = (manifest.get("annotations") or {}).get(_COMMIT_ANNOTATION)
        return await self._unpacked(await self._fetch(session, f"{base}/blobs/{layer}"), digest, named)

    async def _fetch(self, session: aiohttp.ClientSession, address: str, accept: str = "*/*") -> bytes:
        async with session.get(address, headers={**self._headers, "Accept": accept}) as answer:
            if answer.status != 200:
                raise Unavailable(f"{self.setting}: {_safe(address)} answered {answer.status}")
            raw = await answer.content.read(MOST_BUNDLE_BYTES + 1)
            while len(raw) <= MOST_BUNDLE_BYTES and (more := await answer.content.read(MOST_BUNDLE_BYTES)):
                raw += more
        if len(raw) > MOST_BUNDLE_BYTES:
            raise Unavailable(f"{self.setting}: {_safe(address)} is larger than {MOST_BUNDLE_BYTES // 2**20} MB")
        return raw

    async def _unpacked(self, raw: bytes, digest: str, commit: str | None) -> SourceContent:
        _check_digest(raw, digest, self.url)
        content = await asyncio.to_thread(unpack_bundle, raw, self.commit or commit)
        self._digest = digest
        return content


def unpack_bundle(raw: bytes, commit: str | None) -> SourceContent:
    """The rule files of an archive. ``git archive`` writes the commit into it. Raises Unavailable for no archive."""
    try:
        with tarfile.open(fileobj=BytesIO(raw)) as archive, tempfile.TemporaryDirectory() as folder:
            known = commit or archive.pax_headers.get("comment")
            if _is_too_large(archive):
                return _refused_bundle(raw, f"the bundle unpacks to more than {MOST_BUNDLE_BYTES // 2**20} MB")
            archive.extractall(folder, filter="data")
            return read_content(Path(folder), known)
    except (tarfile.TarError, OSError, EOFError) as error:
        return _refused_bundle(raw, f"the bundle is no tar archive that can be unpacked: {type(error).__name__}")


def _is_too_large(archive: tarfile.TarFile) -> bool:
    """Asked before anything is unpacked; stops where it is known."""
    size = 0
    for member in archive:
        size += member.size
        if size > MOST_BUNDLE_BYTES:
            return True
    return False


def _refused_bundle(raw: bytes, sentence: str) -> SourceContent:
    report = FaultReport()
    report.add(Location("bundle", 1, 1), sentence)
    return SourceContent(Revision(hashlib.sha256(raw).hexdigest()[:32]), {}, None, tuple(report.sorted()))


def _check_digest(raw: bytes, digest: str, url: str) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != digest.lower():
        raise Unavailable(f"{_safe(url)} has the SHA-256 {found}, not {digest or 'one that is named beside it'}")


def _registry_address(url: str) -> tuple[str, str]:
    """The address of a repository in a registry, and a tag or digest. Plain HTTP is for this machine alone."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    name, at, digest = path.partition("@")
    tag = "latest"
    if not at and ":" in name:
        name, _, tag = name.rpartition(":")
    scheme = "http" if parts.hostname in {"127.0.0.1", "localhost", "::1"} else "https"
    return f"{scheme}://{parts.netloc}/v2/{name}", digest or tag


def _safe(url: str) -> str:
    """Without a login that the address may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
