"""The customer service window: who said what opens it, and whether it is open at the moment of sending.

Meta, "Customer service windows": each message or call of a person opens it for 24 hours, per number. Reactions, edits
and deletions are left out: counting too little costs a template, counting too much costs a failed message.
"""

from datetime import datetime

from services.dispatcher.limits import Limits
from shared.contracts.whatsapp import MessageKind, MessageReceived

_OPENING = frozenset(
    {
        MessageKind.TEXT, MessageKind.BUTTON, MessageKind.LIST, MessageKind.MEDIA, MessageKind.LOCATION,
        MessageKind.CALL, MessageKind.UNSUPPORTED,
    }
)  # fmt: skip


def opens(message: MessageReceived) -> bool:
    """A message in a group says nothing about the person's own chat."""
    return message.message_kind in _OPENING and not message.in_group


def is_open(opened_at: datetime | None, limits: Limits, now: datetime) -> bool:
    """With the margin: a request that travels slowly must still arrive inside."""
    return opened_at is not None and now < opened_at + limits.window - limits.window_margin
