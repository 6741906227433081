"""Reads JSON that other systems send, without the characters that PostgreSQL cannot store in a text."""

import json
import re
from typing import Any

import orjson

_ESCAPED_NUL = b"\\u0000"
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # after an even number of backslashes, which are text themselves


def parse_json(body: bytes) -> Any:
    """JSON without NUL characters, which PostgreSQL refuses; half a surrogate pair becomes “?”. Raises ValueError."""
    if _ESCAPED_NUL in body:
        body = _NUL.sub(rb"\1", body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Any:
    """Parse again a text with half a surrogate pair, which orjson refuses and some senders write."""
    try:
        document = json.loads(body, parse_constant=_reject_constant)
        return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _reject_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
