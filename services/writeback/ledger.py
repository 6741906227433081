"""The queue of writes in PostgreSQL: what is due, what was tried, what became of it, and the evidence for it.

Every outcome leaves in the transaction that records it. A change of state names the attempt it belongs to, so of two
processes that hold the same write only the first is heard.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson

from services.writeback.announce import approved_event, outcome_event
from services.writeback.entries import Entry, attempt_of
from services.writeback.judgement import Known, Reason
from services.writeback.protocol import Answer, Judged, Settle
from shared.contracts import topics
from shared.contracts.ids import ContactId, TenantId, WriteId
from shared.contracts.values import decode, encode
from shared.contracts.writes import AdvanceWorkflow, Outcome, RequestWrite
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.transaction import Transaction, transaction

SERVICE = "writeback"
queries = load_queries(__file__, "ledger.sql")


class Due(NamedTuple):
    tenant: TenantId
    write_id: WriteId
    lane: str


class Backlog(NamedTuple):
    """``moving`` is in motion or due; ``held`` waits behind a manual task; ``oldest``: the oldest reply not written."""

    moving: int
    held: int
    manual: int
    oldest: datetime | None


class Ledger:
    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def due(self, busy: Iterable[str], limit: int) -> list[Due]:
        """The first due write of every lane not in ``busy``."""
        rows = await self._pool.fetch(queries.fetch_due, machine_now(), list(busy), limit)
        return [Due(row["tenant"], row["write_id"], row["lane"]) for row in rows]

    async def fetch(self, due: Due) -> Entry | None:
        """None where it came to rest meanwhile."""
        row = await self._pool.fetchrow(queries.fetch_write, due.tenant, due.write_id)
        if row is None:
            return None
        return Entry(
            tenant=row["tenant"],
            write=decode(RequestWrite, row["request"]),
            lane=row["lane"],
            event_id=row["event_id"],
            correlation_id=row["correlation_id"],
            traceparent=row["traceparent"],
            once_key=row["once_key"],
            attempt=attempt_of(row["attempts"], row["answer"], row["asked_at"]),
            looks=row["looks"],
            failed_reads=row["failed_reads"],
            unknown_told=row["unknown_told"],
            before=orjson.loads(row["before"] or "{}"),
        )

    async def known(self, entry: Entry) -> Known:
        asked = entry.write.input
        by_hand = decision = None
        if entry.once_key is not None:
            by_hand = await self._pool.fetchval(
                queries.fetch_by_hand, entry.tenant, entry.once_key, entry.write.write_id
            )
        if isinstance(asked, AdvanceWorkflow):
            decision = await self._pool.fetchval(queries.fetch_decision, entry.tenant, f"decision/{asked.request_id}")
        return Known(by_hand=by_hand, decision=decision)

    async def intend(self, entry: Entry, before: Mapping[str, str | None]) -> bool:
        """Commits the intent; False where another process has moved the write on."""
        row = await self._pool.fetchrow(
            queries.intend,
            *(entry.tenant, entry.write.write_id),
            *(machine_now(), entry.attempts, orjson.dumps(dict(before)).decode()),
        )
        return row is not None

    async def note_answer(self, entry: Entry, answer: Answer) -> None:
        await self._pool.execute(
            queries.note_answer, entry.tenant, entry.write.write_id, entry.attempts, answer, machine_now()
        )

    async def take_back(self, entry: Entry, due_at: datetime) -> None:
        """The request never left."""
        await self._pool.execute(queries.take_back_intent, entry.tenant, entry.write.write_id, entry.attempts, due_at)

    async def postpone(self, entry: Entry, due_at: datetime, *, unknown: bool, failed_reads: int) -> None:
        """``unknown`` is told once, however often it is looked at again."""
        async with transaction(self._pool, self._clock, SERVICE, locks=[entry.lane]) as tx:
            await tx.connection.execute(
                queries.postpone, entry.tenant, entry.write.write_id, due_at, unknown, failed_reads
            )
            if unknown and not entry.unknown_told:
                tx.publish(topics.WRITES_EVENTS, outcome_event(entry, Outcome.UNKNOWN, tx.now))

    async def set_aside(self, due: Due, due_at: datetime) -> None:
        """What cannot even be understood waits, and others go on."""
        await self._pool.execute(queries.set_aside, due.tenant, due.write_id, due_at)

    async def settle(self, entry: Entry, step: Settle, judged: Sequence[Judged]) -> None:
        async with transaction(self._pool, self._clock, SERVICE, locks=[entry.lane]) as tx:
            value = judged[0].judgement.value if step.outcome is not Outcome.CONFLICT else None
            if await self._rest(tx, entry, "settled", step.outcome, value):
                await add_evidence(tx, entry, step.outcome, step.detail, read_back_of(judged, entry))
                await announce(tx, entry, step.outcome, detail=step.detail, reference=step.reference)

    async def hand_over(self, entry: Entry, reason: Reason, judged: Sequence[Judged]) -> None:
        """Opens the durable task that stands for the write; later writes of its record wait behind it."""
        async with transaction(self._pool, self._clock, SERVICE, locks=[entry.lane]) as tx:
            if await self._rest(tx, entry, "manual", Outcome.MANUAL, judged[0].judgement.value):
                wanted = read_back_of(judged, entry)
                await tx.connection.execute(
                    queries.open_task,
                    *(entry.tenant, entry.write.write_id, reason),
                    *(orjson.dumps(wanted).decode(), orjson.dumps(entry.said).decode(), tx.now),
                )
                await add_evidence(tx, entry, Outcome.MANUAL, reason, wanted)
                await announce(tx, entry, Outcome.MANUAL, detail=reason, reference=judged[0].judgement.reference)

    async def backlog(self) -> Backlog:
        row = await self._pool.fetchrow(queries.backlog)
        return Backlog(row["moving"], row["held"], row["manual"], row["oldest"])

    async def _rest(self, tx: Transaction, entry: Entry, state: str, outcome: Outcome, value: str | None) -> bool:
        row = await tx.connection.fetchrow(
            queries.settle,
            *(entry.tenant, entry.write.write_id, state, outcome, value),
            *(tx.now, entry.attempts),
        )
        return row is not None


def read_back_of(judged: Sequence[Judged], entry: Entry) -> list[dict[str, str | None]]:
    """Every change with the value before the first attempt, the value asked for, and what was read last."""
    return [
        {
            "change": each.change.key,
            "standing": each.judgement.standing.value,
            "before": entry.before.get(each.change.key, each.judgement.current),
            "asked": each.judgement.value or each.change.facts.get("new_value"),
            "read": each.judgement.current,
        }
        for each in judged
    ]


async def add_evidence(
    tx: Transaction,
    entry: Entry,
    outcome: Outcome,
    detail: str | None,
    read_back: list[dict[str, str | None]],
    note: str | None = None,
) -> None:
    write = entry.write
    await tx.connection.execute(
        queries.add_evidence,
        *(entry.tenant, write.record, write.write_id, write.input.operation, outcome, detail),
        *(encode(write.input).decode(), encode(write.evidence).decode()),
        *(orjson.dumps(read_back).decode(), note, tx.now),
    )


async def announce(
    tx: Transaction, entry: Entry, outcome: Outcome, *, detail: str | None = None, reference: str | None = None
) -> None:
    """The outcome for rules and, where metadata now stands, the approved change for systems downstream."""
    tx.publish(topics.WRITES_EVENTS, outcome_event(entry, outcome, tx.now, detail=detail, reference=reference))
    person = entry.write.evidence.person_id
    contact = await tx.connection.fetchval(queries.fetch_contact, entry.tenant, person) if person else None
    approved = approved_event(entry, outcome, None if contact is None else ContactId(contact), tx.now)
    if approved is not None:
        tx.publish(topics.METADATA_APPROVED, approved)
