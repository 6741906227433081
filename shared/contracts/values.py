"""Values that travel or are kept as JSON: how they are declared, read, written and changed.

They are msgspec's structs: checked against their types whenever they are read, and cheap enough to be made for every
event (docs/decisions/0011).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, Self, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import inspect

T = TypeVar("T")

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment: any offset is read; what Stet makes is in UTC."""

NonEmptyStr = Annotated[str, msgspec.Meta(min_length=1)]
"""Text that is not empty."""

JsonObject = dict[str, Any]
"""An object of JSON as it came in or goes out, not checked against a type."""


class _ValueMeta(msgspec.StructMeta):
    """Values hold no cycles, so the garbage collector need not look at them."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> type:
        chosen = {"frozen": True, "kw_only": True, "omit_defaults": True, "gc": False, **config}
        return super().__new__(cls, name, bases, namespace, **chosen)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, metaclass=_ValueMeta, frozen=True):
    """A value. Unknown fields are dropped on reading and so never written; a field at its default is not written.

    A default is therefore part of the contract: it never changes.
    """

    def replace(self, **changes: Any) -> Self:
        """The same value with other fields."""
        return msgspec.structs.replace(self, **changes)


FIRST_DATE, LAST_DATE = date(1900, 1, 2), date(2199, 12, 31)
_PLACEHOLDER_DATES = frozenset({date(1970, 1, 1), date(2099, 12, 31)})


def is_plausible_date(day: date) -> bool:
    """Whether a date was meant, and is no placeholder.

    Systems write 0001-01-01, 1900-01-01, 1970-01-01, 2099-12-31 or 9999-12-31 where no date is known.
    """
    return FIRST_DATE <= day <= LAST_DATE and day not in _PLACEHOLDER_DATES


def is_plausible_instant(instant: datetime) -> bool:
    """Whether an instant lies where a day more or another time zone leads to an instant again."""
    return FIRST_DATE <= instant.date() <= LAST_DATE


def drop_placeholder_dates(value: Value, *names: str) -> None:
    """Called by ``__post_init__``: makes these optional dates absent where they hold a placeholder."""
    for name in names:
        day = getattr(value, name)
        if day is not None and not is_plausible_date(day):
            msgspec.structs.force_setattr(value, name, None)


@lru_cache(maxsize=4096)
def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, with Z. It is cached, since the events of a batch have few instants."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


# ------------------------------------------------------------------ reading and writing

encode = msgspec.json.Encoder().encode
"""A value as JSON, in UTF-8."""


_decoder: Callable[[Any], msgspec.json.Decoder[Any]] = cache(msgspec.json.Decoder)


def decode(of: type[T], raw: bytes | str | msgspec.Raw) -> T:
    """A value from its JSON. Raises one of ``UNREADABLE``."""
    found: T = _decoder(of).decode(raw)
    return found


def convert(of: type[T], document: Mapping[str, Any]) -> T:
    """A value from JSON already read, or from Python values. Raises msgspec.ValidationError."""
    return msgspec.convert(document, of)


def to_builtins(value: Value) -> dict[str, Any]:
    """All fields of a value as JSON has them; in the values within, what is at its default is left out."""
    names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    return {name: msgspec.json.decode(encode(getattr(value, attribute))) for name, attribute in names}


def to_utc(value: T) -> T:
    """The same value with every instant in it expressed in UTC."""
    return cast("T", _to_utc(value))


def _to_utc(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, Value):
        return value.replace(**{name: _to_utc(getattr(value, name)) for name in value.__struct_fields__})
    return tuple(map(_to_utc, value)) if isinstance(value, tuple) else value


# ------------------------------------------------------------------ faults

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors of decoding: for invalid values, for invalid JSON, and for JSON nested a thousand deep."""

_MISSING = re.compile(r"^Object missing required field `(?P<field>.+?)`$")
_QUOTED = re.compile(r"^Invalid (enum )?value ")
_INDEX = re.compile(r"\[(\d+|\.\.\.)\]")


def describe_error(error: Exception, of: type[Value], *within: str) -> str:
    """The first error of msgspec as ``field: sentence``, without the value, which may be personal."""
    if not isinstance(error, msgspec.ValidationError):
        return ": ".join([*within, "it is not JSON"])
    sentence, _, place = str(error).partition(" - at `")
    path = _path(place)
    if (missing := _MISSING.match(sentence)) is not None:
        path.append(missing["field"])
        sentence = "it is missing"
    elif _QUOTED.match(sentence):
        words = ", ".join(_allowed_words(inspect.type_info(of), path))
        sentence = f"it is none of {words}" if words else "it is no value known here"
    return ": ".join([".".join([*within, *path]), sentence.replace("`", "")]).removeprefix(": ")


def _path(place: str) -> list[str]:
    """``$.parts[0].name`` as its names."""
    plain_path = _INDEX.sub(r".\1", place.rpartition("$")[2].rstrip("`"))
    return [name for name in plain_path.split(".") if name]


def _allowed_words(kind: inspect.Type, path: Sequence[str]) -> list[str]:
    """The closed set that a value at this path is from: an enum's, a literal's or a tag's."""
    found: list[str] = []
    within: list[tuple[inspect.Type, Sequence[str]]] = []
    match kind:
        case inspect.EnumType(cls):
            found = [str(member.value) for member in cls]
        case inspect.LiteralType(values):
            found = list(map(str, values))
        case inspect.UnionType(types):
            within = [(each, path) for each in types]
        case inspect.VarTupleType(item):
            within = [(item, path[1:])]
        case inspect.DictType(key, value):
            within = [(key, path), (value, path)]
        case inspect.StructType() if path:
            found = [str(kind.tag)] if path[0] == kind.tag_field else []
            within = [(field.type, path[1:]) for field in kind.fields if field.encode_name == path[0]]
    return found + [word for each, rest in within for word in _allowed_words(each, rest)]
