"""The rulebooks a process holds: the one in force, loaded from a folder at start, and those chains started under."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from services.rules import store
from services.rules.check.prove import prove_folder
from services.rules.conversation.button_ids import Keys
from services.rules.conversation.decider import Decider
from services.rules.house_rules import with_house_rules
from services.rules.language.loader import load
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook import Rulebook
from shared.clients.working_calendar import resolve_zone
from shared.contracts.contacts import PersonObserved
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Revision
from shared.runtime.postgres import Connection


class Shelf:
    """``files`` are the texts of the rulebook in force, kept so that chains outlive a change of them."""

    def __init__(self, files: Mapping[str, str], book: Rulebook, signing_keys: Keys) -> None:
        self.files = files
        self.book = with_house_rules(book)
        self.matcher = RuleMatcher(self.book.rules.values())
        self._others: dict[Revision, Rulebook] = {}
        self.decider = Decider(
            rulebook=self.book,
            rulebook_of=self._of,
            matcher=self.matcher,
            zone_of=self._zone,
            signing_keys=signing_keys,
        )

    @classmethod
    def from_folder(cls, folder: Path, signing_keys: Keys) -> "Shelf":
        """Raises Misconfigured, naming every fault, for a folder that does not load."""
        proof, files = prove_folder(folder, tested=False)
        if proof.faults:
            listed = "\n  ".join(str(fault) for fault in proof.faults)
            raise Misconfigured("STET_RULES_DIR", f"{folder} cannot be used:\n  {listed}")
        return cls(files, proof.rulebook, signing_keys)

    async def keep(self, connection: Connection, now: datetime) -> None:
        await store.keep_rulebook(connection, self.book.revision, self.files, now)

    async def fetch(self, connection: Connection, revisions: Iterable[Revision]) -> None:
        """Load the rulebooks of chains that started under other files."""
        for revision in {*revisions} - {self.book.revision, *self._others}:
            files = await store.find_rulebook(connection, revision)
            book = load(files)[0] if files is not None else None
            self._others[revision] = self.book if book is None else with_house_rules(book)

    def _of(self, revision: Revision) -> Rulebook:
        return self._others.get(revision, self.book)

    def _zone(self, seen: PersonObserved) -> str | None:
        """Explicit where it is a zone, else country and phone hint, else house."""
        return resolve_zone(seen.zone, seen.country, seen.addresses.phone, self.book.calendar.office.zone)
