"""The revisions that decide in a transaction: the one in force, and those that are tried beside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.rules.conversation.button_ids import Keys
from services.rules.conversation.decider import Decider, decider_of
from services.rules.conversation.event_rules import End, ends_by_event
from services.rules.rollout.activations import QUERIES, Activation, SwitchPoints, Trial, TrialKind, read_log
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.registry import RulebookRegistry
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Revision, TenantId
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import get_logger

log = get_logger()


@dataclass(frozen=True, slots=True)
class Engine:
    """A revision that can decide, and the commit it comes from."""

    decider: Decider
    commit: str | None

    @property
    def rulebook(self) -> Rulebook:
        return self.decider.rulebook

    @property
    def revision(self) -> Revision:
        return self.rulebook.revision


@dataclass(frozen=True, slots=True)
class TriedRevision:
    """A trial and the engine of its revision."""

    trial: Trial
    engine: Engine


@dataclass(frozen=True, slots=True)
class RevisionsInForce:
    """The revisions by which one transaction decides. They do not change while it lasts.

    ``earlier_ends`` are the ``until`` lines, by event, of chains that began under other revisions.
    """

    activation: Activation
    trials: tuple[Trial, ...]
    active: Engine
    shadow: TriedRevision | None = None
    canary: TriedRevision | None = None
    earlier_ends: Mapping[str, frozenset[End]] = field(default_factory=dict)

    @property
    def rulebooks(self) -> list[Rulebook]:
        """The rulebooks whose facts a batch must load; the one in force first."""
        tried = (one.engine.rulebook for one in (self.canary, self.shadow) if one is not None)
        return [self.active.rulebook, *tried]

    def commit_of(self, revision: Revision) -> str | None:
        """The commit of one of these revisions."""
        if self.canary is not None and self.canary.engine.revision == revision:
            return self.canary.engine.commit
        return self.active.commit


@dataclass(slots=True)
class Engines:
    """The engines of a process. ``registry`` has the rulebooks of chains too.

    An engine is freed once it is neither in force nor tried, and the transactions that use it have ended.
    """

    registry: RulebookRegistry
    signing_keys: Keys
    _deciders: dict[Revision, Decider] = field(default_factory=dict)
    _disagreements_before: int = 0

    def of(self, book: Rulebook) -> Decider:
        """The decider of a rulebook that has the built-in rules."""
        if book.revision not in self._deciders:
            self._deciders[book.revision] = decider_of(book, self.registry.of_revision, self.signing_keys)
        return self._deciders[book.revision]

    @property
    def disagreements(self) -> int:
        """How often the evaluator and durable-rules differed, since the start of the process."""
        return self._disagreements_before + sum(one.matcher.disagreements for one in self._deciders.values())

    def keep_only(self, revisions: Iterable[Revision]) -> None:
        """Let go of the engines of all other revisions."""
        for revision in self._deciders.keys() - set(revisions):
            self._disagreements_before += self._deciders.pop(revision).matcher.disagreements


class Rollout:
    """Reads in each transaction which revisions decide, and has their engines."""

    def __init__(self, tenant: TenantId, engines: Engines) -> None:
        self.tenant = tenant
        self.engines = engines
        self.points = SwitchPoints()
        self.newest: RevisionsInForce | None = None

    async def in_force(self, connection: Connection) -> RevisionsInForce:
        """Read in this transaction, after its locks. Raises Unavailable where this process cannot read that revision.

        That happens while a newer version of the code is rolled out, whose rules an older one cannot read.
        """
        activation, trials = await read_log(connection, self.tenant)
        if activation is None:
            raise Unavailable("no revision of the rules is in force yet")
        newest = self.newest
        if newest is not None and (newest.activation, newest.trials) == (activation, trials):
            return newest
        found = await self._with_engines(connection, activation, trials)
        if self.newest is None or found.activation.number >= self.newest.activation.number:
            self.newest = found
            self.engines.registry.set_current(found.active.revision)
            self.engines.keep_only(book.revision for book in found.rulebooks)
        return found

    async def _with_engines(
        self, connection: Connection, activation: Activation, trials: tuple[Trial, ...]
    ) -> RevisionsInForce:
        active = await self._engine(connection, activation.revision, activation.commit)
        if active is None:
            log.error("rulebook.excluded", revision=activation.revision)
            raise Unavailable(f"the revision {activation.revision} in force cannot be read by this version")
        tried: dict[TrialKind, TriedRevision] = {}
        for trial in trials:
            if trial.revision == activation.revision:
                continue
            engine = await self._engine(connection, trial.revision, trial.commit)
            if engine is not None:
                tried[trial.kind] = TriedRevision(trial, engine)
        ends = await self._earlier_ends(connection, [active.revision, *(one.engine.revision for one in tried.values())])
        shadow, canary = tried.get(TrialKind.SHADOW), tried.get(TrialKind.CANARY)
        return RevisionsInForce(activation, trials, active, shadow, canary, ends)

    async def _earlier_ends(self, connection: Connection, deciding: Sequence[Revision]) -> Mapping[str, frozenset[End]]:
        """Read once for each activation: afterwards no chain begins under another revision than those that decide."""
        rows = await connection.fetch(QUERIES.earlier_revisions, self.tenant, deciding)
        books = [await self.engines.registry.load(connection, Revision(row["revision"])) for row in rows]
        return ends_by_event(book for book in books if book is not None)

    async def _engine(self, connection: Connection, revision: Revision, commit: str | None) -> Engine | None:
        book = await self.engines.registry.load(connection, revision)
        return None if book is None else Engine(self.engines.of(book), commit)
