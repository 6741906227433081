"""A webhook body taken apart: every item of a known array is one update, a change without one is an update itself.

Nothing is lost for a neighbour's fault: what cannot be read is a ``Bad`` of its own, a webhook of one update that can
be sent again.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

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

_OBJECT = "whatsapp_business_account"
_NUL = "\x00"
_ESCAPED_NUL = b"\\u0000"


class Update(NamedTuple):
    """``item`` is the update, ``value`` what stands around it (metadata, contacts); ``array`` None: the change."""

    account: str
    field: str
    array: str | None
    item: dict[str, Any]
    value: dict[str, Any]
    errors: tuple[dict[str, Any], ...] = ()
    time: int | None = None


@dataclass(frozen=True, slots=True)
class Bad:
    """``raw`` is what to park; ``sentence`` never quotes it."""

    raw: bytes
    reason: str
    sentence: str


class Split(NamedTuple):
    updates: list[Update]
    bad: list[Bad]


def split(body: bytes) -> Split:
    """Take a body apart; never raises. What is no webhook at all comes back whole, as one ``Bad``."""
    try:
        document = read_json(body)
    except ValueError:
        return Split([], [Bad(body, "not_json", "the body is not JSON")])
    entries = document.get("entry") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or document.get("object", _OBJECT) != _OBJECT:
        return Split([], [Bad(body, "not_a_webhook", "the body has not the shape of a WhatsApp webhook")])
    taken = Split([], [])
    for entry in entries:
        try:
            _take_entry(entry, taken)
        except ValueError:
            taken.bad.append(Bad(body, "malformed", "an entry is nested too deeply"))
    return taken


def read_json(body: bytes) -> Any:
    """JSON without NUL characters, which PostgreSQL refuses; half surrogates become U+FFFD. Raises ValueError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _read_leniently(body)
    try:
        return without_nul(document) if _ESCAPED_NUL in body else document
    except RecursionError:
        raise ValueError("nested too deeply") from None


def spell(document: Any, *, option: int | None = None) -> bytes:
    """JSON again. Raises ValueError where it is nested too deeply for that (254 levels)."""
    try:
        return orjson.dumps(document, option=option)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_NUL, "")
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    if isinstance(value, dict):
        return {key.replace(_NUL, ""): without_nul(item) for key, item in value.items()}
    return value


def one_update(update: Update) -> bytes:
    """A webhook of this update alone, as it would have come by itself. Raises ValueError as ``spell`` does."""
    value = update.item if update.array is None else {**_around(update.value), update.array: [update.item]}
    change = {"field": update.field, "value": value}
    return spell({"object": _OBJECT, "entry": [{"id": update.account, "time": update.time, "changes": [change]}]})


def _read_leniently(body: bytes) -> Any:
    """For what orjson refuses and a careless sender writes: a half surrogate inside a text."""
    try:
        document = json.loads(body, parse_constant=_refuse)
        return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _take_entry(entry: Any, taken: Split) -> None:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list) or not changes:
        taken.bad.append(_bad({"object": _OBJECT, "entry": [entry]}, "entry: it has no changes"))
        return
    for change in changes:
        value = change.get("value") if isinstance(change, dict) else None
        if not isinstance(value, dict):
            taken.bad.append(_bad(_wrapped(entry, change), "changes.value: it is not an object"))
        else:
            _take_change(entry, change, value, taken)


def _take_change(entry: dict[str, Any], change: dict[str, Any], value: dict[str, Any], taken: Split) -> None:
    account = _word(entry.get("id"))
    name = _word(change.get("field"), value.get("field"), entry.get("field"))
    time = entry.get("time") if type(entry.get("time")) is int else None
    errors = _objects(value.get("errors"))
    items = list(_items(value))
    if not items:
        taken.updates.append(Update(account, name, None, value, value, errors, time))
    for array, item in items:
        if isinstance(item, dict):
            taken.updates.append(Update(account, name, array, item, value, errors, time))
        else:
            alone = {**change, "value": {**_around(value), array: [item]}}
            taken.bad.append(_bad(_wrapped(entry, alone), f"{array}: an item is not an object"))


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


def _bad(document: Any, sentence: str) -> Bad:
    return Bad(spell(document), "malformed", sentence)
