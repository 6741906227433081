"""Reads the content of one inbound message, by WhatsApp's message types.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
"""

from collections.abc import Callable
from typing import Any

from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import Media, MessageKind

ContentFields = dict[str, Any]
"""Fields of ``MessageReceived``: ``message_kind`` and the fields that belong to it."""


def read_content(item: dict[str, Any], *, has_errors: bool) -> ContentFields:
    """``has_errors``: WhatsApp sent errors with the message, so content may be missing.

    Raises ValueError naming the field.
    """
    kind = item.get("type")
    if not isinstance(kind, str):
        raise ValueError("messages.type: it is missing")  # noqa: TRY004 -- callers park on ValueError
    reader = _READERS.get(kind)
    if reader is None:
        return {"message_kind": MessageKind.OTHER}
    try:
        return reader(kind, item)
    except (AttributeError, KeyError, TypeError, ValueError):
        if has_errors or kind in {"unsupported", "unknown"}:
            return {"message_kind": MessageKind.UNSUPPORTED}
        raise ValueError(f"messages.{kind}: it has not the shape of its type") from None


def quoted_message(item: dict[str, Any]) -> Wamid | None:
    """The message that this one replies to; WhatsApp may leave it out."""
    context = item.get("context")
    return _optional_wamid(context.get("id")) if isinstance(context, dict) else None


def _read_text(kind: str, item: dict[str, Any]) -> ContentFields:
    return {"message_kind": MessageKind.TEXT, "text": _required(item[kind]["body"])}


def _read_button(kind: str, item: dict[str, Any]) -> ContentFields:
    node = item[kind]
    text = _optional(node.get("text"))
    return {"message_kind": MessageKind.BUTTON, "button_id": _required(node["payload"]), "text": text}


def _read_interactive(kind: str, item: dict[str, Any]) -> ContentFields:
    node = item[kind]
    reply = _INTERACTIVE.get(node["type"])
    if reply is None:
        return {"message_kind": MessageKind.OTHER}
    chosen = node[node["type"]]
    return {"message_kind": reply, "button_id": _required(chosen["id"]), "text": _optional(chosen.get("title"))}


def _read_media(kind: str, item: dict[str, Any]) -> ContentFields:
    node = item[kind]
    media = Media(
        media_id=_required(node["id"]),
        mime=_optional(node.get("mime_type")),
        sha256=_optional(node.get("sha256")),
        filename=_optional(node.get("filename")),
        size=_optional_size(node.get("file_size")),
    )
    return {"message_kind": MessageKind.MEDIA, "media": media, "text": _optional(node.get("caption"))}


def _read_reaction(kind: str, item: dict[str, Any]) -> ContentFields:
    """A reaction without text, or with an empty text, was removed."""
    node = item[kind]
    return {
        "message_kind": MessageKind.REACTION,
        "text": _optional(node.get("emoji")),
        "quoted_id": _optional_wamid(node["message_id"]),
    }


def _read_edit(kind: str, item: dict[str, Any]) -> ContentFields:
    node = item[kind]
    message = node["message"]
    if not isinstance(message, dict) or message.get("type") == kind:
        raise ValueError("expected the edited message")
    edited = read_content(message, has_errors=True)
    quoted = _optional_wamid(node["original_message_id"])
    return {**edited, "message_kind": MessageKind.EDIT, "quoted_id": quoted}


def _read_revoke(kind: str, item: dict[str, Any]) -> ContentFields:
    return {"message_kind": MessageKind.REVOKE, "quoted_id": _optional_wamid(item[kind]["original_message_id"])}


def _read_location(_kind: str, _item: dict[str, Any]) -> ContentFields:
    return {"message_kind": MessageKind.LOCATION}


def _read_unsupported(_kind: str, _item: dict[str, Any]) -> ContentFields:
    return {"message_kind": MessageKind.UNSUPPORTED}


def _required(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return value


def _optional(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _optional_size(value: object) -> int | None:
    """Bytes. WhatsApp gives the size when a file is requested; some providers that forward webhooks give it here."""
    return value if type(value) is int and value >= 0 else None


def _optional_wamid(value: Any) -> Wamid | None:
    return Wamid(value) if isinstance(value, str) and value else None


_INTERACTIVE = {"button_reply": MessageKind.BUTTON, "list_reply": MessageKind.LIST}
_READERS: dict[str, Callable[[str, dict[str, Any]], ContentFields]] = {
    "text": _read_text,
    "button": _read_button,
    "interactive": _read_interactive,
    **dict.fromkeys(("image", "video", "audio", "document", "sticker"), _read_media),
    "reaction": _read_reaction,
    "edit": _read_edit,
    "revoke": _read_revoke,
    "location": _read_location,
    "unsupported": _read_unsupported,
    "unknown": _read_unsupported,
}
