"""The life of an event, a message, a write, a chain or a person on one time line, from tables and topics.

No phone number, no wamid (it holds one) and no text of a message is shown: an entry's ``private`` part is printed only
where an operator asked to reveal it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from ops.rules.output import counted
from ops.topic_reader import FoundRecord, TopicScan
from services.rules.conversation.chain import Chain
from shared.contracts.decisions import DecisionRecorded, NoEffectRecorded
from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Misconfigured, Unprocessable
from shared.contracts.messages import MessageForm
from shared.contracts.topics import CONTACTS, SERVICES, TRACED
from shared.contracts.values import DECODE_ERRORS, decode, to_builtins
from shared.runtime.connection_settings import KafkaSettings
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "trace.sql")
_MOST_CHAINS = 20
_SAFE_FIELDS = (
    "rule", "say", "line", "lane", "reason", "code", "resolution", "evidence", "wording", "status", "message_kind",
    "operation", "record", "outcome", "expires_at", "stage", "to_stage", "milestone", "request_id", "block_id",
)  # fmt: skip
"""Fields of events that say nothing about who a person is or what they wrote."""


HELD_UNTIL, NEXT_DUE = "message held until", "next due"
"""Entries that lie ahead."""


class IdKind(StrEnum):
    PERSON = "person"
    CHAIN = "chain"
    MESSAGE = "message"
    WRITE = "write"
    EVENT = "event"


class EntryStage(IntEnum):
    """The order of what happens to one message or write, also within one instant."""

    BEGUN = 0
    QUEUED = 1
    ATTEMPTED = 2
    REPORTED = 3
    ANSWERED = 4
    ENDED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """``place`` is a table or a topic. ``private`` may hold a phone number or a text."""

    at: datetime
    place: str
    what: str
    detail: str = ""
    about: str = ""
    private: Mapping[str, Any] = field(default_factory=dict)
    stage: EntryStage = EntryStage.BEGUN

    def fields(self, *, reveal: bool) -> dict[str, Any]:
        shown = {"at": self.at, "place": self.place, "what": self.what, "detail": self.detail, "about": self.about}
        return {**shown, "private": self.private} if reveal else shown


@dataclass(frozen=True, slots=True)
class Life:
    """``read`` records of topics were looked at in ``seconds``; none where topics were left out.

    ``unread`` says why they could not be read, where they should have been.
    """

    kind: IdKind
    id: str
    entries: Sequence[Entry]
    read: int = 0
    seconds: float = 0.0
    unread: str = ""


async def kind_of(pool: Pool, tenant: str, given: str) -> tuple[IdKind, str]:
    """The kind of an id; a contact's id in Consonance stands for its person. An id that no table knows is an event."""
    person = await pool.fetchval(QUERIES.find_person, tenant, given)
    if person is not None:
        return IdKind.PERSON, person
    for kind, query in (
        (IdKind.CHAIN, QUERIES.has_chain),
        (IdKind.MESSAGE, QUERIES.has_message),
        (IdKind.WRITE, QUERIES.has_write),
    ):
        if await pool.fetchval(query, tenant, given):
            return kind, given
    return IdKind.EVENT, given


_PERSON = re.compile(r"\bp[0-9a-f]{32}\b")


async def with_contacts(pool: Pool, tenant: str, lines: Iterable[str]) -> list[str]:
    """The lines with people named by their contact's number in Consonance; a visitor keeps the id."""
    listed = list(lines)
    people = sorted({person for line in listed for person in _PERSON.findall(line)})
    rows = await pool.fetch(QUERIES.contacts, tenant, people)
    contacts = {row["person_id"]: f"contact {row['contact_id']}" for row in rows}
    return [_PERSON.sub(lambda found: contacts.get(found[0], found[0]), line) for line in listed]


async def life_of(pool: Pool, tenant: str, given: str, kafka: KafkaSettings | None, since_ms: int | None) -> Life:
    """Everything known of an id, oldest first; without ``kafka`` from the tables alone."""
    kind, known_as = await kind_of(pool, tenant, given)
    ids = await _ids_of(pool, tenant, kind, known_as)
    chains = await _chains(pool, tenant, ids)
    entries = [entry for chain, changed_at in chains for entry in chain_entries(chain, changed_at)]
    chain_ids = [chain.chain_id for chain, _ in chains]
    correlation = next((chain.correlation for chain, _ in chains if chain.correlation), known_as)
    correlation = known_as if kind is IdKind.PERSON else correlation
    digests = {message.digest for chain, _ in chains for message in chain.messages if message.digest is not None}
    rows = await pool.fetch(
        QUERIES.messages, tenant, [known_as, *digests], chain_ids, ids if kind is IdKind.PERSON else [], correlation
    )
    pauses = await pool.fetch(QUERIES.rule_pauses, tenant) if chains else []
    entries += [entry for chain, _ in chains for entry in _pause_entries(chain, pauses)]
    messages = [row["message_id"] for row in rows]
    if kind is IdKind.MESSAGE and correlation == known_as and rows:
        correlation = rows[0]["correlation_id"] or known_as
    entries += [entry for row in rows for entry in _message_entries(row)]
    newest = {row["message_id"]: row for row in rows}
    attempts = await pool.fetch(QUERIES.attempts, tenant, messages)
    entries += [_attempt_entry(row, newest[row["message_id"]]) for row in attempts]
    writes = await pool.fetch(QUERIES.writes, tenant, [known_as], correlation, chain_ids)
    entries += [entry for row in writes for entry in _write_entries(row)]
    entries += await _held_entries(pool, tenant, ids, chain_ids)
    read, seconds, unread = 0, 0.0, ""
    if kafka is not None:
        own = ids if kind is IdKind.PERSON else [known_as, correlation, *messages]
        needles = {*own, *chain_ids, *(row["write_id"] for row in writes)}
        scan = TopicScan(kafka, (*TRACED, CONTACTS) if kind is IdKind.PERSON else TRACED)
        try:
            entries += _topic_entries(await scan.find(needles, since_ms))
            unread = scan.missing
        except Misconfigured as error:  # the tables know enough to go on with in an incident
            unread = str(error)
        read, seconds = scan.read, scan.seconds
    return Life(kind, known_as, in_order(entries), read, seconds, unread)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in order of time, but reports about a message always after its queuing and its attempts.

    WhatsApp reports whole seconds, so a message that was read at once seems read before it was queued.
    """
    tried: dict[str, datetime] = {}
    timed = []
    for entry in sorted(entries, key=lambda entry: (entry.stage, entry.at)):
        at = max(entry.at, tried.get(entry.about, entry.at)) if entry.stage else entry.at
        timed.append((at, entry.stage, entry))
        if entry.stage in (EntryStage.QUEUED, EntryStage.ATTEMPTED):
            tried[entry.about] = at
    return [entry for *_, entry in sorted(timed, key=lambda each: each[:2])]


async def _ids_of(pool: Pool, tenant: str, kind: IdKind, known_as: str) -> list[str]:
    """The ids to search by; of a person every id that they have or had, since what happened before a merge is theirs,
    too.
    """
    if kind is not IdKind.PERSON:
        return [known_as]
    return [row["person_id"] for row in await pool.fetch(QUERIES.same_people, tenant, known_as)]


async def _chains(pool: Pool, tenant: str, ids: Sequence[str]) -> list[tuple[Chain, datetime]]:
    rows = await pool.fetch(QUERIES.chains, tenant, ids, _MOST_CHAINS)
    return list(readable_chains(rows))


def readable_chains(rows: Iterable[Any]) -> Iterator[tuple[Chain, datetime]]:
    """Chains with the instant of their newest change; one that this version cannot read is left out."""
    for row in rows:
        try:
            yield decode(Chain, row["document"]), row["changed_at"]
        except DECODE_ERRORS:
            continue


# ------------------------------------------------------------------ tables


def chain_entries(chain: Chain, changed_at: datetime) -> Iterator[Entry]:
    about = chain.chain_id
    yield Entry(
        *(chain.started_at, "rules.chains", f"chain of {chain.rule} started"),
        f"by {chain.start_name}, about {chain.subject}, revision {chain.revision[:12]}",
        about,
    )
    for index, step in enumerate(chain.steps):
        if step.done_at is not None:
            left_out = ", ".join(f"{who} left out: {why}" for who, why in step.left_out.items())
            yield Entry(step.done_at, "rules.chains", f"step {index + 1} {step.status}", left_out, about)
    yield from _people_entries(chain)
    for message in chain.messages:
        if message.held_until is not None and message.requested_at is None:
            detail = f"{message.say} to {message.person_id}, {message.delivery}"
            yield Entry(message.held_until, "rules.chains", HELD_UNTIL, detail, message.message_id)
    if chain.ended is not None:
        yield Entry(changed_at, "rules.chains", f"chain ended: {chain.ended}", "", about, stage=EntryStage.ENDED)
    elif chain.next_due is not None:
        yield Entry(chain.next_due, "rules.chains", NEXT_DUE, f"state {chain.state}", about)


def pauses_of(chain: Chain, pauses: Sequence[Any]) -> list[Any]:
    """The rows of rules.pauses that hold the chain's steps; none of a chain that has ended."""
    if chain.ended is not None:
        return []
    return [row for row in pauses if row["kind"] == "tenant" or row["name"] == chain.rule]


def _pause_entries(chain: Chain, pauses: Sequence[Any]) -> Iterator[Entry]:
    for row in pauses_of(chain, pauses):
        what = f"{row['kind']} {row['name']} paused"
        yield Entry(row["since"], "rules.pauses", what, f"by {row['who']}: {row['reason']}", chain.chain_id)


def _people_entries(chain: Chain) -> Iterator[Entry]:
    """The actions of people: answers, and matters offered and taken."""
    for answer in chain.answers:
        what = f"answered {answer.answer}" + ("" if answer.final else ", not final")
        private = {"reply": answer.reply, "wamid": answer.wamid}
        by = f"by {answer.person_id}"
        yield Entry(answer.at, "rules.chains", what, by, answer.message_id, private, EntryStage.ANSWERED)
    for offer in chain.handovers:
        yield Entry(offer.at, "rules.chains", "offered to colleagues", ", ".join(offer.people), chain.chain_id)
    if chain.assignment is not None:
        yield Entry(chain.assignment.at, "rules.chains", "taken", f"by {chain.assignment.person_id}", chain.chain_id)


def _message_entries(row: Any) -> Iterator[Entry]:
    about, place = row["message_id"], "dispatcher.messages"
    detail = f"{row['say']} to {row['person_id']} by {row['line']}, expires {row['expires_at']:%Y-%m-%d %H:%M}Z"
    yield Entry(
        row["requested_at"], place, "message queued", detail, about, {"content": row["content"]}, EntryStage.QUEUED
    )
    why = f": {row['reason']}" if row["reason"] else ""
    code = f", code {row['failed_code']}" if row["failed_code"] is not None else ""
    until = f", until {row['not_before']:%Y-%m-%d %H:%M:%S}Z" if row["state"] == "waiting" else ""
    aside = f", set aside: {row['set_aside']}" if row["set_aside"] else ""
    now = f"now{until}{code}{aside}" if until or code or aside else "its state now"
    yield Entry(row["changed_at"], place, f"message {row['state']}{why}", now, about, stage=EntryStage.REPORTED)


def _attempt_entry(row: Any, message: Any) -> Entry:
    """Of the newest attempt the message knows the template; those of earlier ones stand on the topics."""
    code = f", code {row['code']}" if row["code"] is not None else ""
    ended = f" at {row['ended_at']:%H:%M:%S}Z" if row["ended_at"] else ""
    detail = f"{row['ending'] or 'no answer yet'}{ended}{code}"
    what = f"attempt {row['attempt']} as {row['wording']}"
    if row["wording"] == MessageForm.TEMPLATE and row["attempt"] == message["attempts"]:
        what += f" {message['used_template']} ({message['used_language']})"
    return Entry(row["begun_at"], "dispatcher.attempts", what, detail, row["message_id"], stage=EntryStage.ATTEMPTED)


def _write_entries(row: Any) -> Iterator[Entry]:
    about, place = row["write_id"], "writeback.writes"
    queued, tries = f"write queued: {row['operation']}", counted(row["attempts"], "attempt")
    yield Entry(row["requested_at"], place, queued, row["record"], about, stage=EntryStage.QUEUED)
    if row["opened_at"] is not None:
        detail = f"task {row['task_id']}: {row['task_reason']}"
        yield Entry(
            row["opened_at"], "writeback.tasks", "task opened for a person", detail, about, stage=EntryStage.ATTEMPTED
        )
    if row["closed_at"] is not None:
        task = f"task {row['task_id']}"
        yield Entry(row["closed_at"], "writeback.tasks", "task done", task, about, stage=EntryStage.REPORTED)
    if row["settled_at"] is not None:
        yield Entry(row["settled_at"], place, f"write {row['outcome']}", tries, about, stage=EntryStage.REPORTED)
    elif row["opened_at"] is None:
        due = f"due, {tries}"
        yield Entry(row["due_at"], place, f"write {row['state']}", due, about, stage=EntryStage.REPORTED)


async def _held_entries(pool: Pool, tenant: str, ids: Sequence[str], chain_ids: Sequence[str]) -> list[Entry]:
    """Work that stands still: chains set aside, events that wait, records that are parked."""
    entries = [
        Entry(
            row["set_aside_at"],
            "rules.chains_set_aside",
            f"set aside: {row['reason']}",
            row["sentence"],
            row["chain_id"],
        )
        for row in await pool.fetch(QUERIES.set_aside, list(chain_ids))
    ]
    for row in await pool.fetch(QUERIES.waiting, tenant, ids):
        missing = ", ".join([*row["people"], *([f"work {row['work_id']}"] if row["work_id"] else [])])
        entries.append(
            Entry(row["since"], "rules.waiting", "event waits", f"for {missing}, until {row['until']}", row["event_id"])
        )
    for service in SERVICES:
        for row in await pool.fetch(QUERIES.parked.replace("SCHEMA", service), ids):
            detail = f"{row['reason']}, from {row['topic']}, now {row['state']}"
            entries.append(Entry(row["parked_at"], f"{service}.parked", f"parked as {row['id']}", detail, ids[0]))
    return entries


# ------------------------------------------------------------------ topics


def _topic_entries(records: Iterable[FoundRecord]) -> list[Entry]:
    entries = []
    for record in records:
        event = read_event(record)
        if event is not None:
            entries.append(_event_entry(record, event))
    return entries


def read_event(record: FoundRecord) -> Event | None:
    """None for a record that is no event of its topic; it is parked, and stands in that table."""
    try:
        return parse_event(record.value, record.topic.kinds)
    except Unprocessable:
        return None


def _event_entry(record: FoundRecord, event: Event) -> Entry:
    name = event.type.removesuffix(".v1").removeprefix("consonance.")
    return Entry(event.recordedtime, record.topic.name, name, safe_detail(event), event.id, to_builtins(event.data))


def safe_detail(event: Event) -> str:
    """The data of an event in words, without names, texts and addresses of people.

    A value with values of its own is left out: the evidence of a write has the text that was shown and the reply.
    """
    if isinstance(event.data, DecisionRecorded):
        return "; ".join(verdict_text(verdict) for verdict in event.data.verdicts)
    if isinstance(event.data, NoEffectRecorded):
        return f"{event.data.reason} (one record for {len(event.data.events)} events)"
    fields: Mapping[str, Any] = to_builtins(event.data)
    named = {name: fields.get(name) for name in _SAFE_FIELDS}
    details = [
        f"{name} {value}" for name, value in named.items() if isinstance(value, str | int | float) and value != ""
    ]
    if (call := fields.get("template")) is not None:
        details.append(f"template {call['name']} ({call['language']})")
    return ", ".join(details) if details else f"key {event.partitionkey}"


def verdict_text(verdict: Any) -> str:
    """One rule's part of a decision: what it did, why, and who was left out."""
    parts = [f"{verdict.rule or 'no rule'}: {verdict.reason}"]
    counts = {name: len(getattr(verdict, name)) for name in ("messages", "withdrawn", "writes")}
    parts += [f"{count} {name}" for name, count in counts.items() if count]
    parts += [f"{who} left out: {why}" for who, why in verdict.left_out.items()]
    return ", ".join(parts)
