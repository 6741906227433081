"""Signed webhooks as WhatsApp sends them: statuses for the load, texts and button replies for conversations."""

import hashlib
import hmac
from typing import Any

import orjson

PATH = "/whatsapp/webhook"
_AT = "1764000000"  # seconds since 1970: any instant is valid for statuses
_ACCOUNT = "102290129340398"


def signature(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def statuses(number: str, first: int, count: int) -> bytes:
    """A body of ``count`` statuses; another ``first`` names other messages."""
    return _body(number, {"statuses": [_status(f"wamid.BENCH{first:08d}{index:04d}==") for index in range(count)]})


def status(number: str, phone: str, sent: tuple[str, str | None], state: str, at: int) -> bytes:
    """One status of a message of ours; ``sent`` is its wamid and the callback data it was sent with."""
    one = {**_status(sent[0]), "status": state, "timestamp": str(at), "recipient_id": phone}
    one["biz_opaque_callback_data"] = sent[1]
    return _body(number, {"statuses": [one]})


def text(number: str, phone: str, wamid: str, body: str, at: int) -> bytes:
    return _message(number, phone, {"id": wamid, "timestamp": str(at), "type": "text", "text": {"body": body}})


def button_reply(number: str, phone: str, wamid: str, button: tuple[str, str], quoted: str, at: int) -> bytes:
    """``button`` is its id and title, as the question offered it."""
    reply = {"type": "button_reply", "button_reply": {"id": button[0], "title": button[1]}}
    return _message(
        number,
        phone,
        {
            "id": wamid,
            "timestamp": str(at),
            "type": "interactive",
            "interactive": reply,
            "context": {"from": "15550783881", "id": quoted},
        },
    )


def _status(wamid: str) -> dict[str, Any]:
    return {
        "id": wamid,
        "status": "delivered",
        "timestamp": _AT,
        "recipient_id": "16505551234",
        "conversation": {"id": "6ceb9d929c9bdc4f90967a32f8639b4a", "origin": {"type": "utility"}},
        "pricing": {"billable": True, "pricing_model": "PMP", "category": "utility", "type": "regular"},
        "biz_opaque_callback_data": "0123456789abcdef0123456789abcdef.1",
    }


def _message(number: str, phone: str, message: dict[str, Any]) -> bytes:
    contacts = [{"profile": {"name": f"Reader {phone[-4:]}"}, "wa_id": phone}]
    return _body(number, {"contacts": contacts, "messages": [{"from": phone, **message}]})


def _body(number: str, value: dict[str, Any]) -> bytes:
    metadata = {"display_phone_number": "15550783881", "phone_number_id": number}
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [{"id": _ACCOUNT, "changes": [change]}]})
