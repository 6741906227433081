"""Reads recorded decisions, facts and rulebooks from the tables of rules, for the verbs about what was decided."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
import typer

from services.rules.analysis.bundle import RulebookLoader
from services.rules.conversation.decision_inputs import DecisionInputs
from services.rules.conversation.fact_values import WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import Rulebook
from shared.contracts.envelope import Event
from shared.contracts.ids import Revision, TenantId
from shared.contracts.values import decode
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "history.sql")
_OWN_ID = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"(\d+)([dhw])")
_YEARS = (2000, 2199)  # others are typing errors, and the first and the last have no day before and after them
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def span_of(text: str) -> timedelta:
    found = _SPAN.fullmatch(text.strip())
    if found is None or not 1 <= int(found[1]) <= 10_000:
        raise typer.BadParameter(f"“{text}” is no span of time; write 14d, 36h or 2w")
    return int(found[1]) * _UNITS[found[2]]


def time_of(text: str) -> datetime:
    """An instant as ISO 8601 writes it; UTC where it names no zone."""
    found = None
    with suppress(ValueError):
        found = datetime.fromisoformat(text.strip())
    if found is None or not _YEARS[0] <= found.year <= _YEARS[1]:
        raise typer.BadParameter(f"“{text}” is no time; write 2027-04-12, or 2027-04-12T10:30")
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


Last = Annotated[str, typer.Option("--last", metavar="SPAN", help="The time to look at: 14d, 36h, 2w.")]


@dataclass(slots=True)
class History:
    """The recorded decisions and events, loaded as they are needed."""

    pool: Pool
    tenant: TenantId
    _facts: dict[str, bytes] = field(default_factory=dict)
    _files: dict[Revision, Mapping[str, str]] = field(default_factory=dict)
    _loader: RulebookLoader = field(default_factory=RulebookLoader)

    async def inputs(self, since: datetime, until: datetime) -> list[DecisionInputs]:
        rows = await self.pool.fetch(QUERIES.inputs, self.tenant, since, until)
        return [decode(DecisionInputs, row["document"]) for row in rows]

    async def inputs_about(self, event: str) -> list[DecisionInputs]:
        """The inputs of the decision on an event; without an event, those that name a chain that is kept no longer."""
        found = await self.inputs_naming("", [event])
        return found or (await self.inputs_naming(event) if _OWN_ID.fullmatch(event) else [])

    async def inputs_naming(self, chain: str, events: Sequence[str] = ()) -> list[DecisionInputs]:
        """The inputs that name a chain anywhere ("" for none), or are about one of these events."""
        rows = await self.pool.fetch(QUERIES.inputs_naming, self.tenant, chain, list(events))
        return [decode(DecisionInputs, row["document"]) for row in rows]

    async def load_for(self, inputs: Iterable[DecisionInputs]) -> None:
        """Load the facts and rulebooks that these decisions were made by."""
        needed = {digest for one in inputs for named in one.documents.values() for digest in named.values()}
        rows = await self.pool.fetch(QUERIES.facts, sorted(needed - self._facts.keys()))
        self._facts.update((row["digest"], row["document"]) for row in rows)
        await self.load_rulebooks()

    async def load_rulebooks(self) -> None:
        rows = await self.pool.fetch(QUERIES.rulebooks)
        self._files.update((Revision(row["revision"]), orjson.loads(row["files"])) for row in rows)

    async def current_facts(self, event: Event) -> Facts:
        """The facts known of the event's work now."""
        facts = Facts(self.tenant)
        work = getattr(event.data, "work", None)
        document = await self.pool.fetchval(QUERIES.work, self.tenant, work.work_id) if work is not None else None
        if work is not None and document is not None:
            facts.works[work.work_id] = decode(WorkFacts, document)
        return facts

    def revisions(self) -> Iterable[Revision]:
        return self._files.keys()

    def fact(self, digest: str) -> bytes:
        """Raises KeyError for one that is kept no longer."""
        return self._facts[digest]

    def files(self, revision: Revision) -> Mapping[str, str]:
        """Raises KeyError for a revision that is not stored."""
        return self._files[revision]

    def rulebook(self, revision: Revision) -> Rulebook:
        return self._loader.load(revision, self._files[revision])
