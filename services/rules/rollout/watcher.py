"""Follows the source of a replica: a new revision is checked, stored and put into force, or refused with a log line.

Each replica remembers its place in the log of activations: the entry that matched its source last. When the source
changes to a revision that stands further on in the log, the replica has only been slow, and moves its place there. Any
other change is new and is put into force. So a slow replica or a restart never brings an older revision back, but a
revert in the source does.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.rules.metrics import RulesMetrics
from services.rules.rollout.activations import (
    QUERIES,
    Activation,
    ActivationCause,
    TrialResult,
    lock_log,
    move_idle_partitions,
    read_log,
)
from services.rules.rollout.revisions import Rollout, as_stored
from services.rules.rollout.sources import RuleSource, SourceContent
from services.rules.rulebook.validation import validate
from shared.contracts.errors import Misconfigured, Unavailable
from shared.contracts.ids import Revision
from shared.runtime.clock import machine_now
from shared.runtime.failures import SERIALIZATION_FAILURES, TRANSIENT_ERRORS, FailureLog
from shared.runtime.postgres import Connection, Pool
from shared.runtime.retry import until_available
from shared.runtime.telemetry import get_logger

log = get_logger()

_MOST_FAULTS = 20
_SUCCESSOR_AFTER = timedelta(seconds=30)
_FORGOTTEN_AFTER = timedelta(days=30)


class SourceState(StrEnum):
    """The result of reading a source."""

    ACTIVE = "active"
    HELD = "held"
    BEHIND = "behind"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The last known state of a replica's source. ``activation`` is its place in the log."""

    replica: str
    revision: Revision | None = None
    commit: str | None = None
    activation: int | None = None
    refused: Revision | None = None
    faults: tuple[str, ...] = ()


class SourceStep(StrEnum):
    """The action of a replica on a revision that its source holds."""

    IN_FORCE = "in_force"
    ACTIVATE = "activate"
    CATCH_UP = "catch_up"
    STAY = "stay"


def next_step(record: SourceRecord, revision: Revision, active: Activation | None, found: int | None) -> SourceStep:
    """``found`` is the newest activation of this revision, None where there is none."""
    if active is None or found is None:
        return SourceStep.ACTIVATE
    if active.revision == revision:
        return SourceStep.IN_FORCE
    if record.activation is None or found > record.activation:
        return SourceStep.CATCH_UP
    return SourceStep.STAY if record.revision == revision else SourceStep.ACTIVATE


@dataclass(slots=True)
class SourceWatcher:
    """``is_manual``: a new revision waits for ``stet rules rollout``. ``seconds`` is the pause between two readings of
    the source.
    """

    source: RuleSource
    rollout: Rollout
    pool: Pool
    replica: str
    metrics: RulesMetrics
    is_manual: bool = False
    seconds: float = 2.0
    _record: SourceRecord = field(init=False)
    _state: SourceState | None = None
    _read_at: float = field(default_factory=time.monotonic)
    _failures: FailureLog = field(init=False, default_factory=lambda: FailureLog("rollout.retried"))

    def __post_init__(self) -> None:
        self._record = SourceRecord(self.replica)

    async def begin(self) -> None:
        """Read the source once before anything is decided; waits for a database that goes away meanwhile.

        Raises Misconfigured where its rules are refused and no earlier revision is in force.
        """
        errors = (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES)
        await until_available("postgresql", "STET_POSTGRES_DSN", self._begin, errors=errors)

    async def _begin(self) -> None:
        async with self.pool.acquire() as connection:
            self._record = await self._remembered(connection)
            await connection.execute(QUERIES.forget_sources, self.rollout.tenant, machine_now() - _FORGOTTEN_AFTER)
        while True:
            await self._read_source()
            async with self.pool.acquire() as connection:
                active, _ = await read_log(connection, self.rollout.tenant)
                if active is not None:
                    await self.rollout.in_force(connection)
                    break
            if self._record.faults:
                listed = "\n  ".join(self._record.faults)
                raise Misconfigured(self.source.setting, f"its rules cannot be used:\n  {listed}")
            await asyncio.sleep(self.seconds)
        await self._observe()

    async def run(self) -> None:
        """Read the source again and again, for ever."""
        while True:
            await asyncio.sleep(self.seconds)
            try:
                await self.follow_source()
            except TRANSIENT_ERRORS as error:
                self._failures.warn(error)

    async def follow_source(self) -> None:
        await self._read_source()
        await self._observe()

    async def _read_source(self) -> None:
        """Read the source, and act on what is new; one that cannot be read is as it was."""
        try:
            content = await self.source.read()
        except Unavailable as error:
            log.warning("rules_source.failed", reason=str(error))
            return
        self._read_at = time.monotonic()
        if content is None:
            await self.pool.execute(QUERIES.touch_source, self.rollout.tenant, self.replica, machine_now())
        else:
            await self._apply(content)

    async def _apply(self, content: SourceContent) -> None:
        validation = await asyncio.to_thread(validate, content.files)
        faults = [*content.faults, *validation.faults]
        if faults:
            await self._refuse(content, [str(fault) for fault in faults])
            return
        async with self.pool.acquire() as connection, connection.transaction():
            await lock_log(connection, self.rollout.tenant)
            state = await self._place(connection, content)
            await self._save(connection)
        if state is not self._state:
            log.info("rules_source.loaded", state=state, revision=content.revision, commit=content.commit)
        self._state = state

    async def _refuse(self, content: SourceContent, faults: Sequence[str]) -> None:
        """Keep the revision in force, and say which faults the new one has."""
        log.error(
            "rulebook.refused", revision=content.revision, commit=content.commit, faults=len(faults), first=faults[0]
        )
        self._record = replace(self._record, refused=content.revision, faults=tuple(faults[:_MOST_FAULTS]))
        self._state = SourceState.REFUSED
        async with self.pool.acquire() as connection:
            await self._save(connection)

    async def _place(self, connection: Connection, content: SourceContent) -> SourceState:
        """Store the revision and find or make its place in the log, which is locked."""
        tenant, revision, now = self.rollout.tenant, content.revision, machine_now()
        await connection.execute(QUERIES.store_rulebook, revision, as_stored(content.files), now, content.commit)
        active, _ = await read_log(connection, tenant)
        found = await connection.fetchval(QUERIES.find_activation, tenant, revision)
        step = next_step(self._record, revision, active, found)
        place, state = self._record.activation, SourceState.BEHIND
        if step is SourceStep.IN_FORCE:
            place, state = found, SourceState.ACTIVE
        elif step is SourceStep.CATCH_UP:
            place = found
        elif step is SourceStep.ACTIVATE and self.is_manual and active is not None:
            state = SourceState.HELD
        elif step is SourceStep.ACTIVATE:
            place, state = await self._activate(connection, content, now), SourceState.ACTIVE
        self._record = SourceRecord(self.replica, revision, content.commit, place)
        return state

    async def _activate(self, connection: Connection, content: SourceContent, now: datetime) -> int:
        log.info("rulebook.activated", revision=content.revision, commit=content.commit)
        ending = (self.rollout.tenant, None, content.revision, now, TrialResult.PROMOTED, "its source holds it")
        await connection.execute(QUERIES.end_trial, *ending)
        return int(
            await connection.fetchval(
                QUERIES.activate,
                self.rollout.tenant,
                content.revision,
                content.commit,
                now,
                ActivationCause.SOURCE,
                self.replica,
            )
        )

    async def _save(self, connection: Connection) -> None:
        one = self._record
        await connection.execute(
            QUERIES.save_source, self.rollout.tenant, one.replica, one.revision, one.commit, one.activation,
            one.refused, list(one.faults), machine_now(),
        )  # fmt: skip

    async def _remembered(self, connection: Connection) -> SourceRecord:
        """A replica with a new name takes over from the one that read last, where no other is running."""
        tenant = self.rollout.tenant
        row = await connection.fetchrow(QUERIES.find_source, tenant, self.replica)
        if row is None:
            last = await connection.fetchrow(QUERIES.find_last_source, tenant)
            row = last if last is not None and machine_now() - last["read_at"] > _SUCCESSOR_AFTER else None
        if row is None:
            return SourceRecord(self.replica)
        return SourceRecord(self.replica, row["revision"], row["commit"], row["activation"])

    async def _observe(self) -> None:
        """Load the revisions that other replicas have put into force, before a batch needs them, and update the
        metrics.
        """
        async with self.pool.acquire() as connection:
            in_force = await self.rollout.in_force(connection)
            last_result = await connection.fetchval(QUERIES.last_canary_result, self.rollout.tenant)
        behind = await move_idle_partitions(self.pool, in_force.activation.number)
        active = in_force.active
        self.metrics.set_revision(active.revision, active.commit, active.rulebook.rules)
        self.metrics.set_rollout(
            age=(machine_now() - in_force.activation.activated_at).total_seconds(),
            source_age=time.monotonic() - self._read_at,
            is_refused=self._state is SourceState.REFUSED,
            differs=self._record.revision is not None and self._record.revision != active.revision,
            partitions_behind=behind,
            turned_back=last_result == TrialResult.TURNED_BACK,
        )
