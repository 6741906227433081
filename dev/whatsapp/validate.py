"""A request to ``/messages`` against Meta's limits: a fault raises GraphError, the rest becomes a value. Pure."""

import re

from dev.whatsapp.errors import GraphError
from dev.whatsapp.fields import Node
from dev.whatsapp.outbound import Content, Kind, ReadReceipt, Send
from dev.whatsapp.validate_interactive import interactive
from dev.whatsapp.validate_template import KnownTemplates, template

_TEXT = 4096
_CALLBACK = 512
_BSUID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_PHONE = re.compile(r"\+?\d{5,15}")
_PUNCTUATION = re.compile(r"[\s().-]")


def request(body: object, templates: KnownTemplates) -> Send | ReadReceipt:
    message = _top(body)
    if message.value.get("status") is not None:
        return _receipt(message)
    to, recipient = _addresses(message)
    callback = message.value.get("biz_opaque_callback_data")
    if callback is not None:
        message.text("biz_opaque_callback_data", _CALLBACK, code=100)
    if (context := message.maybe("context")) is not None:
        context.text("message_id", 512)
    return Send(to, recipient, _content(message, templates), callback)


def is_bsuid(address: str) -> bool:
    return _BSUID.fullmatch(address) is not None


def phone_digits(to: str, home_code: str) -> str:
    """The digits Meta would dial: without a plus it puts the business number's own country code in front."""
    bare = _PUNCTUATION.sub("", to)
    if not _PHONE.fullmatch(bare):
        raise GraphError(131009, "to is not a phone number")
    return bare[1:] if bare.startswith("+") else home_code + bare


def _top(body: object) -> Node:
    if not isinstance(body, dict) or body.get("messaging_product") != "whatsapp":
        raise GraphError(100, "the parameter messaging_product is required and must be whatsapp")
    return Node(body, "")


def _receipt(message: Node) -> ReadReceipt:
    message.one_of("status", ("read",))
    if (typing := message.maybe("typing_indicator")) is not None:
        typing.one_of("type", ("text",))
    return ReadReceipt(message.text("message_id", 512))


def _addresses(message: Node) -> tuple[str | None, str | None]:
    to, recipient = message.value.get("to"), message.value.get("recipient")
    if not to and not recipient:
        raise GraphError(100, "the parameter to is required")
    if message.value.get("recipient_type", "individual") != "individual":
        raise GraphError(131009, "recipient_type must be individual; groups are not simulated")
    if to:
        return message.text("to", 160), None
    if not is_bsuid(message.text("recipient", 160)):
        raise GraphError(131009, "recipient is not a business-scoped user id")
    return None, recipient


def _content(message: Node, templates: KnownTemplates) -> Content:
    kind = message.value.get("type", "text")
    if kind == Kind.TEXT:
        return Content(Kind.TEXT, message.child("text").text("body", _TEXT, code=100))
    if kind == Kind.TEMPLATE:
        return template(message, templates)
    if kind == Kind.INTERACTIVE:
        return interactive(message)
    raise GraphError(131051, "type is not one this number can send")
