"""The bodies of ``POST /{phone number id}/messages``: text, reply buttons, or a template with named parameters. Pure.

Meta, "Send messages"; a number goes into ``to`` with its +, a person known only by BSUID into ``recipient``.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.parameters import TEMPLATE_BODY, Unsendable, clean_parameters, clean_text
from services.dispatcher.states import Reason
from shared.contracts.messages import Wording

_TEXT = 4096
_INTERACTIVE_BODY = TEMPLATE_BODY
_REPLY_BUTTONS = 3
_BUTTON_TITLE = 20
_BUTTON_PAYLOAD = 128  # for templates Meta names no maximum; this much is known to pass


class Address(Struct, frozen=True):
    """Where WhatsApp reaches a person; at least one of the two."""

    phone: str | None
    bsuid: str | None


class Spoken(Struct, frozen=True):
    """What a message says, as rules rendered it; ``buttons`` are (id, title), a template is not always there."""

    body: str
    buttons: Sequence[tuple[str, str]] = ()
    template: dict[str, Any] | None = None
    reply_to: str | None = None


def callback_of(message_id: str, attempt: int) -> str:
    """``biz_opaque_callback_data``: comes back with every status and says which attempt it is about."""
    return f"{message_id}.{attempt}"


def read_callback(callback: str | None) -> tuple[str, int] | None:
    """(message id, attempt), or None for what this dispatcher did not mint."""
    message_id, dot, attempt = (callback or "").rpartition(".")
    if not (dot and message_id and attempt.isascii() and attempt.isdigit() and len(attempt) < 10):
        return None
    return message_id, int(attempt)


def body_of(spoken: Spoken, wording: Wording, address: Address, callback: str) -> bytes:
    """The request's body. Raises Unsendable for what Meta would refuse."""
    said = _template(spoken) if wording is Wording.TEMPLATE else _free(spoken)
    message: dict[str, Any] = {"messaging_product": "whatsapp", "recipient_type": "individual"}
    if address.phone:
        message["to"] = address.phone
    else:
        message["recipient"] = address.bsuid
    message.update(said)
    if spoken.reply_to:
        message["context"] = {"message_id": spoken.reply_to}
    message["biz_opaque_callback_data"] = callback
    return orjson.dumps(message)


def _free(spoken: Spoken) -> dict[str, Any]:
    if not spoken.buttons:
        return {"type": "text", "text": {"body": clean_text(spoken.body, _TEXT), "preview_url": False}}
    _check_buttons(spoken.buttons)
    buttons = [{"type": "reply", "reply": {"id": button, "title": title}} for button, title in spoken.buttons]
    body = {"text": clean_text(spoken.body, _INTERACTIVE_BODY)}
    return {"type": "interactive", "interactive": {"type": "button", "body": body, "action": {"buttons": buttons}}}


def _check_buttons(buttons: Sequence[tuple[str, str]]) -> None:
    titles = {title for _, title in buttons}
    too_long = any(len(title) > _BUTTON_TITLE or not title.strip() for title in titles)
    if len(buttons) > _REPLY_BUTTONS or len(titles) < len(buttons) or too_long:
        raise Unsendable(Reason.BUTTONS_NOT_SENDABLE)


def _template(spoken: Spoken) -> dict[str, Any]:
    call = spoken.template
    if call is None:
        raise Unsendable(Reason.NO_TEMPLATE)
    parameters = clean_parameters(call["parameters"])
    named = [{"type": "text", "parameter_name": name, "text": text} for name, text in parameters.items()]
    components: list[dict[str, Any]] = [{"type": "body", "parameters": named}] if named else []
    components += [_quick_reply(index, button) for index, (button, _) in enumerate(spoken.buttons)]
    template = {"name": call["name"], "language": {"code": call["language"]}, "components": components}
    return {"type": "template", "template": template}


def _quick_reply(index: int, button: str) -> dict[str, Any]:
    if len(button) > _BUTTON_PAYLOAD:
        raise Unsendable(Reason.BUTTONS_NOT_SENDABLE)
    payload = [{"type": "payload", "payload": button}]
    return {"type": "button", "sub_type": "quick_reply", "index": str(index), "parameters": payload}
