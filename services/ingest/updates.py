"""A webhook body taken apart: every item of a known array is one update, a change without one is an update itself.

Nothing is lost for a neighbour's fault: what cannot be read is a ``Bad`` of its own, a webhook of one update that can
be sent again.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import orjson

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
"""Stands for a field or an account that a webhook does not name."""

LONGEST_NAME = 300
"""Characters of an account, a field or an id that WhatsApp names; they stand in keys and indexes."""

MOST_UPDATES = 10_000
"""In one body, which is taken in one answer. WhatsApp sends 1,000 at most: what holds more is parked whole."""

_MOST_BAD = 200
_DEEPEST_KEPT = 500
_SLACK = 64 * 1024
_OBJECT = "whatsapp_business_account"
_ESCAPED_NUL = b"\\u0000"
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # after an even number of backslashes, which are text themselves


class Update(NamedTuple):
    """``item`` is the update, ``value`` what stands around it (metadata, contacts); ``array`` None: the change.

    ``contacts``: the entries of ``value`` by BSUID and by number, each with its place.
    """

    account: str
    field: str
    array: str | None
    item: dict[str, Any]
    value: dict[str, Any]
    errors: tuple[dict[str, Any], ...] = ()
    time: int | None = None
    contacts: Mapping[str, tuple[int, dict[str, Any]]] = {}


@dataclass(frozen=True, slots=True)
class Bad:
    """``raw`` is what to park; ``sentence`` never quotes it."""

    raw: bytes
    reason: str
    sentence: str


@dataclass(slots=True)
class Rest:
    """What of a body cannot be read: each update by itself, or the body once where that would keep more."""

    body: bytes
    bad: list[Bad] = field(default_factory=list)
    _bytes: int = 0
    _whole: bool = False

    def add(self, spelled: Callable[[], bytes], reason: str, sentence: str) -> None:
        """``spelled`` gives the update alone; where that raises ValueError the body stands for it."""
        if self._whole:
            return
        try:
            raw = spelled()
        except ValueError:
            raw = self.body
        self._bytes += len(raw)
        self.bad.append(Bad(raw, reason, sentence))
        if len(self.bad) > _MOST_BAD or self._bytes > 2 * len(self.body) + _SLACK:
            first = self.bad[0]
            self.bad[:] = [
                Bad(self.body, first.reason, f"many of its updates cannot be read; the first: {first.sentence}")
            ]
            self._whole = True


class Split(NamedTuple):
    updates: list[Update]
    rest: Rest

    @property
    def bad(self) -> list[Bad]:
        return self.rest.bad


def split(body: bytes) -> Split:
    """Take a body apart; never raises. What is no webhook at all comes back whole, as one ``Bad``."""
    taken = Split([], Rest(body))
    try:
        document = read_json(body)
    except ValueError:
        taken.bad.append(Bad(body, "not_json", "the body is not JSON"))
        return taken
    entries = document.get("entry") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or document.get("object", _OBJECT) != _OBJECT:
        taken.bad.append(Bad(body, "not_a_webhook", "the body has not the shape of a WhatsApp webhook"))
    elif _is_crowded(entries):
        taken.bad.append(Bad(body, "too_many", f"it has more than {MOST_UPDATES:,} updates"))
    else:
        for entry in entries:
            _take_entry(entry, taken)
    return taken


def read_json(body: bytes) -> Any:
    """JSON without NUL characters, which PostgreSQL refuses; half surrogates become U+FFFD. Raises ValueError."""
    if _ESCAPED_NUL in body:
        body = _NUL.sub(rb"\1", body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_leniently(body)


def spell(document: Any, *, option: int | None = None) -> bytes:
    """JSON again. Raises ValueError where it is nested too deeply for that (254 levels)."""
    try:
        return orjson.dumps(document, option=option)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def spell_deep(document: Any) -> bytes:
    """The same for what is only kept, up to 500 levels, fewer than any caller leaves room for. Raises ValueError."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        if _is_deeper(document, _DEEPEST_KEPT):
            raise ValueError("nested too deeply") from None
        try:
            return msgspec.json.encode(document)
        except (RecursionError, msgspec.MsgspecError, TypeError) as error:
            raise ValueError(str(error)) from None


def _is_deeper(document: Any, levels: int) -> bool:
    parts = [document]
    for _ in range(levels):
        inner = [part.values() if isinstance(part, dict) else part for part in parts if isinstance(part, dict | list)]
        parts = [part for several in inner for part in several]
        if not parts:
            return False
    return True


def spell_to_keep(document: Any) -> bytes:
    """For the parked table: JSON, or a sentence in its place where it is nested deeper than that."""
    try:
        return spell_deep(document)
    except ValueError:
        return b"too deeply nested to be kept"


def one_update(update: Update) -> bytes:
    """A webhook of this update alone, as it would have come by itself. Raises ValueError as ``spell_deep`` does."""
    value = update.item if update.array is None else {**_beside(update), update.array: [update.item]}
    change = {"field": update.field, "value": value}
    return spell_deep({"object": _OBJECT, "entry": [{"id": update.account, "time": update.time, "changes": [change]}]})


def contact_of(update: Update) -> dict[str, Any]:
    """The ``contacts`` entry with the item's BSUID or number; the only one where the item names nobody."""
    item = update.item
    bsuid, phone = item.get("from_user_id") or item.get("user_id"), item.get("from") or item.get("wa_id")
    found = [update.contacts[name] for name in (bsuid, phone) if isinstance(name, str) and name in update.contacts]
    return min(found, key=_place)[1] if found else {}


def phone_number_id(value: dict[str, Any]) -> str | None:
    """Which of the business's numbers a change is about; None where it names none."""
    metadata = value.get("metadata")
    number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    if isinstance(number, int) and not isinstance(number, bool):
        return str(number)
    return number.strip() or None if isinstance(number, str) else None


def _place(found: tuple[int, dict[str, Any]]) -> int:
    return found[0]


def _read_leniently(body: bytes) -> Any:
    """For what orjson refuses and a careless sender writes: a half surrogate inside a text."""
    try:
        document = json.loads(body, parse_constant=_refuse)
        return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _is_crowded(entries: list[Any]) -> bool:
    total = 0
    for entry in entries:
        changes = entry.get("changes") if isinstance(entry, dict) else None
        for change in changes if isinstance(changes, list) else (None,):
            value = change.get("value") if isinstance(change, dict) else None
            total += max(1, _count(value)) if isinstance(value, dict) else 1
            if total > MOST_UPDATES:
                return True
    return False


def _count(value: dict[str, Any]) -> int:
    arrays = (value[name] for name in KNOWN_ARRAYS & value.keys())
    return sum(len(array) for array in arrays if isinstance(array, list))


def _take_entry(entry: Any, taken: Split) -> None:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list) or not changes:
        _spoil(taken, {"object": _OBJECT, "entry": [entry]}, "entry: it has no changes")
        return
    for change in changes:
        value = change.get("value") if isinstance(change, dict) else None
        if isinstance(value, dict):
            _take_change(entry, change, value, taken)
        else:
            _spoil(taken, _wrapped(entry, change), "changes.value: it is not an object")


def _take_change(entry: dict[str, Any], change: dict[str, Any], value: dict[str, Any], taken: Split) -> None:
    account = _word(entry.get("id"))
    name = _word(change.get("field"), value.get("field"), entry.get("field"))
    if max(len(account), len(name)) > LONGEST_NAME:
        _spoil(taken, _wrapped(entry, change), f"entry.id, field: longer than {LONGEST_NAME} characters")
        return
    time = entry.get("time") if type(entry.get("time")) is int else None
    errors, contacts = _objects(value.get("errors")), _by_address(value.get("contacts"))
    items = list(_items(value))
    if not items:
        taken.updates.append(Update(account, name, None, value, value, errors, time, contacts))
    for array, item in items:
        if isinstance(item, dict):
            taken.updates.append(Update(account, name, array, item, value, errors, time, contacts))
        else:
            alone = {**change, "value": {**_around(value), array: [item]}}
            _spoil(taken, _wrapped(entry, alone), f"{array}: an item is not an object")


def _by_address(listed: Any) -> Mapping[str, tuple[int, dict[str, Any]]]:
    """Of several entries with one address the first counts."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for place, entry in enumerate(_objects(listed)):
        for name in (entry.get("user_id"), entry.get("wa_id")):
            if isinstance(name, str) and name:
                found.setdefault(name, (place, entry))
    return found


def _beside(update: Update) -> dict[str, Any]:
    """What stands around an item; of many contacts only its own."""
    around = _around(update.value)
    listed = around.get("contacts")
    if isinstance(listed, list) and len(listed) > 1:
        own = contact_of(update)
        around["contacts"] = [own] if own else []
    return around


def _items(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for array, items in value.items():
        if array in KNOWN_ARRAYS and isinstance(items, list):
            for item in items:
                yield array, item


def _around(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in KNOWN_ARRAYS}


def _word(*candidates: Any) -> str:
    for candidate in candidates:
        if isinstance(candidate, str | int) and not isinstance(candidate, bool) and str(candidate).strip():
            return str(candidate)
    return UNNAMED


def _objects(value: Any) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _wrapped(entry: dict[str, Any], change: Any) -> dict[str, Any]:
    return {"object": _OBJECT, "entry": [{**entry, "changes": [change]}]}


def _spoil(taken: Split, document: Any, sentence: str) -> None:
    taken.rest.add(lambda: spell_deep(document), "malformed", sentence)
