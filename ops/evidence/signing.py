"""The key that signs exported evidence: the setting that names its file, how it is read, and its public half.

It needs nothing that typesets, so that the list of all settings has this one in an image without Typst too.
"""

from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import Field

from ops.command_settings import TenantSettings
from shared.contracts.errors import Misconfigured

_SETTING = "STET_EVIDENCE_KEY_FILE"
_HOW = "make one with: openssl genpkey -algorithm ed25519 -out evidence-key.pem"


class EvidenceSettings(TenantSettings):
    """The database, and the key that signs what is exported."""

    evidence_key_file: Annotated[
        Path | None,
        Field(description="An Ed25519 private key as PEM; `stet evidence` signs with it what it exports."),
    ] = None


def load_signing_key(file: Path | None) -> Ed25519PrivateKey:
    """Raises Misconfigured where there is no key, or none of Ed25519."""
    if file is None:
        raise Misconfigured(_SETTING, f"not set; {_HOW}")
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise Misconfigured(_SETTING, f"it cannot be read: {error.strerror}") from None
    except (TypeError, ValueError):
        raise Misconfigured(_SETTING, f"it holds no private key in PEM form without a password; {_HOW}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(_SETTING, f"its key is not Ed25519; {_HOW}")
    return key


def public_key_of(key: Ed25519PrivateKey) -> str:
    """64 hex digits, as verify.py takes them."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
