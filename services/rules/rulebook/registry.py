"""The rulebooks that a process has loaded, by revision: those that decide, and those of chains started earlier."""

from collections.abc import Iterable, Mapping

import orjson

from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from shared.contracts.ids import Revision
from shared.runtime.postgres import Connection, load_queries

_QUERIES = load_queries(__file__, "registry.sql")


class RulebookRegistry:
    """All rulebooks include the built-in rules. ``current`` serves chains whose own rulebook is not known."""

    def __init__(self, book: Rulebook | None = None) -> None:
        self._books: dict[Revision, Rulebook] = {}
        self._current: Rulebook | None = None
        self._unknown: set[Revision] = set()
        if book is not None:
            self.add(book)

    @property
    def current(self) -> Rulebook:
        """The rulebook that was put into force last; raises LookupError before the first."""
        if self._current is None:
            raise LookupError("no rulebook is loaded yet")
        return self._current

    def add(self, book: Rulebook) -> Rulebook:
        """Keep a rulebook; the first one is the current one."""
        whole = self._books.setdefault(book.revision, add_built_in_rules(book))
        self._unknown.discard(book.revision)
        if self._current is None:
            self._current = whole
        return whole

    def set_current(self, revision: Revision) -> None:
        self._current = self._books[revision]

    def find(self, revision: Revision) -> Rulebook | None:
        return self._books.get(revision)

    async def load(self, connection: Connection, revision: Revision) -> Rulebook | None:
        """The rulebook of a revision, read from the database if need be; None where it is unknown or unreadable."""
        if (known := self._books.get(revision)) is not None:
            return known
        stored = await connection.fetchval(_QUERIES.find_rulebook, revision)
        book = load(dict(orjson.loads(stored)))[0] if stored is not None else None
        return None if book is None else self.add(book)

    async def load_earlier(self, connection: Connection, revisions: Iterable[Revision]) -> None:
        """Load the rulebooks of chains that started under other files; where one is unknown, the current one serves."""
        for revision in {*revisions} - self._books.keys() - self._unknown:
            if await self.load(connection, revision) is None:
                self._unknown.add(revision)

    def of_revision(self, revision: Revision) -> Rulebook:
        return self._books.get(revision, self.current)


def as_stored(files: Mapping[str, str]) -> str:
    """The texts of a rulebook as they are kept."""
    return orjson.dumps(dict(files)).decode()
