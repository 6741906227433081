"""Webhook bodies made by hand, and the folder of the published WhatsApp payloads."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.ingest.records import WebhookContext
from shared.contracts.ids import Line, TenantId
from shared.runtime.credentials import Pseudonymizer

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
PSEUDONYMS = Pseudonymizer(b"an-installations-own-key-of-32-bytes")
CONTEXT = WebhookContext(TenantId("pelican"), NOW, {"106540352242922": Line("house")}, pseudonyms=PSEUDONYMS)
_BESIDE = Path(__file__).parents[4] / "shared" / "whatsapp-payloads"


def published() -> list[Path]:
    """Skips, and says why, where the folder is not there."""
    folder = Path(os.environ.get("STET_PAYLOADS", _BESIDE))
    found = sorted(folder.glob("*.json"))
    if not found:
        pytest.skip(f"no payloads in {folder}: set STET_PAYLOADS to the folder of published webhooks")
    return found


def webhook(*changes: dict[str, Any], account: str = "102290129340398") -> bytes:
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [{"id": account, "changes": list(changes)}]})


def messages(*items: Any, contacts: list[Any] | None = None, **around: Any) -> dict[str, Any]:
    return _change("messages", {"messages": list(items), "contacts": contacts or [], **around})


def statuses(*items: Any, **around: Any) -> dict[str, Any]:
    return _change("messages", {"statuses": list(items), **around})


def text(wamid: str = "wamid.1", sender: str = "447700900123", body: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"id": wamid, "from": sender, "timestamp": "1764000000", "type": "text", "text": {"body": body}, **more}


def status(wamid: str = "wamid.9", word: str = "delivered", **more: Any) -> dict[str, Any]:
    return {"id": wamid, "status": word, "timestamp": "1764000000", **more}


def _change(field: str, value: dict[str, Any]) -> dict[str, Any]:
    metadata = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
    return {"field": field, "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
