"""The queue of writes in PostgreSQL: due writes, attempts, outcomes and manual tasks, each outcome with its evidence.

Every outcome is published in the transaction that records it. A change of state names the attempt it belongs to, so of
two processes with the same write only the first has an effect.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from services.writeback.attachments import MediaFile, file_locks, late_append, late_write_id, open_files
from services.writeback.changes import decision_key, idempotency_key
from services.writeback.comparison import EarlierWrites, WriteReason
from services.writeback.evidence_store import append_evidence, draft_of_write
from services.writeback.protocol import ComparedChange, MutationAnswer, SettleWrite, WriteAttempt
from services.writeback.write_state import (
    StoredWrite,
    WriteEvent,
    approved_event,
    outcome_event,
    source_states,
    target_state,
)
from shared.contracts import topics
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import ContactId, TenantId, WriteId
from shared.contracts.values import DECODE_ERRORS, decode, encode
from shared.contracts.writes import (
    AdvanceWorkflow,
    CreateAcquisition,
    RecordDecision,
    RequestWrite,
    WriteOperation,
    WriteOutcome,
)
from shared.runtime.clock import Clock, machine_now
from shared.runtime.outbox import Transaction, transaction
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.tracing import annotate

SERVICE = "writeback"
QUERIES = load_queries(__file__, "store.sql")

ChangeReport = dict[str, str | None]
"""One change with the value before the first attempt, the requested value, and the value of the last read."""


class DueWrite(NamedTuple):
    tenant: TenantId
    write_id: WriteId
    ordering_key: str


class WriteBacklog(NamedTuple):
    """``pending``: due or waiting for a later read; ``blocked``: behind a manual task; ``oldest``: business time."""

    pending: int
    blocked: int
    manual: int
    oldest: datetime | None


class OpenTasks(NamedTuple):
    """Manual tasks of one operation; ``oldest`` is when the first of them was opened (business time)."""

    tasks: int
    oldest: datetime


class WriteStore:
    """The worker's side of the store. Methods raise asyncpg's errors where the database is away."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self.clock = clock

    async def fetch_due(self, busy: Iterable[str], limit: int) -> list[DueWrite]:
        """The first due write of every ordering key not in ``busy``."""
        rows = await self._pool.fetch(QUERIES.fetch_due, machine_now(), list(busy), limit)
        return [DueWrite(row["tenant"], row["write_id"], row["ordering_key"]) for row in rows]

    async def fetch(self, due: DueWrite) -> StoredWrite | None:
        """None where it came to rest meanwhile."""
        row = await self._pool.fetchrow(QUERIES.fetch_write, due.tenant, due.write_id)
        return None if row is None else _stored_write(row)

    async def fetch_others(self, stored: StoredWrite) -> list[StoredWrite]:
        """Some of the last writes about other records, those of its operation first; none that cannot be decoded."""
        write, others = stored.write, list[StoredWrite]()
        for row in await self._pool.fetch(QUERIES.fetch_others, stored.tenant, write.record, write.input.operation):
            with suppress(*DECODE_ERRORS):
                others.append(_stored_write(row))
        return others

    async def fetch_earlier_writes(self, stored: StoredWrite) -> EarlierWrites:
        request = stored.write.input
        by_hand = decision = None
        if stored.idempotency_key is not None:
            by_hand = await self._pool.fetchval(
                QUERIES.fetch_value_by_hand, stored.tenant, stored.idempotency_key, stored.write.write_id
            )
        if isinstance(request, AdvanceWorkflow):
            decision = await self._pool.fetchval(
                QUERIES.fetch_decision, stored.tenant, decision_key(request.request_id)
            )
        return EarlierWrites(value_by_hand=by_hand, decision=decision)

    async def fetch_files(self, stored: StoredWrite) -> dict[str, MediaFile]:
        """The reports of the files of a write, as far as there are any, but not of those that a later write adds."""
        return await _files(self._pool, stored, open_files(stored.write))

    async def await_files(self, stored: StoredWrite, missing: Sequence[str]) -> dict[str, MediaFile]:
        """The write goes on without these files; each is added to its record once it is reported.

        Returns the reports that came meanwhile: the write has those files.
        """
        async with transaction(self._pool, self.clock, SERVICE, locks=file_locks(stored.tenant, missing)) as tx:
            found = await _files(tx.connection, stored, missing)
            awaited = [file_id for file_id in missing if file_id not in found]
            await tx.connection.execute(QUERIES.await_files, stored.tenant, stored.write.write_id, awaited)
        return found

    async def save_request(self, stored: StoredWrite) -> None:
        """Save the request with the links of its files: a person who does the write by hand needs them."""
        await self._pool.execute(
            QUERIES.save_request,
            *(stored.tenant, stored.write.write_id, encode(stored.write).decode()),
            source_states(WriteEvent.POSTPONED),
        )

    async def start_attempt(self, stored: StoredWrite, before: Mapping[str, str | None]) -> bool:
        """Commits the intent to write; False where another process has moved the write on."""
        event = WriteEvent.ATTEMPT_STARTED
        row = await self._pool.fetchrow(
            QUERIES.start_attempt,
            *(stored.tenant, stored.write.write_id, machine_now(), stored.attempts),
            *(orjson.dumps(dict(before)).decode(), target_state(event), source_states(event)),
        )
        return row is not None

    async def renew_attempt(self, stored: StoredWrite) -> bool:
        """Commits that the attempt goes on with another request; False where another process has moved the write on."""
        row = await self._pool.fetchrow(
            QUERIES.renew_attempt,
            *(stored.tenant, stored.write.write_id, stored.attempts, machine_now()),
            source_states(WriteEvent.ATTEMPT_RENEWED),
        )
        return row is not None

    async def record_answer(self, stored: StoredWrite, answer: MutationAnswer) -> None:
        await self._pool.execute(
            QUERIES.record_answer,
            *(stored.tenant, stored.write.write_id, stored.attempts, answer, machine_now()),
            source_states(WriteEvent.ANSWER_RECORDED),
        )

    async def withdraw_attempt(self, stored: StoredWrite, due_at: datetime) -> None:
        """Record that the newest attempt's request never left; the write is due at ``due_at`` (machine time)."""
        is_first = stored.attempts == 1
        event = WriteEvent.FIRST_ATTEMPT_WITHDRAWN if is_first else WriteEvent.RETRY_WITHDRAWN
        await self._pool.execute(
            QUERIES.withdraw_first_attempt if is_first else QUERIES.withdraw_retry,
            *(stored.tenant, stored.write.write_id, stored.attempts, due_at),
            *(target_state(event), source_states(event)),
        )

    async def postpone(self, stored: StoredWrite, due_at: datetime, *, is_unknown: bool, failed_reads: int) -> None:
        """An unknown outcome is published once, however often it is read again.

        Nothing changes where another process has moved the write on.
        """
        annotate({"stet.outcome": "unknown" if is_unknown else "postponed"})
        async with transaction(self._pool, self.clock, SERVICE, locks=[stored.ordering_key]) as tx:
            row = await tx.connection.fetchrow(
                QUERIES.postpone,
                *(stored.tenant, stored.write.write_id, due_at, failed_reads, is_unknown),
                *(source_states(WriteEvent.POSTPONED), stored.attempts),
            )
            if row is not None and is_unknown and not stored.is_unknown_published:
                tx.publish(topics.WRITES_EVENTS, outcome_event(stored, WriteOutcome.UNKNOWN, tx.now))

    async def defer(self, due: DueWrite, due_at: datetime) -> None:
        """Let a write wait that cannot even be decoded, so that the others go on."""
        await self._pool.execute(QUERIES.defer, due.tenant, due.write_id, due_at, source_states(WriteEvent.POSTPONED))

    async def settle(self, stored: StoredWrite, step: SettleWrite, compared: Sequence[ComparedChange]) -> None:
        annotate({"stet.outcome": step.outcome.value})
        async with transaction(self._pool, self.clock, SERVICE, locks=[stored.ordering_key]) as tx:
            value = compared[0].comparison.value if step.outcome is not WriteOutcome.CONFLICT else None
            if await _record_outcome(tx, stored, WriteEvent.OUTCOME_RECORDED, step.outcome, value):
                await _add_evidence(tx, stored, step.outcome, step.detail, report_changes(compared, stored))
                await _publish_outcome(tx, stored, step.outcome, detail=step.detail, reference=step.reference)

    async def open_task(self, stored: StoredWrite, reason: WriteReason, compared: Sequence[ComparedChange]) -> None:
        """Opens the durable task for the write; later writes of its record wait behind it."""
        annotate({"stet.outcome": WriteOutcome.MANUAL.value})
        first = compared[0].comparison
        async with transaction(self._pool, self.clock, SERVICE, locks=[stored.ordering_key]) as tx:
            if not await _record_outcome(tx, stored, WriteEvent.TASK_OPENED, WriteOutcome.MANUAL, first.value):
                return
            changes = report_changes(compared, stored)
            await tx.connection.execute(
                QUERIES.open_task,
                *(stored.tenant, stored.write.write_id, reason),
                *(orjson.dumps(changes).decode(), orjson.dumps(stored.error_messages).decode(), tx.now),
            )
            await _add_evidence(tx, stored, WriteOutcome.MANUAL, reason, changes)
            await _publish_outcome(tx, stored, WriteOutcome.MANUAL, detail=reason, reference=first.reference)

    async def fetch_backlog(self) -> WriteBacklog:
        row = await self._pool.fetchrow(QUERIES.fetch_backlog)
        return WriteBacklog(row["pending"], row["blocked"], row["manual"], row["oldest"])

    async def fetch_open_tasks(self) -> dict[WriteOperation, OpenTasks]:
        rows = await self._pool.fetch(QUERIES.open_tasks_by_operation)
        return {WriteOperation(row["operation"]): OpenTasks(row["tasks"], row["oldest"]) for row in rows}


async def _files(connection: Connection | Pool, stored: StoredWrite, file_ids: Sequence[str]) -> dict[str, MediaFile]:
    later_writes = [late_write_id(stored.tenant, file_id, stored.write.write_id) for file_id in file_ids]
    rows = await connection.fetch(QUERIES.fetch_files, stored.tenant, list(file_ids), later_writes)
    return {row["file_id"]: MediaFile(**row) for row in rows}


def _stored_write(row: Mapping[str, Any]) -> StoredWrite:
    return StoredWrite(
        tenant=row["tenant"],
        write=decode(RequestWrite, row["request"]),
        ordering_key=row["ordering_key"],
        event_id=row["event_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        idempotency_key=row["idempotency_key"],
        attempt=_attempt(row["attempts"], row["answer"], row["asked_at"]),
        reads=row["reads"],
        failed_reads=row["failed_reads"],
        is_unknown_published=row["is_unknown_published"],
        before=orjson.loads(row["before"] or "{}"),
    )


def _attempt(number: int, answer: str | None, asked_at: datetime | None) -> WriteAttempt | None:
    if number == 0 or answer is None or asked_at is None:
        return None
    return WriteAttempt(number, MutationAnswer(answer), asked_at)


def report_changes(compared: Sequence[ComparedChange], stored: StoredWrite) -> list[ChangeReport]:
    return [
        {
            "change": each.change.key,
            "status": each.comparison.status.value,
            "before": stored.before.get(each.change.key, each.comparison.current),
            "asked": each.comparison.value or each.change.inputs.get("new_value"),
            "read": each.comparison.current,
        }
        for each in compared
    ]


# ------------------------------------------------------------------ inside a transaction


async def _record_outcome(
    tx: Transaction, stored: StoredWrite, event: WriteEvent, outcome: WriteOutcome, value: str | None
) -> bool:
    """Record the outcome; False where another process was first."""
    row = await tx.connection.fetchrow(
        QUERIES.settle,
        *(stored.tenant, stored.write.write_id, target_state(event), outcome, value),
        *(tx.now, stored.attempts, source_states(event)),
    )
    return row is not None


async def _add_evidence(
    tx: Transaction,
    stored: StoredWrite,
    outcome: WriteOutcome,
    detail: str | None,
    changes: Sequence[ChangeReport],
    note: str | None = None,
) -> None:
    draft = draft_of_write(stored, outcome, tx.now, detail, changes, note)
    await append_evidence(tx.connection, [draft], tx.now)


async def _publish_outcome(
    tx: Transaction,
    stored: StoredWrite,
    outcome: WriteOutcome,
    *,
    detail: str | None,
    reference: str | None,
) -> None:
    """The outcome for rules and, where metadata is now in force, the approved change for systems downstream."""
    tx.publish(topics.WRITES_EVENTS, outcome_event(stored, outcome, tx.now, detail=detail, reference=reference))
    person = stored.write.evidence.person_id
    contact = await tx.connection.fetchval(QUERIES.fetch_contact, stored.tenant, person) if person else None
    approved = approved_event(stored, outcome, None if contact is None else ContactId(contact), tx.now)
    if approved is not None:
        tx.publish(topics.METADATA_APPROVED, approved)


# ------------------------------------------------------------------ intake


async def enqueue_writes(connection: Connection, events: Sequence[Event]) -> None:
    """Stores RequestWrite events in their order, in the caller's transaction, and wakes the workers at commit."""
    columns = zip(*map(_write_row, events), strict=True)
    await connection.execute(QUERIES.enqueue_writes, *map(list, columns), machine_now())
    await connection.execute(QUERIES.notify_workers)


def _write_row(event: Event) -> tuple[object, ...]:
    write = event.data
    assert isinstance(write, RequestWrite)  # noqa: S101 -- the handler sorts the batch by kind
    return (
        event.tenantid,
        write.write_id,
        event.partitionkey,
        write.record,
        write.input.operation,
        idempotency_key(write.input),
        encode(write).decode(),
        event.id,
        event.correlationid,
        event.traceparent,
        write.requested_at,
    )


async def save_files(connection: Connection, reports: Sequence[tuple[Event, MediaFile]], now: datetime) -> None:
    """Stores reports of files, in the caller's transaction, and requests the writes that went on without them."""
    rows = [(event.tenantid, *file) for event, file in reports]
    await connection.execute(QUERIES.save_files, *map(list, zip(*rows, strict=True)), now)
    files = {(event.tenantid, file.file_id): file for event, file in reports}
    tenants, file_ids = [tenant for tenant, _ in files], [file_id for _, file_id in files]
    awaiting = await connection.fetch(QUERIES.take_awaiting, tenants, file_ids)
    late = [
        late_append(
            row["tenant"],
            decode(RequestWrite, row["request"]),
            row["ordering_key"],
            files[row["tenant"], row["file_id"]],
            now,
        )
        for row in awaiting
    ]
    if late:
        await enqueue_writes(connection, late)


async def save_people(connection: Connection, events: Sequence[Event]) -> None:
    """Stores PersonObserved events, in the caller's transaction; of several versions of a person the newest counts."""
    newest: dict[tuple[str, str], PersonObserved] = {}
    for event in events:
        person = event.data
        assert isinstance(person, PersonObserved)  # noqa: S101 -- the handler sorts the batch by kind
        known = newest.get((event.tenantid, person.person_id))
        if known is None or known.version < person.version:
            newest[event.tenantid, person.person_id] = person
    rows = [
        (tenant, one.person_id, one.contact_id, one.display_name or "", one.erased, one.version, one.merged_into)
        for (tenant, _), one in newest.items()
    ]
    await connection.execute(QUERIES.save_people, *map(list, zip(*rows, strict=True)))


# ------------------------------------------------------------------ for operators


async def list_open_tasks(pool: Pool) -> list[Mapping[str, Any]]:
    """``task_id``, ``opened_at``, ``reason``, ``operation`` and ``record`` of every open task, oldest first."""
    return [dict(row) for row in await pool.fetch(QUERIES.list_open_tasks)]


class ManualTask(NamedTuple):
    """``changes``: the exact changes to make; ``value``: the value that the write should leave in Consonance."""

    task_id: int
    opened_at: datetime
    closed_at: datetime | None
    reason: str
    changes: list[ChangeReport]
    error_messages: list[str]
    note: str | None
    value: str | None
    stored: StoredWrite


async def fetch_task(pool: Pool, task_id: int) -> ManualTask | None:
    row = await pool.fetchrow(QUERIES.fetch_task, task_id)
    if row is None:
        return None
    changes = orjson.loads(row["changes"])
    stored = StoredWrite(
        tenant=row["tenant"],
        write=decode(RequestWrite, row["request"]),
        ordering_key=row["ordering_key"],
        event_id=row["event_id"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        before={change["change"]: change["before"] for change in changes},
    )
    return ManualTask(
        task_id=task_id,
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        reason=row["reason"],
        changes=changes,
        error_messages=orjson.loads(row["error_messages"]),
        note=row["note"],
        value=row["value"],
        stored=stored,
    )


async def close_task(pool: Pool, clock: Clock, task: ManualTask, note: str | None, *, is_done: bool = True) -> bool:
    """A person did the write in Consonance: it counts like a verified one. False where the task was closed before.

    Without ``is_done`` the write is not wanted any more: it counts like one in conflict, which wrote nothing.
    """
    stored, event = task.stored, WriteEvent.TASK_CLOSED
    outcome = WriteOutcome.DONE_BY_HAND if is_done else WriteOutcome.CONFLICT
    async with transaction(pool, clock, SERVICE, locks=[stored.ordering_key]) as tx:
        if await tx.connection.fetchval(QUERIES.close_task, task.task_id, tx.now, note) is None:
            return False
        await tx.connection.execute(
            QUERIES.settle_by_hand,
            *(stored.tenant, stored.write.write_id, tx.now, target_state(event), source_states(event), outcome),
        )
        detail, reference = _detail_and_reference(task) if is_done else (WriteReason.DROPPED, None)
        await _add_evidence(tx, stored, outcome, detail, task.changes, note)
        await _publish_outcome(tx, stored, outcome, detail=detail, reference=reference)
        await tx.connection.execute(QUERIES.notify_workers)
    return True


def _detail_and_reference(task: ManualTask) -> tuple[str | None, str | None]:
    """The recorded decision where it is not the requested one, and the reference of an acquisition."""
    request = task.stored.write.input
    if isinstance(request, RecordDecision):
        return (task.value if task.value != request.decision else None), None
    return None, task.value if isinstance(request, CreateAcquisition) else None
