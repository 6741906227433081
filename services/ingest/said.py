"""How a person wrote: the content of one inbound message, by WhatsApp's message types.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
"""

from collections.abc import Callable
from typing import Any

from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import Media, MessageKind

Said = dict[str, Any]
"""Fields of ``MessageReceived``: message_kind and what goes with it."""


def content(item: dict[str, Any], *, troubled: bool) -> Said:
    """``troubled``: WhatsApp sent errors with it, so missing content is theirs. Raises ValueError naming the field."""
    kind = item.get("type")
    if not isinstance(kind, str):
        raise ValueError("messages.type: a message has one")  # noqa: TRY004 -- callers park on ValueError
    reader = _READERS.get(kind)
    if reader is None:
        return {"message_kind": MessageKind.OTHER}
    try:
        return reader(kind, item)
    except (AttributeError, KeyError, TypeError, ValueError):
        if troubled or kind in {"unsupported", "unknown"}:
            return {"message_kind": MessageKind.UNSUPPORTED}
        raise ValueError(f"messages.{kind}: it has not the shape of its type") from None


def quoted(item: dict[str, Any]) -> Wamid | None:
    """The message this one answers; WhatsApp may leave it out."""
    context = item.get("context")
    return _wamid(context.get("id")) if isinstance(context, dict) else None


def _text(kind: str, item: dict[str, Any]) -> Said:
    return {"message_kind": MessageKind.TEXT, "text": _string(item[kind]["body"])}


def _button(kind: str, item: dict[str, Any]) -> Said:
    node = item[kind]
    return {"message_kind": MessageKind.BUTTON, "button_id": _string(node["payload"]), "text": _maybe(node.get("text"))}


def _interactive(kind: str, item: dict[str, Any]) -> Said:
    node = item[kind]
    reply = _INTERACTIVE.get(node["type"])
    if reply is None:
        return {"message_kind": MessageKind.OTHER}
    chosen = node[node["type"]]
    return {"message_kind": reply, "button_id": _string(chosen["id"]), "text": _maybe(chosen.get("title"))}


def _media(kind: str, item: dict[str, Any]) -> Said:
    node = item[kind]
    media = Media(
        media_id=_string(node["id"]),
        mime=_maybe(node.get("mime_type")),
        sha256=_maybe(node.get("sha256")),
        filename=_maybe(node.get("filename")),
        size=_size(node.get("file_size")),
    )
    return {"message_kind": MessageKind.MEDIA, "media": media, "text": _maybe(node.get("caption"))}


def _size(value: object) -> int | None:
    """Bytes; WhatsApp says them of a file that is asked for, and some who pass its webhooks on say them at once."""
    return value if type(value) is int and value >= 0 else None


def _reaction(kind: str, item: dict[str, Any]) -> Said:
    """Without text, or with an empty one, it was taken back."""
    node = item[kind]
    return {
        "message_kind": MessageKind.REACTION,
        "text": _maybe(node.get("emoji")),
        "quoted_id": _wamid(node["message_id"]),
    }


def _edit(kind: str, item: dict[str, Any]) -> Said:
    node = item[kind]
    message = node["message"]
    if not isinstance(message, dict) or message.get("type") == kind:
        raise ValueError("expected the message as it reads now")
    now_says = content(message, troubled=True)
    return {**now_says, "message_kind": MessageKind.EDIT, "quoted_id": _wamid(node["original_message_id"])}


def _revoke(kind: str, item: dict[str, Any]) -> Said:
    return {"message_kind": MessageKind.REVOKE, "quoted_id": _wamid(item[kind]["original_message_id"])}


def _location(_kind: str, _item: dict[str, Any]) -> Said:
    return {"message_kind": MessageKind.LOCATION}


def _unsupported(_kind: str, _item: dict[str, Any]) -> Said:
    return {"message_kind": MessageKind.UNSUPPORTED}


def _string(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return value


def _maybe(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _wamid(value: Any) -> Wamid | None:
    return Wamid(value) if isinstance(value, str) and value else None


_INTERACTIVE = {"button_reply": MessageKind.BUTTON, "list_reply": MessageKind.LIST}
_READERS: dict[str, Callable[[str, dict[str, Any]], Said]] = {
    "text": _text,
    "button": _button,
    "interactive": _interactive,
    **dict.fromkeys(("image", "video", "audio", "document", "sticker"), _media),
    "reaction": _reaction,
    "edit": _edit,
    "revoke": _revoke,
    "location": _location,
    "unsupported": _unsupported,
    "unknown": _unsupported,
}
