"""Records of Consonance read one by one: what cannot be read is set aside with its reason, and holds up no other."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec import ValidationError

from services.ingest.records import MAX_VALUE
from services.ingest.updates import Bad, spell
from shared.errors import Malformed, Unavailable
from shared.events.values import Frozen, encode, first_fault, read_as

Node = dict[str, Any]
V = TypeVar("V", bound=Frozen)

_UNREADABLE = (Malformed, ValidationError, ValueError, TypeError, AttributeError)
"""A tenant's schema may be of any shape; whatever reading it stumbles over is that record's fault."""


def read_all(of: type[V], nodes: Iterable[Node], read: Callable[[Node], V]) -> tuple[list[V], list[Bad]]:
    """The views of those that can be read, and what to park; an event about a view has to fit into its topic."""
    views: list[V] = []
    bad: list[Bad] = []
    for node in nodes:
        try:
            raw = encode(read(node))
            view = read_as(of, raw)
        except _UNREADABLE as fault:
            bad.append(Bad(spell(node), "malformed", _sentence(fault, of)))
            continue
        if len(raw) > MAX_VALUE // 2:
            bad.append(Bad(spell(node), "too_large", f"it is larger than {MAX_VALUE // 2} bytes"))
        else:
            views.append(view)
    return views, bad


def ids_of(page: Sequence[Node]) -> list[int]:
    return [node["id"] for node in page if isinstance(node.get("id"), int)]


def last_id(page: Sequence[Node], after: int) -> int:
    """Where the next page begins. Raises Unavailable for a page that leads no further: it would be asked for again."""
    last = max(ids_of(page), default=after)
    if last <= after:
        raise Unavailable(f"Consonance's page after {after} has no record with a greater id")
    return last


def _sentence(fault: Exception, of: type[Frozen]) -> str:
    """Names the field at fault, never its value."""
    if isinstance(fault, ValidationError):
        return first_fault(fault, of)
    return str(fault) if isinstance(fault, Malformed) else f"it has not the shape of its type ({type(fault).__name__})"
