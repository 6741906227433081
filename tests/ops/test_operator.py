"""Operators act as a role of their own on a real database: what they may write, pause and find in the audit log."""

import asyncio
import hashlib
import json
import stat
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr
from typer.testing import CliRunner

from dev.postgres import login_of
from ops.__main__ import app
from ops.changes import QUERIES as CHANGES
from ops.changes import audited
from ops.command_line import CommandSettings
from ops.database import operator_pool
from ops.evidence.signing import public_key_of
from ops.status import lag_by_service
from ops.timeline import pauses_of
from ops.why import _case
from services.rules.conversation.chain import Chain
from services.rules.conversation.fact_values import PersonFacts
from services.rules.rulebook.rule_folder import read_folder
from services.writeback.evidence_chain import EvidenceDraft
from services.writeback.evidence_store import append_evidence
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import PersonId
from shared.contracts.values import encode
from shared.runtime.postgres import Pool
from tests.services.rules.conversation.test_chain import NOON, running_chain
from tests.services.rules.stories import FOLDER
from tests.services.writeback.writeback_under_test import open_pool

pytestmark = pytest.mark.integration
WHY = ("--reason", "a test")
MESSAGE = """
insert into dispatcher.messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, template_name, resend, requested_at,
    expires_at, not_before, changed_at, request_event, rule
) values (
    'penrose', 'm1', 'p1', 'main', 1, 'hello', 'waiting', '{"body": "secret words"}', '{}', 'hello_v1', 'never', now(),
    now() + interval '1 day', now(), now(), 'e1', 'greet'
)
"""


SOURCES = """
insert into ingest.passes (tenant, entity, started_at, after, completed_at, fields) values
    ('penrose', 'works', now() - interval '1 hour', 0, null, '{}'),
    ('penrose', 'users', now() - interval '2 hours', 0, now() - interval '1 hour', '{}'),
    ('penrose', 'contacts', now() - interval '2 hours', 0, now(), '{}');
insert into ingest.webhook_coverage (tenant, account, since, until, gap_since) values
    ('penrose', '1', now() - interval '1 hour', now(), now() - interval '1 hour')
"""
PARKED = """
insert into SCHEMA.parked (topic, key, value, headers, reason, sentence, parked_at, state)
values ('consonance.events', null, 'x', '', 'malformed', 'it does not parse', now(), 'parked')
"""


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    settings = CommandSettings(postgres_dsn=SecretStr(login_of(postgres_database, "operator")))
    async with operator_pool(settings) as pool:
        yield pool


@pytest.fixture
async def message(postgres_database: str) -> None:
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(MESSAGE)
    await connection.close()


@pytest.fixture
def stet(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("STET_POSTGRES_DSN", login_of(postgres_database, "operator"))
    monkeypatch.setenv("STET_TENANT", "penrose")
    monkeypatch.setenv("STET_OPERATOR", "ada")
    return CliRunner()


@pytest.mark.parametrize(
    "statement",
    [
        "delete from dispatcher.messages",
        "update rules.people set document = '{}'",
        "update ingest.people set phone_key = null",
        "insert into rules.works values ('t', 1, '{}')",
        "delete from writeback.evidence",
        "delete from writeback.evidence_entries",
        "update writeback.evidence_entries set hash = ''",
        "delete from writeback.evidence_keys",
        "update dispatcher.parked set value = ''",
        "create schema mine",
    ],
)
async def test_the_role_writes_nothing_but_what_commands_settle(pool: Pool, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


async def test_the_role_reads_every_schema(pool: Pool) -> None:
    for table in ("ingest.people", "rules.chains", "dispatcher.messages", "writeback.writes", "rules.parked"):
        assert await pool.fetchval(f"select count(*) from {table}") == 0  # noqa: S608 -- names from above


async def test_a_services_login_cannot_act_as_the_operator(postgres_database: str) -> None:
    settings = CommandSettings(postgres_dsn=SecretStr(login_of(postgres_database, "rules")))
    with pytest.raises(Misconfigured, match="may not act as stet_operator"):
        async with operator_pool(settings):
            pass


async def test_the_audit_log_keeps_its_rows(pool: Pool) -> None:
    async with audited(pool, "pause line", "main", "a test") as entry:
        entry.result = "paused"
    for statement in ("delete from operator.audit_log", "update operator.audit_log set reason = 'another'"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await pool.execute(statement)
    (row,) = await pool.fetch(CHANGES.list_entries, None, 10)
    assert (row["action"], row["target"], row["reason"], row["result"]) == ("pause line", "main", "a test", "paused")


async def test_a_change_that_fails_is_logged_as_failed(pool: Pool) -> None:
    with pytest.raises(ValueError, match="broken"):
        async with audited(pool, "drain", "penrose", "a test"):
            raise ValueError("broken")
    assert (await pool.fetch(CHANGES.list_entries, None, 10))[0]["result"] == "failed: ValueError"


@pytest.mark.usefixtures("message")
def test_a_line_is_paused_listed_and_resumed_with_who_and_why(stet: CliRunner) -> None:
    done = stet.invoke(app, ["pause", "line", "main", "--reason", "Meta looks at it", "--yes"])
    assert done.exit_code == 0, done.output
    assert "1 messages wait" in done.stdout
    (paused,) = map(json.loads, stet.invoke(app, ["pause", "list", "--format", "json"]).stdout.splitlines())
    assert (paused["kind"], paused["name"], paused["who"]) == ("line", "main", "ada")
    assert stet.invoke(app, ["resume", "line", "main", "--reason", "well again", "--yes"]).exit_code == 0
    assert stet.invoke(app, ["resume", "line", "main", "--reason", "again", "--yes"]).exit_code == 1
    log = [json.loads(line) for line in stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines()]
    assert [entry["action"] for entry in log] == ["resume line", "resume line", "pause line"]
    assert {entry["who"] for entry in log} == {"ada"}


@pytest.mark.usefixtures("message")
def test_a_misspelt_name_pauses_nothing_and_says_the_nearest(stet: CliRunner) -> None:
    result = stet.invoke(app, ["pause", "line", "mian", "--reason", "x", "--yes"])
    assert result.exit_code == 2
    assert "did you mean main?" in result.stderr


@pytest.mark.usefixtures("message")
def test_the_lines_show_their_queue_and_what_holds_them(stet: CliRunner) -> None:
    shown = stet.invoke(app, ["lines", "list", "--format", "json"])
    assert shown.exit_code == 0, shown.output
    (line,) = map(json.loads, shown.stdout.splitlines())
    assert (line["line"], line["waiting"], line["in_flight"], line["paused_since"]) == ("main", 1, 0, None)
    stet.invoke(app, ["pause", "line", "main", "--reason", "Meta looks at it", "--yes"])
    held = stet.invoke(app, ["lines", "list"])
    assert (held.exit_code, "ada" in held.stdout) == (1, True)
    assert "hello" in stet.invoke(app, ["lines", "show", "main"]).stdout
    unknown = stet.invoke(app, ["lines", "show", "mian"])
    assert (unknown.exit_code, "the lines are: main" in unknown.stderr) == (1, True)


@pytest.mark.usefixtures("message")
@pytest.mark.parametrize(("kind", "name"), [("template", "hello"), ("rule", "greet")])
def test_a_template_and_a_rule_are_paused_and_resumed(stet: CliRunner, kind: str, name: str) -> None:
    done = stet.invoke(app, ["pause", kind, name, "--reason", "wrong words", "--yes"])
    assert done.exit_code == 0, done.output
    (paused,) = map(json.loads, stet.invoke(app, ["pause", "list", "--format", "json"]).stdout.splitlines())
    assert paused["kind"] == kind
    assert stet.invoke(app, ["resume", kind, name, "--reason", "mended", "--yes"]).exit_code == 0
    assert "nothing is paused" in stet.invoke(app, ["pause", "list"]).stdout


def test_a_change_without_an_answer_changes_nothing(stet: CliRunner) -> None:
    result = stet.invoke(app, ["pause", "tenant", "--reason", "x"])
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert "nothing is paused" in stet.invoke(app, ["pause", "list"]).stdout


@pytest.mark.usefixtures("message")
def test_a_trace_shows_a_message_without_its_words(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    shown = stet.invoke(app, ["trace", "m1", "--no-topics"])
    assert shown.exit_code == 0, shown.output
    assert "message queued" in shown.stdout
    assert "secret words" not in shown.stdout
    refused = stet.invoke(app, ["trace", "m1", "--no-topics", "--reveal"])
    assert refused.exit_code == 2
    assert "--reason" in refused.stderr
    revealed = stet.invoke(app, ["trace", "m1", "--no-topics", "--reveal", "--reason", "she asked", "--format", "json"])
    assert "secret words" in revealed.stdout
    assert "reveal" in stet.invoke(app, ["audit-log"]).stdout


def test_an_unknown_id_is_not_found(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["trace", "nothing", "--no-topics"])
    assert result.exit_code == 1
    assert "no table knows" in result.stderr


@pytest.mark.usefixtures("message")
def test_a_trace_without_a_broker_shows_what_the_tables_know(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["trace", "m1"])
    assert result.exit_code == 1
    assert "dispatcher.messages" in result.stdout
    assert "the topics were not read: STET_KAFKA_BOOTSTRAP: no broker at 127.0.0.1:1" in result.stderr
    result = stet.invoke(app, ["trace", "nothing"])
    assert (result.exit_code, "the topics were not read: STET_KAFKA_BOOTSTRAP" in result.stderr) == (2, True)


async def test_a_trace_and_an_answer_say_that_the_rule_is_paused(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    chain = running_chain()
    pause = {"kind": "rule", "name": chain.rule, "since": NOON, "who": "ada", "reason": "wrong words"}
    connection = await asyncpg.connect(postgres_database)
    await _store_chain(connection, chain)
    await connection.execute(
        "insert into rules.pauses (tenant, kind, name, since, who, reason) values ($1, $2, $3, $4, $5, $6)",
        *(chain.tenant, *pause.values()),
    )
    await connection.close()
    shown = await asyncio.to_thread(stet.invoke, app, ["trace", chain.chain_id, "--no-topics"])
    assert f"rule {chain.rule} paused" in shown.stdout, shown.output
    assert "by ada: wrong words" in shown.stdout
    assert pauses_of(chain, [pause]) == [pause]
    assert pauses_of(chain, [{**pause, "name": "another"}]) == []
    assert _case(chain, "p1", {}, [pause]).outcome.startswith("rule paused by ada: wrong words; not among")


async def test_parked_records_of_every_service_are_listed(stet: CliRunner, postgres_database: str) -> None:
    connection = await asyncpg.connect(postgres_database)
    for service in ("ingest", "rules"):
        await connection.execute(PARKED.replace("SCHEMA", service))
    await connection.close()

    def listed(*options: str) -> list[str]:
        result = stet.invoke(app, ["parked", "list", "--format", "json", *options])
        return [json.loads(line)["service"] for line in result.stdout.splitlines()]

    assert await asyncio.to_thread(listed) == ["ingest", "rules"]
    assert await asyncio.to_thread(listed, "--service", "rules") == ["rules"]


async def _store_chain(connection: asyncpg.Connection, chain: Chain) -> None:
    await connection.execute(
        """
        insert into rules.chains (
            chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, changed_at, document
        ) values ($1, $2, $3, $4, $5, $6, true, true, '{}', '{}', '{}', $7, $8)
        """,
        *(chain.chain_id, chain.tenant, chain.rule, chain.subject, chain.revision, chain.key, NOON),
        encode(chain).decode(),
    )


async def test_why_without_a_broker_answers_from_the_tables_and_says_that_decisions_are_missing(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    connection = await asyncpg.connect(postgres_database)
    await _store_chain(connection, running_chain())
    person = encode(PersonFacts(person_id=PersonId("p1"), display_name="A person", reachable=True)).decode()
    await connection.execute("insert into rules.people values ('penrose', 'p1', $1)", person)
    await connection.close()
    shown = await asyncio.to_thread(stet.invoke, app, ["why", "p1", "1"])
    assert shown.exit_code == 1
    assert "rights-approval (running)" in shown.stdout, shown.output
    assert "not among its recipients" in shown.stdout
    assert "not every decision is here: STET_KAFKA_BOOTSTRAP: no broker at 127.0.0.1:1" in shown.stderr
    nothing = await asyncio.to_thread(stet.invoke, app, ["why", "p1", "2"])
    assert nothing.exit_code == 2
    assert "not every event and decision was read" in nothing.stderr


def test_the_status_names_a_broker_that_is_away(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["status"])
    assert result.exit_code == 1
    assert "STET_KAFKA_BOOTSTRAP" in result.stdout
    assert all(len(line) <= 80 for line in stet.invoke(app, ["status"], env={"COLUMNS": "80"}).stdout.splitlines())


async def test_the_status_names_sources_that_stand_still_and_the_page_that_helps(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(SOURCES)
    await connection.close()
    shown = await asyncio.to_thread(stet.invoke, app, ["status", "--format", "json"])
    sources = {row["name"]: row for row in map(json.loads, shown.stdout.splitlines()) if row["area"] == "sources"}
    assert {name: (row["value"], row["wrong"]) for name, row in sources.items()} == {
        "WhatsApp webhook": ("gap open", True),
        "contacts polled": ("last complete", False),
        "users polled": ("last complete", True),
        "works polled": ("under way", True),
    }
    pages = {row["hint"] for row in sources.values() if row["wrong"]}
    assert pages == {f"docs/operations/runbooks/{name}.md" for name in ("StetWebhookGapOpen", "StetPollStale")}


def test_the_doctor_names_a_wrong_setting_and_neighbours_that_are_away(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["doctor", "--service", "rules"])
    assert result.exit_code == 1
    assert "STET_SIGNING_KEYS" in result.stdout
    monkeypatch.setenv("STET_SIGNING_KEYS", '["' + "5" * 64 + '"]')
    monkeypatch.setenv("STET_RULES_DIR", "rules")
    result = stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"])
    found = {row["check"]: row["result"] for row in map(json.loads, result.stdout.splitlines())}
    monkeypatch.setenv("STET_RULES_DIR", "/nowhere")
    result = stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"])
    assert "STET_RULES_DIR: there is no folder /nowhere" in result.stdout
    assert (found["settings"], found["broker"], found["database"], found["rules"]) == ("fine", "wrong", "wrong", "fine")


@pytest.mark.parametrize(("role", "fine"), [("web", "consonance"), ("poll", "public port")])
def test_the_doctor_asks_of_a_role_of_ingest_what_it_needs(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, role: str, fine: str
) -> None:
    receiving = {
        "STET_WHATSAPP_APP_SECRETS": '["' + "5" * 32 + '"]',
        "STET_WHATSAPP_VERIFY_TOKEN": "a-verify-token-of-ours",
        "STET_WHATSAPP_LINES": '{"main": "222222222222222"}',
        "STET_WHATSAPP_BUSINESS_ACCOUNT": "111111111111111",
        "STET_PSEUDONYM_KEY": "5" * 64,
        "STET_CONSONANCE_WEBHOOK_SECRETS": '["whsec_ZGV2ZWxvcG1lbnQtZGV2ZWxvcG1lbnQtMDAwMDA="]',
    }
    polling = {"STET_CONSONANCE_URL": "http://127.0.0.1:1", "STET_CONSONANCE_KEY": "5" * 32}
    needed = receiving if role == "web" else {**polling, "STET_PSEUDONYM_KEY": "5" * 64}
    for name, value in {**needed, "STET_INGEST_ROLE": role, "STET_KAFKA_BOOTSTRAP": "127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    result = stet.invoke(app, ["doctor", "--service", "ingest", "--format", "json"])
    found = {row["check"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert found[fine]["result"] == "fine", found
    assert found[fine]["sentence"].endswith(f"as STET_INGEST_ROLE is {role}")


def test_a_secret_that_cannot_be_read_is_one_finding(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kafka-user.key").symlink_to(tmp_path / "gone")
    for name, value in {"STET_SECRETS_DIR": str(tmp_path), "STET_KAFKA_BOOTSTRAP": "127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STET_SIGNING_KEYS", '["' + "5" * 64 + '"]')
    monkeypatch.setenv("STET_RULES_DIR", "rules")
    result = stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"])
    found = {row["check"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert "kafka-user.key cannot be read: No such file" in found["secrets"]["sentence"]
    assert found["rules"]["result"] == "fine"


async def test_records_that_a_topic_no_longer_has_are_no_lag(pool: Pool) -> None:
    kept = {("consonance.events", 0): range(1000, 1000), ("consonance.events", 1): range(1000, 1007)}
    assert (await lag_by_service(pool, kept))["rules"] == 7


THROTTLES = """
insert into dispatcher.throttles (
    tenant, clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator,
    by_status, fixed
) select 'penrose', 'business', scope, subject, detail, now() + interval '1 hour', interval '1 hour', 1, now(), now(),
    1, false, false, false, false
from (values ('number', 'main', ''), ('template', 'hello_v1', 'en'), ('pair', 'main', 'p1'), ('pair', 'main', 'p2'))
    as given (scope, subject, detail)
"""


def test_the_status_says_what_is_throttled(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(_execute(postgres_database, THROTTLES))
    rows = map(json.loads, stet.invoke(app, ["status", "--format", "json"]).stdout.splitlines())
    named = {row["name"] for row in rows if row["area"] == "whatsapp"}
    assert named == {"line main throttled", "template hello_v1 en throttled", "2 people of line main throttled"}


@pytest.mark.parametrize("paused", [["tenant"], ["line", "main"]])
def test_the_hint_about_a_pause_is_the_command_that_ends_it(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, paused: list[str]
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert stet.invoke(app, ["pause", *paused, *WHY, "--yes"]).exit_code == 0
    rows = map(json.loads, stet.invoke(app, ["status", "--format", "json"]).stdout.splitlines())
    (hint,) = [row["hint"] for row in rows if row["area"] == "paused"]
    ended = stet.invoke(app, [*hint.removeprefix("stet ").split(), "--yes"])
    assert ended.exit_code == 0, ended.output


def test_a_drain_without_a_broker_says_that_the_tenant_is_paused(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["drain", *WHY, "--yes"])
    assert result.exit_code == 2
    assert "penrose is paused, and what is under way is not known: STET_KAFKA_BOOTSTRAP" in result.stderr
    assert "tenant" in stet.invoke(app, ["pause", "list"]).stdout


def test_the_trace_of_a_person_to_whom_nothing_happened_does_not_call_them_unknown(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(_execute(postgres_database, PEOPLE))
    result = stet.invoke(app, ["trace", "900", "--no-topics"])
    assert result.exit_code == 1
    assert "nothing has happened yet to the person p900" in result.stderr


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_the_result_of_settling_a_record_is_json_where_that_is_asked_for(
    stet: CliRunner, postgres_database: str, verb: str
) -> None:
    asyncio.run(_execute(postgres_database, PARKED.replace("SCHEMA", "rules")))
    result = stet.invoke(app, ["parked", verb, "--service", "rules", "1", *WHY, "--yes", "--format", "json"])
    assert json.loads(result.stdout) == {"service": "rules", "id": 1, "state": f"{verb.removesuffix('e')}ed"}


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


def test_the_doctor_reads_the_bundle_that_rules_would_read(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "rules.tar", "w") as archive:
        archive.add("rules", ".")
    digest = hashlib.sha256((tmp_path / "rules.tar").read_bytes()).hexdigest()
    settings = {"STET_KAFKA_BOOTSTRAP": "127.0.0.1:1", "STET_SIGNING_KEYS": '["' + "5" * 64 + '"]'}
    for name, value in {**settings, "STET_RULES_DIR": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    with served(tmp_path) as address:
        for bundle, result in ((f"rules.tar#sha256={digest}", "fine"), ("none.tar", "wrong")):
            monkeypatch.setenv("STET_RULES_BUNDLE", f"{address}/{bundle}")
            shown = stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"])
            found = {row["check"]: row for row in map(json.loads, shown.stdout.splitlines())}["rules"]
            assert found["result"] == result, found
    assert found["sentence"].startswith(f"STET_RULES_BUNDLE: {address}/none.tar.sha256 answered 404")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server of the folder's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PEOPLE = """
insert into ingest.people (tenant, person_id, contact_id, phone_key, wa_key, version, state) values
    ('penrose', 'p806', 806, '+447700900806', null, 1, '{}'), ('penrose', 'p900', 900, null, null, 1, '{}'),
    ('penrose', 'p901', 901, '+447700900901', '+447700900902', 1, '{}');
insert into rules.people (tenant, person_id, document) values
    ('penrose', 'p806', '{"person_id": "p806", "display_name": "Maud", "reachable": true, "roles": ["newsletter"]}'),
    ('penrose', 'p900', '{"person_id": "p900", "display_name": "Lee", "reachable": true, "roles": ["author"]}'),
    ('penrose', 'p901', '{"person_id": "p901", "display_name": "Sam", "reachable": true, "roles": ["author"]}')
"""

ACTIVATION = """
insert into rules.rulebook_activations (tenant, revision, activated_at, cause, who)
values ('penrose', 'r1', now(), 'source', 'a test')
"""


@pytest.fixture
async def people(postgres_database: str) -> None:
    files = json.dumps(read_folder(FOLDER))
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(PEOPLE)
    await connection.execute(
        "insert into rules.rulebooks (revision, files, first_seen) values ('r1', $1, now())", files
    )
    await connection.execute(ACTIVATION)
    await connection.close()


@pytest.mark.usefixtures("people")
def test_opt_ins_are_previewed_recorded_with_their_evidence_and_shown(stet: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "optins.csv"
    as_whatsapp_names_it = "+44 7700 900902"
    file.write_text(
        "contact,phone,at,evidence\n,+44 7700 900806,2026-03-01,sheet 14\n900,,2026-03-01,sheet 15\n"
        f",{as_whatsapp_names_it},2026-03-01,sheet 16\n"
    )
    preview = stet.invoke(app, ["consent", "import", str(file)])
    assert (preview.exit_code, "3 recorded; a preview" in preview.stdout) == (0, True), preview.output
    assert "7700" not in preview.stdout
    assert stet.invoke(app, ["consent", "show", "806", *WHY]).exit_code == 1
    assert stet.invoke(app, ["consent", "import", str(file), "--apply"]).exit_code == 2
    done = stet.invoke(app, ["consent", "import", str(file), "--apply", "--reason", "fair of May", "--yes"])
    assert done.exit_code == 0, done.output
    shown = stet.invoke(app, ["consent", "show", "806", *WHY, "--format", "json"])
    assert shown.exit_code == 0, shown.output
    (found,) = map(json.loads, shown.stdout.splitlines())
    assert [(each["role"], each["ground"]) for each in found["grounds"]] == [("newsletter", "opt_in")]
    assert [(each["change"], each["source"], each["evidence"]) for each in found["ledger"]] == [
        ("opt_in", "import", "sheet 14")
    ]
    again = stet.invoke(app, ["consent", "import", str(file), "--format", "json"])
    assert {json.loads(line)["outcome"] for line in again.stdout.splitlines()} == {"known already"}
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    changed = [(each["action"], each["result"]) for each in entries if each["action"] != "show consent"]
    assert changed == [("import consent", "recorded 3 of 3")]


@pytest.mark.usefixtures("people")
def test_a_list_with_a_fault_records_nothing(stet: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "optins.csv"
    file.write_text("contact,at,evidence\n806,2026-03-01,sheet 14\n807,2026-03-01,sheet 15\n")
    done = stet.invoke(app, ["consent", "import", str(file), "--apply", "--reason", "fair of May", "--yes"])
    assert (done.exit_code, "no such person" in done.stdout) == (1, True), done.output
    assert stet.invoke(app, ["consent", "show", "806", *WHY]).exit_code == 1
    assert stet.invoke(app, ["consent", "import", "nowhere.csv"]).exit_code == 2


CHARGES = """
insert into dispatcher.charge_totals (tenant, day, line, country, category, pricing_type, rule, messages) values
    ('penrose', '2026-10-05', 'main', 'GB', 'utility', 'regular', 'greet', 100),
    ('penrose', '2026-10-06', 'main', 'JP', 'utility', 'regular', 'greet', 2),
    ('penrose', '2026-10-06', 'main', 'GB', 'service', 'free_customer_service', '', 7),
    ('penrose', '2026-11-01', 'main', 'GB', 'utility', 'regular', 'greet', 50),
    ('other', '2026-10-05', 'main', 'GB', 'utility', 'regular', 'greet', 1000)
"""
CARD = """
currency = "EUR"
[[rates]]
valid_from = 2026-10-01
[rates.markets.UK]
countries = ["GB"]
utility = 0.03
"""


async def test_what_messages_cost_is_shown_by_part_with_what_the_card_does_not_know(
    postgres_database: str, stet: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(CHARGES)
    await connection.close()
    arguments = ["cost", "--month", "2026-10"]
    without = await asyncio.to_thread(stet.invoke, app, [*arguments, "--format", "json"])
    assert (without.exit_code, "STET_RATE_CARD is not set" in without.stderr) == (0, True)
    (tmp_path / "rates.toml").write_text(CARD, encoding="utf-8")
    monkeypatch.setenv("STET_RATE_CARD", str(tmp_path / "rates.toml"))
    shown = await asyncio.to_thread(stet.invoke, app, [*arguments, "--format", "json"])
    assert shown.exit_code == 1
    assert "STET_RATE_CARD has no price for: JP utility (2)" in shown.stderr
    rows = {(row["part"], row["name"]): row for row in map(json.loads, shown.stdout.splitlines())}
    total = rows["total", "total"]
    assert (total["cost"], total["messages"], total["free"], total["unpriced"]) == ("3.00", 109, 7, 2)
    assert {name for part, name in rows if part == "country"} == {"GB", "JP"}
    assert rows["rule", "greet"]["messages"] == 102
    markdown = await asyncio.to_thread(stet.invoke, app, [*arguments, "--format", "markdown"])
    assert "| service | 7 | 7 | 0 | 0.00 EUR |" in markdown.stdout
    month = await asyncio.to_thread(stet.invoke, app, ["cost"])
    assert "Forecast until" in month.stdout
    assert (await asyncio.to_thread(stet.invoke, app, [*arguments, "--from", "2026-10-01"])).exit_code == 2


def test_a_legal_hold_is_placed_once_listed_and_released(stet: CliRunner) -> None:
    record, why = "works/61421", ["--reason", "a claim", "--yes"]
    held = stet.invoke(app, ["evidence", "hold", record, *why])
    assert (held.exit_code, "is held: 0 entries" in held.output) == (0, True), held.output
    assert "there is no evidence of works/61421 yet" in held.stderr  # a misspelt record is held like any other
    assert stet.invoke(app, ["evidence", "hold", record, *why]).exit_code == 1
    (listed,) = map(json.loads, stet.invoke(app, ["evidence", "holds", "--format", "json"]).stdout.splitlines())
    assert (listed["record"], listed["reason"]) == (record, "a claim")
    released = stet.invoke(app, ["evidence", "release", record, *why])
    assert (released.exit_code, "0 postponed erasures" in released.output) == (0, True), released.output
    assert stet.invoke(app, ["evidence", "release", record, *why]).exit_code == 1
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    results = [entry["result"] for entry in entries if entry["target"] == record]
    assert sorted(results) == ["held", "released, 0 people erased", "was held already", "was not held"]


RECORD = "rights/R-9"


@pytest.fixture
def evidence(postgres_database: str) -> None:
    """Two entries about a record, the second of a person."""

    async def append() -> None:
        drafts = [
            EvidenceDraft(
                tenant="penrose",
                record=RECORD,
                entry_id=f"e{number}",
                kind="asked",
                at=datetime(2027, 3, 3, 10, tzinfo=UTC),
                person_id=person,
                public={"rule": "rights-approval"},
                content={"rendered": "May we use an extract of « Marées »?"},
            )
            for number, person in enumerate((None, "p1"), 1)
        ]
        async with open_pool(postgres_database) as pool, pool.acquire() as connection, connection.transaction():
            assert await append_evidence(connection, drafts, drafts[0].at) == 2

    asyncio.run(append())


@pytest.fixture
def signing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ed25519PrivateKey:
    key, file = Ed25519PrivateKey.generate(), tmp_path / "evidence-key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    monkeypatch.setenv("STET_EVIDENCE_KEY_FILE", str(file))
    return key


@pytest.mark.usefixtures("evidence")
@pytest.mark.parametrize("command", [["export", RECORD], [RECORD]])
def test_evidence_is_written_signed_verified_and_noted(
    stet: CliRunner, signing_key: Ed25519PrivateKey, tmp_path: Path, command: list[str]
) -> None:
    folder = tmp_path / "court"
    arguments = ["evidence", *command, "--to", str(folder), "--reason", "a claim", "--format", "json"]
    written = stet.invoke(app, arguments)
    assert written.exit_code == 0, written.output
    (found,) = map(json.loads, written.stdout.splitlines())
    assert (found["record"], found["entries"], found["public_key"]) == (RECORD, 2, public_key_of(signing_key))
    assert {Path(name).name for name in found["files"]} == {"rights-R-9.json", "rights-R-9.pdf", "verify.py"}
    assert {stat.S_IMODE(Path(name).stat().st_mode) for name in found["files"]} == {0o600}
    assert (folder / "rights-R-9.pdf").read_bytes().startswith(b"%PDF-")
    call = [sys.executable, "-I", str(folder / "verify.py"), str(folder / "rights-R-9.json"), found["public_key"]]
    verified = subprocess.run(call, capture_output=True, text=True, check=False, timeout=50)  # noqa: S603 -- ours
    assert (verified.returncode, f"{RECORD}: 2 entries, whole" in verified.stdout) == (0, True), verified.stderr
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    assert [(entry["action"], entry["reason"]) for entry in entries if entry["target"] == RECORD] == [
        ("export evidence", "a claim")
    ]


@pytest.mark.usefixtures("signing_key")
def test_a_record_without_evidence_writes_nothing(stet: CliRunner, tmp_path: Path) -> None:
    found = stet.invoke(app, ["evidence", "export", "works/1", *WHY, "--to", str(tmp_path / "court")])
    assert (found.exit_code, "there is no evidence of works/1" in found.stderr) == (1, True)
    shown = stet.invoke(app, ["evidence", "show", "works/1", *WHY])
    assert (shown.exit_code, shown.stdout, "there is no evidence of works/1" in shown.stderr) == (1, "", True)
    assert not (tmp_path / "court").exists()


@pytest.mark.usefixtures("evidence")
def test_reading_evidence_on_the_screen_stands_in_the_audit_log(stet: CliRunner) -> None:
    shown = stet.invoke(app, ["evidence", "show", RECORD, *WHY])
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, 2), shown.output
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    assert [(each["who"], each["action"], each["target"], each["reason"], each["result"]) for each in entries] == [
        ("ada", "show evidence", RECORD, "a test", "done")
    ]


READS = {
    "show parked record": ["parked", "show", "--service", "rules", "1", "--raw"],
    "show task": ["tasks", "show", "1"],
    "show consent": ["consent", "show", "806"],
    "show evidence": ["evidence", "show", "works/1"],
    "export evidence": ["evidence", "works/1"],
}


@pytest.mark.usefixtures("people", "signing_key")
@pytest.mark.parametrize("action", READS)
def test_a_command_that_shows_personal_data_needs_a_reason_and_stands_in_the_audit_log(
    stet: CliRunner, action: str
) -> None:
    """Also where there is nothing to show: that it was looked for counts."""
    refused = stet.invoke(app, READS[action])
    assert (refused.exit_code, "reason" in refused.stderr) == (2, True), refused.output
    stet.invoke(app, [*READS[action], *WHY])
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    assert [(each["who"], each["action"], each["reason"]) for each in entries] == [("ada", action, "a test")]


@pytest.mark.usefixtures("evidence")
def test_evidence_without_a_key_to_sign_with_is_not_exported(stet: CliRunner, tmp_path: Path) -> None:
    found = stet.invoke(app, ["evidence", "export", RECORD, *WHY, "--to", str(tmp_path / "court")])
    assert (found.exit_code, "STET_EVIDENCE_KEY_FILE" in found.stderr) == (2, True)
    assert not (tmp_path / "court").exists()
