"""What no value of a pushed event may exceed: lengths, numbers, instants, and days somebody meant.

The contracts say what type a field has; what is checked here would otherwise fail later, in an index, a column, a
calendar or a neighbour's memory, when the event is published already.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from msgspec.structs import fields

from services.ingest.notes import Notes
from services.ingest.updates import LONGEST_NAME
from services.ingest.values import day_of
from shared.contracts.errors import Malformed
from shared.contracts.values import Value, is_plausible_date, is_plausible_instant

LONGEST_TEXT = 20_000
MOST_ITEMS = 1_000
LARGEST_NUMBER = 2**53
"""What JSON's readers agree on: https://www.rfc-editor.org/rfc/rfc8259#section-6"""

_LARGEST_EXPONENT, _MOST_DIGITS = 15, 20
_NAMED = ("_id", "_hash", "reference", "token", "sha256")
"""Ends of the names of fields that stand in keys and indexes."""


def check_bounds(value: Value, within: str) -> None:
    """Raises Malformed naming the field."""
    for path, part in _parts(value, within):
        fault = _fault(path, part)
        if fault is not None:
            raise Malformed(f"{path}: {fault}")


def without_unreadable_days(model: type[Value], document: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """A copy in which dates that may be absent, and cannot be read, are; each is noted."""
    known = dict(document)
    for field in _days_of(model):
        value = known.get(field.name)
        if field.model is None:
            known |= _day(field.name, value, notes) if value is not None else {}
        elif isinstance(value, dict):
            known[field.name] = without_unreadable_days(field.model, value, notes.within(field.name))
        elif isinstance(value, list):
            known[field.name] = [
                without_unreadable_days(field.model, item, notes.within(f"{field.name}.{place}"))
                if isinstance(item, dict) else item
                for place, item in enumerate(value)
            ]  # fmt: skip
    return known


def _day(name: str, value: Any, notes: Notes) -> dict[str, Any]:
    try:
        return {name: day_of(value)}
    except ValueError as fault:
        notes.add(name, str(fault), value)
        return {name: None}


class _Field(NamedTuple):
    """``model`` None: a date that may be absent; else something that holds such dates."""

    name: str
    model: type[Value] | None


@cache
def _days_of(model: type[Value]) -> tuple[_Field, ...]:
    found = []
    for field in fields(model):
        types = list(_types(field.type))
        if date in types and NoneType in types:
            found.append(_Field(field.encode_name, None))
        inner = next((each for each in types if isinstance(each, type) and issubclass(each, Value)), None)
        if inner is not None and _days_of(inner):
            found.append(_Field(field.encode_name, inner))
    return tuple(found)


def _types(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation, those of a list's items too."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType, tuple):
        for inner in get_args(annotation):
            yield from _types(inner)
    elif origin is Annotated:
        yield from _types(get_args(annotation)[0])
    else:
        yield annotation


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value within, with its path; contracts are nested a few levels deep."""
    yield path, value
    if isinstance(value, Value):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        for name, attribute in names:
            yield from _parts(getattr(value, attribute), f"{path}.{name}")
    elif isinstance(value, tuple) and len(value) <= MOST_ITEMS:
        for place, item in enumerate(value):
            yield from _parts(item, f"{path}.{place}")
    elif isinstance(value, Mapping) and len(value) <= MOST_ITEMS:
        for key, item in value.items():
            yield from _parts(item, f"{path}.{key}")


def _fault(path: str, value: Any) -> str | None:  # noqa: PLR0911 -- one line for each kind of value
    match value:
        case bool():
            return None
        case str():
            longest = LONGEST_NAME if path.endswith(_NAMED) else LONGEST_TEXT
            return f"longer than {longest:,} characters" if len(value) > longest else None
        case int():
            return "a number no column holds" if abs(value) > LARGEST_NUMBER else None
        case Decimal():
            return None if _is_amount(value) else "no amount of money"
        case datetime():
            return None if is_plausible_instant(value) else "it lies centuries away"
        case date():
            return None if is_plausible_date(value) else "it is no date somebody meant"
        case tuple() | dict():
            return f"more than {MOST_ITEMS:,} items" if len(value) > MOST_ITEMS else None
        case _:
            return None


def _is_amount(value: Decimal) -> bool:
    return (
        value.is_finite()
        and abs(value.adjusted()) <= _LARGEST_EXPONENT
        and len(value.as_tuple().digits) <= _MOST_DIGITS
    )
