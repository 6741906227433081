"""Trials of a proposed revision: a shadow that decides beside the acting one, and a canary that decides for a share.

Nothing follows from what a shadow decides: only its differences are counted. A canary acts for a stable share of the
partition keys, or for imprints, and is turned back by itself once more was observed than its bounds allow.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial

import orjson

from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision
from services.rules.conversation.document import Document
from services.rules.conversation.facts import Facts
from services.rules.conversation.required_facts import is_opt_out
from services.rules.rollout.activations import QUERIES, Trial, in_share
from services.rules.rollout.differences import DifferenceKey, DifferenceKind, ProposedView, judge_beside
from services.rules.rollout.revisions import Engine, RevisionsInForce, TriedRevision
from services.rules.rulebook.periods import PeriodStarted
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId, TenantId, derive_id
from shared.contracts.messages import MessageFailed
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import error_location, get_logger

log = get_logger()


class ObservationKind(StrEnum):
    """The evidence against a canary: an opt-out of a person it wrote to, a failure, or engines that disagree."""

    OPT_OUT = "opt_out"
    FAILURE = "failure"
    DISAGREEMENT = "disagreement"


@dataclass(slots=True)
class TrialDecider:
    """Decides in one transaction by the revision that acts on each key, and keeps what was observed of the trials."""

    force: RevisionsInForce
    _judged: Counter[int] = field(default_factory=Counter)
    _differing: dict[tuple[int, str, str], tuple[int, str]] = field(default_factory=dict)
    _observed: dict[tuple[int, ObservationKind, str], dict[str, str]] = field(default_factory=dict)
    _opted_out: set[PersonId] = field(default_factory=set)
    _shadow_view: ProposedView | None = None

    def decide(self, event: Event, facts: Facts, now: datetime) -> tuple[Engine, Decision]:
        """The decision, and the engine that made it."""
        canary = self.force.canary
        if canary is not None:
            self._observe_event(canary, event, facts)
            if self._is_for_canary(canary, event, facts, now):
                return self._decide_by_canary(canary, event, facts, now)
        active, shadow = self.force.active, self.force.shadow
        decision = active.decider.decide(event, facts, now)
        if shadow is not None:
            judge = partial(shadow.engine.decider.decide, event, self._view(shadow).facts(facts), now)
            self._count(shadow.trial, judge_beside(decision, judge), event.id)
        return active, decision

    def _is_for_canary(self, canary: TriedRevision, event: Event, facts: Facts, now: datetime) -> bool:
        """Whether the canary decides. It never decides recurring rules, which are about no work and no person."""
        if isinstance(event.data, PeriodStarted):
            return False
        return in_share(canary.trial, event.partitionkey, partial(_imprint, event, facts, self.force.active, now))

    def decide_due(self, chain: Chain, facts: Facts, now: datetime) -> tuple[Engine, Decision]:
        """Decide the due steps of a chain; the canary does where the chain began under it."""
        canary = self.force.canary
        if canary is not None and canary.engine.revision == chain.revision:
            self._judged[canary.trial.number] += 1
            return canary.engine, canary.engine.decider.decide_due(chain, facts, now)
        active, shadow = self.force.active, self.force.shadow
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
            self._shadow_view = ProposedView.of(self.force.active.rulebook, shadow.engine.rulebook)
        return self._shadow_view

    def _decide_by_canary(
        self, canary: TriedRevision, event: Event, facts: Facts, now: datetime
    ) -> tuple[Engine, Decision]:
        """Let the canary decide. Where it fails, the failure is counted, and the acting revision decides."""
        self._judged[canary.trial.number] += 1
        decider, active = canary.engine.decider, self.force.active
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
        canary = self.force.canary
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
