"""The revisions that decide in a transaction: the one in force, and those that are tried beside it.

A shadow decides beside the one in force. Nothing follows from that: only its differences are counted. A canary acts for
a stable share of the partition keys, or for imprints, and is turned back by itself once more was observed than its
bounds allow.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial

import orjson

from services.rules.conversation.button_ids import Keys
from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision
from services.rules.conversation.decider import Decider, decider_of
from services.rules.conversation.document import Document
from services.rules.conversation.event_rules import End, ends_by_event
from services.rules.conversation.facts import Facts
from services.rules.conversation.required_facts import is_opt_out
from services.rules.rollout.activations import QUERIES, Activation, SwitchPoints, Trial, TrialKind, in_share, read_log
from services.rules.rollout.differences import DifferenceKey, DifferenceKind, ProposedView, judge_beside
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.periods import PeriodStarted
from shared.contracts.envelope import Event
from shared.contracts.errors import Unavailable
from shared.contracts.ids import PersonId, Revision, TenantId, derive_id
from shared.contracts.messages import MessageFailed
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import error_location, get_logger

log = get_logger()


class RulebookRegistry:
    """The rulebooks that a process has loaded, by revision: those that decide, and those of chains started earlier.

    All include the built-in rules. ``current`` serves chains whose own rulebook is not known.
    """

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
        stored = await connection.fetchval(QUERIES.find_rulebook, revision)
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


# ------------------------------------------------------------------ deciding


class ObservationKind(StrEnum):
    """The evidence against a canary: an opt-out of a person it wrote to, a failure, or engines that disagree."""

    OPT_OUT = "opt_out"
    FAILURE = "failure"
    DISAGREEMENT = "disagreement"


@dataclass(slots=True)
class TrialDecider:
    """Decides in one transaction by the revision that acts on each key, and keeps what was observed of the trials."""

    in_force: RevisionsInForce
    _judged: Counter[int] = field(default_factory=Counter)
    _differing: dict[tuple[int, str, str], tuple[int, str]] = field(default_factory=dict)
    _observed: dict[tuple[int, ObservationKind, str], dict[str, str]] = field(default_factory=dict)
    _opted_out: set[PersonId] = field(default_factory=set)
    _shadow_view: ProposedView | None = None

    def decide(self, event: Event, facts: Facts, now: datetime) -> tuple[Engine, Decision]:
        """The decision, and the engine that made it."""
        canary = self.in_force.canary
        if canary is not None:
            self._observe_event(canary, event, facts)
            if self._is_for_canary(canary, event, facts, now):
                return self._decide_by_canary(canary, event, facts, now)
        active, shadow = self.in_force.active, self.in_force.shadow
        decision = active.decider.decide(event, facts, now)
        if shadow is not None:
            judge = partial(shadow.engine.decider.decide, event, self._view(shadow).facts(facts), now)
            self._count(shadow.trial, judge_beside(decision, judge), event.id)
        return active, decision

    def _is_for_canary(self, canary: TriedRevision, event: Event, facts: Facts, now: datetime) -> bool:
        """Whether the canary decides. It never decides recurring rules, which are about no work and no person."""
        if isinstance(event.data, PeriodStarted):
            return False
        return in_share(canary.trial, event.partitionkey, partial(_imprint, event, facts, self.in_force.active, now))

    def decide_due(self, chain: Chain, facts: Facts, now: datetime) -> tuple[Engine, Decision]:
        """Decide the due steps of a chain; the canary does where the chain began under it."""
        canary = self.in_force.canary
        if canary is not None and canary.engine.revision == chain.revision:
            self._judged[canary.trial.number] += 1
            return canary.engine, canary.engine.decider.decide_due(chain, facts, now)
        active, shadow = self.in_force.active, self.in_force.shadow
        decision = active.decider.decide_due(chain, facts, now)
        if shadow is not None and chain.revision == active.revision:
            self._count(shadow.trial, self._judge_due(shadow, decision, chain, facts, now), decision.about)
        return active, decision

    def _judge_due(
        self, shadow: TriedRevision, decision: Decision, chain: Chain, facts: Facts, now: datetime
    ) -> set[DifferenceKey]:
        seen = self._view(shadow).facts(facts)
        as_begun = seen.chains[chain.chain_id]
        if as_begun.revision != shadow.engine.revision:
            return {(chain.rule, DifferenceKind.STEPS_CHANGED)}
        return judge_beside(decision, partial(shadow.engine.decider.decide_due, as_begun, seen, now))

    def _view(self, shadow: TriedRevision) -> ProposedView:
        if self._shadow_view is None:
            self._shadow_view = ProposedView.of(self.in_force.active.rulebook, shadow.engine.rulebook)
        return self._shadow_view

    def _decide_by_canary(
        self, canary: TriedRevision, event: Event, facts: Facts, now: datetime
    ) -> tuple[Engine, Decision]:
        """Let the canary decide. Where it fails, the failure is counted, and the acting revision decides."""
        self._judged[canary.trial.number] += 1
        decider, active = canary.engine.decider, self.in_force.active
        before = decider.matcher.disagreements
        try:
            decided = canary.engine, decider.decide(event, facts, now)
        except Exception as error:  # noqa: BLE001 -- whatever a proposed revision does, the acting one goes on
            log.warning("trial.failed", about=event.id, error=type(error).__name__, where=error_location(error))
            self._observe(canary.trial, ObservationKind.FAILURE, event.id, error=type(error).__name__)
            decided = active, active.decider.decide(event, facts, now)
        if decider.matcher.disagreements > before:
            self._observe(canary.trial, ObservationKind.DISAGREEMENT, event.id)
        return decided

    def _observe_event(self, canary: TriedRevision, event: Event, facts: Facts) -> None:
        """Observe an opt-out, or a message of one of the canary's chains that failed."""
        data = event.data
        if isinstance(data, MessageReceived) and is_opt_out(data):
            self._opted_out |= facts.ids_of_person(data.person_id, *data.shared_with)
        elif isinstance(data, MessageFailed):
            chains = (chain for chain, _ in facts.chains_of_message(data.message_id))
            if any(chain.revision == canary.engine.revision for chain in chains):
                self._observe(canary.trial, ObservationKind.FAILURE, event.id, code=str(data.code))

    def _count(self, trial: Trial, found: Iterable[DifferenceKey], about: str) -> None:
        """``about`` is the event, or the due instant of a chain."""
        self._judged[trial.number] += 1
        for rule, kind in found:
            count, _ = self._differing.get((trial.number, rule, kind), (0, ""))
            self._differing[trial.number, rule, kind] = count + 1, about

    def _observe(self, trial: Trial, kind: ObservationKind, about: str, **detail: str) -> None:
        self._observed[trial.number, kind, about] = detail

    async def save(self, connection: Connection, tenant: TenantId, now: datetime) -> None:
        """Save what was observed, and turn the canary back where that passes one of its bounds.

        ``now`` is machine time.
        """
        canary = self.in_force.canary
        if canary is not None and self._opted_out:
            rows = await connection.fetch(QUERIES.written_to, tenant, canary.engine.revision, sorted(self._opted_out))
            for row in rows:
                self._observe(canary.trial, ObservationKind.OPT_OUT, derive_id("opt_out", row["person_id"]))
        for trial, judged in sorted(self._judged.items()):
            await connection.execute(QUERIES.count_judged, trial, judged)
        if self._differing:
            counted = sorted((*key, *value) for key, value in self._differing.items())
            await connection.execute(QUERIES.count_differences, *_columns(counted), now)
        if self._observed:
            observed = sorted((*key, orjson.dumps(detail).decode()) for key, detail in self._observed.items())
            await connection.execute(QUERIES.observe_trial, *_columns(observed), now)
            await turn_back(connection, tenant, now)


async def observe_set_aside(connection: Connection, tenant: TenantId, chain: str, error: str, now: datetime) -> None:
    """Count a failed due step against the canary where its chain began under it. ``now`` is machine time."""
    if await connection.fetchval(QUERIES.observe_set_aside, tenant, chain, error, now):
        await turn_back(connection, tenant, now)


async def turn_back(connection: Connection, tenant: TenantId, now: datetime) -> None:
    """End the canary where more was observed than it may have; the acting revision decides on its keys again."""
    for row in await connection.fetch(QUERIES.turn_back, tenant, now):
        log.error("trial.ended", trial=row["number"], revision=row["revision"], cause=row["cause"])


def _imprint(event: Event, facts: Facts, active: Engine, now: datetime) -> object:
    return Document(event.data, facts, active.rulebook.calendar, now).get("work.imprint.id")


def _columns(rows: Iterable[tuple[object, ...]]) -> Iterator[list[object]]:
    return map(list, zip(*rows, strict=True))
