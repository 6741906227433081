"""The inputs before mutation: published webhooks, the golden events of every contract, records of Consonance."""

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from services.ingest.records import WebhookContext
from services.ingest.webhook_updates import phone_number_id
from shared.contracts import consonance
from shared.contracts.golden import golden, golden_kinds
from shared.contracts.ids import Line
from tests.services.ingest.payloads import CONTEXT, messages, status, statuses, text, webhook

_BESIDE = Path(__file__).parents[3] / "shared" / "whatsapp-payloads"

PEOPLE = (
    {"wa_id": "447700900123", "user_id": "GB.1", "profile": {"name": "Eleanor W."}},
    {"wa_id": "447700900456", "profile": {"name": "WhatsApp visitor"}},
)
_ITEMS: tuple[dict[str, Any], ...] = (
    {"type": "image", "image": {"id": "1", "mime_type": "image/jpeg", "sha256": "x", "caption": "Look"}},
    {"type": "document", "document": {"id": "1", "filename": "novel", "mime_type": "application/pdf"}},
    {"type": "button", "button": {"payload": "b1", "text": "Yes"}},
    {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "b1", "title": "Yes"}}},
    {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "b1", "title": "Yes"}}},
    {"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "👍"}},
    {"type": "location", "location": {"latitude": 1.5, "longitude": 2.5}},
    {"type": "edit", "edit": {"original_message_id": "w1", "message": {"type": "text", "text": {"body": "x"}}}},
    {"type": "revoke", "revoke": {"original_message_id": "w1"}},
    {"type": "system", "system": {"type": "user_changed_number", "wa_id": "447700900999", "body": "x"}},
    {"type": "unsupported", "errors": [{"code": 131051, "title": "Unsupported"}]},
    {"type": "order", "order": {"catalog_id": "1", "product_items": []}},
)
_WORK: dict[str, Any] = {
    "id": 61417, "title": "The Salt Road", "subtitle": "A walk", "projectStage": "Typesetting", "publishersUrl": "x",
    "inHouseWorkReference": "PL-0419", "contributorPrettyList": "Eleanor W.", "imprint": {"id": 7, "name": "Penrose"},
    "metadataStatus": "approved", "embargoUntil": "2027-03-12",
    "contributions": [{"sequenceNumber": 1, "onixContributorRole": {"code": "A01"},
                       "contributor": {"__typename": "Person", "id": 801, "name": "E. W.", "personName": "Eleanor"}}],
    "seriesMemberships": [{"partNumber": "2", "series": {"name": "Roads"}}],
    "shortDescription": [{"id": 1, "externalText": "<p>A walk.</p>"}],
    "coverCopy": [{"id": 1, "externalText": "A walk.", "approvalStatusName": "Final"}],
    "supportingResources": [{"id": 3, "variant": "front_cover", "status": "approved"}],
    "products": [{"id": 94791, "title": "The Salt Road", "isbn": {"isbn13": "9781234567897"},
                  "onix21ProductForm": {"code": "BC"}, "inHouseEdition": {"name": "Paperback"},
                  "publicationDate": "2027-03-12", "plannedPublicationDate": "2027-03-01",
                  "onixPublishingStatus": {"code": "02"}}],
}  # fmt: skip
_CONTACT: dict[str, Any] = {
    "__typename": "Person", "id": 801, "name": "Eleanor W.", "personName": "Eleanor W.",
    "contactTags": ["language:en", "zone:Europe/Paris", "role:agent", "VIP"],
    "phones": [{"phoneNumber": "020 7946 0012", "phoneType": "mobile"}, {"phoneNumber": "+447700900123 x5"}],
    "addresses": [{"country": {"code": "GB"}}], "contributions": [{"onixContributorRole": {"code": "A01"}}],
}  # fmt: skip


def payloads_folder() -> Path | None:
    """The folder of published webhooks: STET_PAYLOADS, else beside the project; None where it does not exist."""
    folder = Path(os.environ.get("STET_PAYLOADS", _BESIDE))
    return folder if any(folder.glob("*.json")) else None


@lru_cache(maxsize=1)
def webhooks() -> tuple[Any, ...]:
    """Those published, and the project's own, which hold every type of message ingest reads."""
    folder = payloads_folder()
    published = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))] if folder else []
    return (*_own(), *published)


@lru_cache(maxsize=1)
def frame() -> WebhookContext:
    """All published numbers count as our own; placeholders and mutated numbers are foreign."""
    changes = [change for webhook in webhooks() for entry in webhook.get("entry", ()) for change in entry["changes"]]
    numbers = sorted({number for change in changes if (number := phone_number_id(change["value"]) or "").isdigit()})
    return replace(CONTEXT, lines={number: Line(f"line-{place}") for place, number in enumerate(numbers)})


def _own() -> Iterable[Any]:
    people = list(PEOPLE)
    yield orjson.loads(webhook(messages(*[text(f"w{n}", **item) for n, item in enumerate(_ITEMS)], contacts=people)))
    yield orjson.loads(webhook(messages(text("w1"), contacts=people[:1]), statuses(status("w9", "failed"))))
    yield orjson.loads(webhook(statuses(*[status(f"s{n}") for n in range(20)])))
    changes: dict[str, dict[str, Any]] = {
        "user_preferences": {"wa_id": "447700900123", "category": "marketing_messages", "value": "stop"},
        "user_id_update": {"wa_id": "447700900123", "user_id": {"previous": "GB.1", "current": "GB.2"}},
        "calls": {"id": "c1", "from": "447700900123", "direction": "USER_INITIATED", "event": "connect"},
    }
    for field, item in changes.items():
        value = {field: [{**item, "timestamp": "1764000000"}], "contacts": people}
        yield orjson.loads(webhook({"field": field, "value": value}))
    yield orjson.loads(webhook({"field": "account_update", "value": {"event": "ACCOUNT_DELETED"}}))


@lru_cache(maxsize=1)
def pushed() -> tuple[Any, ...]:
    """Golden events of Consonance as an outside sender pushes them, without this project's ids."""
    return tuple(_sent(orjson.loads(golden(kind))) for kind in golden_kinds() if kind in consonance.KINDS)


def _sent(document: dict[str, Any]) -> dict[str, Any]:
    own = ("tenantid", "recordedtime", "partitionkey")
    return {name: value for name, value in document.items() if name not in own}


@lru_cache(maxsize=1)
def contracts() -> tuple[Any, ...]:
    """A golden event of every kind of every topic."""
    return tuple(orjson.loads(golden(kind)) for kind in golden_kinds())


def records() -> tuple[Any, ...]:
    """A work and a contact as Consonance returns them."""
    return (_WORK, _CONTACT)


def answers() -> tuple[Any, ...]:
    """Responses to a GraphQL mutation, in the shapes that servers use for refusals."""
    refusals: tuple[Any, ...] = (
        [], None, [{"field": "title", "message": "is too long"}], [{"attribute": "x", "messages": ["no", "never"]}],
    )  # fmt: skip
    payloads = [{"data": {"updateWork": {"work": {"id": 1}, "errors": refusal}}} for refusal in refusals]
    failures = [{"errors": [{"message": "boom", "extensions": {"code": "undefinedField"}}], "data": None}]
    return (*payloads, *failures)
