"""Signed button ids: a tap brings one back, and a forged or foreign id answers nothing."""

import hmac
from collections.abc import Sequence
from hashlib import blake2b

from services.rules.rulebook.built_in import STOP_ALL
from shared.contracts.ids import MessageId

_PREFIX = "s1"
_MAC_BYTES = 12


Keys = Sequence[bytes]
"""The first signs; all are accepted, so that a key can be replaced while its buttons are still open."""


def sign_button_id(keys: Keys, message: MessageId, answer: str) -> str:
    """At most 256 characters, as WhatsApp requires of reply buttons (docs/reference/whatsapp.md, 1)."""
    return f"{_PREFIX}.{message}.{answer}.{_mac(keys[0], message, answer)}"


def read_button_id(keys: Keys, button_id: str) -> tuple[MessageId, str] | None:
    """The message and the answer of a button; None where the signature is not ours."""
    parts = button_id.split(".")
    if len(parts) != 4 or parts[0] != _PREFIX:
        return None
    message, answer, mac = MessageId(parts[1]), parts[2], parts[3]
    ours = [hmac.compare_digest(mac.encode(), _mac(key, message, answer).encode()) for key in keys]
    return (message, answer) if any(ours) else None


def claimed_message(button_id: str) -> MessageId | None:
    """The message that a button names, unverified: only for loading what a decision may need."""
    parts = button_id.split(".")
    return MessageId(parts[1]) if len(parts) == 4 and parts[0] == _PREFIX else None


def claims_opt_out(button_id: str) -> bool:
    """Whether a button says that it opts out, unverified: only for loading and locking what a decision may need."""
    parts = button_id.split(".")
    return len(parts) == 4 and parts[0] == _PREFIX and parts[2] == STOP_ALL


def is_opt_out_tap(keys: Keys, button_id: str | None) -> bool:
    """Whether it is our own button to opt out. It counts whatever became of the message that it was under."""
    claim = read_button_id(keys, button_id) if button_id is not None else None
    return claim is not None and claim[1] == STOP_ALL


def _mac(key: bytes, message: MessageId, answer: str) -> str:
    return blake2b(f"{message}.{answer}".encode(), key=key[:64], digest_size=_MAC_BYTES).hexdigest()
