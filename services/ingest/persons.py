"""Updates about a person: messages, changes of number or BSUID, preferences, calls. Whose they are is settled later."""

from typing import Any

from services.ingest.accounts import digest
from services.ingest.addresses import bsuid_of, phone_of_whatsapp
from services.ingest.records import Personal, Sighting, WebhookFrame, instant_of
from services.ingest.said import content, quoted
from services.ingest.updates import LONGEST_NAME, UNNAMED, Update, contact_of, phone_number_id
from services.ingest.values import person_name
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.whatsapp import (
    IdentityChange,
    IdentityChanged,
    MessageKind,
    MessageReceived,
    Preference,
    PreferenceChanged,
)

_NOBODY_YET = PersonId("")


def message(update: Update, frame: WebhookFrame) -> Personal | None:
    """None: a system note this version does not know. Raises ValueError naming the field."""
    item = update.item
    if item.get("type") == "system":
        return _system(update, frame)
    at, wamid = instant_of(item.get("timestamp")), _required(item.get("id"), "messages.id")
    said = {"quoted_id": quoted(item), **content(item, troubled=bool(item.get("errors") or update.errors))}
    draft = MessageReceived(
        line=_line(update, frame),
        person_id=_NOBODY_YET,
        message_id=Wamid(wamid),
        in_group=bool(item.get("group_id")),
        at=at,
        **said,
    )
    return Personal(_sender(update), draft, frame.pseudonyms.for_wamid(wamid), at, "message", update)


def call(update: Update, frame: WebhookFrame) -> Personal | None:
    """A call a person starts opens their window as a message does; every other word about a call is None."""
    item = update.item
    if item.get("direction") != "USER_INITIATED" or item.get("event") != "connect":
        return None
    at, call_id = instant_of(item.get("timestamp")), _required(item.get("id"), "calls.id")
    draft = MessageReceived(
        line=_line(update, frame),
        person_id=_NOBODY_YET,
        message_id=Wamid(call_id),
        message_kind=MessageKind.CALL,
        at=at,
    )
    return Personal(_sender(update), draft, frame.pseudonyms.for_wamid(call_id), at, "message", update)


def preference(update: Update, frame: WebhookFrame) -> Personal:
    item, at = update.item, instant_of(update.item.get("timestamp"))
    try:
        value = Preference(str(item.get("value")))
    except ValueError:
        raise ValueError("user_preferences.value: it is none of stop, resume, signup") from None
    draft = PreferenceChanged(
        line=_line(update, frame),
        person_id=_NOBODY_YET,
        category=_required(item.get("category"), "user_preferences.category"),
        value=value,
        at=at,
    )
    return Personal(_sender(update), draft, digest(update, frame), at, "preference", update)


def bsuid_update(update: Update, frame: WebhookFrame) -> Personal:
    item = update.item
    pair = item.get("user_id")
    former, current = (pair.get("previous"), pair.get("current")) if isinstance(pair, dict) else (None, None)
    sighting = Sighting(
        bsuid=bsuid_of(_required(current, "user_id_update.user_id.current")),
        phone=phone_of_whatsapp(item.get("wa_id")),
        name=_contact_name(_contact(update)),
        change=IdentityChange.BSUID,
        former_bsuid=bsuid_of(former),
    )
    return _identity(update, sighting, digest(update, frame))


def _system(update: Update, frame: WebhookFrame) -> Personal | None:
    """A changed number, BSUID or security key: https://developers.facebook.com/docs/whatsapp, system messages."""
    note = update.item.get("system")
    event_id = frame.pseudonyms.for_wamid(_required(update.item.get("id"), "messages.id"))
    if not isinstance(note, dict):
        raise ValueError("messages.system: it has not the shape of its type")  # noqa: TRY004 -- callers park on it
    kind = _required(note.get("type"), "messages.system.type")
    before = _sender(update)
    if kind == "customer_identity_changed":
        return _identity(update, Sighting(before.bsuid, before.phone, before.name, IdentityChange.KEY), event_id)
    change = {"user_changed_number": IdentityChange.NUMBER, "user_changed_user_id": IdentityChange.BSUID}.get(kind)
    if change is None:
        return None
    after = Sighting(
        bsuid=bsuid_of(note.get("user_id")),
        phone=phone_of_whatsapp(note.get("wa_id") or note.get("new_wa_id")),
        name=before.name,
        change=change,
        former_bsuid=before.bsuid,
        former_phone=before.phone,
    )
    return _identity(update, after, event_id)


def _identity(update: Update, sighting: Sighting, id: str) -> Personal:  # noqa: A002 -- the attribute's name
    at = instant_of(update.item.get("timestamp"))
    if sighting.bsuid is None and sighting.phone is None:
        raise ValueError("messages.system: it names no address")
    draft = IdentityChanged(person_id=_NOBODY_YET, change=sighting.change or IdentityChange.KEY, at=at)
    return Personal(sighting, draft, id, at, "identity", update)


def _sender(update: Update) -> Sighting:
    """The item's own addresses, completed from the ``contacts`` entry that is the same person's."""
    item, contact = update.item, _contact(update)
    bsuid = bsuid_of(item.get("from_user_id") or item.get("user_id") or contact.get("user_id"))
    phone = phone_of_whatsapp(item.get("from") or item.get("wa_id") or contact.get("wa_id"))
    if phone is None:
        phone = phone_of_whatsapp(contact.get("wa_id"))
    if bsuid is None and phone is None:
        raise ValueError("from: nobody can be told from it")
    return Sighting(bsuid, phone, _contact_name(contact))


def _contact(update: Update) -> dict[str, Any]:
    """The item's own entry; an only entry where the item names nobody."""
    item, found = update.item, contact_of(update)
    if found:
        return found
    listed = update.value.get("contacts")
    contacts = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    named = item.get("from_user_id") or item.get("user_id") or phone_of_whatsapp(item.get("from") or item.get("wa_id"))
    return contacts[0] if len(contacts) == 1 and not named else {}


def _contact_name(contact: dict[str, Any]) -> str | None:
    profile = contact.get("profile")
    return person_name(profile.get("name")) if isinstance(profile, dict) else None


def _line(update: Update, frame: WebhookFrame) -> Line:
    """The line's name; what names no number came to one of ours all the same."""
    return frame.lines.get(phone_number_id(update.value) or "", Line(UNNAMED))


def _required(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field}: it is missing")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"{field}: longer than {LONGEST_NAME} characters")
    return value
