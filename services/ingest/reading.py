"""Records of Consonance read one by one: what cannot be read is set aside with its reason, and holds up no other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec import ValidationError

from services.ingest.notes import Node, Notes, number_of, to_park
from services.ingest.records import MAX_VALUE
from services.ingest.updates import Bad, spell_to_keep
from shared.contracts.errors import Malformed, Unavailable
from shared.contracts.values import Value, decode, describe_error, encode
from shared.runtime.failures import describe_failure, parking_reason

V = TypeVar("V", bound=Value)

_LARGEST_ASKED = 2**31 - 1
"""GraphQL's Int: what is greater cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Read(Generic[V]):
    """``node`` is what it was read from, ``notes`` what of it could not be."""

    node: Any
    view: V
    notes: Notes

    def to_park(self, record: str, told: tuple[str, ...]) -> Iterator[Bad]:
        """What was not told before."""
        return to_park(record, self.notes.unread, told)


def read_all(
    of: type[V], nodes: Iterable[Any], read: Callable[[Node, Notes], V]
) -> tuple[list[Read[V]], list[Bad]]:  # fmt: skip
    """The views of those that can be read, and what to park; an event about a view has to fit into its topic."""
    views: list[Read[V]] = []
    bad: list[Bad] = []
    for node in nodes:
        notes = Notes()
        try:
            raw = encode(_view(node, notes, read))
            view = decode(of, raw)
        except Exception as fault:  # noqa: BLE001 -- a tenant's schema may be of any shape: it is that record's fault
            bad.append(_bad(node, "malformed", _sentence(fault, of)))
            continue
        if len(raw) > MAX_VALUE // 2:
            bad.append(_bad(node, "too_large", f"it is larger than {MAX_VALUE // 2} bytes"))
        else:
            views.append(Read(node, view, notes))
    return views, bad


def _view(node: Any, notes: Notes, read: Callable[[Node, Notes], V]) -> V:
    if not isinstance(node, dict):
        raise Malformed("a record of the list is no object")
    return read(node, notes)


def ids_of(page: Iterable[Any]) -> list[int]:
    """Those that can be asked for."""
    return [number for node in page if (number := _asked_id(node)) is not None]


def last_id(page: Sequence[Any], after: int) -> int:
    """Where the next page begins. Raises Unavailable for a page that leads no further: it would be asked for again."""
    last = max(ids_of(page), default=after)
    if last <= after:
        raise Unavailable(f"Consonance's page after {after} has no record with a greater id")
    return last


def _asked_id(node: Any) -> int | None:
    try:
        number = number_of(node.get("id") if isinstance(node, dict) else None)
    except ValueError:
        return None
    return number if number <= _LARGEST_ASKED else None


def refused(read: Read[V], fault: Exception) -> Bad:
    """A record that could be read, and that the database refuses."""
    return _bad(read.node, parking_reason(fault), describe_failure(fault))


def _bad(node: Any, reason: str, sentence: str) -> Bad:
    return Bad(spell_to_keep(node), reason, sentence)


def _sentence(fault: Exception, of: type[Value]) -> str:
    """Names the field at fault, never its value."""
    if isinstance(fault, ValidationError):
        return describe_error(fault, of)
    return str(fault) if isinstance(fault, Malformed) else f"it has not the shape of its type ({type(fault).__name__})"
