"""Reading one record of Consonance field by field: what is there, and notes of what cannot be read.

A note names the field and says why; the value itself is kept only with the parked row. A note is kept once for each
value: the view remembers digests of those that were noted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar

from services.ingest.updates import Bad, spell_to_keep
from services.ingest.values import Unread, day_of
from shared.contracts.errors import Malformed
from shared.contracts.ids import derive_id

Node = dict[str, Any]
T = TypeVar("T")

_LARGEST_ID = 2**63 - 1
_LONGEST_TEXT = 20_000
_MOST_ITEMS = 1_000
_MOST_NOTES = 50
_QUOTED = 40
UNREAD = "unread_value"
"""The word it is parked under."""


@dataclass(slots=True)
class Notes:
    """``at`` is where in the record the fields read now stand."""

    unread: list[Unread] = field(default_factory=list)
    at: str = ""

    def within(self, at: str) -> "Notes":
        """The same notes, further in."""
        return replace(self, at=f"{self.at}{at}.")

    def add(self, name: str, sentence: str, value: Any) -> None:
        if len(self.unread) < _MOST_NOTES:
            self.unread.append(Unread(self.at + name, sentence, value))

    def digests(self) -> tuple[str, ...]:
        """One for each note: the same as long as field and value are."""
        return tuple(sorted({digest(one) for one in self.unread}))

    def text(self, node: Node, name: str, at: str = "") -> str | None:
        """None where there is none; a number is one too."""
        value = node.get(name)
        if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
            return value.replace("\0", "") or None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            too_long = isinstance(value, str)
            sentence = f"it is longer than {_LONGEST_TEXT:,} characters" if too_long else "it is no text"
            self.add(f"{at}.{name}" if at else name, sentence, value)
        return None

    def texts(self, node: Node, name: str) -> list[str]:
        """Those of a list."""
        found = self._items(node, name)
        return [item.replace("\0", "") for item in found if self._is(isinstance(item, str), name, "no text", item)]

    def nodes(self, node: Node, name: str, most: int = _MOST_ITEMS) -> list[Node]:
        """The objects of a list."""
        found = self._items(node, name, most)
        return [item for item in found if self._is(isinstance(item, dict), name, "no object", item)]

    def day(self, node: Node, name: str) -> date | None:
        return self._judged(day_of, node.get(name), name)

    def id(self, node: Any, name: str) -> int | None:
        return self._judged(number_of, node.get("id") if isinstance(node, dict) else None, name)

    def name(self, node: Node) -> str:
        """How a nested record is called in notes."""
        number = node.get("id", node.get("sequenceNumber"))
        return str(number)[:20] if isinstance(number, int | str) else "?"

    def quoted(self, value: str) -> str:
        """For values that are no one's own."""
        return value[:_QUOTED] if value.isprintable() else "?"

    def _items(self, node: Node, name: str, most: int = _MOST_ITEMS) -> list[Any]:
        listed = node.get(name)
        if isinstance(listed, list):
            if len(listed) > most:
                self.add(name, f"only the first {most:,} are read", len(listed))
            return listed[:most]
        if listed is not None:
            self.add(name, "it is no list", listed)
        return []

    def _is(self, fits: bool, name: str, sentence: str, item: Any) -> bool:  # noqa: FBT001 -- the judgement itself
        if not fits:
            self.add(name, f"an item of it is {sentence}", item)
        return fits

    def _judged(self, judge: Callable[[Any], T], value: Any, name: str) -> T | None:
        try:
            return judge(value)
        except ValueError as fault:
            self.add(name, str(fault), value)
            return None


def nodes(value: Any) -> list[Node]:
    """The objects of a list that was noted already."""
    return [item for item in value[:_MOST_ITEMS] if isinstance(item, dict)] if isinstance(value, list) else []


def id_of(node: Node, what: str) -> int:
    """Raises Malformed."""
    try:
        return number_of(node.get("id"))
    except ValueError as fault:
        raise Malformed(f"{what}.id: {fault}") from None


def number_of(value: Any) -> int:
    """An id as GraphQL gives it: a number, or its digits. Raises ValueError."""
    if value is None:
        raise ValueError("it is missing")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_ID:
        raise ValueError("it is no number of a record")
    return value


def digest(unread: Unread) -> str:
    return derive_id(unread.field, unread.sentence, spell_to_keep(unread.value))


def to_park(record: str, unread: list[Unread], told: tuple[str, ...]) -> Iterator[Bad]:
    """What of these notes was not told before; ``record`` is what it is of (``contact 801``)."""
    for one in unread:
        if digest(one) not in told:
            document = {"record": record, "field": one.field, "value": one.value}
            yield Bad(spell_to_keep(document), UNREAD, f"{record}: {one.field}: {one.sentence}")
