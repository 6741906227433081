"""The conservation audit: what a service took over must end in time; otherwise it is a gap: a row, a reason, a metric.

A service audits its own schema, hop by hop: an event of its inbox has a decision, a message it took over has an end, a
write has an outcome. Each hop names how late an end may be (its budget). One replica audits, every minute, with a
bounded number of rows; the gaps are in the table ``audit_gaps``, open until a later run does not find them again.

Each run proves that its query still finds gaps: in a transaction that is rolled back it plants a row that is one (the
control), and only a run that found the control counts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple, Protocol

import asyncpg
import orjson
from aiokafka.errors import KafkaError

from shared.contracts.topics import SERVICES
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import TRANSIENT_ERRORS, describe_failure, repeat
from shared.runtime.leader import LeaderLease
from shared.runtime.metrics import Metrics, label
from shared.runtime.postgres import Connection, connect, load_queries, raise_if_read_only
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

log = get_logger()
QUERIES = load_queries(__file__, "audit.sql")

CONTROL = "audit-control"
"""The subject of a planted gap."""

MAX_GAPS = 1000
"""Open gaps recorded for one hop; a longer list would be of no use."""

OUTBOX_BUDGET = timedelta(minutes=5)
"""A new leader of the relay waits up to half a minute; a restart of a broker takes less than five minutes."""

_metrics = Metrics.of(*SERVICES)
_HOP = label("hop", description="a hop of the service, as the architecture lists them")
_GAPS = _metrics.gauge("stet_audit_gaps", "Open gaps of the conservation audit, where this replica audits.", _HOP)
_OLDEST_GAP_AGE = _metrics.gauge(
    "stet_audit_oldest_gap_age_seconds", "Time since the end of the oldest open gap was owed.", _HOP
)
_LAST_RUN = _metrics.gauge(
    "stet_audit_last_run_timestamp_seconds", "Machine time of the last run that found its control, since 1970.", _HOP
)
_ROWS_CHECKED = _metrics.counter("stet_audit_rows_checked_total", "Rows that the conservation audit looked at.", _HOP)
_FAILED_RUNS = _metrics.counter(
    "stet_audit_failed_runs_total", "Runs of a hop that failed, or did not find their control.", _HOP
)

_RUN_SECONDS = 60.0
_RUN_SECONDS_ON_VIRTUAL_CLOCK = 2.0
_SESSION = {"idle_session_timeout": "300s"}
_POLL_SECONDS = 5.0
_GAPS_KEPT = timedelta(days=90)
_CONTROL_AGE = timedelta(days=3650)
_DELETED_ROWS = 1000


class GapReason(StrEnum):
    """Why a subject is a gap: the closed set of all services."""

    RECORD_NOT_RELAYED = "record_not_relayed"  # in the outbox, and not acknowledged by Kafka
    EVENT_NOT_PUBLISHED = "event_not_published"  # accepted from a sender, and not on its topic
    COVERAGE_NOT_CONFIRMED = "coverage_not_confirmed"  # no replica confirms that webhooks arrive
    POLL_NOT_COMPLETED = "poll_not_completed"  # a pass over Consonance began, and did not end
    EVENT_NOT_DECIDED = "event_not_decided"  # in the inbox, and no decision names it
    EVENT_STILL_WAITING = "event_still_waiting"  # its wait is over, and it was not released
    STEP_NOT_RUN = "step_not_run"  # a step of a chain is due
    MESSAGE_WITHOUT_OUTCOME = "message_without_outcome"  # requested and expired, and the dispatcher reported nothing
    WRITE_WITHOUT_OUTCOME = "write_without_outcome"  # requested, and writeback reported nothing
    MESSAGE_NOT_ENDED = "message_not_ended"  # it has expired, and was neither sent nor dropped
    MESSAGE_SET_ASIDE = "message_set_aside"  # the same, because no loop can handle it
    ATTEMPT_NOT_ENDED = "attempt_not_ended"  # a request has begun, and no result is recorded
    SEND_NOT_SETTLED = "send_not_settled"  # uncertain, and neither evidence nor an operator settled it
    STATUS_MISSING = "status_missing"  # accepted by WhatsApp, and no status came
    WRITE_NOT_SETTLED = "write_not_settled"  # a write that no manual task blocks has no outcome
    TASK_MISSING = "task_missing"  # a write waits for a person, and there is no open task
    EVIDENCE_MISSING = "evidence_missing"  # a write has its outcome, and the evidence does not name it


class Gap(NamedTuple):
    """``since`` is the instant by which the end was due, on the clock of the hop."""

    subject: str
    since: datetime
    reason: GapReason


@dataclass(frozen=True, slots=True)
class HopState:
    """A hop before a run. ``business`` and ``machine`` are the current time by the two clocks."""

    business: datetime
    machine: datetime
    checked_to: datetime | None
    open: Sequence[str]
    pending: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class HopResult:
    """The result of a run. ``checked`` counts the rows looked at; without ``complete`` no gap is closed."""

    checked: int
    gaps: Sequence[Gap]
    complete: bool = True
    checked_to: datetime | None = None
    pending: Mapping[str, datetime] = field(default_factory=dict)


class ControlMissed(Exception):
    """The audit did not find the gap that it had planted, so its result proves nothing."""


class Hop(Protocol):
    """One hop of the way from an event to a write."""

    @property
    def name(self) -> str: ...
    @property
    def is_business_time(self) -> bool:
        """Whether ``since`` of its gaps is business time."""

    async def prepare(self, state: HopState) -> None:
        """Read the part of the hop that is outside the database, before the transaction of ``check``."""

    async def check(self, connection: Connection, state: HopState) -> HopResult:
        """Look for gaps, and for the control, inside a transaction that is rolled back. Raises ControlMissed."""

    async def forget(self) -> None:
        """A run was not recorded, or this replica leads no more: begin again from what is recorded."""


# ------------------------------------------------------------------ hops of the database


@dataclass(frozen=True, slots=True)
class StateHop:
    """Rows that are open now and older than their budget.

    ``query`` takes the instant before which an open row is a gap, and a number of gaps. Each of its rows has
    ``checked``, the number of open rows looked at, and a gap (or nulls where there is none). ``plant`` takes an
    instant.
    """

    name: str
    query: str
    plant: str
    budget: timedelta
    is_business_time: bool = True

    async def prepare(self, state: HopState) -> None:
        """Everything is in the database."""

    async def forget(self) -> None:
        """Nothing is remembered."""

    async def check(self, connection: Connection, state: HopState) -> HopResult:
        now = state.business if self.is_business_time else state.machine
        await connection.execute(self.plant, now - self.budget - _CONTROL_AGE)
        rows = await connection.fetch(self.query, now - self.budget, MAX_GAPS + 1)
        gaps = without_control(_gaps_of(rows))
        checked = rows[0]["checked"] - 1 if rows else 0
        return HopResult(max(checked, 0), gaps, complete=len(gaps) < MAX_GAPS)


@dataclass(frozen=True, slots=True)
class WindowHop:
    """Rows that are checked once, when they are older than their budget, and again while they are gaps.

    ``query`` takes the window (from, to), the open gaps and a number of rows; its rows have a subject, the instant that
    places it in the window, and a reason where it is a gap. ``plant`` takes an instant.
    """

    name: str
    query: str
    plant: str
    budget: timedelta
    is_business_time: bool = True
    max_rows: int = 10_000

    async def prepare(self, state: HopState) -> None:
        """Everything is in the database."""

    async def forget(self) -> None:
        """Nothing is remembered."""

    async def check(self, connection: Connection, state: HopState) -> HopResult:
        now = state.business if self.is_business_time else state.machine
        to = now - self.budget
        begin = min(state.checked_to or to, to)
        await connection.execute(self.plant, begin)
        rows = await connection.fetch(self.query, begin, to, list(state.open), self.max_rows)
        gaps = without_control(_gaps_of(rows))
        seen = [row["since"] for row in rows if row["in_window"]]
        if len(seen) >= self.max_rows:
            to = max(seen)
        return HopResult(len(rows) - 1, gaps, complete=True, checked_to=to)


def _gaps_of(rows: Sequence[asyncpg.Record]) -> list[Gap]:
    return [Gap(row["subject"], row["since"], GapReason(row["reason"])) for row in rows if row["reason"] is not None]


def without_control(gaps: Sequence[Gap]) -> list[Gap]:
    """The gaps without the planted one. Raises ControlMissed where it is not among them."""
    found = [gap for gap in gaps if gap.subject != CONTROL]
    if len(found) == len(gaps):
        raise ControlMissed
    return found


OUTBOX_HOP = StateHop(
    "outbox", QUERIES.stuck_records, QUERIES.plant_stuck_record, OUTBOX_BUDGET, is_business_time=False
)
"""Every service has it: what was published in a transaction is in Kafka."""


# ------------------------------------------------------------------ run


class Audit:
    """Audits the hops of one service while this replica leads."""

    def __init__(self, settings: ServiceSettings, service: str, clock: Clock, hops: Sequence[Hop]) -> None:
        self.hops = hops
        self._clock = clock
        self._seconds = _RUN_SECONDS if settings.development_clock is None else _RUN_SECONDS_ON_VIRTUAL_CLOCK
        session = partial(connect, settings.dsn, service, **_SESSION)
        self._lease = LeaderLease(f"stet/{service}/audit", session, _POLL_SECONDS, task="audit")

    async def run(self) -> None:
        """Audit for ever, while this replica leads. After an outage of the database another replica may lead."""
        await repeat("audit", self._lead, _POLL_SECONDS)

    async def _lead(self) -> None:
        """Audit while this replica leads. Raises what the connection raises."""
        try:
            async with self._lease.held() as connection:
                while True:
                    await self.run_once(connection)
                    await asyncio.sleep(self._seconds)
        finally:
            for hop in self.hops:
                await hop.forget()
                for metric in (_GAPS, _OLDEST_GAP_AGE, _LAST_RUN):
                    with suppress(KeyError):
                        metric.remove(hop.name)

    async def run_once(self, connection: Connection) -> None:
        """Audit every hop once; one that fails does not keep the others back."""
        for hop in self.hops:
            try:
                await self._audit(connection, hop)
            except (ControlMissed, KafkaError, asyncpg.PostgresError, *TRANSIENT_ERRORS) as error:
                self._record_failure(hop, error)
                await hop.forget()
            raise_if_read_only(connection)
        await connection.execute(QUERIES.delete_old_gaps, machine_now() - _GAPS_KEPT, _DELETED_ROWS)

    def _record_failure(self, hop: Hop, error: BaseException) -> None:
        _FAILED_RUNS.labels(hop.name).inc()
        log.error("audit.failed", hop=hop.name, sentence=describe_failure(error))

    async def _audit(self, connection: Connection, hop: Hop) -> None:
        row = await connection.fetchrow(QUERIES.begin_audit, hop.name, MAX_GAPS)
        state = HopState(
            business=self._clock.now(),
            machine=machine_now(),
            checked_to=row["checked_to"],
            open=row["open"],
            pending={s: datetime.fromisoformat(since) for s, since in orjson.loads(row["pending"]).items()},
        )
        await hop.prepare(state)
        transaction = connection.transaction()
        await transaction.start()
        try:
            result = await hop.check(connection, state)
        finally:
            await transaction.rollback()
        await self._record(connection, hop.name, result)
        await self._measure(connection, hop, result.checked)

    async def _record(self, connection: Connection, hop: str, result: HopResult) -> None:
        gaps = result.gaps[:MAX_GAPS]
        subjects = [gap.subject for gap in gaps]
        async with connection.transaction():
            now = machine_now()
            opened = await connection.fetch(
                QUERIES.open_gaps, hop, subjects, [gap.since for gap in gaps], [gap.reason for gap in gaps], now
            )
            closed = await connection.fetch(QUERIES.close_gaps, hop, subjects, now) if result.complete else []
            await connection.execute(QUERIES.delete_pending, hop, list(result.pending))
            await connection.execute(QUERIES.save_pending, hop, list(result.pending), list(result.pending.values()))
            await connection.execute(QUERIES.end_audit, hop, now, result.checked, result.checked_to)
        for row in opened:
            log.error("gap.found", hop=hop, subject=row["subject"], reason=row["reason"])
        for row in closed:
            log.info("gap.closed", hop=hop, subject=row["subject"], reason=row["reason"])

    async def _measure(self, connection: Connection, hop: Hop, checked: int) -> None:
        state = await connection.fetchrow(QUERIES.gap_state, hop.name)
        now = self._clock.now() if hop.is_business_time else machine_now()
        age = (now - state["oldest"]).total_seconds() if state["oldest"] is not None else 0.0
        _GAPS.labels(hop.name).set(state["gaps"])
        _OLDEST_GAP_AGE.labels(hop.name).set(max(age, 0.0))
        _ROWS_CHECKED.labels(hop.name).inc(checked)
        _LAST_RUN.labels(hop.name).set(machine_now().timestamp())
