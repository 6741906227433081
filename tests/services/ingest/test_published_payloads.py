"""Each update of every published webhook becomes exactly one event; they are counted here in the raw JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.ingest.records import WebhookContext
from services.ingest.webhook_parser import parse_webhook
from services.ingest.webhook_updates import phone_number_id
from shared.contracts.ids import Line
from tests.services.ingest.payloads import CONTEXT, published

COUNTED_ARRAYS = {
    "messages", "statuses", "message_echoes", "calls", "groups", "user_preferences", "user_id_update",
    "automatic_events", "history", "state_sync",
}  # fmt: skip


def count(document: dict[str, Any]) -> int:
    """Items of the known arrays, else one per change; a body that is no webhook is one parked record."""
    total = 0
    for entry in document.get("entry", []):
        for change in entry["changes"]:
            items = sum(len(part) for name, part in change["value"].items() if name in COUNTED_ARRAYS)
            total += items or 1
    return total


def context_for(*documents: dict[str, Any]) -> WebhookContext:
    """All numbers of these documents are ours."""
    changes = [change for document in documents for entry in document.get("entry", []) for change in entry["changes"]]
    numbers = {phone_number_id(change["value"]) for change in changes} - {None}
    return replace(CONTEXT, lines={str(number): Line(f"line-{number}") for number in numbers})


def outcomes(path: Path) -> tuple[int, int]:
    parsed = parse_webhook(path.read_bytes(), context_for(json.loads(path.read_bytes())))
    return len(parsed.records) + len(parsed.person_updates), len(parsed.invalid)


def test_every_update_of_every_published_webhook_becomes_exactly_one_event() -> None:
    for path in published():
        expected = count(json.loads(path.read_bytes()))
        events, parked = outcomes(path)
        assert (events, parked) == (expected, 0 if expected else 1), path.name


def test_all_of_the_published_payloads_are_there() -> None:
    assert len(published()) >= 145


def test_a_body_that_is_no_webhook_is_parked_whole() -> None:
    others = [path for path in published() if path.name == "meta__error_130429.json"]
    for path in others:
        (invalid,) = parse_webhook(path.read_bytes(), CONTEXT).invalid
        assert (invalid.raw, invalid.reason) == (path.read_bytes(), "not_a_webhook")


def test_all_published_webhooks_in_one_body_give_as_many_events_as_one_by_one() -> None:
    documents = [json.loads(path.read_bytes()) for path in published()]
    entries = [entry for document in documents for entry in document.get("entry", [])]
    body = json.dumps({"object": "whatsapp_business_account", "entry": entries}).encode()
    together = parse_webhook(body, context_for(*documents))
    assert len(together.records) + len(together.person_updates) == sum(map(count, documents))
    assert together.invalid == []
