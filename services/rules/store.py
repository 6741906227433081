"""Loads the facts a batch needs from PostgreSQL and saves what changed, in a fixed number of queries each way.

Advisory locks on people order a change of consent or address against all messages to them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson

from services.rules.conversation.button_ids import claimed_message
from services.rules.conversation.chain import IN_DISPATCHER, Chain, ChainMessage, DeliveryState
from services.rules.conversation.document import newest_data, read_data, start_data
from services.rules.conversation.event_rules import start_key
from services.rules.conversation.fact_values import (
    Absence,
    Consent,
    CountedMessages,
    FileReport,
    PersonFacts,
    RecentStarts,
    RightsFacts,
    StrangersMessages,
    UnsolicitedMessages,
    WorkFacts,
)
from services.rules.conversation.facts import Facts, file_tags
from services.rules.conversation.merges import follow_loaded_chains
from services.rules.conversation.recipients import people_in
from services.rules.conversation.required_facts import RequiredFacts, is_opt_out, refuses_marketing
from services.rules.rulebook.model import MOST_STARTS, OnChange, Rulebook
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.errors import Unprocessable
from shared.contracts.ids import (
    ChainId,
    MessageId,
    PersonId,
    Revision,
    RuleId,
    TenantId,
    Wamid,
    derive_id,
    partition_key,
)
from shared.contracts.intents import ReplyIntent, classify
from shared.contracts.messages import MessageFailed
from shared.contracts.topics import CONSONANCE_EVENTS, MESSAGES_EVENTS, WHATSAPP_MESSAGES, WRITES_EVENTS
from shared.contracts.values import DECODE_ERRORS, Value, decode, encode, format_instant
from shared.contracts.whatsapp import IdentityChanged, MessageReceived, PreferenceChanged
from shared.runtime.clock import machine_now
from shared.runtime.failures import LocksBusy
from shared.runtime.kafka import partition_guards
from shared.runtime.postgres import Connection, SharedLock, advisory_lock_key, load_queries, try_acquire_locks
from shared.runtime.telemetry import get_logger

_GROUPS = 1024
_CONSENT = frozenset({ReplyIntent.STOP, ReplyIntent.START, ReplyIntent.WRONG_PERSON})


def exclusive_locks(events: Iterable[Event]) -> set[str]:
    """The locks of people whose consent or address these events may change."""
    return {_group(person) for event in events for person in _changed(event)}


def exclusive_locks_of(people: Iterable[PersonId]) -> set[str]:
    """The locks of people whose consent is changed by hand."""
    return {_group(person) for person in people}


def shared_locks(people: Iterable[PersonId]) -> set[SharedLock]:
    """The locks of people who may be written to."""
    return {SharedLock(_group(person)) for person in people}


def _changed(event: Event) -> tuple[PersonId, ...]:
    data = event.data
    if isinstance(data, MessageReceived):
        in_words = data.button_id is None or claimed_message(data.button_id) is None
        decides = is_opt_out(data) or (in_words and classify(data.text) in _CONSENT)
        return (data.person_id, *data.shared_with) if decides else ()
    if isinstance(data, PersonObserved):
        return (data.person_id, data.merged_into) if data.merged_into else (data.person_id,)
    if isinstance(data, (IdentityChanged, PreferenceChanged)):
        return (data.person_id, *data.shared_with)
    return (data.person_id,) if isinstance(data, MessageFailed) and refuses_marketing(data) else ()


def _group(person: PersonId) -> str:
    return f"people/{advisory_lock_key(person) % _GROUPS}"


QUERIES = load_queries(__file__, "store.sql")
log = get_logger()


async def load(connection: Connection, tenant: TenantId, required: RequiredFacts) -> Facts:
    """Load and lock the chains first, then the works and people that they and the events refer to, which do not change
    meanwhile.

    Raises LocksBusy where one of the people is just being changed.
    """
    facts = Facts(tenant)
    required.senders |= await _same_people(connection, tenant, required.senders)
    required.unsent_of |= await _same_people(connection, tenant, required.unsent_of)
    await _load_progress(connection, facts)
    await _load_wamids(connection, facts, required)
    await _load_chains(connection, facts, required)
    await _load_works(connection, facts, required)
    await _load_people(connection, facts, required)
    await _load_records(connection, facts, required)
    await _load_starts(connection, facts, required)
    await _load_strangers(connection, facts, required)
    await _load_file_reports(connection, facts, required)
    follow_loaded_chains(facts)
    facts.changed.clear()
    return facts


async def _same_people(connection: Connection, tenant: TenantId, people: Iterable[PersonId]) -> set[PersonId]:
    """These and every id they are or were known by."""
    asked = list(people)
    rows = await connection.fetch(QUERIES.find_same_people, tenant, asked) if asked else []
    return {*asked, *(PersonId(row["person_id"]) for row in rows)}


async def _load_progress(connection: Connection, facts: Facts) -> None:
    """Load the progress before the chains, so that an answer that the chains lack is not counted as read."""
    rows = await connection.fetch(QUERIES.find_progress, facts.tenant)
    facts.paused_rules = frozenset(row["paused"] for row in rows if row["paused"] is not None)
    read_to = {row["guard"]: row["read_to"] for row in rows if row["read_to"] is not None}
    queued = frozenset(row["guard"] for row in rows if row["read_to"] is None and row["guard"] is not None)
    facts.read_to = partial(_read_to, read_to, queued)


def _read_to(read_to: Mapping[str, datetime], queued: frozenset[str], chain: Chain) -> datetime:
    people = chain.known_ids()
    keys = keys_of(chain, people)
    if not queued.isdisjoint(keys):
        return _NEVER
    return min(read_to.get(guard, _NEVER) for guard in guards_of(chain, people))


_NEVER = datetime.min.replace(tzinfo=UTC)


async def _load_wamids(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    if required.wamids:
        rows = await connection.fetch(QUERIES.find_wamids, list(required.wamids))
        facts.wamids.update((Wamid(row["wamid"]), MessageId(row["message_id"])) for row in rows)


async def _load_chains(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    unsent_of = required.unsent_of | required.senders if required.stops else required.unsent_of
    asked = (
        required.messages,
        required.wamids,
        required.writes,
        required.tags,
        required.senders,
        required.chains,
        unsent_of,
        required.written_works,
    )
    if not any(asked):
        return
    rows = await connection.fetch(QUERIES.find_chains, facts.tenant, *([*ids] for ids in asked))
    unreadable = []
    if unsent_of:
        loose = await connection.fetch(QUERIES.find_notices, list(unsent_of))
        facts.notices.update((MessageId(row["message_id"]), PersonId(row["person_id"])) for row in loose)
    for row in rows:
        try:
            chain = decode(Chain, row["document"])
            _add_required(required, chain)
        except DECODE_ERRORS:
            unreadable.append(row["chain_id"])
        else:
            facts.add_chain(chain)
    if unreadable:
        await _leave_out(connection, required, unreadable)


async def _leave_out(connection: Connection, required: RequiredFacts, unreadable: Sequence[str]) -> None:
    """Serve the people of an unreadable chain without it; an event about the chain itself cannot be decided.

    Raises Unprocessable for that.
    """
    about = [[*ids] for ids in (required.messages, required.wamids, required.writes, required.tags)]
    concerned = await connection.fetch(QUERIES.find_concerned_chains, unreadable, *about)
    named = {row["chain_id"] for row in concerned} | required.chains.intersection(unreadable)
    if named:
        raise Unprocessable(f"chain {min(named)} cannot be read back", reason="chain_unreadable")
    log.error("chain.excluded", chains=unreadable)


def _add_required(required: RequiredFacts, chain: Chain) -> None:
    required.people |= chain.people()
    first, last = start_data(chain), newest_data(chain)
    joined = [read_data(each.data, each.name) for each in chain.joined]
    for data in (last, *joined):
        required.people.update(people_in(data))
    required.people.update(person for name in ("person_id", "awaited") if (person := getattr(first, name, None)))
    for data in (first, last, *joined):
        if (work := getattr(data, "work", None)) is not None:
            required.works.add(work.work_id)
        if (record := getattr(data, "rights_record_id", None)) is not None:
            required.records.add(record)
        if isinstance(data, MessageReceived) and data.media is not None and data.media.file_id is not None:
            required.files.add(data.media.file_id)


async def _load_works(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    if not required.works:
        return
    for row in await connection.fetch(QUERIES.find_works, facts.tenant, list(required.works)):
        work = _work(row["document"])
        facts.works[work.state.work.work_id] = work
        required.people.update(person.person_id for person in work.state.people)


async def _load_people(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    required.people |= await _same_people(connection, facts.tenant, required.people)
    if not required.people:
        return
    await try_acquire_locks(connection, "rules", shared_locks(required.people))
    for row in await connection.fetch(QUERIES.find_people, facts.tenant, list(required.people)):
        person = _person(row["person"])
        facts.add_person(person)
        if row["consent"] is not None:
            facts.consent[person.person_id] = decode(Consent, row["consent"])
        if row["unasked"] is not None:
            facts.unsolicited[person.person_id] = decode(UnsolicitedMessages, row["unasked"])
        if row["absence"] is not None:
            facts.absences[person.person_id] = decode(Absence, row["absence"])
        _add_words(facts, person.person_id, row)


def _add_words(facts: Facts, person: PersonId, row: Mapping[str, Any]) -> None:
    """Add the facts of a person, and how many messages they got lately."""
    if row["counted"] is not None:
        facts.counted[person] = decode(CountedMessages, row["counted"])
    if row["rule"] is not None:
        facts.last_rule[person] = RuleId(row["rule"])
    if row["reference"] is not None:
        facts.acquisitions[person] = row["reference"]


async def _load_records(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    if not required.records and not required.requests:
        return
    rows = await connection.fetch(QUERIES.find_records, facts.tenant, list(required.records), list(required.requests))
    for row in rows:
        facts.records[row["record_id"]] = decode(RightsFacts, row["document"])


async def _load_starts(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    if required.starts:
        keys = {_hashed(key): key for key in required.starts}
        rows = await connection.fetch(QUERIES.find_starts, facts.tenant, list(keys), MOST_STARTS)
        facts.starts.update((keys[row["start_key"]], RecentStarts(at=tuple(row["starts"]))) for row in rows)


async def _load_strangers(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    if required.strangers:
        document = await connection.fetchval(QUERIES.find_strangers, facts.tenant)
        if document is not None:
            facts.strangers[facts.tenant] = decode(StrangersMessages, document)


async def _load_file_reports(connection: Connection, facts: Facts, required: RequiredFacts) -> None:
    if required.files:
        rows = await connection.fetch(QUERIES.find_file_reports, facts.tenant, list(required.files))
        facts.file_reports.update((row["file_id"], decode(FileReport, row["document"])) for row in rows)


def _hashed(key: str) -> str:
    """A start key as it is stored: a subject may name a person."""
    return derive_id("start", key)


@lru_cache(maxsize=4096)
def _work(document: str) -> WorkFacts:
    """Parse a work, cached by its text, as the same works come again and again."""
    return decode(WorkFacts, document)


@lru_cache(maxsize=16384)
def _person(document: str) -> PersonFacts:
    return decode(PersonFacts, document)


async def next_amendments(connection: Connection, count: int) -> list[int]:
    """The numbers of the next amendments, taken while their people and chains are locked; below 2^53."""
    return [row["nextval"] for row in await connection.fetch(QUERIES.next_amendments, count)]


async def save(connection: Connection, facts: Facts, now: datetime) -> None:
    """Write what changed, kind by kind; ``now`` is business time."""
    await _save(connection, QUERIES.save_works, facts, "work", lambda key: _json(facts.works[key]))
    await _save(connection, QUERIES.save_people, facts, "person", lambda key: _json(facts.people[key]))
    await save_consent(connection, facts, now)
    await _save(connection, QUERIES.save_unasked, facts, "unsolicited", lambda key: _json(facts.unsolicited[key]))
    await _save(connection, QUERIES.save_absences, facts, "absence", lambda key: _json(facts.absences[key]))
    await _save(connection, QUERIES.save_records, facts, "record", lambda key: _json(facts.records[key]))
    await _save(connection, QUERIES.save_last_rules, facts, "last_rule", lambda key: facts.last_rule[key])
    await _save(connection, QUERIES.save_acquisitions, facts, "acquisition", lambda key: facts.acquisitions[key])
    await _save_counted(connection, facts)
    await _save_strangers(connection, facts)
    await _save_file_reports(connection, facts)
    await _save_chains(connection, facts, now)
    facts.changed.clear()


async def save_consent(connection: Connection, facts: Facts, now: datetime) -> None:
    """The changed consents, with their entries in the ledger; ``now`` is business time."""
    await _save(connection, QUERIES.save_consent, facts, "consent", lambda key: _json(facts.consent[key]))
    if facts.consent_entries:
        await connection.execute(QUERIES.enter_consent, facts.tenant, [*map(_json, facts.consent_entries)], now)
        facts.consent_entries.clear()


async def _save_counted(connection: Connection, facts: Facts) -> None:
    """Raises LocksBusy where another transaction has counted a message to one of these people meanwhile."""
    people = sorted(PersonId(key) for key in _keys(facts, "counted"))
    if not people:
        return
    counted = [one.replace(version=one.version + 1) for one in (facts.counted[person] for person in people)]
    saved = await connection.fetch(
        QUERIES.save_counted, facts.tenant, people, [one.version for one in counted], [_json(one) for one in counted]
    )
    if len(saved) < len(people):
        raise LocksBusy({_group(person) for person in people})


async def _save_strangers(connection: Connection, facts: Facts) -> None:
    """Raises LocksBusy where another transaction has counted a chain of a stranger meanwhile."""
    if ("strangers", facts.tenant) not in facts.changed:
        return
    known = facts.strangers[facts.tenant]
    known = known.replace(version=known.version + 1)
    if await connection.fetchval(QUERIES.save_strangers, facts.tenant, known.version, _json(known)) is None:
        raise LocksBusy({"strangers"})


async def _save_file_reports(connection: Connection, facts: Facts) -> None:
    reports = [facts.file_reports[file] for file in sorted(_keys(facts, "file_report"))]
    if reports:
        await connection.execute(
            QUERIES.save_file_reports,
            facts.tenant,
            [one.file_id for one in reports],
            [one.person_id for one in reports],
            [one.at for one in reports],
            [_json(one) for one in reports],
        )


async def _save(
    connection: Connection, query: str, facts: Facts, kind: str, value: Callable[[Any], str | None], *extra: object
) -> None:
    keys: list[Any] = [key for changed, key in facts.changed if changed == kind]
    keys.sort()
    if keys:
        await connection.execute(query, facts.tenant, keys, [value(key) for key in keys], *extra)


def _json(value: Value) -> str:
    return _checked_json(value).decode()


def _checked_json(value: Value) -> bytes:
    """The value as JSON, checked by reading it again: one that cannot be read back would block its chain for ever."""
    raw = encode(value)
    decode(type(value), raw)
    return raw


async def _save_chains(connection: Connection, facts: Facts, now: datetime) -> None:
    expiries = facts.message_expiries
    loose = [
        (key, None, None, facts.notices[MessageId(key)], True, False, expiries.get(MessageId(key)), None)
        for key in _keys(facts, "notice")
    ]
    if loose:
        await connection.execute(QUERIES.save_messages, *map(list, zip(*loose, strict=True)))
    if facts.notice_outcomes:
        known = [(message, one.wamid, one.uncertain) for message, one in facts.notice_outcomes.items()]
        await connection.execute(QUERIES.save_notice_outcomes, *map(list, zip(*known, strict=True)))
    chains = [facts.chains[ChainId(key)] for key in sorted(_keys(facts, "chain"))]
    if not chains:
        return
    # Chains that leave the unique index of active chains come first: it is checked row by row.
    for part in ([c for c in chains if c.admits_another], [c for c in chains if not c.admits_another]):
        if part:
            await connection.execute(QUERIES.save_chains, facts.tenant, [_row(c) for c in part], now)
    sent = {
        row[0]: row
        for c in chains
        for m in c.messages
        if m.requested_at is not None
        for row in _message_rows(c, m, expiries)
    }
    if sent:
        await connection.execute(QUERIES.save_messages, *map(list, zip(*sent.values(), strict=True)))
    writes = [(w.write_id, c.chain_id, w.outcome, w.work_id) for c in chains for w in c.writes]
    if writes:
        await connection.execute(QUERIES.save_writes, *map(list, zip(*writes, strict=True)), now)


_MessageRow = tuple[MessageId, ChainId | None, Wamid | None, PersonId, bool, bool, datetime | None, MessageId | None]


def _message_rows(chain: Chain, message: ChainMessage, expiries: Mapping[MessageId, datetime]) -> Iterator[_MessageRow]:
    """The row of a message. An item of a digest has one without a delivery of its own, and the digest has another."""
    unsent, uncertain = message.delivery is DeliveryState.REQUESTED, message.delivery is DeliveryState.UNCERTAIN
    digest, sent_as = message.digest, message.sent_as
    if digest is not None:
        yield message.message_id, chain.chain_id, None, message.person_id, False, False, None, digest
    yield sent_as, chain.chain_id, message.wamid, message.person_id, unsent, uncertain, expiries.get(sent_as), None


def _keys(facts: Facts, kind: str) -> Iterable[str]:
    return (str(key) for changed, key in facts.changed if changed == kind)


_UNSENT = frozenset({DeliveryState.HELD, DeliveryState.REQUESTED})
"""Messages that a changed rulebook may give other hours, or another fallback."""


def _row(chain: Chain) -> str:
    people, asked_since = chain.known_ids(), chain.asked_since().values()
    row = {
        "chain_id": chain.chain_id,
        "rule": chain.rule,
        "subject": chain.subject,
        "revision": chain.revision,
        "reviewed": chain.reviewed,
        "key": chain.key,
        "active": chain.active,
        "beside": chain.admits_another,
        "live": chain.live,
        "unsent": any(m.delivery in _UNSENT for m in chain.messages),
        "holds_for": sorted({m.person_id for m in chain.messages if m.delivery is DeliveryState.HELD}),
        "tags": sorted({*chain.tags, *file_tags(chain)}),
        "depends_on": chain.depends_on if any(m.delivery in IN_DISPATCHER for m in chain.messages) else (),
        "people": sorted(people),
        "guards": guards_of(chain, people) if chain.next_due else [],
        "next_due": format_instant(chain.next_due) if chain.next_due else None,
        "open_questions": len(asked_since),
        "asked_since": format_instant(min(asked_since)) if asked_since else None,
        "start_key": _hashed(start_key(chain.rule, chain.subject, chain.key)),
        "started_at": format_instant(chain.started_at),
        "document": orjson.Fragment(_checked_json(chain)),
    }
    return orjson.dumps(row).decode()


def keys_of(chain: Chain, people: Iterable[PersonId]) -> list[str]:
    """The partition keys under which events that may change the chain arrive."""
    return [chain.key, *(partition_key(chain.tenant, "persons", person) for person in people)]


def guards_of(chain: Chain, people: Iterable[PersonId]) -> list[str]:
    """The partitions that must be read up to its due instant before anything of this chain may fire."""
    guards = set(partition_guards(chain.key, CONSONANCE_EVENTS, WRITES_EVENTS))
    for person in people:
        guards.update(
            partition_guards(partition_key(chain.tenant, "persons", person), WHATSAPP_MESSAGES, MESSAGES_EVENTS)
        )
    return sorted(guards)


async def chains_to_review(
    connection: Connection, tenant: TenantId, book: Rulebook, in_force: Sequence[Revision], most: int
) -> list[tuple[ChainId, str]]:
    """Chains of earlier rulebooks, with their keys, that the change to this one may concern.

    Chains of another rulebook ``in_force``, which is on trial, do not count as chains of an earlier one.
    """
    changing = [rule.name for rule in book.rules.values() if rule.on_change is not OnChange.PIN]
    rows = await connection.fetch(
        QUERIES.chains_to_review, tenant, book.revision, changing, list(book.rules), list(in_force), most
    )
    return [(ChainId(row["chain_id"]), row["key"]) for row in rows]


class DueChain(NamedTuple):
    chain_id: ChainId
    key: str
    due: datetime


async def due_chains(connection: Connection, now: datetime, excluded: Sequence[str], most: int) -> list[DueChain]:
    """Due chains, the longest due first, without those in ``excluded``."""
    if not await connection.fetchval(QUERIES.any_due, now):
        return []
    return [DueChain(*row) for row in await connection.fetch(QUERIES.due_chains, now, list(excluded), most)]


# ------------------------------------------------------------------ recurring rules


class StartedPeriod(NamedTuple):
    """``at`` is when it was due; where ``period`` is empty, when the rule was first seen."""

    rule: RuleId
    period: str
    at: datetime


async def started_periods(
    connection: Connection, tenant: TenantId, rules: Sequence[RuleId], now: datetime
) -> list[StartedPeriod]:
    """The newest period of every recurring rule; a new rule begins now."""
    await connection.execute(QUERIES.keep_new_recurring_rules, tenant, list(rules), now)
    rows = await connection.fetch(QUERIES.find_periods, tenant)
    return [StartedPeriod(RuleId(row["rule"]), row["period"], row["at"]) for row in rows]


async def start_period(connection: Connection, tenant: TenantId, started: StartedPeriod) -> bool:
    """False where another replica has started this period, or a later one."""
    return await connection.fetchval(QUERIES.start_period, tenant, *started) is not None


async def active_chains(connection: Connection, tenant: TenantId, rule: RuleId) -> set[ChainId]:
    """The chains of a recurring rule that its next period may meet."""
    return {ChainId(row["chain_id"]) for row in await connection.fetch(QUERIES.find_active_chains, tenant, rule)}


async def open_chains(connection: Connection, tenant: TenantId, rules: Iterable[RuleId]) -> list[Chain]:
    """The open chains of these rules. Those that cannot be read are left out, which is logged."""
    found, unreadable = [], 0
    for row in await connection.fetch(QUERIES.find_open_chains, tenant, list(rules)):
        try:
            found.append(decode(Chain, row["document"]))
        except DECODE_ERRORS:
            unreadable += 1
    if unreadable:
        log.error("chain.excluded", chains=unreadable)
    return found


async def set_aside(connection: Connection, chain: DueChain, reason: str, sentence: str) -> None:
    await connection.execute(QUERIES.set_aside, chain.chain_id, chain.due, reason, sentence, machine_now())
