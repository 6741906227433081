"""Splits the body of a WhatsApp webhook into updates: one for each item of a known array, otherwise one for the change.

An update is not lost because another one is invalid: whatever cannot be read becomes an ``InvalidInput`` of its own, a
webhook of one update that can be sent again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.ingest.records import MAX_NAME_LENGTH, InvalidInput, to_deep_json
from shared.clients.json_reader import parse_json

KNOWN_ARRAYS = frozenset(
    {
        "messages",
        "statuses",
        "message_echoes",
        "calls",
        "groups",
        "user_preferences",
        "user_id_update",
        "automatic_events",
        "history",
        "state_sync",
    }
)
UNNAMED = "unknown"
"""The name of a field or an account that a webhook does not name."""

MAX_UPDATES = 10_000
"""In one body, which gets one response. WhatsApp sends 1,000 at most; a body with more is parked whole."""

_LEAST_BYTES = 2
"""Of an update in a body: an item and its comma."""

_MAX_INVALID = 200
_EXTRA_BYTES = 64 * 1024
_OBJECT = "whatsapp_business_account"


class Update(NamedTuple):
    """One update. ``value`` is the object around ``item`` (metadata, contacts); ``array`` None: the change is the item.

    ``contacts``: the entries of ``value`` by BSUID and by number, each with its position. ``number`` is the
    ``phone_number_id`` of ``value``.
    """

    account: str
    field: str
    array: str | None
    item: dict[str, Any]
    value: dict[str, Any]
    errors: tuple[dict[str, Any], ...] = ()
    time: int | None = None
    contacts: Mapping[str, tuple[int, dict[str, Any]]] = {}
    number: str | None = None


@dataclass(slots=True)
class InvalidUpdates:
    """The updates of ``body`` that cannot be read: each by itself, or the whole body once where that is smaller."""

    body: bytes
    inputs: list[InvalidInput] = field(default_factory=list)
    _bytes: int = 0
    _is_whole_body: bool = False

    def add(self, write: Callable[[], bytes], reason: str, sentence: str) -> None:
        """``write`` gives the update alone; where it raises ValueError, the body is kept instead."""
        if self._is_whole_body:
            return
        try:
            raw = write()
        except ValueError:
            raw = self.body
        self._bytes += len(raw)
        self.inputs.append(InvalidInput(raw, reason, sentence))
        if len(self.inputs) > _MAX_INVALID or self._bytes > 2 * len(self.body) + _EXTRA_BYTES:
            self._keep_whole_body()

    def _keep_whole_body(self) -> None:
        first = self.inputs[0]
        sentence = f"many of its updates cannot be read; the first: {first.sentence}"
        self.inputs[:] = [InvalidInput(self.body, first.reason, sentence)]
        self._is_whole_body = True


class SplitBody(NamedTuple):
    updates: list[Update]
    invalid: InvalidUpdates


def split_body(body: bytes) -> SplitBody:
    """Split a body into updates; never raises. A body that is no webhook at all is one invalid input."""
    result = SplitBody([], InvalidUpdates(body))
    invalid = result.invalid.inputs
    try:
        document = parse_json(body)
    except ValueError:
        invalid.append(InvalidInput(body, "not_json", "the body is not JSON"))
        return result
    entries = document.get("entry") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or document.get("object", _OBJECT) != _OBJECT:
        invalid.append(InvalidInput(body, "not_a_webhook", "the body has not the shape of a WhatsApp webhook"))
    elif len(body) > _LEAST_BYTES * MAX_UPDATES and _has_too_many_updates(entries):
        invalid.append(InvalidInput(body, "too_many", f"it has more than {MAX_UPDATES:,} updates"))
    else:
        for entry in entries:
            _split_entry(entry, result)
    return result


def to_webhook(update: Update) -> bytes:
    """A webhook with this update alone, as WhatsApp would send it. Raises ValueError as ``to_deep_json`` does."""
    value = update.item if update.array is None else {**_context_of(update), update.array: [update.item]}
    change = {"field": update.field, "value": value}
    entry = {"id": update.account, "time": update.time, "changes": [change]}
    return to_deep_json({"object": _OBJECT, "entry": [entry]})


def contact_entry(update: Update) -> dict[str, Any]:
    """The ``contacts`` entry with the BSUID or the number of the item; empty where there is none."""
    item = update.item
    bsuid, phone = item.get("from_user_id") or item.get("user_id"), item.get("from") or item.get("wa_id")
    found = [update.contacts[name] for name in (bsuid, phone) if isinstance(name, str) and name in update.contacts]
    return min(found, key=lambda entry: entry[0])[1] if found else {}


def phone_number_id(value: dict[str, Any]) -> str | None:
    """The business's number that a change is about; None where it names none."""
    metadata = value.get("metadata")
    number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    if isinstance(number, int) and not isinstance(number, bool):
        return str(number)
    return number.strip() or None if isinstance(number, str) else None


def _has_too_many_updates(entries: list[Any]) -> bool:
    total = 0
    for entry in entries:
        changes = entry.get("changes") if isinstance(entry, dict) else None
        for change in changes if isinstance(changes, list) else (None,):
            value = change.get("value") if isinstance(change, dict) else None
            total += max(1, _count_items(value)) if isinstance(value, dict) else 1
            if total > MAX_UPDATES:
                return True
    return False


def _count_items(value: dict[str, Any]) -> int:
    arrays = (value[name] for name in KNOWN_ARRAYS & value.keys())
    return sum(len(array) for array in arrays if isinstance(array, list))


def _split_entry(entry: Any, result: SplitBody) -> None:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list) or not changes:
        _add_invalid(result, {"object": _OBJECT, "entry": [entry]}, "entry: it has no changes")
        return
    for change in changes:
        value = change.get("value") if isinstance(change, dict) else None
        if isinstance(value, dict):
            _split_change(entry, change, value, result)
        else:
            _add_invalid(result, _webhook_of(entry, change), "changes.value: it is not an object")


def _split_change(entry: dict[str, Any], change: dict[str, Any], value: dict[str, Any], result: SplitBody) -> None:
    account = _first_name(entry.get("id"))
    name = _first_name(change.get("field"), value.get("field"), entry.get("field"))
    if max(len(account), len(name)) > MAX_NAME_LENGTH:
        sentence = f"entry.id, field: longer than {MAX_NAME_LENGTH} characters"
        _add_invalid(result, _webhook_of(entry, change), sentence)
        return
    time = entry.get("time") if type(entry.get("time")) is int else None
    around = (value, _objects(value.get("errors")), time, _by_address(value.get("contacts")), phone_number_id(value))
    items = _items(value)
    if not items:
        result.updates.append(Update(account, name, None, value, *around))
    for array, item in items:
        if isinstance(item, dict):
            result.updates.append(Update(account, name, array, item, *around))
        else:
            alone = {**change, "value": {**_without_arrays(value), array: [item]}}
            _add_invalid(result, _webhook_of(entry, alone), f"{array}: an item is not an object")


def _by_address(listed: Any) -> Mapping[str, tuple[int, dict[str, Any]]]:
    """The contact entries by address; the first entry of an address counts."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for position, entry in enumerate(_objects(listed)):
        for name in (entry.get("user_id"), entry.get("wa_id")):
            if isinstance(name, str) and name:
                found.setdefault(name, (position, entry))
    return found


def _context_of(update: Update) -> dict[str, Any]:
    """The fields around an item; of several contacts only the item's own."""
    context = _without_arrays(update.value)
    listed = context.get("contacts")
    if isinstance(listed, list) and len(listed) > 1:
        own = contact_entry(update)
        context["contacts"] = [own] if own else []
    return context


def _items(value: dict[str, Any]) -> list[tuple[str, Any]]:
    arrays = ((name, array) for name, array in value.items() if name in KNOWN_ARRAYS and isinstance(array, list))
    return [(name, item) for name, array in arrays for item in array]


def _without_arrays(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in KNOWN_ARRAYS}


def _first_name(*candidates: Any) -> str:
    for candidate in candidates:
        if isinstance(candidate, str | int) and not isinstance(candidate, bool) and (name := str(candidate)).strip():
            return name
    return UNNAMED


def _objects(value: Any) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _webhook_of(entry: dict[str, Any], change: Any) -> dict[str, Any]:
    return {"object": _OBJECT, "entry": [{**entry, "changes": [change]}]}


def _add_invalid(result: SplitBody, document: Any, sentence: str) -> None:
    result.invalid.add(lambda: to_deep_json(document), "malformed", sentence)
