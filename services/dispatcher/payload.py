"""Builds the body of ``POST /{phone number id}/messages``: text, buttons, a document, or a template. Pure.

Meta, "Send messages" (docs/reference/whatsapp.md). Texts are cleaned to
Meta's rules; content that cannot be cleaned is refused here, because WhatsApp would refuse it later.
"""

import mimetypes
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.reasons import MessageReason
from shared.clients.whatsapp_limits import (
    BODY_LENGTH,
    BUTTON_PAYLOAD_LENGTH,
    BUTTON_TITLE_LENGTH,
    BUTTONS,
    CAPTION_LENGTH,
    FILE_NAME_LENGTH,
    TEXT_LENGTH,
)
from shared.contracts.errors import Unprocessable
from shared.contracts.messages import MessageForm, TemplateHeader

# Zero-width spaces and marks, bidirectional controls, soft hyphens: invisible, and refused or abused. The zero-width
# joiners (U+200C, U+200D) stay: emoji and several scripts are spelt with them.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WHITESPACE = re.compile(r"\s+")
_PATH = re.compile(r"[/\\]+")


class UnsendableContent(Unprocessable):
    """WhatsApp would never accept this content; the message is dropped with ``message_reason``."""

    def __init__(self, reason: MessageReason) -> None:
        super().__init__(reason, reason=reason)
        self.message_reason = reason


class RecipientAddress(Struct, frozen=True):
    """Where WhatsApp reaches a person; at least one of the two is set. ``version`` is that of the person's state."""

    phone: str | None
    bsuid: str | None
    person_id: str | None = None
    version: int = 0


class ContentDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """A document that goes with a message; ``media_id`` once WhatsApp has it, and then ``mime`` is its type."""

    document_id: str
    name: str
    optional: bool = False
    media_id: str | None = None
    mime: str | None = None

    @property
    def file_name(self) -> str:
        """The name that the person sees, with an extension that fits the type."""
        name = _PATH.sub(" ", _INVISIBLE.sub("", _CONTROLS.sub(" ", self.name))).strip(" .") or "document"
        extension = mimetypes.guess_extension(self.mime or "") or ""
        if not name.lower().endswith(extension):
            name = f"{name[: FILE_NAME_LENGTH - len(extension)]}{extension}"
        return name[-FILE_NAME_LENGTH:]


class MessageContent(Struct, frozen=True, forbid_unknown_fields=True):
    """A message as rules rendered it; ``buttons`` are (id, title), and the template is optional."""

    body: str
    buttons: Sequence[tuple[str, str]] = ()
    template: dict[str, Any] | None = None
    reply_to: str | None = None
    document: ContentDocument | None = None


def build_body(content: MessageContent, wording: MessageForm, address: RecipientAddress, callback: str) -> bytes:
    """The request's body. A phone number goes into ``to`` with its +, a BSUID into ``recipient``.

    Raises UnsendableContent where Meta would refuse the content.
    """
    part = _template_part(content) if wording is MessageForm.TEMPLATE else _free_text_part(content)
    message: dict[str, Any] = {"messaging_product": "whatsapp", "recipient_type": "individual"}
    if address.phone:
        message["to"] = address.phone
    else:
        message["recipient"] = address.bsuid
    message.update(part)
    if content.reply_to:
        message["context"] = {"message_id": content.reply_to}
    message["biz_opaque_callback_data"] = callback
    return orjson.dumps(message)


def clean_parameter(value: str) -> str:
    """One line of visible text without runs of spaces. Raises UnsendableContent."""
    if value.isascii() and value.isprintable() and "  " not in value and value == value.strip() != "":
        return _check_length(value, BODY_LENGTH)
    cleaned = _WHITESPACE.sub(" ", _INVISIBLE.sub("", _CONTROLS.sub(" ", value))).strip()
    return _check_text(cleaned, BODY_LENGTH)


def clean_parameters(values: Mapping[str, str]) -> dict[str, str]:
    """Raises UnsendableContent where one is empty, or all together are too long."""
    cleaned = {name: clean_parameter(value) for name, value in values.items()}
    if sum(map(len, cleaned.values())) > BODY_LENGTH:
        raise UnsendableContent(MessageReason.TEXT_TOO_LONG)
    return cleaned


def clean_text(body: str, longest: int) -> str:
    """Free text, which keeps its lines. Raises UnsendableContent."""
    return _check_text(_INVISIBLE.sub("", _CONTROLS.sub("", body)).strip(), longest)


def _free_text_part(content: MessageContent) -> dict[str, Any]:
    document = _document_node(content.document) if content.document is not None else None
    if not content.buttons and document is not None:
        return {"type": "document", "document": {**document, "caption": clean_text(content.body, CAPTION_LENGTH)}}
    if not content.buttons:
        return {"type": "text", "text": {"body": clean_text(content.body, TEXT_LENGTH), "preview_url": False}}
    _check_buttons(content.buttons)
    buttons = [{"type": "reply", "reply": {"id": button, "title": title}} for button, title in content.buttons]
    body = {"text": clean_text(content.body, BODY_LENGTH)}
    interactive: dict[str, Any] = {"type": "button", "body": body, "action": {"buttons": buttons}}
    if document is not None:
        interactive["header"] = {"type": "document", "document": document}
    return {"type": "interactive", "interactive": interactive}


def _template_part(content: MessageContent) -> dict[str, Any]:
    call = content.template
    if call is None:
        raise UnsendableContent(MessageReason.NO_TEMPLATE)
    parameters = clean_parameters(call["parameters"])
    named = [{"type": "text", "parameter_name": name, "text": text} for name, text in parameters.items()]
    components = _header(call, content.document)
    components += [{"type": "body", "parameters": named}] if named else []
    components += [_quick_reply(index, button) for index, (button, _) in enumerate(content.buttons)]
    template = {"name": call["name"], "language": {"code": call["language"]}, "components": components}
    return {"type": "template", "template": template}


def _header(call: Mapping[str, Any], document: ContentDocument | None) -> list[dict[str, Any]]:
    """Raises UnsendableContent where the template has a document and the message has none, or the other way round."""
    has_header = call.get("header") == TemplateHeader.DOCUMENT
    if document is None and not has_header:
        return []
    if document is None or (not has_header and not document.optional):
        raise UnsendableContent(MessageReason.DOCUMENT_NOT_SENDABLE)
    if not has_header:
        return []
    return [{"type": "header", "parameters": [{"type": "document", "document": _document_node(document)}]}]


def _document_node(document: ContentDocument) -> dict[str, Any]:
    if document.media_id is None:
        raise UnsendableContent(MessageReason.DOCUMENT_NOT_SENDABLE)
    return {"id": document.media_id, "filename": document.file_name}


def _quick_reply(index: int, button: str) -> dict[str, Any]:
    if len(button) > BUTTON_PAYLOAD_LENGTH:
        raise UnsendableContent(MessageReason.BUTTONS_NOT_SENDABLE)
    payload = [{"type": "payload", "payload": button}]
    return {"type": "button", "sub_type": "quick_reply", "index": str(index), "parameters": payload}


def _check_buttons(buttons: Sequence[tuple[str, str]]) -> None:
    titles = {title for _, title in buttons}
    too_long = any(len(title) > BUTTON_TITLE_LENGTH or not title.strip() for title in titles)
    if len(buttons) > BUTTONS or len(titles) < len(buttons) or too_long:
        raise UnsendableContent(MessageReason.BUTTONS_NOT_SENDABLE)


def _check_text(text: str, longest: int) -> str:
    if not any(_is_visible(character) for character in text):
        raise UnsendableContent(MessageReason.EMPTY_TEXT)
    return _check_length(text, longest)


def _check_length(text: str, longest: int) -> str:
    if len(text) > longest:
        raise UnsendableContent(MessageReason.TEXT_TOO_LONG)
    return text


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in {"Cf", "Cc", "Zs", "Zl", "Zp"}
