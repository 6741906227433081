"""The inventory of personal data names every table and topic there is, and erases what the tables hold of a person."""

import json
import re
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from dev.layout import ROOT
from dev.postgres import login_of
from dev.privacy_page import PATH, privacy_page
from ops.migrate import migrate
from services.ingest.erasure import CompletedErasures
from shared.contracts.contacts import PLACEHOLDER_NAME
from shared.contracts.errors import Unavailable
from shared.contracts.ids import PersonId
from shared.contracts.personal_data import TABLES, TOPICS
from shared.contracts.topics import ALL_TOPICS, CONTACTS, SERVICES, Topic
from shared.runtime.erasure import (
    PASSES_AFTER,
    QUERIES,
    RETRY_AFTER,
    ErasureWorker,
    SchemaEraser,
    erasure_deletion,
    known_words,
    next_pass,
    redact_value,
)
from shared.runtime.postgres import Pool, load_queries, session_settings
from shared.runtime.redaction import PersonWords
from shared.runtime.retention import Delete, Expiry, delete_expired_once, deletion
from tests.infrastructure import at_database
from tests.ops.rows import execute

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
_COLUMNS = """
select c.table_schema, c.table_name, c.column_name
from information_schema.columns c
join information_schema.tables t using (table_schema, table_name)
where c.table_schema = any($1::text[]) and t.table_type = 'BASE TABLE'
"""
_CREATES = re.compile(r"^create table (?:if not exists )?(\w+)", re.MULTILINE)
_DROPS = re.compile(r"^(?:drop table (?:if exists )?|alter table (?=\w+ rename to))(\w+)", re.MULTILINE)
_MIGRATIONS = {
    "every_service": ROOT / "shared" / "runtime" / "migrations",
    "operator": ROOT / "ops" / "migrations",
    **{service: ROOT / "services" / service / "migrations" for service in SERVICES},
}

_CHAIN = """
insert into chains (
    chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, changed_at, document
) values ('c', 't', 'r', 's', 'v', 'k', true, true, '{}', '{p1}', '{}', $1, $2)
"""
_WRITES = """
insert into writes (
    tenant, write_id, ordering_key, record, operation, request, event_id, requested_at, due_at, state
) values
    ('t', 'w1', 'k', 'r', 'o', $2, 'e', $1, $1, 'settled'), ('t', 'w2', 'k', 'r', 'o', $2, 'e', $1, $1, 'queued')
"""


_MESSAGE = """
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event
) values ('t', 'm', 'p1', 'main', 1, 's', 'read', '{}', '{}', 'never', $1, $1, $1, $1, 'e')
"""
_ATTEMPT = """
insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until)
values ('t', 'm', 1, 'w', now(), now(), now())
"""
_CHARGES_OF_A_DAY = """
insert into charge_totals (tenant, day, line, country, category, pricing_type, rule, messages)
values ('t', ($1::timestamptz at time zone 'UTC')::date, 'main', 'GB', 'utility', 'regular', 'r', 7)
"""
_REPORTED_FILE = """
insert into media_files (tenant, file_id, person_id, verdict, reported_at) values ('t', 'f', 'p1', 'clean', $1)
"""
_AWAITED_FILE = "insert into media_awaited (tenant, file_id, write_id) values ('t', 'f', 'w1')"
_EXPIRING = {
    "rules": ("delete_old_chains", "delete_old_answers", "delete_old_file_reports"),
    "dispatcher": ("delete_old_messages", "delete_old_withdrawals", "delete_old_windows", "delete_old_charge_totals"),
    "writeback": ("delete_old_writes", "delete_old_files"),
}


@asynccontextmanager
async def service_pool(dsn: str, service: str) -> AsyncIterator[Pool]:
    pool = await asyncpg.create_pool(
        login_of(dsn, service), min_size=1, max_size=2, server_settings=session_settings(service)
    )
    try:
        yield pool
    finally:
        pool.terminate()


def test_the_page_about_privacy_has_the_inventory() -> None:
    assert (ROOT / PATH).read_text("utf-8") == privacy_page(), "run: python -m dev.privacy_page"


def test_every_topic_has_an_entry() -> None:
    assert {topic.name for topic in TOPICS} == {topic.name for topic in ALL_TOPICS}


def test_a_pass_follows_for_a_day_and_then_only_where_something_is_left_over() -> None:
    assert next_pass(NOW, 0, {}, NOW) == NOW + PASSES_AFTER[1]
    assert next_pass(NOW, len(PASSES_AFTER) - 1, {}, NOW) is None
    assert next_pass(NOW, len(PASSES_AFTER) - 1, {"writes": 1}, NOW) == NOW + RETRY_AFTER
    assert PASSES_AFTER[-1] < timedelta(days=1)


def test_every_table_that_a_migration_creates_has_an_entry() -> None:
    for schema, folder in _MIGRATIONS.items():
        text = "\n".join(file.read_text("utf-8") for file in sorted(folder.glob("*.sql")))
        created = set(_CREATES.findall(text)) - set(_DROPS.findall(text))
        declared = {table.name for table in TABLES["rules" if schema == "every_service" else schema]}
        assert created - declared == set(), "name these tables in shared/contracts/personal_data.py"


@pytest.mark.integration
async def test_every_table_and_every_column_has_an_entry(postgres_database: str) -> None:
    """A column is searched (``documents``), or it stands in ``plain_columns.toml``; neither names one that is gone."""
    connection = await asyncpg.connect(postgres_database)
    there = {tuple(row) for row in await connection.fetch(_COLUMNS, list(TABLES))}
    await connection.close()
    plain = tomllib.loads((ROOT / "shared" / "contracts" / "plain_columns.toml").read_text("utf-8"))
    declared = {
        (schema, table.name, column)
        for schema, tables in TABLES.items()
        for table in tables
        for column in (*table.documents, *_plain_columns(plain, schema, table.name))
    }
    assert sorted(there - declared) == [], "name these columns in personal_data.py or plain_columns.toml"
    assert sorted(declared - there) == [], "these columns are gone"


def _plain_columns(plain: dict[str, dict[str, str]], schema: str, table: str) -> list[str]:
    own, shared = plain[schema], plain["every_service"] if schema in SERVICES else {}
    return (own.get(table) or shared.get(re.sub(r"^inbox_[0-9]$", "inbox", table)) or "").split()


@pytest.mark.integration
async def test_each_service_can_search_and_erase_its_tables(postgres_database: str) -> None:
    """Every condition and change of the inventory is SQL that the service may execute; a person's rows go."""
    ana = PersonWords(PersonId("p1"), ("Ana Loewe", "+447700900123"))
    chain = {"given": [{"person_id": "p1", "reply": "Yes"}], "note": "for Ana Loewe"}
    write = {"input": {"pitch_text": "A novel"}, "evidence": {"person_id": "p1", "reply": "Send"}}
    seeds: dict[str, list[tuple[str, tuple[object, ...]]]] = {
        "rules": [
            ("insert into unasked values ('t', 'p1', '{}'), ('t', 'p2', '{}')", ()),
            (
                _CHAIN,
                (NOW, json.dumps(chain)),
            ),
        ],
        "writeback": [
            (
                _WRITES,
                (NOW, json.dumps(write)),
            )
        ],
    }
    await _assert_no_placeholder_is_a_word(postgres_database)
    left_over = {}
    for service in SERVICES:
        async with service_pool(postgres_database, service) as pool:
            for query, arguments in seeds.get(service, ()):
                await pool.execute(query, *arguments)
            parked = "insert into parked (topic, value, reason, sentence, parked_at) values ('x', $1, 'r', 's', $2)"
            await pool.execute(parked, b'{"from": "447700900123"}', NOW)
            left_over[service] = (await SchemaEraser(pool, service).erase("t", [ana]))[PersonId("p1")]
            assert await pool.fetchval("select value from parked") == b""
            if service == "rules":
                assert await pool.fetchval("select count(*) from unasked") == 1
                document = json.loads(await pool.fetchval("select document from chains"))
                assert document == {
                    "given": [{"person_id": "p1", "reply": "erased person"}],
                    "note": "for erased person",
                }
            if service == "writeback":
                texts = await pool.fetch(
                    "select request #>> '{input,pitch_text}' as text from writes order by sequence"
                )
                assert [row["text"] for row in texts] == ["erased person", "A novel"]

    assert left_over == {"ingest": {}, "rules": {}, "dispatcher": {}, "writeback": {"writes": 1}}


_WORDS_TO_A_COLLEAGUE = """
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event
) select 't', 'm-' || state, 'p2', 'main', 1, 'to_take', state, $2, '{}', 'never', $1, $1, $1, $1, 'e'
from unnest(array['read', 'dropped', 'withdrawn', 'accepted', 'waiting']) as state
"""
_AMENDMENTS = """
insert into early_amendments (tenant, message_id, person_id, amendment, at)
values ('t', 'before', 'p2', $3, $1), ('t', 'after', 'p2', '{}', $2)
"""
_ERASED_FOR_HOURS = """
insert into erasures (tenant, person_id, requested_at, words, passes, next_at) values ('t', 'p1', $1, '{Ana}', 4, $1)
"""


@pytest.mark.integration
async def test_words_of_an_erased_person_leave_the_messages_to_colleagues(postgres_database: str) -> None:
    """Neither the name nor the id of the writer stands with them; a message that still waits is counted."""
    said = json.dumps({"body": "I must ask my agent first"})
    asked = NOW + timedelta(minutes=1)
    async with service_pool(postgres_database, "dispatcher") as pool:
        await pool.execute(_WORDS_TO_A_COLLEAGUE, NOW, said)
        await pool.execute(_AMENDMENTS, NOW, asked + timedelta(hours=2), said)
        await pool.execute(_ERASED_FOR_HOURS, asked)
        left_over = await SchemaEraser(pool, "dispatcher").erase("t", [PersonWords(PersonId("p1"), ("Ana",))])
        with_words = await pool.fetch("select message_id from messages where content::text like '%agent%'")
        amended = await pool.fetch("select message_id from early_amendments")
    assert [row["message_id"] for row in with_words] == ["m-waiting"]
    assert left_over == {PersonId("p1"): {"messages": 1}}
    assert [row["message_id"] for row in amended] == ["after"]


_PEOPLE = "insert into unasked select 't', 'p' || n, '{}' from generate_series(1, 60) as n"
_NAMED = """
insert into rights_records (tenant, record_id, open_requests, document)
select 't', 'r' || n, '{}', jsonb_build_object('holder', 'Ana Loewe' || chr(64 + n) || ' and Bo Berg')
from generate_series(1, 26) as n
"""


@pytest.mark.integration
async def test_many_people_are_erased_in_one_reading_of_the_tables(postgres_database: str) -> None:
    """Each finds their own rows, and those that name them; nothing of the others goes."""
    people = [PersonWords(PersonId(f"p{n}"), (f"Ana Loewe{chr(64 + n)}",)) for n in range(1, 26)]
    async with service_pool(postgres_database, "rules") as pool:
        await pool.execute(_PEOPLE)
        await pool.execute(_NAMED)
        left_over = await SchemaEraser(pool, "rules").erase("t", people)
        assert left_over == {person.person_id: {} for person in people}
        assert await pool.fetchval("select count(*) from unasked") == 60 - 25
        holders = await pool.fetch("select document ->> 'holder' as holder from rights_records order by holder")
        assert [row["holder"] for row in holders] == ["Ana LoeweZ and Bo Berg"] + ["erased person and Bo Berg"] * 25


_PARKED = "insert into parked (topic, value, reason, sentence, parked_at) values ('x', $1, 'r', 's', $2)"


@pytest.mark.integration
async def test_a_person_is_erased_in_any_case_of_letters_and_any_locale(
    postgres_database: str, unique_suffix: str
) -> None:
    """A database of the locale C, as CloudNativePG makes it, knows no capitals but those of ASCII."""
    name = f"plain_{unique_suffix}"
    await execute(postgres_database, f"create database {name} template template0 encoding 'UTF8' locale 'C'")
    plain = at_database(postgres_database, name)
    await migrate(plain)
    ana = PersonWords(PersonId("p1"), ("Hélène Loewe", "+447700900123"))
    texts = ("for HÉLÈNE LOEWE", "by hélène loewe", "ask at 00447700900123", "or +447700900123")
    async with service_pool(plain, "rules") as pool:
        for number, text in enumerate(texts):
            await pool.execute(_PARKED, text.encode(), NOW)
            document = json.dumps({"note": text})
            await pool.execute("insert into rights_records values ('t', $1, '{}', $2)", f"r{number}", document)
        await SchemaEraser(pool, "rules").erase("t", [ana])
        assert await pool.fetchval("select array_agg(value) from parked") == [b""] * len(texts)
        notes = await pool.fetch("select document ->> 'note' as note from rights_records order by record_id")
    assert [row["note"] for row in notes] == [
        "for erased person", "by erased person", "ask at erased person", "or erased person",
    ]  # fmt: skip
    await execute(postgres_database, f"drop database {name} with (force)")


@pytest.mark.integration
async def test_one_person_who_cannot_be_erased_holds_no_other_up(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SchemaEraser.erase

    async def erase(self: SchemaEraser, tenant: str, people: Sequence[PersonWords]) -> dict[PersonId, dict[str, int]]:
        if any(person.person_id == "p7" for person in people):
            raise asyncpg.DataError("a row that cannot be read")
        return await real(self, tenant, people)

    monkeypatch.setattr(SchemaEraser, "erase", erase)
    async with service_pool(postgres_database, "ingest") as pool:
        for number in range(40):
            await pool.execute(QUERIES.begin_erasure, "t", f"p{number}", NOW, [f"p{number}"])
        assert await ErasureWorker(pool, StoppedClock(), "ingest").run_due() == 40
        left = await pool.fetch("select person_id from erasures where passes = 0")
        assert [row["person_id"] for row in left] == ["p7"]


class StoppedClock:
    def now(self) -> datetime:
        return NOW


def test_a_document_that_is_nested_too_deeply_is_emptied() -> None:
    ana, deep = PersonWords(PersonId("p1"), ("Ana Loewe",)), '["Ana Loewe",' * 50_000 + "0" + "]" * 50_000
    assert redact_value(deep, "jsonb", ana, in_own_row=False) == "null"
    assert redact_value(deep.encode(), "bytea", ana, in_own_row=False) == b""


@dataclass
class StoresUnderTest:
    """The part of ``failing`` fails; ``rounds`` counts what is done for all people together."""

    failing: str = ""
    rounds: int = 0
    left_over: dict[str, int] = field(default_factory=dict)

    async def erase(self, person_id: PersonId, _: int) -> dict[str, int]:
        if person_id == self.failing:
            raise RecursionError
        return {}

    async def erase_together(self) -> dict[str, int]:
        self.rounds += 1
        if self.failing == "together":
            raise Unavailable("Kafka")
        return self.left_over


@pytest.mark.integration
@pytest.mark.parametrize(
    ("failing", "passes"), [("", [6, 6]), ("p1", [5, 6]), ("together", [5, 5])], ids=["none", "one", "together"]
)
async def test_an_erasure_that_fails_holds_no_other_up_and_a_round_costs_once(
    postgres_database: str, failing: str, passes: list[int]
) -> None:
    async with service_pool(postgres_database, "ingest") as pool:
        for person_id in ("p1", "p2"):
            await pool.execute(QUERIES.begin_erasure, "t", person_id, NOW, [person_id])
        await pool.execute("update erasures set passes = 5")  # the last of them
        others = StoresUnderTest(failing, left_over={"whatsapp.messages": 1})
        assert await ErasureWorker(pool, StoppedClock(), "ingest", others).run_due() == 2
        assert others.rounds == 1
        rows = await pool.fetch("select passes, next_at, left_over from erasures order by person_id")
        assert [row["passes"] for row in rows] == passes
        assert {row["next_at"] for row in rows} == {NOW + RETRY_AFTER}, "what is left over is looked for again"
        done = [json.loads(row["left_over"]) for row in rows if row["passes"] == 6]
        assert done == [{"whatsapp.messages": 1}] * passes.count(6)


@pytest.mark.integration
@pytest.mark.parametrize("service", sorted(SERVICES))
async def test_records_of_completed_erasures_go_with_the_pseudonyms_of_visitors_and_open_ones_stay(
    postgres_database: str, service: str
) -> None:
    """A contact may still be named by Consonance; a visitor who wrote anew is known by the same id."""
    seed = "insert into erasures (tenant, person_id, requested_at, words, next_at, completed_at) values "
    completed = ", ".join(f"('t', '{person}', $1, '{{}}', null, $1)" for person in ("v-old", "v-anew", "p-old"))
    async with service_pool(postgres_database, service) as pool:
        await pool.execute(seed + completed + ", ('t', 'v-open', $1, '{Ana}', $1, null)", NOW)
        for person in ("v-old", "v-anew", "v-open", "p-old", "v-other"):
            await pool.execute(_A_PERSON[service].format(person), person not in {"v-anew", "v-other"})
        tombstones = TombstonesUnderTest()
        old = [Expiry(_deletes_erasures(service, pool, tombstones), 10)]
        assert await delete_expired_once(NOW + timedelta(days=9), old) == 0
        assert await delete_expired_once(NOW + timedelta(days=11), old) == 3
        assert [row["person_id"] for row in await pool.fetch("select person_id from erasures")] == ["v-open"]
        left = await pool.fetch("select person_id from people order by person_id")
        assert [row["person_id"] for row in left] == ["p-old", "v-anew", "v-open", "v-other"]
        assert tombstones.keys == (["t/persons/v-old"] if service == "ingest" else [])


@dataclass
class TombstonesUnderTest:
    keys: list[str] = field(default_factory=list)

    async def forget(self, topic: Topic, keys: Sequence[str]) -> None:
        assert topic is CONTACTS
        self.keys += keys


def _deletes_erasures(service: str, pool: Pool, tombstones: TombstonesUnderTest) -> Delete:
    if service == "ingest":
        return CompletedErasures(pool, StoppedClock(), tombstones).delete
    queries = load_queries(str(ROOT / "services" / service / "app.py"), "retention.sql")
    return erasure_deletion(pool, queries.forget_visitors)


_A_PERSON = {
    "ingest": "insert into people (tenant, person_id, version, state) "
    "values ('t', '{}', 2, jsonb_build_object('erased', $1::boolean))",
    "rules": "insert into people (tenant, person_id, document) "
    "values ('t', '{}', jsonb_build_object('erased', $1::boolean))",
    "dispatcher": "insert into people (tenant, person_id, version, phone) "
    "values ('t', '{}', 2, case when not $1::boolean then '+447700900123' end)",
    "writeback": "insert into people (tenant, person_id, version, display_name, erased) values ('t', '{}', 2, '', $1)",
}


@pytest.mark.integration
async def test_an_address_that_two_people_share_stays_with_the_one_who_is_not_erased(postgres_database: str) -> None:
    state = {"display_name": "Ana Loewe", "addresses": {"phone": "+447700900123", "bsuid": "GB.1"}}
    seed = (
        "insert into people (tenant, person_id, contact_id, bsuid, phone_key, version, state) "
        "values ('t', 'p1', 1, 'GB.1', '447700900123', 1, $1), ('t', 'p2', 2, 'GB.1', '447700900123', 1, $1)"
    )
    async with service_pool(postgres_database, "ingest") as pool:
        await pool.execute(seed, json.dumps(state))
        assert await known_words(pool, "ingest", "t", "p1") == ["Ana Loewe"]
        await pool.execute(QUERIES.begin_erasure, "t", "p1", NOW, ["Ana Loewe"])
        assert await known_words(pool, "ingest", "t", "p2") == ["+447700900123", "Ana Loewe", "GB.1"]
    seed = "insert into people (tenant, person_id, phone, bsuid, version) values ('t', $1, '+447700900123', $2, 1)"
    async with service_pool(postgres_database, "dispatcher") as pool:
        await pool.execute(seed, "p1", "GB.1")
        await pool.execute(seed, "p2", None)
        assert await known_words(pool, "dispatcher", "t", "p1") == ["GB.1"]


async def _assert_no_placeholder_is_a_word(dsn: str) -> None:
    """An erased person, or one without a name, is not searched for by what stands in its place."""
    async with service_pool(dsn, "rules") as pool:
        document = json.dumps({"display_name": PLACEHOLDER_NAME, "addresses": {"phone": "+447700900123"}})
        await pool.execute("insert into people (tenant, person_id, document) values ('t', 'p9', $1)", document)
        assert await known_words(pool, "rules", "t", "p9") == ["+447700900123"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("service", "seeds", "children", "expected"),
    [
        (
            "rules",
            (
                _CHAIN.replace("true, true", "false, false"),
                "insert into messages (message_id, chain_id) values ('m', 'c')",
                "insert into writes (write_id, chain_id) values ('w', 'c')",
            ),
            ("messages", "writes"),
            1,
        ),
        (
            "writeback",
            (_WRITES, "update writes set settled_at = $1 where state = 'settled'", _REPORTED_FILE, _AWAITED_FILE),
            ("media_files", "media_awaited"),
            2,
        ),
        (
            "dispatcher",
            (
                _MESSAGE,
                _ATTEMPT,
                _CHARGES_OF_A_DAY,
            ),
            ("attempts", "charge_totals"),
            2,
        ),
    ],
)
async def test_rows_older_than_the_retention_of_their_class_are_deleted(
    postgres_database: str, service: str, seeds: tuple[str, ...], children: tuple[str, ...], expected: int
) -> None:
    queries = load_queries(str(ROOT / "services" / service / "app.py"), "retention.sql")
    async with service_pool(postgres_database, service) as pool:
        for query in seeds:
            await pool.execute(query, *[value for name, value in (("$1", NOW), ("$2", "{}")) if name in query])
        expiries = [Expiry(deletion(pool, getattr(queries, name)), 10) for name in _EXPIRING[service]]
        assert await delete_expired_once(NOW + timedelta(days=9), expiries) == 0
        assert await delete_expired_once(NOW + timedelta(days=11), expiries) == expected
        assert [await pool.fetchval(f"select count(*) from {table}") for table in children] == [0] * len(children)  # noqa: S608
