"""Mutates documents as careless senders do: missing fields, wrong types, extreme values.

A mutation knows the document's structure: it takes parts of other documents for fields of the same name, repeats items,
nests, and now and then spoils the bytes themselves.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

Path = tuple[Any, Any]
"""A list or object, and where in it."""

INTERESTING: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, 1e308,
    "", " ", "0", "-1", "null", "true", "x", "x" * 300, "x" * 301, "x" * 5_000, "\x00", "a\x00b", "\u202e", "🌸",
    "%00", "%s", "{0}", "../../etc/passwd", "’", "é", "ß" * 400, "\ud83d", "\ud83d\ude00",
    "9999-12-31", "0001-01-01", "1900-01-01", "0000-00-00", "2027-02-30", "31/12/2027", "TBC", "2027-03-12",
    "2027-03-12T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z",
    "2027-03-12T10:00:00+25:00", "253402300799", "253402300800", "-62135596800", "1764000000", "9" * 400,
    "WhatsApp visitor", "Unknown", "N/A", "-", "zone:Paris", "zone:Europe/Paris", "language:klingon",
    "07700 900123 (WhatsApp only)", "+447700900123", "555-1234", "447700900123", "GB.1", "wamid.X",
    "NaN", "Infinity", "1E+1000000", "GBP", "gbp", "text", "edit", "system", "interactive", "delivered", "failed",
    [], {}, [None], [[]], {"": None}, [1, "a", {}], {"id": None},
)  # fmt: skip
_MOST_COPIES = 40
_LONGEST_LIST = 120
_MOST_PARTS = 4_000
_DEEPEST = 1_100


class Mutator:
    """The same seed gives the same documents in the same order. ``parts``: values by the name of their field."""

    def __init__(self, seed: str, corpus: Iterable[Any]) -> None:
        self._random = random.Random(seed)
        self._parts: dict[str, list[Any]] = {}
        for document in corpus:
            for name, value in _named(document):
                self._parts.setdefault(name, []).append(value)
        self._names = sorted(self._parts)
        self._steps: list[Callable[[Any], None]] = [
            self._replace, self._replace, self._replace, self._remove, self._borrow, self._borrow, self._rename,
            self._repeat, self._nest, self._wrap, self._cut,
        ]  # fmt: skip

    def choose(self, choices: Any) -> Any:
        return self._random.choice(choices)

    def document(self, original: Any) -> Any:
        """A changed copy."""
        around: Any = [orjson.loads(orjson.dumps(original))]
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 3, 6))):
            self._random.choice(self._steps)(around)
        return around[0]

    def body(self, original: Any) -> bytes:
        """The same as bytes; one in thirty is no longer JSON, or no longer quite."""
        raw = spell(self.document(original))
        return self._spoilt(raw) if self._random.random() < 1 / 30 else raw

    def _replace(self, around: Any) -> None:
        part, key = self._somewhere(around)
        value = self._random.choice(INTERESTING)
        part[key] = orjson.loads(orjson.dumps(value)) if isinstance(value, list | dict) else value

    def _remove(self, around: Any) -> None:
        part, key = self._somewhere(around)
        if part is not around:
            del part[key]

    def _borrow(self, around: Any) -> None:
        """A value that another document has in a field of this name, or of any."""
        part, key = self._somewhere(around)
        name = key if key in self._parts and self._random.random() < 0.8 else self._random.choice(self._names)
        part[key] = orjson.loads(orjson.dumps(self._random.choice(self._parts[name])))

    def _rename(self, around: Any) -> None:
        part, key = self._somewhere(around)
        if isinstance(part, dict):
            part[self._random.choice((*self._names, "", "x" * 400, "a\x00"))] = part.pop(key)

    def _repeat(self, around: Any) -> None:
        """Never to more than a full webhook holds, whose work is that of so many."""
        part, key = self._somewhere(around)
        copies = self._random.choice((2, 3, _MOST_COPIES))
        copies = min(copies, _MOST_PARTS // (1 + sum(1 for _ in _places([part[key]]))))
        if isinstance(part[key], list):
            part[key] = _copied((part[key] * copies)[:_LONGEST_LIST])
        elif isinstance(part, list) and part is not around and len(part) < _LONGEST_LIST:
            part.extend(_copied([part[key]] * (copies - 1)))

    def _nest(self, around: Any) -> None:
        part, key = self._somewhere(around)
        inner, depth = part[key], self._random.choice((3, 60, 253, 255, 600, 1_030, _DEEPEST))
        if depth < 100 or self._random.random() < 0.2:
            for level in range(depth):
                inner = [inner] if level % 2 else {"a": inner}
            part[key] = inner

    def _wrap(self, around: Any) -> None:
        part, key = self._somewhere(around)
        part[key] = self._random.choice(([part[key]], {str(key): part[key]}, str(key)))

    def _cut(self, around: Any) -> None:
        part, key = self._somewhere(around)
        if isinstance(part[key], str | list):
            part[key] = part[key][: self._random.randrange(len(part[key]) + 1)]

    def _somewhere(self, around: Any) -> Path:
        """Every place is as likely as any other, whatever its depth."""
        places = list(_places(around))
        return self._random.choice(places)

    def _spoilt(self, raw: bytes) -> bytes:
        at = self._random.randrange(len(raw) + 1)
        junk = self._random.choice(
            (b"", b"\xff\xfe", b"\x00", b"\\u0000", b"\\ud83d", b"NaN", b"1e999", b"]", b'"', b"{" * 50, b"\xc3")
        )  # fmt: skip
        return raw[:at] + junk + (b"" if self._random.random() < 0.3 else raw[at:])


def spell(document: Any) -> bytes:
    """As JSON, however deep and whatever numbers."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return _spell_slowly(document)


def _spell_slowly(document: Any) -> bytes:
    pieces: list[str] = []
    waiting: list[Any] = [(document,)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            pieces.append(one)
            continue
        waiting.extend(reversed(list(_spelled(one[0]))))
    return "".join(pieces).encode("utf-8", "replace")


def _spelled(value: Any) -> Iterator[Any]:
    """Text to write, and in a tuple what is still to be spelled."""
    if isinstance(value, dict):
        for number, (key, inner) in enumerate(value.items()):
            yield ("," if number else "{") + _leaf(str(key)) + ":"
            yield (inner,)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield "," if number else "["
            yield (inner,)
        yield "]" if value else "[]"
    else:
        yield _leaf(value)


def _leaf(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value)


def _copied(part: list[Any]) -> list[Any]:
    """No two places share a part, or repeating one would repeat it everywhere; what is too deep is not repeated."""
    try:
        copied: list[Any] = orjson.loads(orjson.dumps(part))
    except orjson.JSONEncodeError:
        return part[:1]
    return copied


def _places(around: Any) -> Iterator[Path]:
    waiting = [around]
    while waiting:
        part = waiting.pop()
        for key, inner in list(part.items() if isinstance(part, dict) else enumerate(part)):
            yield part, key
            if isinstance(inner, dict | list):
                waiting.append(inner)


def _named(document: Any) -> Iterator[tuple[str, Any]]:
    for part, key in _places([document]):
        if isinstance(key, str):
            yield key, part[key]
