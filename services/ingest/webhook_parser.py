"""Parses the body of a WhatsApp webhook: each update becomes exactly one event, or is parked with its reason.

Pure; ``parse_webhook`` never raises. Updates about a person still lack their ``person_id``, which needs the database.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from services.ingest.fields import (
    WhatsAppAddresses,
    parse_addresses,
    parse_bsuid,
    parse_person_name,
    parse_whatsapp_phone,
)
from services.ingest.identity import ObservedIdentity, ReachedAddress
from services.ingest.message_content import quoted_message, read_content
from services.ingest.records import (
    MAX_NAME_LENGTH,
    MAX_RECORD_BYTES,
    MEDIA_ID,
    InvalidInput,
    KafkaRecord,
    WebhookContext,
    parse_timestamp,
    to_json,
)
from services.ingest.webhook_updates import UNNAMED, InvalidUpdates, Update, contact_entry, split_body, to_webhook
from shared.clients.phone_numbers import country_of_address
from shared.contracts.envelope import EventData
from shared.contracts.errors import Malformed
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.messages import parse_recipient
from shared.contracts.topics import WHATSAPP_ACCOUNT, WHATSAPP_STATUSES
from shared.contracts.values import DECODE_ERRORS, decode, describe_error, encode
from shared.contracts.whatsapp import (
    AccountReported,
    DeliveryStatus,
    IdentityChange,
    IdentityChanged,
    Media,
    MessageKind,
    MessageReceived,
    Preference,
    PreferenceChanged,
    StatusReported,
    UnknownReceived,
)
from shared.runtime.telemetry import error_location

ACCOUNT_FIELDS = frozenset(
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
"""Fields whose value is published: it is about the account, its templates and its numbers, never about a person."""

_PERSONAL_KEYS = frozenset({"requester"})
"""``security`` names the employee who asked."""

_MAX_ERROR_CODE = 2**31 - 1
_ARRIVED = frozenset({"sent", "delivered", "read", "played"})
_STATUSES = {status.value: status for status in DeliveryStatus}
_PERSON_UNKNOWN = PersonId("")
_SYSTEM_CHANGES = {
    "user_changed_number": IdentityChange.NUMBER,
    "customer_changed_number": IdentityChange.NUMBER,  # its name in earlier versions of the API
    "user_changed_user_id": IdentityChange.BSUID,
}
_MARKETING_REFUSED = 131050  # Meta: the user stopped marketing messages


@dataclass(frozen=True, slots=True)
class PersonUpdate:
    """An update about a person. ``draft`` lacks only its ``person_id``; ``update`` is what is parked if it must be.

    ``kind`` is the label under which it is counted.
    """

    identity: ObservedIdentity
    draft: EventData
    id: str
    at: datetime
    kind: str
    update: Update


class ParsedWebhook(NamedTuple):
    """One body, sorted by what comes next. ``foreign_numbers`` counts updates to numbers that are not ours.

    ``reached`` are the addresses that messages of ours arrived at.
    """

    records: list[KafkaRecord]
    person_updates: list[PersonUpdate]
    invalid: list[InvalidInput]
    foreign_numbers: Counter[str]
    reached: list[ReachedAddress]


class _ParsedStatus(NamedTuple):
    """``refusal``: WhatsApp refuses marketing to the account, since the person has switched it off."""

    record: KafkaRecord
    reached: ReachedAddress | None
    refusal: PersonUpdate | None


def parse_webhook(body: bytes, context: WebhookContext) -> ParsedWebhook:
    updates, invalid = split_body(body)
    parsed = ParsedWebhook([], [], invalid.inputs, Counter(), [])
    for update in updates:
        number = update.number
        if number is not None and number not in context.lines:  # of another product under the same Meta app
            parsed.foreign_numbers[number[:MAX_NAME_LENGTH]] += 1
            continue
        try:
            _add(_parse_update(update, context), parsed)
        except (ValueError, Malformed) as fault:  # neither ever quotes a value
            reason = fault.reason if isinstance(fault, Malformed) else "malformed"
            _add_invalid(invalid, update, reason, str(fault))
        except Exception as fault:  # noqa: BLE001 -- the boundary of one update: its surprise must not stop the others
            _add_invalid(invalid, update, "unexpected", f"{type(fault).__name__} at {error_location(fault)}")
    return parsed


def _parse_update(update: Update, context: WebhookContext) -> KafkaRecord | PersonUpdate | _ParsedStatus:
    """Only these fields are acted on: echoes, history and standby hold messages of others."""
    match update.field, update.array:
        case "messages", "statuses":
            return _parse_status(update, context)
        case "messages", "messages":
            return _parse_message(update, context) or _unknown_record(update, context)
        case "calls", "calls":
            return _parse_call(update, context) or _unknown_record(update, context)
        case "user_preferences", "user_preferences":
            return _parse_preference(update, context)
        case "user_id_update", "user_id_update":
            return _parse_bsuid_update(update, context) or _unknown_record(update, context)
        case _:
            return _parse_account_update(update, context)


def _add(parsed_update: KafkaRecord | PersonUpdate | _ParsedStatus, parsed: ParsedWebhook) -> None:
    """Raises Malformed for an update that could not be published later, when others would have to wait for it."""
    match parsed_update:
        case _ParsedStatus():
            _add_record(parsed_update.record, parsed)
            if parsed_update.reached is not None:
                parsed.reached.append(parsed_update.reached)
            if parsed_update.refusal is not None:
                parsed.person_updates.append(parsed_update.refusal)
        case KafkaRecord():
            _add_record(parsed_update, parsed)
        case PersonUpdate():
            _check_size(len(_encode_draft(parsed_update)))
            parsed.person_updates.append(parsed_update)


def _add_record(record: KafkaRecord, parsed: ParsedWebhook) -> None:
    _check_size(len(record.value))
    parsed.records.append(record)


def _check_size(size: int) -> None:
    if size > MAX_RECORD_BYTES:
        raise Malformed(f"it is larger than {MAX_RECORD_BYTES} bytes", reason="too_large")


def _encode_draft(update: PersonUpdate) -> bytes:
    raw = encode(update.draft)
    try:
        decode(type(update.draft), raw)
    except DECODE_ERRORS as error:
        raise Malformed(describe_error(error, type(update.draft))) from None
    return raw


def _add_invalid(invalid: InvalidUpdates, update: Update, reason: str, sentence: str) -> None:
    invalid.add(lambda: to_webhook(update), reason, sentence)


# ------------------------------------------------------------------ messages, calls, preferences, identities


def _parse_message(update: Update, context: WebhookContext) -> PersonUpdate | None:
    """None for a system note that this version does not know. Raises ValueError naming the field."""
    item = update.item
    if item.get("type") == "system":
        return _parse_system_note(update, context)
    at, wamid = parse_timestamp(item.get("timestamp")), _required_text(item.get("id"), "messages.id")
    content = read_content(item, has_errors=bool(item.get("errors") or update.errors))
    draft = MessageReceived(
        line=_line(update, context),
        person_id=_PERSON_UNKNOWN,
        message_id=Wamid(wamid),
        in_group=bool(item.get("group_id")),
        at=at,
        **{"quoted_id": quoted_message(item), **content, "media": _name_file(content.get("media"), context)},
    )
    return PersonUpdate(_sender(update), draft, context.pseudonyms.for_wamid(wamid), at, "message", update)


def _name_file(media: Media | None, context: WebhookContext) -> Media | None:
    """The file under the name that it will be kept by: the same however often its webhook is delivered."""
    if media is None or not context.keeps_files or not MEDIA_ID.fullmatch(media.media_id):
        return media
    return media.replace(file_id=context.pseudonyms.hash("file", context.tenant, media.media_id))


def _parse_call(update: Update, context: WebhookContext) -> PersonUpdate | None:
    """A call that a person starts opens their window as a message does; for all other events of calls None."""
    item = update.item
    if item.get("direction") != "USER_INITIATED" or item.get("event") != "connect":
        return None
    at, call_id = parse_timestamp(item.get("timestamp")), _required_text(item.get("id"), "calls.id")
    draft = MessageReceived(
        line=_line(update, context),
        person_id=_PERSON_UNKNOWN,
        message_id=Wamid(call_id),
        message_kind=MessageKind.CALL,
        at=at,
    )
    return PersonUpdate(_sender(update), draft, context.pseudonyms.for_wamid(call_id), at, "message", update)


def _parse_preference(update: Update, context: WebhookContext) -> PersonUpdate:
    item, at = update.item, parse_timestamp(update.item.get("timestamp"))
    try:
        value = Preference(str(item.get("value")))
    except ValueError:
        raise ValueError("user_preferences.value: it is none of stop, resume, signup") from None
    draft = PreferenceChanged(
        line=_line(update, context),
        person_id=_PERSON_UNKNOWN,
        category=_required_text(item.get("category"), "user_preferences.category"),
        value=value,
        at=at,
    )
    return PersonUpdate(_sender(update), draft, _content_id(update, context), at, "preference", update)


def _parse_bsuid_update(update: Update, context: WebhookContext) -> PersonUpdate | None:
    """None where the BSUID is the same as before, as where only that of the parent has changed."""
    item = update.item
    pair = item.get("user_id")
    former, current = (pair.get("previous"), pair.get("current")) if isinstance(pair, dict) else (None, None)
    identity = ObservedIdentity(
        bsuid=parse_bsuid(_required_text(current, "user_id_update.user_id.current")),
        phone=parse_whatsapp_phone(item.get("wa_id")),
        name=_profile_name(_contact(update)),
        change=IdentityChange.BSUID,
        former_bsuid=parse_bsuid(former),
    )
    if identity.bsuid is not None and identity.bsuid == identity.former_bsuid:
        return None
    return _identity_update(update, identity, _content_id(update, context))


def _parse_system_note(update: Update, context: WebhookContext) -> PersonUpdate | None:
    """A changed number, BSUID or security key: https://developers.facebook.com/docs/whatsapp, system messages."""
    note = update.item.get("system")
    event_id = context.pseudonyms.for_wamid(_required_text(update.item.get("id"), "messages.id"))
    if not isinstance(note, dict):
        raise ValueError("messages.system: it has not the shape of its type")  # noqa: TRY004 -- callers park on it
    kind = _required_text(note.get("type"), "messages.system.type")
    before = _sender(update)
    if kind == "customer_identity_changed":
        identity = ObservedIdentity(before.bsuid, before.phone, before.name, IdentityChange.KEY)
        return _identity_update(update, identity, event_id)
    change = _SYSTEM_CHANGES.get(kind)
    if change is None:
        return None
    bsuid, number = parse_addresses((note.get("user_id"),), (note.get("wa_id"), note.get("new_wa_id")))
    after = ObservedIdentity(
        bsuid=bsuid,
        phone=number,
        name=before.name,
        change=change,
        former_bsuid=before.bsuid,
        former_phone=before.phone,
    )
    return _identity_update(update, after, event_id)


def _identity_update(update: Update, identity: ObservedIdentity, event_id: str) -> PersonUpdate:
    at = parse_timestamp(update.item.get("timestamp"))
    if identity.bsuid is None and identity.phone is None:
        raise ValueError("messages.system: it names no address")
    change = identity.change or IdentityChange.KEY
    draft = IdentityChanged(person_id=_PERSON_UNKNOWN, change=change, at=at)
    return PersonUpdate(identity, draft, event_id, at, "identity", update)


def _sender(update: Update) -> ObservedIdentity:
    """The addresses of the item, completed from the ``contacts`` entry of the same person."""
    item, contact = update.item, _contact(update)
    bsuid, phone = parse_addresses(
        (item.get("from_user_id"), item.get("user_id"), contact.get("user_id")),
        (item.get("from"), item.get("wa_id"), contact.get("wa_id")),
    )
    if bsuid is None and phone is None:
        raise ValueError("from: it names no sender")
    return ObservedIdentity(bsuid, phone, _profile_name(contact))


def _contact(update: Update) -> dict[str, Any]:
    """The entry of the item's sender; a single entry where the item has no address."""
    item, found = update.item, contact_entry(update)
    if found:
        return found
    listed = update.value.get("contacts")
    contacts = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    phone = item.get("from") or item.get("wa_id")
    has_address = any(parse_addresses((item.get("from_user_id"), item.get("user_id")), (phone,)))
    return contacts[0] if len(contacts) == 1 and not has_address else {}


def _profile_name(contact: dict[str, Any]) -> str | None:
    profile = contact.get("profile")
    return parse_person_name(profile.get("name")) if isinstance(profile, dict) else None


def _line(update: Update, context: WebhookContext) -> Line:
    """The name of the line; an update without a number was still sent to one of ours."""
    return context.lines.get(update.number or "", Line(UNNAMED))


def _required_text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field}: it is missing")
    if len(value) > MAX_NAME_LENGTH:
        raise ValueError(f"{field}: longer than {MAX_NAME_LENGTH} characters")
    return value


# ------------------------------------------------------------------ statuses


def _parse_status(update: Update, context: WebhookContext) -> _ParsedStatus:
    """Raises ValueError naming the field."""
    item = update.item
    wamid, status = item.get("id"), item.get("status")
    if not isinstance(wamid, str) or not wamid:
        raise ValueError("statuses.id: it is missing")
    if not isinstance(status, str) or not status:
        raise ValueError("statuses.status: it is missing")
    if len(wamid) + len(status) >= MAX_NAME_LENGTH:
        raise ValueError(f"statuses.id, statuses.status: longer than {MAX_NAME_LENGTH} characters")
    at = parse_timestamp(item.get("timestamp"))
    recipient = parse_addresses((item.get("recipient_user_id"),), (item.get("recipient_id"),))
    data = _report_status(update, Wamid(wamid), status, at, recipient, context)
    message = context.pseudonyms.for_wamid(wamid)
    event = context.event(data, id=f"{message}/{status}", key=message, at=at)
    refusal = _refusal_of_marketing(update, data, recipient, f"{message}/offers")
    return _ParsedStatus(KafkaRecord.of(WHATSAPP_STATUSES, event, "status"), _reached_address(item, recipient), refusal)


def _refusal_of_marketing(
    update: Update, status: StatusReported, recipient: WhatsAppAddresses, event_id: str
) -> PersonUpdate | None:
    """A ``PreferenceChanged`` where WhatsApp refused marketing because the account has switched it off; else None.

    The switch belongs to the account, so it concerns every person who is reached there. Only one of the two addresses
    counts, since a failed message does not show that they belong together.
    """
    if status.code != _MARKETING_REFUSED or not any(recipient) or update.item.get("recipient_type") == "group":
        return None
    if parse_recipient(status.callback) is None:  # it is none of ours
        return None
    identity = ObservedIdentity(None if recipient.phone else recipient.bsuid, recipient.phone)
    draft = PreferenceChanged(
        line=status.line,
        person_id=_PERSON_UNKNOWN,
        category="marketing_messages",
        value=Preference.STOP,
        at=status.at,
    )
    return PersonUpdate(identity, draft, event_id, status.at, "preference", update)


def _report_status(
    update: Update, wamid: Wamid, status: str, at: datetime, recipient: WhatsAppAddresses, context: WebhookContext
) -> StatusReported:
    """An optional field whose value has the wrong type is left out, and the status itself still counts."""
    item = update.item
    pricing = item.get("pricing")
    priced = pricing if isinstance(pricing, dict) else {}
    category = _optional_text(priced.get("category"))
    code = _first_code(item.get("errors")) or (_first_code(update.errors) if status == "failed" else None)
    return StatusReported(
        wamid=wamid,
        status=_STATUSES.get(status, DeliveryStatus.OTHER),
        line=context.lines.get(update.number or ""),
        at=at,
        callback=_optional_text(item.get("biz_opaque_callback_data")),
        code=code,
        pricing_category=category,
        pricing_type=_optional_text(priced.get("type")),
        country=None if category is None else country_of_address(recipient.phone, recipient.bsuid),
    )


def _reached_address(item: dict[str, Any], recipient: WhatsAppAddresses) -> ReachedAddress | None:
    """Where a message arrived, if its callback names the person; the status of a group names no single address."""
    person, version = parse_recipient(_optional_text(item.get("biz_opaque_callback_data"))) or (None, 0)
    if person is None or item.get("status") not in _ARRIVED or item.get("recipient_type") == "group":
        return None
    bsuid, phone = recipient
    return ReachedAddress(person, version, bsuid, phone) if bsuid or phone else None


def _optional_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _first_code(errors: Any) -> int | None:
    if not errors or not isinstance(errors, list | tuple) or not isinstance(errors[0], dict):
        return None
    code = errors[0].get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) and abs(code) <= _MAX_ERROR_CODE else None


# ------------------------------------------------------------------ the account, and updates of unknown kinds


def _parse_account_update(update: Update, context: WebhookContext) -> KafkaRecord:
    at = _time_of(update, context.now)
    if update.array is None and update.field in ACCOUNT_FIELDS:
        value = {key: part for key, part in update.value.items() if key not in _PERSONAL_KEYS}
        report = AccountReported(account=update.account, field=update.field, value=value, at=at)
        return _account_record(report, "account", update, context)
    if update.array is None and update.field == "messages" and update.errors:
        errors = [{key: error.get(key) for key in ("code", "title")} for error in update.errors]
        report = AccountReported(account=update.account, field="errors", value={"errors": errors}, at=at)
        return _account_record(report, "account", update, context)
    return _unknown_record(update, context)


def _unknown_record(update: Update, context: WebhookContext) -> KafkaRecord:
    unknown = UnknownReceived(account=update.account, field=update.field, at=_time_of(update, context.now))
    return _account_record(unknown, "unknown", update, context)


def _account_record(data: EventData, kind: str, update: Update, context: WebhookContext) -> KafkaRecord:
    at = _time_of(update, context.now)
    event = context.event(data, id=_content_id(update, context), key=update.account, at=at)
    return KafkaRecord.of(WHATSAPP_ACCOUNT, event, kind)


def _content_id(update: Update, context: WebhookContext) -> str:
    """The id of an update that has none: from its account, its canonical JSON and the time of its entry."""
    content = to_json([update.field, update.array, update.time, update.item], option=orjson.OPT_SORT_KEYS)
    return context.pseudonyms.hash("update", update.account, content.decode())


def _time_of(update: Update, now: datetime) -> datetime:
    """The update's own time, else its entry's, else now."""
    candidates: tuple[Any, ...] = (update.item.get("timestamp"), update.time)
    for candidate in candidates:
        try:
            return parse_timestamp(candidate)
        except ValueError:
            continue
    return now
