"""Evidence in PostgreSQL: appends to the chain of each record, destroys keys, and keeps legal holds.

An entry is appended in the transaction that saves what the entry is about, so that both happen or neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import orjson

from services.writeback.evidence_chain import (
    FIRST_PREVIOUS,
    ChainEnd,
    EvidenceDraft,
    EvidenceEntry,
    PersonKey,
    SealBroken,
    append_entry,
    find_break,
    make_key,
    open_content,
    read_header,
)
from services.writeback.write_state import StoredWrite
from shared.contracts.evidence import EvidenceKind, RecordEvidence, evidence_words
from shared.contracts.values import encode
from shared.contracts.writes import WriteOutcome
from shared.runtime.clock import Clock
from shared.runtime.failures import repeat
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries(__file__, "evidence.sql")
NO_PERSON = ""
"""The row of ``evidence_keys`` whose key seals what is about no person."""


# ------------------------------------------------------------------ appending


async def append_evidence(connection: Connection, drafts: Iterable[EvidenceDraft], now: datetime) -> int:
    """Append to the chains, in this order, in the caller's transaction; returns how many were new.

    An entry whose id is in a chain already is left out. Locks the chains until the transaction ends.
    """
    given = list(drafts)
    if not given:
        return 0
    keys = await _keys(connection, given, now)
    ends = await _lock_ends(connection, given)
    known = await _known(connection, given)
    rows = []
    for draft in given:
        if (draft.tenant, draft.entry_id) in known:
            continue
        known.add((draft.tenant, draft.entry_id))
        key = keys[draft.tenant, draft.person_id or NO_PERSON]
        entry, ends[draft.tenant, draft.record] = append_entry(ends[draft.tenant, draft.record], draft, key)
        rows.append(
            (
                *(draft.tenant, draft.record, entry.sequence, draft.entry_id, draft.write_id, draft.outcome),
                *(entry.key_id, entry.header, entry.hash, entry.sealed),
            )
        )
    if rows:
        await connection.execute(QUERIES.add_entries, *map(list, zip(*rows, strict=True)), now)
        changed = {(row[0], row[1]) for row in rows}
        moved = [(*chain, ends[chain].length, ends[chain].last_hash) for chain in sorted(changed)]
        await connection.execute(QUERIES.move_ends, *map(list, zip(*moved, strict=True)))
    return len(rows)


async def _keys(
    connection: Connection, drafts: Sequence[EvidenceDraft], now: datetime
) -> dict[tuple[str, str], PersonKey]:
    people = sorted({(draft.tenant, draft.person_id or NO_PERSON) for draft in drafts})
    columns = list(map(list, zip(*people, strict=True)))
    found = await connection.fetch(QUERIES.fetch_keys, *columns)
    if len(found) < len(people):
        await _add_keys(connection, people, now)
        found = await connection.fetch(QUERIES.fetch_keys, *columns)
    return {(row["tenant"], row["person_id"]): PersonKey(row["key_id"], row["key"]) for row in found}


async def _add_keys(connection: Connection, people: Sequence[tuple[str, str]], now: datetime) -> None:
    """A key for each (tenant, person) without one; waits for a transaction that is about to add one."""
    made = [make_key() for _ in people]
    columns = map(list, zip(*people, strict=True))
    await connection.execute(QUERIES.add_keys, *columns, [m.key_id for m in made], [m.key for m in made], now)


async def _lock_ends(connection: Connection, drafts: Sequence[EvidenceDraft]) -> dict[tuple[str, str], ChainEnd]:
    chains = sorted({(draft.tenant, draft.record) for draft in drafts})
    columns = list(map(list, zip(*chains, strict=True)))
    await connection.execute(QUERIES.add_chains, *columns, FIRST_PREVIOUS)
    rows = await connection.fetch(QUERIES.lock_chains, *columns)
    return {(row["tenant"], row["record"]): ChainEnd(row["length"], row["last_hash"]) for row in rows}


async def _known(connection: Connection, drafts: Sequence[EvidenceDraft]) -> set[tuple[str, str]]:
    ids = [(draft.tenant, draft.entry_id) for draft in drafts]
    rows = await connection.fetch(QUERIES.known_entries, *map(list, zip(*ids, strict=True)))
    return {(row["tenant"], row["entry_id"]) for row in rows}


def draft_of_request(tenant: str, recorded: RecordEvidence) -> EvidenceDraft:
    """The entry that rules asks for: a question asked, a delivery of it, or an answer."""
    return EvidenceDraft(
        tenant=tenant,
        record=recorded.record,
        entry_id=recorded.entry_id,
        kind=recorded.content.entry,
        at=recorded.at,
        person_id=recorded.person_id,
        public={"rule": recorded.rule, **evidence_words(recorded.content)},
        content={
            "person_id": recorded.person_id,
            "chain_id": recorded.chain_id,
            **orjson.loads(encode(recorded.content)),
        },
    )


def draft_of_write(
    stored: StoredWrite,
    outcome: WriteOutcome,
    at: datetime,
    detail: str | None,
    changes: Sequence[Mapping[str, str | None]],
    note: str | None,
) -> EvidenceDraft:
    """The entry for an outcome of a write, with the proof that it was asked for and what was read back."""
    write = stored.write
    words = {
        "write_id": write.write_id,
        "operation": write.input.operation.value,
        "outcome": outcome.value,
        "detail": detail,
    }
    return _written(
        (stored.tenant, write.record, at),
        words,
        asked=orjson.loads(encode(write.input)),
        proof=orjson.loads(encode(write.evidence)),
        further={"read_back": list(changes), "note": note},
    )


def _written(
    place: tuple[str, str, datetime],
    words: Mapping[str, str | None],
    *,
    asked: Mapping[str, Any],
    proof: Mapping[str, Any],
    further: Mapping[str, Any],
) -> EvidenceDraft:
    tenant, record, at = place
    public = {**words, "decision": asked.get("decision"), "rule": proof.get("rule")}
    return EvidenceDraft(
        tenant=tenant,
        record=record,
        entry_id=f"{words['write_id']}/{words['outcome']}",
        kind=EvidenceKind.WRITTEN,
        at=at,
        person_id=proof.get("person_id"),
        public={name: word for name, word in public.items() if word is not None},
        content={**words, "asked": asked, "proof": proof, **further},
        write_id=words["write_id"],
        outcome=words["outcome"],
    )


async def move_older_evidence(connection: Connection, most: int, now: datetime) -> int:
    """Move rows that an older version wrote into the chains, oldest first, in the caller's transaction."""
    rows = await connection.fetch(QUERIES.older_evidence, most)
    await append_evidence(connection, map(_draft_of_older, rows), now)
    if rows:
        await connection.execute(QUERIES.allow_moving)
        await connection.execute(QUERIES.delete_older_evidence, [row["evidence_id"] for row in rows])
    return len(rows)


def _draft_of_older(row: Mapping[str, Any]) -> EvidenceDraft:
    return _written(
        (row["tenant"], row["record"], row["recorded_at"]),
        {name: row[name] for name in ("write_id", "operation", "outcome", "detail")},
        asked=orjson.loads(row["asked"]),
        proof=orjson.loads(row["proof"]),
        further={"read_back": orjson.loads(row["read_back"]), "note": row["note"]},
    )


# ------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """An entry with its content as JSON text; ``unreadable`` says why there is none.

    ``is_erased``: because its person was erased. Without a content it is at fault otherwise.
    """

    entry: EvidenceEntry
    content: str | None = None
    unreadable: str | None = None
    is_erased: bool = False

    @property
    def header(self) -> dict[str, Any]:
        header: dict[str, Any] = orjson.loads(self.entry.header)
        return header

    def document(self) -> dict[str, Any] | None:
        """The content, without the random bytes it begins with."""
        if self.content is None:
            return None
        return {name: value for name, value in orjson.loads(self.content).items() if name != "salt"}


@dataclass(frozen=True, slots=True)
class EvidenceChain:
    """The chain of a record, oldest entry first. ``end`` is as it was kept apart from the entries."""

    tenant: str
    record: str
    entries: Sequence[ChainEntry]
    end: ChainEnd

    def find_fault(self) -> str | None:
        """A sentence about the first entry that does not fit, or cannot be read for another reason than an erasure."""
        entries = [each.entry for each in self.entries]
        if (broken := find_break(self.tenant, self.record, entries, self.end)) is not None:
            return broken
        faults = (each for each in self.entries if each.content is None and not each.is_erased)
        return next((f"entry {each.entry.sequence}: {each.unreadable}" for each in faults), None)


async def fetch_chain(connection: Connection, tenant: str, record: str) -> EvidenceChain:
    """The chain of a record; a content that was changed is unreadable, and says so."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(QUERIES.fetch_entries, tenant, record)
        end = await connection.fetchrow(QUERIES.fetch_end, tenant, record)
    recorded = ChainEnd() if end is None else ChainEnd(end["length"], end["last_hash"])
    return EvidenceChain(tenant, record, [_chain_entry(row) for row in rows], recorded)


async def fetch_entries_of(connection: Connection, tenant: str, people: Iterable[str]) -> list[tuple[str, ChainEntry]]:
    """The entries about these people, each with its record."""
    rows = await connection.fetch(QUERIES.entries_of_people, tenant, sorted(people))
    return [(row["record"], _chain_entry(row)) for row in rows]


def _chain_entry(row: Mapping[str, Any]) -> ChainEntry:
    entry = EvidenceEntry(
        sequence=row["sequence"],
        header=row["header"],
        hash=row["hash"],
        key_id=row["key_id"],
        sealed=row["sealed"],
    )
    if (read_header(entry.header) or {}).get("key_id") != entry.key_id:  # or it would pass for one of an erased person
        return ChainEntry(entry, unreadable="its header names another key")
    if entry.sealed is None:
        why = "the person was erased before this entry was made"
        return ChainEntry(entry, unreadable=why, is_erased=True)
    if row["destroyed_at"] is not None:
        why = f"the person was erased on {row['destroyed_at']:%Y-%m-%d}: the key of this entry is destroyed"
        return ChainEntry(entry, unreadable=why, is_erased=True)
    if row["key"] is None:
        return ChainEntry(entry, unreadable="its key is missing, and was not destroyed by an erasure")
    try:
        return ChainEntry(entry, open_content(entry, row["key"]))
    except SealBroken as error:
        return ChainEntry(entry, unreadable=str(error))


# ------------------------------------------------------------------ erasing people


class KeyErasure(NamedTuple):
    """``held``: records under a legal hold that keep the key of a person, by person; theirs are destroyed later."""

    destroyed: tuple[str, ...]
    held: Mapping[str, tuple[str, ...]]


async def destroy_keys(connection: Connection, tenant: str, people: Iterable[str], now: datetime) -> KeyErasure:
    """Destroy the keys of people and of all ids merged into them, in the caller's transaction.

    Texts sealed with their keys can never be read again, and later texts about them are not kept. Where a record of
    theirs is under a legal hold, the key stays until the hold is released, and is destroyed then.
    """
    await connection.execute(QUERIES.lock_holds)
    ids: set[str] = set()
    for person in people:
        rows = await connection.fetch(QUERIES.same_people, tenant, person)
        ids.update(row["person_id"] for row in rows)
    return await _destroy(connection, tenant, ids - {NO_PERSON}, now)


async def erased_among(connection: Connection, tenant: str, people: Iterable[str]) -> set[str]:
    """The people among these who are erased, or were merged into an erased person."""
    rows = await connection.fetch(QUERIES.erased_people, tenant, sorted(people))
    return {row["asked"] for row in rows}


async def _destroy(connection: Connection, tenant: str, people: set[str], now: datetime) -> KeyErasure:
    """An entry that is being sealed for one of them counts as theirs: its transaction is waited for."""
    if people:
        await _add_keys(connection, [(tenant, person) for person in sorted(people)], now)
        await connection.execute(QUERIES.lock_keys, tenant, sorted(people))
    held: dict[str, tuple[str, ...]] = {}
    for row in await connection.fetch(QUERIES.held_records_of, tenant, sorted(people)):
        held[row["person_id"]] = (*held.get(row["person_id"], ()), row["record"])
    free = sorted(people - held.keys())
    if held:
        await connection.execute(QUERIES.postpone_destruction, tenant, sorted(held), now)
    if free:
        key_ids = [make_key().key_id for _ in free]
        await connection.execute(QUERIES.destroy_keys, tenant, free, key_ids, now)
    return KeyErasure(tuple(free), held)


# ------------------------------------------------------------------ legal holds


async def place_hold(connection: Connection, tenant: str, record: str, who: str, reason: str, now: datetime) -> bool:
    """Hold a record's evidence, in the caller's transaction; False where a hold stands already."""
    await connection.execute(QUERIES.lock_holds)
    return await connection.fetchval(QUERIES.place_hold, tenant, record, now, who, reason) is not None


async def release_hold(
    connection: Connection, tenant: str, record: str, who: str, reason: str, now: datetime
) -> KeyErasure | None:
    """End the hold and destroy the keys that only it kept, in the caller's transaction; None where none stands."""
    await connection.execute(QUERIES.lock_holds)
    if await connection.fetchval(QUERIES.release_hold, tenant, record, now, who, reason) is None:
        return None
    waiting = {row["person_id"] for row in await connection.fetch(QUERIES.waiting_destructions, tenant)}
    return await _destroy(connection, tenant, waiting, now)


async def fetch_holds(pool: Pool, tenant: str, record: str | None = None) -> list[Mapping[str, Any]]:
    """The holds on a record, or on all, oldest first; those that were released too."""
    return [dict(row) for row in await pool.fetch(QUERIES.fetch_holds, tenant, record)]


# ------------------------------------------------------------------ rows of an older version

_MOVED_AT_ONCE = 200
_MOVE_SECONDS = 60.0


async def move_older_forever(pool: Pool, clock: Clock) -> None:
    """Look every minute for rows that an older version has written, and move them; with many, some at a time."""
    await repeat("older_evidence", partial(_move_older, pool, clock), _MOVE_SECONDS)


async def _move_older(pool: Pool, clock: Clock) -> None:
    moved = _MOVED_AT_ONCE
    while moved == _MOVED_AT_ONCE:
        async with transaction(pool, clock, "writeback") as tx:
            moved = await move_older_evidence(tx.connection, _MOVED_AT_ONCE, tx.now)
