"""Finds a word within bytes: in clear, in hex, or in base64 wherever it begins within the encoded bytes."""

import base64
import re
from collections.abc import Iterator

_SHORTEST = 8
"""A shorter fragment of base64 may stand anywhere by chance."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]*")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def stands_in(content: bytes, word: str) -> bool:
    """Whether the word stands there, in any of these spellings."""
    raw = word.encode()
    in_hex = raw.hex().encode()
    if raw in content or in_hex in content or in_hex.upper() in content:
        return True
    return any(_is_encoded(content, raw, fragment) for fragment in _fragments(raw))


def _fragments(raw: bytes) -> Iterator[bytes]:
    """The characters of base64 that do not depend on what stands before and after the word."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw)
        certain = encoded[-(-8 * offset // 6) : 8 * (offset + len(raw)) // 6]
        if len(certain) >= _SHORTEST:
            yield certain
            if (url_safe := certain.replace(b"+", b"-").replace(b"/", b"_")) != certain:
                yield url_safe


def _is_encoded(content: bytes, raw: bytes, fragment: bytes) -> bool:
    """Whether the word itself is encoded where the fragment stands: words with the same beginning share fragments."""
    start = content.find(fragment)
    while start >= 0:
        if any(raw in decoded for decoded in _decoded_around(content, start, len(fragment))):
            return True
        start = content.find(fragment, start + 1)
    return False


def _decoded_around(content: bytes, start: int, length: int) -> Iterator[bytes]:
    """The encoded bytes from a little before to a little after, read from each place where a group may begin."""
    before = content[max(0, start - 4) : start][::-1]
    begin = start - len(_longest(before))
    text = content[begin:start] + _longest(content[start : start + length + 4])
    for shift in range(4):
        group = text[shift:].translate(_URL_SAFE)
        complete = group[: len(group) - (len(group) % 4 == 1)]
        yield base64.b64decode(complete + b"=" * (-len(complete) % 4))


def _longest(text: bytes) -> bytes:
    found = _BASE64.match(text)
    return found[0] if found else b""
