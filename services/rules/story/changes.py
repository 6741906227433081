"""Values laid over a document's, by dotted or nested path; ``null`` removes, a number is a place in a list."""

from collections.abc import Mapping, Sequence
from typing import Any


def laid_over(known: Any, changes: Mapping[str, object]) -> Any:
    """A new document; neither argument is touched. A list is replaced whole."""
    for path, value in changes.items():
        known = _put(known, path.split("."), value)
    return known


def _put(known: Any, path: Sequence[str], value: object) -> Any:
    if not path:
        return laid_over(known if isinstance(known, Mapping) else {}, value) if isinstance(value, Mapping) else value
    head, *rest = path
    if isinstance(known, list) and head.isdecimal():
        return [_put(each, rest, value) if place == int(head) else each for place, each in enumerate(known)]
    entries = dict(known) if isinstance(known, Mapping) else {}
    if rest or value is not None:
        return {**entries, head: _put(entries.get(head), rest, value)}
    entries.pop(head, None)
    return entries
