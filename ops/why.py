"""``stet why``: why a person got a message about a subject, or did not, from the recorded decisions."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
import typer

from ops.command_line import Days, ExitCode, Format, OutputFormat, console, print_error, print_json, print_line
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.consent import load_facts
from ops.database import operator_pool
from ops.timeline import QUERIES, IdKind, kind_of, pauses_of, read_event, readable_chains, verdict_text
from ops.topic_reader import FoundRecord, TopicScan
from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.facts import Facts
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from shared.contracts import consonance
from shared.contracts.decisions import DecisionRecorded, NoEffectRecorded
from shared.contracts.envelope import Event
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import ChainId, EventId, PersonId, TenantId, partition_key
from shared.contracts.topics import CONSONANCE_EVENTS, DECISIONS
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool

_MOST_CHAINS = 50
_WORK = re.compile(r"^(?:works?/)?(\d+)$")


@dataclass(frozen=True, slots=True)
class Judgement:
    """One event about the subject (or one due step), and what the rules decided on it.

    ``unmatched`` are the rules that begin with such an event and whose conditions did not hold.
    """

    at: datetime
    about: str
    event: str
    verdicts: Sequence[str]
    unmatched: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A chain about the subject, and what it has to do with the person."""

    chain_id: str
    rule: str
    state: str
    started_at: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class Answer:
    """``unread`` says why the topics could not be read, or not to their end: then judgements are missing."""

    person_id: str
    facts: Mapping[str, Any]
    cases: Sequence[Case]
    judgements: Sequence[Judgement]
    unread: str = ""


def why_command(
    person: Annotated[
        str, typer.Argument(metavar="PERSON", help="The person's id, or their contact's id in Consonance.")
    ],
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="A work's id (61417), or a field and its value (request_id=R-9).")
    ],
    *,
    days: Days = None,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Say why a person got a message about a subject, or did not.

    It shows the facts that count (address, consent), the chains about the subject with what each has to do with the
    person, and every recorded decision: which rules were judged, which began, who was left out and why. Where the
    broker does not answer, or no more, it shows what it has, says what is missing, and ends with 1; where
    it has nothing, with 2.

    For example “stet why 812 61417” or “stet why 812 request_id=R-9”.
    """
    settings = load_command_settings(OperatorSettings)
    since_ms = int((machine_now() - timedelta(days=days)).timestamp() * 1000) if days else None

    async def command() -> int:
        async with operator_pool(settings) as pool:
            kind, person_id = await kind_of(pool, settings.tenant, person)
            if kind is not IdKind.PERSON:
                return print_error(f"no table knows a person or a contact {person}")
            answer = await answer_of(pool, settings, person_id, subject, since_ms)
        if not answer.cases and not answer.judgements:
            return _print_nothing(answer, subject)
        if output is OutputFormat.JSON:
            print_json([_fields(answer)])
        else:
            _print(answer, subject)
        return print_error(f"not every decision is here: {answer.unread}") if answer.unread else ExitCode.FINE

    run(command())


def _print_nothing(answer: Answer, subject: str) -> int:
    if answer.unread:
        sentence = f"no chain about {subject} is known, and not every event and decision was read: {answer.unread}"
        return print_error(sentence, code=ExitCode.CANNOT_RUN)
    return print_error(
        f"no event and no chain about {subject} is known; a subject is a work's id, or a field and its value, "
        "as in request_id=R-9"
    )


async def answer_of(
    pool: Pool, settings: OperatorSettings, person_id: str, subject: str, since_ms: int | None = None
) -> Answer:
    key, tags = as_key(settings.tenant, subject)
    rows = await pool.fetch(QUERIES.chains_of_subject, settings.tenant, key, tags, _MOST_CHAINS)
    chains = [chain for chain, _ in readable_chains(rows)]
    facts = await _load_person(pool, settings.tenant, PersonId(person_id))
    ids = facts.ids_of_person(PersonId(person_id))
    mine = [message.message_id for chain in chains for message in chain.messages if message.person_id in ids]
    waits = await waiting_reasons(pool, settings.tenant, mine, settings.clock().now())
    pauses = await pool.fetch(QUERIES.rule_pauses, settings.tenant)
    cases = [_case(chain, ids, waits, pauses) for chain in sorted(chains, key=lambda chain: chain.started_at)]
    judgements, unread = await _judgements_about(pool, settings, (key, tags), chains, since_ms)
    return Answer(person_id, _shown_facts(facts, PersonId(person_id)), cases, judgements, unread)


def as_key(tenant: TenantId, subject: str) -> tuple[str, list[str]]:
    """The partition key and the tags that events and chains about the subject have."""
    if work := _WORK.match(subject):
        return partition_key(tenant, "works", work[1]), [f"work_id={work[1]}"]
    _, _, value = subject.partition("=")
    return partition_key(tenant, subject), [subject] if value else []


async def _load_person(pool: Pool, tenant: TenantId, person: PersonId) -> Facts:
    """The person with every id that they have or had: an opt-out by any of them counts, and so do their messages."""
    async with pool.acquire() as connection:  # which forgets the path when it is released
        await connection.execute("set search_path to rules")
        return await load_facts(connection, tenant, [person])


def _shown_facts(facts: Facts, person: PersonId) -> dict[str, Any]:
    """The facts of rules that decide whether the person may be written to; no name and no address."""
    current = facts.current_id(person)
    known = facts.people.get(current)
    if known is None:
        return {"known to rules": "no: events that name them wait for the contact"}
    return {
        "roles": ", ".join(known.roles) or "none",
        "has an address": "yes" if known.reachable else "no",
        "has opted out": "yes" if facts.opted_out(person) else "no",
        "language": known.language or "not known",
        "zone": known.zone or "not known",
        **({"erased": "yes"} if known.erased else {}),
        **({"merged into": current} if current != person else {}),
    }


async def waiting_reasons(pool: Pool, tenant: str, message_ids: Sequence[str], now: datetime) -> Mapping[str, str]:
    """Why the dispatcher lets messages wait: a template that was rejected, a limit, a stopped account or line."""
    rows = await pool.fetch(QUERIES.waiting_reasons, tenant, message_ids, now) if message_ids else []
    return {row["message_id"]: row["reason"] for row in rows}


def _case(chain: Chain, ids: Container[str], waits: Mapping[str, str], pauses: Sequence[Any]) -> Case:
    held = [f"{row['kind']} paused by {row['who']}: {row['reason']}" for row in pauses_of(chain, pauses)]
    outcome = "; ".join([*held, _outcome(chain, ids, waits)])
    return Case(chain.chain_id, chain.rule, str(chain.ended or chain.state), chain.started_at, outcome)


def _outcome(chain: Chain, ids: Container[str], waits: Mapping[str, str]) -> str:
    mine = [message for message in chain.messages if message.person_id in ids]
    left_out = {why for step in chain.steps for who, why in step.left_out.items() if who in ids}
    parts = [_message_text(message, waits.get(message.message_id)) for message in mine]
    parts += [f"left out: {why}" for why in sorted(left_out)]
    if not parts:
        others = sorted({message.person_id for message in chain.messages})
        empty = [f"{who}: {why}" for step in chain.steps for who, why in step.left_out.items()]
        parts.append("not among its recipients, who are " + (", ".join(others) or "none so far"))
        parts += [f"no person in the role {each}" for each in empty]
    return "; ".join(parts)


def _message_text(message: ChainMessage, waits_for: str | None) -> str:
    when = message.requested_at or message.held_until
    waits = f", waits: {waits_for}" if waits_for else ""
    return f"{message.say} {message.delivery}{waits}" + (f" ({when:%Y-%m-%d %H:%M}Z)" if when else "")


async def _judgements_about(
    pool: Pool,
    settings: OperatorSettings,
    subject: tuple[str, Sequence[str]],
    chains: Sequence[Chain],
    since_ms: int | None,
) -> tuple[list[Judgement], str]:
    """The judgements that the topics hold, and a sentence where the topics cannot be read completely."""
    events_scan = TopicScan(settings, [CONSONANCE_EVENTS])
    decisions_scan = TopicScan(settings, [DECISIONS])
    try:
        events = await events_about(events_scan, *subject, since_ms)
        needles = {*(event.id for event, _ in events), *(chain.chain_id for chain in chains)}
        records = await decisions_scan.find(needles, since_ms) if needles and not events_scan.missing else []
        judgements = await _judgements(pool, events, {chain.chain_id for chain in chains}, records)
    except Misconfigured as error:
        return [], str(error)
    return judgements, events_scan.missing or decisions_scan.missing


async def events_about(scan: TopicScan, key: str, tags: Sequence[str], since_ms: int | None) -> list[tuple[Event, str]]:
    """The events of Consonance about the subject that the scan finds, by their short names."""
    value = tags[0].partition("=")[2] if tags else key
    found = await scan.find([key, f'"{value}"'], since_ms)
    events = [event for record in found if (event := read_event(record)) is not None]
    return [(event, consonance.short_name(event.type)) for event in events]


async def _judgements(
    pool: Pool, events: Sequence[tuple[Event, str]], chain_ids: set[ChainId], found: Sequence[FoundRecord]
) -> list[Judgement]:
    names = {event.id: name for event, name in events}
    times = {event.id: event.recordedtime for event, _ in events}
    starting = await _starting_rules(pool)
    judged = []
    for record in found:
        event = read_event(record)
        data = event.data if event is not None else None
        if isinstance(data, DecisionRecorded):
            judged.append(_judgement(data, names, starting, chain_ids))
        elif isinstance(data, NoEffectRecorded):
            judged += [
                Judgement(times[each], each, names[each], [data.reason], starting.get(names[each], ()))
                for each in data.events
                if each in names
            ]
    return sorted((each for each in judged if each is not None), key=lambda each: each.at)


def _judgement(
    data: DecisionRecorded,
    names: Mapping[EventId, str],
    starting: Mapping[str, Sequence[str]],
    chain_ids: Iterable[str],
) -> Judgement | None:
    name = names.get(EventId(data.about))
    concerned = [verdict for verdict in data.verdicts if name is not None or verdict.chain_id in set(chain_ids)]
    if not concerned:
        return None
    began = {verdict.rule for verdict in data.verdicts}
    unmatched = [rule for rule in starting.get(name or "", ()) if rule not in began]
    texts = [verdict_text(verdict) for verdict in concerned]
    return Judgement(data.decided_at, data.about, name or "a step that fell due", texts, unmatched)


async def _starting_rules(pool: Pool) -> dict[str, list[str]]:
    """The rules that an event of each name may start, in the rulebook loaded last."""
    revision = await pool.fetchval(QUERIES.newest_revision)
    files = await pool.fetchval(QUERIES.rulebook, revision) if revision else None
    book = load(dict(orjson.loads(files)))[0] if files else None
    starting: dict[str, list[str]] = {}
    for rule in add_built_in_rules(book).rules.values() if book else ():
        for name in rule.events:
            starting.setdefault(name, []).append(rule.name)
    return starting


def _fields(answer: Answer) -> dict[str, Any]:
    return {
        "person_id": answer.person_id,
        "facts": answer.facts,
        "chains": [
            {"chain_id": case.chain_id, "rule": case.rule, "state": case.state, "outcome": case.outcome}
            for case in answer.cases
        ],
        "decisions": [
            {
                "at": judged.at,
                "about": judged.about,
                "event": judged.event,
                "verdicts": list(judged.verdicts),
                "conditions_did_not_hold": list(judged.unmatched),
            }
            for judged in answer.judgements
        ],
    }


def _print(answer: Answer, subject: str) -> None:
    screen = console()

    def say(text: str, style: str = "") -> None:
        print_line(screen, text, style)

    say(f"person {answer.person_id} and {subject}", "bold")
    for name, value in answer.facts.items():
        say(f"  {name}: {value}")
    say("Chains about it" if answer.cases else "No chain is about it", "bold")
    for case in answer.cases:
        say(f"  {case.started_at:%Y-%m-%d %H:%M}Z  {case.rule} ({case.state})  chain {case.chain_id}")
        say(f"    {case.outcome}")
    none = "No decision could be read" if answer.unread else "No decision is recorded"
    say("Decisions" if answer.judgements else none, "bold")
    for judged in answer.judgements:
        say(f"  {judged.at:%Y-%m-%d %H:%M:%S}Z  {judged.event}  {judged.about}")
        for verdict in judged.verdicts:
            say(f"    {verdict}")
        if judged.unmatched:
            say(f"    conditions did not hold: {', '.join(judged.unmatched)}")
