"""Reading a request's JSON with Meta's answers for what is missing (131008) or wrong (131009), naming the path."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from dev.whatsapp.errors import GraphError


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON object inside a request, and where it was found."""

    value: dict[str, Any]
    path: str

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def required(self, key: str) -> Any:
        found = self.value.get(key)
        if found is None:
            raise GraphError(131008, f"{self._at(key)} is required")
        return found

    def child(self, key: str) -> "Node":
        return node(self.required(key), self._at(key))

    def maybe(self, key: str) -> "Node | None":
        return self.child(key) if self.value.get(key) is not None else None

    def text(self, key: str, most: int, *, code: int = 131009) -> str:
        """A text of 1 to ``most`` characters; ``code`` answers a longer one."""
        found = self.required(key)
        if not isinstance(found, str):
            raise GraphError(131009, f"{self._at(key)} must be a string")
        if not found:
            raise GraphError(131008, f"{self._at(key)} is empty")
        if len(found) > most:
            raise GraphError(code, f"{self._at(key)} has {len(found)} characters, at most {most} are allowed")
        return found

    def maybe_text(self, key: str, most: int) -> str | None:
        return self.text(key, most) if self.value.get(key) is not None else None

    def children(self, key: str, most: int) -> list["Node"]:
        """One to ``most`` objects."""
        found = self.required(key)
        if not isinstance(found, list):
            raise GraphError(131009, f"{self._at(key)} must be a list")
        if not 1 <= len(found) <= most:
            raise GraphError(131009, f"{self._at(key)} has {len(found)} items, 1 to {most} are allowed")
        return [node(item, f"{self._at(key)}[{place}]") for place, item in enumerate(found)]

    def one_of(self, key: str, words: Collection[str]) -> str:
        found = self.required(key)
        if found not in words:
            raise GraphError(131009, f"{self._at(key)} must be one of {', '.join(sorted(words))}")
        return str(found)


def node(value: object, path: str) -> Node:
    if not isinstance(value, dict):
        raise GraphError(131009, f"{path or 'the body'} must be an object")
    return Node(value, path)


def distinct(words: list[str], what: str) -> None:
    if len(set(words)) < len(words):
        raise GraphError(131009, f"{what} must differ from each other")
