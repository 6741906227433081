"""``stet erase`` and ``stet export``: what is kept of one person, by the inventory, and its erasure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Self

import typer

from ops.changes import ReadReason, Yes, audited, confirm
from ops.command_line import ExitCode, Format, OutputFormat, print_error, print_json, print_lines, print_rows, printable
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.topic_reader import TopicScan
from services.ingest.fields import find_phone
from services.writeback.evidence_store import ChainEntry, fetch_entries_of
from shared.clients.phone_numbers import phone_key
from shared.contracts.ids import PersonId
from shared.contracts.personal_data import KEPT, TABLES, TOPICS, TableData, TopicErasure
from shared.contracts.topics import ALL_TOPICS, SERVICES
from shared.runtime.erasure import QUERIES as ERASURES
from shared.runtime.erasure import RowPlace, TableSearch, known_words, searches_of, slices
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.redaction import PeopleIndex, PersonWords

QUERIES = load_queries(__file__, "people.sql")
_STATE_COLUMNS = {
    "service": "service", "person_id": "person", "requested_at": "requested", "passes": "passes",
    "next_at": "next pass", "left_over": "left over", "completed_at": "complete",
}  # fmt: skip
_COLUMNS = {"place": "where", "found": "found", "holds": "holds", "erasure": "erasure"}

Person = Annotated[
    str,
    typer.Argument(
        metavar="PERSON",
        help="The person's id, their contact's number in Consonance, their phone number with its +, or their BSUID.",
    ),
]
ErasureReason = Annotated[
    str, typer.Option("--reason", help="Why; it stands in the audit log. Needed unless --dry-run is given.")
]


@dataclass(frozen=True, slots=True)
class PersonPlace:
    """A table or topic in which a person was found. ``rows`` are those of a table, where they were asked for."""

    place: str
    found: int
    holds: str
    erasure: str
    kept: str
    rows: Sequence[Mapping[str, Any]] = field(default=())

    def fields(self) -> dict[str, Any]:
        named = ("place", "found", "holds", "erasure", "kept")
        return {name: getattr(self, name) for name in named}

    @classmethod
    def of_table(cls, name: str, found: int, table: TableData, rows: Sequence[Mapping[str, Any]]) -> Self:
        return cls(name, found, table.holds, table.erasure.value, KEPT[table.retention].replace("`", ""), rows)


# ------------------------------------------------------------------ erase


def erase_command(
    person: Person,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show where the person is found, and change nothing.")] = (
        False
    ),
    reason: ErasureReason = "",
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Erase a person from every table, topic and stored file within a day.

    The services carry it out: at once, and again for as long as something of the person may be on its way. Decisions
    stay, with the pseudonym. The same command shows how far an erasure is. Exit code 1: the person is not known.

    For example “stet erase 812 --dry-run”, then “stet erase 812 --reason "asked on 3 March"”.
    """
    settings = load_command_settings(OperatorSettings)
    if not dry_run and not reason.strip():
        raise typer.Exit(print_error("--reason: it must say why", code=ExitCode.CANNOT_RUN))
    if not dry_run:
        confirm("Erase this person for good?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            person_id = await pool.fetchval(QUERIES.find_person, settings.tenant, _as_kept(person))
            if person_id is None:
                return print_error(_UNKNOWN)
            if dry_run:
                print_places(await places_of(pool, settings, person_id), output)
                await _name_holds(pool, settings.tenant, await ids_of(pool, settings.tenant, person_id))
                return ExitCode.FINE
            await request_erasure(pool, settings, person_id, reason)
            await _print_state(pool, settings.tenant, person_id, output)
        return ExitCode.FINE

    run(command())


_UNKNOWN = (
    "no such person is known to ingest; where they were erased, or are being erased, name them by the id (p…) that the "
    "erasure showed: stet audit-log has it"
)


def _as_kept(person: str) -> str:
    """A phone number in the one spelling by which numbers are looked up; anything else as it is written."""
    found = find_phone(person, None) if person.startswith("+") else None
    return person if found is None else phone_key(found)


async def request_erasure(pool: Pool, settings: OperatorSettings, person_id: str, reason: str) -> None:
    """Ask ingest for it, and note it in the audit log."""
    async with (
        audited(pool, "erase person", person_id, reason),
        pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute("set local search_path to ingest")
        now = settings.clock().now()
        for one in await ids_of(connection, settings.tenant, person_id):
            words = await known_words(connection, "ingest", settings.tenant, one)
            await connection.execute(ERASURES.begin_erasure, settings.tenant, one, now, words)


async def ids_of(connection: Connection, tenant: str, person_id: str) -> list[str]:
    """The person's id, and the ids of all people who were merged into that person."""
    return [row["person_id"] for row in await connection.fetch(QUERIES.people_of, tenant, person_id)]


async def _print_state(pool: Pool, tenant: str, person_id: str, output: OutputFormat) -> None:
    people = await ids_of(pool, tenant, person_id)
    rows = [
        {"service": service, **row, "left_over": json.loads(row["left_over"])}
        for service in SERVICES
        for row in await pool.fetch(QUERIES.erasures.replace("SCHEMA", service), tenant, people)
    ]
    print_rows(rows, _STATE_COLUMNS, output, empty="nothing is being erased")
    await _name_holds(pool, tenant, people)


async def _name_holds(pool: Pool, tenant: str, people: Sequence[str]) -> None:
    for row in await pool.fetch(QUERIES.held_records, tenant, people):
        typer.echo(
            f"A legal hold on {row['record']} keeps the evidence about this person readable until it is released: "
            "stet evidence holds",
            err=True,
        )


def print_places(places: Sequence[PersonPlace], output: OutputFormat) -> None:
    rows = [place.fields() for place in places]
    print_rows(rows, _COLUMNS, output, empty="the person is found nowhere")


# ------------------------------------------------------------------ export


def export_command(
    person: Person,
    *,
    reason: ReadReason,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Print everything that is kept about a person: the report for a request of access.

    It has every row about the person or that names the person, from every service, and how many records are in the
    topics, with what each place is for and how long it is kept. It holds personal data: give it to that person alone.
    The audit log says who made it.
    """
    settings = load_command_settings(OperatorSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            person_id = await pool.fetchval(QUERIES.find_person, settings.tenant, _as_kept(person))
            if person_id is None:
                return print_error(_UNKNOWN)
            async with audited(pool, "export person", person_id, reason):
                places = await places_of(pool, settings, person_id, with_rows=True)
        if output is OutputFormat.JSON:
            print_json([{"person_id": person_id, **place.fields(), "rows": list(place.rows)} for place in places])
        else:
            print_lines(report_lines(person_id, places))
        return ExitCode.FINE

    run(command())


def report_lines(person_id: str, places: Sequence[PersonPlace]) -> Iterator[str]:
    yield f"What is kept about {person_id}"
    for place in places:
        yield ""
        yield f"{place.place}: {place.holds} ({place.found}); kept: {place.kept}"
        for row in place.rows:
            yield from (f"    {name}: {_shown(value)}" for name, value in row.items() if value is not None)
            yield ""


def _shown(value: object) -> str:
    return (
        value.isoformat()
        if isinstance(value, datetime)
        else printable(value if isinstance(value, bytes) else str(value))
    )


# ------------------------------------------------------------------ search


async def places_of(
    pool: Pool, settings: OperatorSettings, person_id: str, *, with_rows: bool = False
) -> list[PersonPlace]:
    """Every table and topic in which the person is found, by any of their ids, by name, number or WhatsApp id."""
    people = [await words_of(pool, settings.tenant, one) for one in await ids_of(pool, settings.tenant, person_id)]
    by_id = {one.person_id: one for one in people}
    places = []
    for schema in TABLES:
        async with pool.acquire() as connection:  # which forgets the path when it is released
            await connection.execute(f"set search_path to {schema}")
            for search in await searches_of(connection, schema):
                places += await _place_of_table(connection, search, by_id, with_rows=with_rows)
            if schema == "writeback":
                places += await _place_of_evidence(connection, settings.tenant, people, with_rows=with_rows)
    return places + await _places_in_topics(settings, people)


async def words_of(pool: Pool, tenant: str, person_id: str) -> PersonWords:
    """The names and addresses by which any service knows the person."""
    words: set[str] = set()
    async with pool.acquire() as connection:
        for service in SERVICES:
            words.update(await known_words(connection, service, tenant, person_id))
    return PersonWords(PersonId(person_id), tuple(sorted(words)))


async def _place_of_table(
    connection: Connection, search: TableSearch, people: Mapping[PersonId, PersonWords], *, with_rows: bool
) -> list[PersonPlace]:
    """None where the table does not hold the person; a row that several ids lead to is found once."""
    index, number, rows = PeopleIndex(people.values()), 0, list[Mapping[str, Any]]()
    for pages in await slices(connection, search.full_name):
        found = await search.find(connection, pages, people, index)
        places = {place for of_person in found.values() for place in of_person}
        number += len(places)
        if with_rows:
            rows += await _rows_at(connection, search, places)
    return [PersonPlace.of_table(search.full_name, number, search.table, rows)] if number else []


async def _rows_at(
    connection: Connection, search: TableSearch, places: Iterable[RowPlace]
) -> Sequence[Mapping[str, Any]]:
    """The rows at these places, with all columns but the key that seals the evidence, which is no data about the
    person.
    """
    names = [one for one in search.types.items() if (search.table.name, one[0]) != ("evidence_keys", "key")]
    columns = ", ".join(_column(*one) for one in names)
    query = f"select {columns} from {search.full_name} where ctid = any($1::tid[])"  # noqa: S608 -- inventory
    return [dict(row) for row in await connection.fetch(query, sorted(places))]


async def _place_of_evidence(
    connection: Connection, tenant: str, people: Sequence[PersonWords], *, with_rows: bool
) -> list[PersonPlace]:
    """The sealed proof about the person, opened where its key is there."""
    found = await fetch_entries_of(connection, tenant, [one.person_id for one in people])
    table = next(one for one in TABLES["writeback"] if one.name == "evidence_entries")
    rows = [
        {"record": record, "header": entry.entry.header, "content": _content(entry), "unreadable": entry.unreadable}
        for record, entry in (found if with_rows else ())
    ]
    return [PersonPlace.of_table("writeback.evidence_entries", len(found), table, rows)] if found else []


def _content(entry: ChainEntry) -> str | None:
    document = entry.document()
    return None if document is None else json.dumps(document, ensure_ascii=False)


def _column(name: str, kind: str) -> str:
    return f"{name}::text as {name}" if kind in {"json", "jsonb"} else name


async def _places_in_topics(settings: OperatorSettings, people: Sequence[PersonWords]) -> list[PersonPlace]:
    topics = {topic.name: topic for topic in ALL_TOPICS}
    searched = [topics[one.name] for one in TOPICS if one.erasure is not TopicErasure.NONE]
    records = await TopicScan(settings, searched).find_all(sorted({word for one in people for word in one.needles}))
    counts: dict[str, int] = {}
    for record in records:
        counts[record.topic.name] = counts.get(record.topic.name, 0) + 1
    return [
        PersonPlace(f"topic {one.name}", counts[one.name], one.holds, one.erasure.value, topics[one.name].kept)
        for one in TOPICS
        if one.name in counts
    ]
