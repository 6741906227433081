"""The evidence of a record as files: JSON with a signed statement, PDF/A, and the script that verifies both.

The statement names the end of the chain and the SHA-256 of the PDF, so that one signature covers everything.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from importlib import resources
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.evidence.pdf import render_pdf
from ops.evidence.signing import public_key_of
from services.writeback.evidence_store import EvidenceChain
from shared.contracts.values import format_instant

FORMAT = "stet-evidence/1"


def build_files(
    tenant: str,
    record: str,
    chain: EvidenceChain,
    holds: Sequence[Mapping[str, Any]],
    key: Ed25519PrivateKey,
    now: datetime,
) -> dict[str, bytes]:
    """The content of each file by its name. ``holds`` are those on the record, released ones included.

    The statement says of the chain what it should be, so that verify.py finds what is missing or cannot be read.
    """
    unreadable = [each.entry.sequence for each in chain.entries if each.is_erased]
    statement: dict[str, Any] = {
        "format": FORMAT,
        "tenant": tenant,
        "record": record,
        "entries": chain.end.length,
        "last_hash": chain.end.last_hash,
        "unreadable": unreadable,
        "exported_at": format_instant(now),
        "legal_holds": [_hold(each) for each in holds],
    }
    pdf = render_pdf(
        f"Evidence of {record}", tenant, _facts(statement, public_key_of(key)), _paragraphs(unreadable), chain.entries
    )
    text = json.dumps({**statement, "pdf_sha256": sha256(pdf).hexdigest()}, ensure_ascii=False)
    document = {
        "format": FORMAT,
        "statement": text,
        "signature": key.sign(text.encode()).hex(),
        "public_key": public_key_of(key),
        "entries": [
            {
                "header": each.entry.header,
                "hash": each.entry.hash,
                "sealed": each.entry.sealed,
                "content": each.content,
                "unreadable": each.unreadable,
            }
            for each in chain.entries
        ],
    }
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in record)
    return {
        f"{name}.json": (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode(),
        f"{name}.pdf": pdf,
        "verify.py": resources.files("ops.evidence").joinpath("verify.py").read_bytes(),
    }


def _hold(hold: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "since": format_instant(hold["since"]),
        "reason": hold["reason"],
        "released_at": format_instant(hold["released_at"]) if hold["released_at"] else None,
    }


def _facts(statement: Mapping[str, Any], public_key: str) -> dict[str, str]:
    holds = [hold for hold in statement["legal_holds"] if hold["released_at"] is None]
    return {
        "Publisher": statement["tenant"],
        "Record": statement["record"],
        "Exported": statement["exported_at"],
        "Entries": str(statement["entries"]),
        "Hash of the last entry": statement["last_hash"],
        "Signed with": public_key,
        "Legal hold": "; ".join(f"since {hold['since']}: {hold['reason']}" for hold in holds) or "none",
    }


def _paragraphs(unreadable: Sequence[int]) -> list[str]:
    how = (
        "Each entry holds the hash of the entry before it. The JSON file of the same name has the entries byte by "
        "byte; its signed statement names the last hash and the SHA-256 of this PDF. It is verified by "
        "python3 -I verify.py FILE.json PUBLIC_KEY, which needs nothing but Python."
    )
    found = [how]
    if unreadable:
        numbers = ", ".join(map(str, unreadable))
        found.append(
            f"The contents of entries {numbers} can no longer be read, because the person they are about was erased. "
            "The chain is whole nevertheless: that they happened, when, and in which order is still proven."
        )
    return found
