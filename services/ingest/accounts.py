"""What WhatsApp says of the account itself, and what this version does not know; neither may carry a person's data."""

from datetime import datetime
from typing import Any

import orjson

from services.ingest.records import Record, WebhookFrame, instant_of
from services.ingest.updates import Update, spell
from shared.contracts.envelope import EventData, trace_headers
from shared.contracts.topics import WHATSAPP_ACCOUNT
from shared.contracts.whatsapp import AccountReported, UnknownReceived

REPORTED = frozenset(
    {
        "account_update",
        "account_alerts",
        "account_review_update",
        "business_capability_update",
        "message_template_status_update",
        "message_template_quality_update",
        "message_template_components_update",
        "template_category_update",
        "phone_number_name_update",
        "phone_number_quality_update",
        "security",
    }
)
"""Fields whose value is kept: they speak of the account, its templates and its numbers, never of a person."""

_PERSONAL = frozenset({"requester"})
"""``security`` names the employee who asked."""


def account_record(update: Update, frame: WebhookFrame) -> Record:
    at = _at(update, frame.now)
    if update.array is None and update.field in REPORTED:
        kept = {key: part for key, part in update.value.items() if key not in _PERSONAL}
        return _record(AccountReported(account=update.account, field=update.field, value=kept, at=at), update, frame)
    if update.array is None and update.field == "messages" and update.errors:
        errors = [{key: error.get(key) for key in ("code", "title")} for error in update.errors]
        report = AccountReported(account=update.account, field="errors", value={"errors": errors}, at=at)
        return _record(report, update, frame)
    return unknown_record(update, frame)


def unknown_record(update: Update, frame: WebhookFrame) -> Record:
    unknown = UnknownReceived(account=update.account, field=update.field, at=_at(update, frame.now))
    return _record(unknown, update, frame)


def digest(update: Update, frame: WebhookFrame) -> str:
    """The id of an update that has none: from its account and its canonical JSON, with the time of its entry."""
    spelled = spell([update.field, update.array, update.time, update.item], option=orjson.OPT_SORT_KEYS)
    return frame.pseudonyms.hash("update", update.account, spelled.decode())


def _record(data: EventData, update: Update, frame: WebhookFrame) -> Record:
    at = _at(update, frame.now)
    event = frame.event(data, id=digest(update, frame), key=update.account, at=at)
    what = "account" if isinstance(data, AccountReported) else "unknown"
    return Record(WHATSAPP_ACCOUNT, update.account.encode(), event.to_bytes(), what, trace_headers(event.traceparent))


def _at(update: Update, now: datetime) -> datetime:
    """The update's own time, else its entry's, else now."""
    candidates: tuple[Any, ...] = (update.item.get("timestamp"), update.time)
    for candidate in candidates:
        try:
            return instant_of(candidate)
        except ValueError:
            continue
    return now
