"""Secrets: their types, checked at start; the watch of their files; the keyed hash that stands for personal data.

With a secret that cannot be right, a service would start, and then refuse or accept every request. No error quotes a
secret. Meta documents no format of its app secrets (32 hexadecimal digits today), so only a value that cannot be one is
refused.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from shared.contracts.errors import Misconfigured
from shared.contracts.ids import PersonId, length_prefixed
from shared.runtime.metrics import Metrics, label
from shared.runtime.telemetry import get_logger

log = get_logger()
SECRET_REFUSED = Metrics.of("ingest", "dispatcher", "writeback").gauge(
    "stet_secret_refused",
    "1 while the other side refuses the secret, or while signatures come and none is made with it, else 0.",
    label("secret", description="the setting that holds it"),
)

_PSEUDONYM_HEX = 32
_WEBHOOK_PREFIX = "whsec_"
_WEBHOOK_BYTES = range(24, 65)


def _of_length(least: int, most: int) -> Callable[[SecretStr], SecretStr]:
    def check(secret: SecretStr) -> SecretStr:
        _check_visible(secret.get_secret_value())
        if not least <= len(secret.get_secret_value()) <= most:
            raise ValueError(f"it must have {least} to {most} characters")
        return secret

    return check


def _check_visible(text: str) -> None:
    """A blank or a line break within it comes from copying, and quotes from a file of variables: no secret has them."""
    if not text:
        raise ValueError("it is empty")
    if text[0] in "\"'" and text[-1] == text[0]:
        raise ValueError("it is in quotes, which belong to no secret")
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("it must be visible ASCII characters without blanks")


def _check_webhook_secret(secret: SecretStr) -> SecretStr:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, signature scheme."""
    text = secret.get_secret_value()
    _check_visible(text)
    if not text.startswith(_WEBHOOK_PREFIX):
        raise ValueError(f"it must begin with {_WEBHOOK_PREFIX}")
    try:
        key = base64.b64decode(text.removeprefix(_WEBHOOK_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {_WEBHOOK_PREFIX} must be base64") from None
    if len(key) not in _WEBHOOK_BYTES:
        raise ValueError(f"it must hold {_WEBHOOK_BYTES.start} to {_WEBHOOK_BYTES.stop - 1} bytes")
    return secret


AppSecret = Annotated[SecretStr, AfterValidator(_of_length(16, 128))]
"""Meta signs webhooks with it: App Dashboard, Settings, Basic."""

WebhookSecret = Annotated[SecretStr, AfterValidator(_check_webhook_secret)]
"""A secret of Standard Webhooks: ``whsec_`` and base64 of 24 to 64 bytes."""

VerifyToken = Annotated[SecretStr, AfterValidator(_of_length(8, 256))]
"""Chosen by the operator; Meta sends it back when a webhook is subscribed."""

AccessKey = Annotated[SecretStr, AfterValidator(_of_length(1, 4096))]
"""A token or key issued by another system, of any length, sent in a header."""

SigningKey = Annotated[SecretStr, AfterValidator(_of_length(16, 256))]
"""A key of our own, better of 32 characters or more: ``openssl rand -hex 32``."""

PseudonymKey = Annotated[SecretStr, AfterValidator(_of_length(32, 256))]
"""A key of our own: ``openssl rand -hex 32``."""


def hmac_sha256(key: bytes, content: bytes) -> str:
    """HMAC-SHA256 in hex: as ``hmac.digest``, at two thirds of its cost, since each key is prepared once."""
    keyed = _keyed_hash(key).copy()
    keyed.update(content)
    return keyed.hexdigest()


@lru_cache(maxsize=16)
def _keyed_hash(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


@dataclass(frozen=True, slots=True)
class Pseudonymizer:
    """Keyed hashes of what contains a phone number. The same key and parts give the same hash in every process.

    A wamid is base64 around the person's number, and a number has so few digits that a plain hash of it is found by
    trying all of them. There is one key for a tenant's whole installation: another key gives other ids.
    """

    key: bytes = field(repr=False)

    def hash(self, *parts: object) -> str:
        """32 hex characters for these parts, in this order."""
        return hmac_sha256(self.key, length_prefixed(parts))[:_PSEUDONYM_HEX]

    def for_wamid(self, wamid: str) -> str:
        """Stands for WhatsApp's id of a message."""
        return self.hash("wamid", wamid)

    def visitor_id(self, tenant: str, address: str) -> PersonId:
        """The person id of a person known only by the address (BSUID, else phone) they first wrote from."""
        return PersonId("v" + self.hash(tenant, "visitor", address))


# ------------------------------------------------------------------ files that change

_CHECK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class SecretRestart:
    """``within``: the seconds from which the moment is drawn. ``read`` reads the settings, or raises Misconfigured."""

    within: float
    read: Callable[[], object]
    end: Callable[[], None]


class SecretFilesWatch:
    """Notices that a file of secrets or certificates changed after the start, and ends the process where it may.

    Kubernetes replaces the files of a Secret in a running pod. A service reads them once, at its start, so a changed
    file counts after a restart. With the setting for it, the process ends like on SIGTERM once the new files are seen
    to be usable, and the kubelet starts it again. Replicas draw their moments, so that they do not end together.

    ``files`` were read at the start; in ``folder`` every file counts. Without ``restart`` a person has to act.
    """

    def __init__(self, folder: Path | None, files: Iterable[Path], restart: SecretRestart | None = None) -> None:
        self._folder = folder
        self._files = tuple(files)
        self._restart = restart
        self._seconds = _CHECK_SECONDS if restart is None else min(_CHECK_SECONDS, restart.within)
        self._first = self._digests()
        self._changed: frozenset[str] = frozenset()
        self._refused: dict[str, bytes] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.check()
            if self._changed and self._restart is not None:
                await self._end_when_due(self._restart)

    async def check(self) -> None:
        """Log what changed since the last check. A file that is again as it was at the start counts as unchanged."""
        changed = _differences(self._first, await asyncio.to_thread(self._digests))
        for name in sorted(changed - self._changed):
            hint = "restart this service" if self._restart is None else "it restarts by itself"
            log.warning("secret.changed", name=name, hint=hint)
        self._changed = changed

    async def detail(self) -> str:
        """A detail of readiness: the files whose content changed since it was read; empty where there are none."""
        names = ", ".join(sorted(self._changed))
        if self._refused:
            return f"{names}: changed since the start, and not usable: the log says why (restart.refused)"
        return f"{names}: changed since the start; restart this service" if names else ""

    async def _end_when_due(self, restart: SecretRestart) -> None:
        """End the process at a moment of its own, unless the files are as before by then, or cannot be used."""
        now = await asyncio.to_thread(self._digests)
        if now == self._refused:
            return
        seconds = random.uniform(0, restart.within)
        log.info("restart.scheduled", seconds=round(seconds, 1))
        await asyncio.sleep(seconds)
        await self.check()
        if not self._changed:
            return
        now = await asyncio.to_thread(self._digests)
        try:
            await asyncio.to_thread(restart.read)
        except Misconfigured as fault:
            self._refused = now
            log.warning("restart.refused", fault=str(fault), hint="correct the Secret; the former files stay in use")
            return
        log.warning("restart.started", name=", ".join(sorted(self._changed)))
        restart.end()

    def _digests(self) -> dict[str, bytes]:
        listed = sorted(self._folder.iterdir()) if self._folder is not None else []
        files = {path.name: path for path in (*self._files, *listed) if path.is_file()}
        return {name: hashlib.sha256(path.read_bytes()).digest() for name, path in files.items()}


def _differences(first: Mapping[str, bytes], now: Mapping[str, bytes]) -> frozenset[str]:
    return frozenset(name for name in first.keys() | now.keys() if first.get(name) != now.get(name))
