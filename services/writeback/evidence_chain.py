"""The entries of an evidence chain: headers, hashes and sealed contents. Pure, but for random keys, nonces and salts.

The header of an entry is JSON text. Its SHA-256 is the hash of the entry, and it holds the hash of the entry before it,
so no entry can be changed, removed or put in without breaking every later one. The header names no person; it holds the
SHA-256 of the content, and of the sealed content in base64. A content begins with random bytes, so nothing can be found
out about it from its hash once the key is gone. docs/operations/evidence.md describes the format for its readers.
"""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.contracts.values import format_instant

FIRST_PREVIOUS = "0" * 64
"""The hash of the entry before it, in the first entry of a chain."""

_KEY_BITS = 256
_NONCE_BYTES = 12
_SALT_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceDraft:
    """An entry that is not in its chain yet. ``at`` is when it happened, in business time.

    ``entry_id`` is derived from what happened, so one thing has one entry. ``public`` are words of closed sets and of
    rule files, which stay readable when the person is erased; ``content`` is everything else. ``write_id`` and
    ``outcome`` are those of a write, for the audit.
    """

    tenant: str
    record: str
    entry_id: str
    kind: str
    at: datetime
    person_id: str | None
    public: Mapping[str, object]
    content: Mapping[str, object]
    write_id: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class PersonKey:
    """``key`` is None once it is destroyed."""

    key_id: str
    key: bytes | None


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last entry of a chain: how many there are, and its hash."""

    length: int = 0
    last_hash: str = FIRST_PREVIOUS


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceEntry:
    """An entry as it is stored. ``sealed`` is base64 of nonce and ciphertext.

    It is None where the person's key was destroyed before the entry was made. ``key_id`` is no part of the hash, and
    counts where the header has the same.
    """

    sequence: int
    header: str
    hash: str
    key_id: str
    sealed: str | None


class SealBroken(Exception):
    """The key does not open a sealed content, or opens another content than the header names."""


def make_key() -> PersonKey:
    return PersonKey(secrets.token_hex(16), AESGCM.generate_key(_KEY_BITS))


def append_entry(end: ChainEnd, draft: EvidenceDraft, key: PersonKey) -> tuple[EvidenceEntry, ChainEnd]:
    """The next entry of a chain, and its new end."""
    sequence = end.length + 1
    content = _content_text(draft.content)
    sealed = None if key.key is None else _seal(key.key, content, draft)
    header = _json(
        {
            "tenant": draft.tenant,
            "record": draft.record,
            "sequence": sequence,
            "previous": end.last_hash,
            "entry_id": draft.entry_id,
            "kind": draft.kind,
            "at": format_instant(draft.at),
            "public": dict(draft.public),
            "key_id": key.key_id,
            "content_sha256": _digest(None if sealed is None else content),
            "sealed_sha256": _digest(sealed),
        }
    )
    digest = sha256(header.encode()).hexdigest()
    entry = EvidenceEntry(sequence=sequence, header=header, hash=digest, key_id=key.key_id, sealed=sealed)
    return entry, ChainEnd(sequence, digest)


def open_content(entry: EvidenceEntry, key: bytes) -> str:
    """The content of an entry, as JSON text. Raises SealBroken; ValueError for an entry without a sealed content."""
    if entry.sealed is None:
        raise ValueError(f"entry {entry.sequence} has no sealed content")
    header, raw = json.loads(entry.header), base64.b64decode(entry.sealed)
    bound_to = _bound_to(header["tenant"], header["entry_id"])
    try:
        content = AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to)
    except InvalidTag:
        raise SealBroken("it does not open with its key") from None
    if sha256(content).hexdigest() != header["content_sha256"]:
        raise SealBroken("it opens to another content than its header names")
    return content.decode()


def find_break(tenant: str, record: str, entries: Sequence[EvidenceEntry], recorded: ChainEnd) -> str | None:
    """A sentence about the first entry that does not fit, or about missing last ones; None for a whole chain.

    ``recorded`` is its end as it was kept apart from the entries.
    """
    end = ChainEnd()
    for entry in entries:
        header = read_header(entry.header)
        if header is None or sha256(entry.header.encode()).hexdigest() != entry.hash:
            return f"entry {entry.sequence}: its header was changed"
        if (header["sequence"], header["previous"]) != (end.length + 1, end.last_hash):
            return f"entry {entry.sequence}: it does not follow entry {end.length}"
        if (header["tenant"], header["record"]) != (tenant, record):
            return f"entry {entry.sequence}: it was made for another record"
        if _digest(entry.sealed) != header["sealed_sha256"]:
            return f"entry {entry.sequence}: its sealed content was changed or removed"
        end = ChainEnd(end.length + 1, entry.hash)
    if end != recorded:
        return f"entry {end.length}: it is not the last one; {recorded.length} were recorded"
    return None


_HEADER_FIELDS = frozenset(
    {
        "tenant", "record", "sequence", "previous", "entry_id", "kind", "at", "public", "key_id", "content_sha256",
        "sealed_sha256",
    }
)  # fmt: skip


def read_header(header: str) -> Mapping[str, Any] | None:
    """The fields of a header; None for a text that is no header of an entry."""
    try:
        found = json.loads(header)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= _HEADER_FIELDS else None


def _digest(text: str | None) -> str | None:
    return None if text is None else sha256(text.encode()).hexdigest()


def _seal(key: bytes, content: str, draft: EvidenceDraft) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    ciphertext = AESGCM(key).encrypt(nonce, content.encode(), _bound_to(draft.tenant, draft.entry_id))
    return base64.b64encode(nonce + ciphertext).decode()


def _bound_to(tenant: str, entry_id: str) -> bytes:
    """A sealed content opens for its own entry alone."""
    return f"{tenant}/{entry_id}".encode()


def _content_text(content: Mapping[str, object]) -> str:
    salt = base64.b64encode(secrets.token_bytes(_SALT_BYTES)).decode()
    return _json({"salt": salt, **content})


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
