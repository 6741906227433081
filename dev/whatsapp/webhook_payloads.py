"""The JSON of webhooks and answers in Meta's shapes. Pure.

Fields for the phone number of a person without one are absent or empty: Meta has done both, so ``blank`` alternates.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from dev.whatsapp.directory import BusinessLine, WhatsAppPerson
from dev.whatsapp.graph_errors import in_webhook
from dev.whatsapp.messages import AcceptedMessage, SimulatedStatus
from shared.contracts.values import JsonObject


@dataclass(frozen=True, slots=True)
class WebhookUpdate:
    """One status or one inbound message, on its way to the webhook; ``name`` seeds what disorder does to it."""

    name: str
    line: BusinessLine
    kind: str  # "statuses" or "messages"
    item: JsonObject
    contact: JsonObject | None


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """A change of the account: a template's status, quality or category. ``field`` is the webhook's, in a change of its
    own.
    """

    name: str
    field: str
    value: JsonObject
    at: datetime


@dataclass(frozen=True, slots=True)
class StatusFailure:
    code: int
    details: str


def contact(person: WhatsAppPerson, *, blank: bool) -> JsonObject:
    profile = {"name": person.name, **({"username": person.username} if person.username else {})}
    return {"profile": profile, **number("wa_id", person, blank=blank), "user_id": person.bsuid}


def number(key: str, person: WhatsAppPerson, *, blank: bool) -> JsonObject:
    if person.phone:
        return {key: person.phone}
    return {key: ""} if blank else {}


def status(
    message: AcceptedMessage, word: SimulatedStatus, at: datetime, *, blank: bool, failure: StatusFailure | None = None
) -> JsonObject:
    item: JsonObject = {
        "id": message.wamid,
        "status": word.value,
        "timestamp": str(int(at.timestamp())),
        **number("recipient_id", message.person, blank=blank),
        "recipient_user_id": message.person.bsuid,
    }
    if message.callback is not None:
        item["biz_opaque_callback_data"] = message.callback
    if failure is not None:
        item["errors"] = [in_webhook(failure.code, failure.details)]
    elif word is not SimulatedStatus.READ:
        category = message.content.category
        item["pricing"] = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": category}
    return item


def inbound(wamid: str, person: WhatsAppPerson, at: datetime, node: JsonObject, *, blank: bool) -> JsonObject:
    sender = {**number("from", person, blank=blank), "from_user_id": person.bsuid}
    return {**sender, "id": wamid, "timestamp": str(int(at.timestamp())), **node}


def envelope(account: str, updates: Iterable[WebhookUpdate | AccountUpdate], *, one_change_each: bool) -> JsonObject:
    """All updates in one body: a change per neighbouring updates of the same line and kind, or a change each."""
    updates = list(updates)
    changes = [
        _change([update for _, update in group])
        for _, group in groupby(
            enumerate(updates), key=lambda at: _group(at[1], at[0] if one_change_each else 0, at[0])
        )
    ]
    times = [int(update.at.timestamp()) for update in updates if isinstance(update, AccountUpdate)]
    entry = {"id": account, **({"time": max(times)} if times else {}), "changes": changes}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def _group(update: WebhookUpdate | AccountUpdate, apart: int, place: int) -> tuple[int, str, str]:
    """Neighbours with the same stand in one change; an update of the account stands alone."""
    if isinstance(update, AccountUpdate):
        return place, "", update.field
    return apart, update.line.phone_number_id, update.kind


def _change(group: list[WebhookUpdate | AccountUpdate]) -> JsonObject:
    first = group[0]
    if isinstance(first, AccountUpdate):
        return {"value": first.value, "field": first.field}
    updates = [update for update in group if isinstance(update, WebhookUpdate)]
    value: JsonObject = {"messaging_product": "whatsapp", "metadata": first.line.metadata}
    contacts = {update.contact["user_id"]: update.contact for update in updates if update.contact is not None}
    if contacts:
        value["contacts"] = list(contacts.values())
    value[first.kind] = [update.item for update in updates]
    return {"value": value, "field": "messages"}


def encode(body: JsonObject) -> bytes:
    r"""The body as Meta sends it: compact, non-ASCII as ``\uXXXX``."""
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode()


def signature(secret: str, body: bytes) -> str:
    """The value of ``X-Hub-Signature-256``: over the bytes as sent, with the app secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def accepted(wamid: str, address: str, known_as: JsonObject, *, template: bool) -> JsonObject:
    message = {"id": wamid, **({"message_status": "accepted"} if template else {})}
    return {
        "messaging_product": "whatsapp",
        "contacts": [{"input": address, **known_as}],
        "messages": [message],
    }
