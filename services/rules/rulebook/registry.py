"""The rulebooks a process uses: the current one, read from a folder at start, and those of chains started earlier."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import orjson

from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.validation import validate_folder
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Revision
from shared.runtime.postgres import Connection, load_queries

_QUERIES = load_queries(__file__, "registry.sql")


class RulebookRegistry:
    """``current`` includes the built-in rules; ``files`` are its texts, stored so that chains outlive a change."""

    def __init__(self, files: Mapping[str, str], book: Rulebook) -> None:
        self.files = files
        self.current = add_built_in_rules(book)
        self._earlier: dict[Revision, Rulebook] = {}

    @classmethod
    def from_folder(cls, folder: Path) -> "RulebookRegistry":
        """Raises Misconfigured with every fault of the rule files. Stories are not read."""
        validation, files = validate_folder(folder)
        if validation.faults:
            listed = "\n  ".join(str(fault) for fault in validation.faults)
            raise Misconfigured("STET_RULES_DIR", f"{folder} cannot be used:\n  {listed}")
        return cls(files, validation.rulebook)

    async def store_current(self, connection: Connection, now: datetime) -> None:
        files = orjson.dumps(dict(self.files)).decode()
        await connection.execute(_QUERIES.store_rulebook, self.current.revision, files, now)

    async def load_earlier(self, connection: Connection, revisions: Iterable[Revision]) -> None:
        """Load the rulebooks of chains that started under other files; where one is unknown, the current one serves."""
        for revision in {*revisions} - {self.current.revision, *self._earlier}:
            stored = await connection.fetchval(_QUERIES.find_rulebook, revision)
            book = load(dict(orjson.loads(stored)))[0] if stored is not None else None
            self._earlier[revision] = self.current if book is None else add_built_in_rules(book)

    def of_revision(self, revision: Revision) -> Rulebook:
        return self._earlier.get(revision, self.current)
