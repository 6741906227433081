"""``stet status`` on a real database: what is wrong stands in it with the command or the page that helps."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from dev.postgres import login_of
from ops.__main__ import app
from ops.status import lag_by_service, read_beyond_the_end
from shared.contracts.topics import SERVICES
from shared.runtime.postgres import Pool, advisory_lock_key
from tests.ops.rows import execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration
SOURCES = """
insert into ingest.passes (tenant, entity, started_at, after, completed_at, fields) values
    ('penrose', 'works', now() - interval '1 hour', 0, null, '{}'),
    ('penrose', 'users', now() - interval '2 hours', 0, now() - interval '1 hour', '{}'),
    ('penrose', 'contacts', now() - interval '2 hours', 0, now(), '{}');
insert into ingest.webhook_coverage (tenant, account, since, until, gap_since) values
    ('penrose', '1', now() - interval '1 hour', now(), now() - interval '1 hour')
"""
THROTTLES = """
insert into dispatcher.throttles (
    tenant, clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator,
    by_status, fixed
) select 'penrose', 'business', scope, subject, detail, now() + interval '1 hour', interval '1 hour', 1, now(), now(),
    1, false, by_operator, false, false
from (values ('number', 'main', '', false), ('template', 'hello_v1', 'en', false), ('pair', 'main', 'p1', false),
        ('pair', 'main', 'p2', false), ('marketing', 'p1', '', false), ('marketing', 'p2', '', false),
        ('number', 'rights', '', true), ('business_account', '1', '', true), ('account', '', '', true))
    as given (scope, subject, detail, by_operator)
"""

WARNINGS = """
insert into dispatcher.account_limits (tenant, account, kind, name, value, until, reported_at) values
    ('penrose', '1', 'warning', 'ACCOUNT_VIOLATION SCAM', 1, now() + interval '1 day', now() - interval '6 days'),
    ('penrose', '1', 'warning', 'ACCOUNT_REVIEW REJECTED', 1, now() - interval '1 day', now() - interval '8 days')
"""

WAITING_WRITE = """
insert into writeback.writes (
    tenant, write_id, ordering_key, record, operation, request, event_id, requested_at, due_at
) values ('penrose', 'w1', 'works/7', 'works/7', 'metadata.apply', '{}', 'e1', now() - interval '31 minutes', now())
"""


def status_rows(stet: CliRunner) -> list[dict[str, Any]]:
    """The lines of ``stet status``."""
    return [json.loads(line) for line in stet.invoke(app, ["status", "--format", "json"]).stdout.splitlines()]


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


@pytest.mark.parametrize(("minutes", "is_wrong"), [(29, False), (31, True)])
def test_the_status_marks_a_gap_of_the_webhook_as_late_as_its_alert(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch, minutes: int, *, is_wrong: bool
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    gap = SOURCES.replace("now(), now() - interval '1 hour')", f"now(), now() - interval '{minutes} minutes')")
    asyncio.run(execute(postgres_database, gap))
    (webhook,) = [row for row in status_rows(stet) if row["name"] == "WhatsApp webhook"]
    assert (webhook["value"], webhook["wrong"], bool(webhook["hint"])) == ("gap open", is_wrong, is_wrong)


def test_the_status_marks_writes_that_have_waited_for_half_an_hour(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, WAITING_WRITE))
    (waiting,) = [row for row in status_rows(stet) if (row["area"], row["name"]) == ("writes", "waiting")]
    assert (waiting["value"], waiting["wrong"]) == (1, True)
    assert waiting["hint"] == "docs/operations/runbooks/StetWritesPending.md"


def test_the_status_says_what_is_throttled(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, THROTTLES))
    hints = {row["name"]: row["hint"] for row in status_rows(stet) if row["area"] == "whatsapp"}
    assert hints == {
        "line main throttled": "",
        "template hello_v1 en throttled": "docs/operations/runbooks/StetTemplateUnusable.md",
        "2 people of line main throttled": "",
        "marketing to 2 people throttled": "",
        "line rights stopped": "docs/operations/runbooks/StetLineStopped.md",
        "business_account 1 stopped": "docs/operations/runbooks/StetLineStopped.md",
        "account stopped": "docs/operations/runbooks/StetSecretRefused.md",
    }


QUALITIES = """
insert into dispatcher.line_quality (tenant, line, quality, since, throughput, read_at) values
    ('penrose', 'main', 'RED', now(), 'STANDARD', now()), ('penrose', 'rights', 'GREEN', now(), 'HIGH', now());
insert into dispatcher.account_limits (tenant, account, kind, name, value, reported_at) values
    ('penrose', '10', 'messaging', '', 2000, now()), ('penrose', '20', 'messaging', '', null, now())
"""


def test_the_status_says_which_number_is_rated_low_and_how_many_people_a_day_may_be_written_to(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, QUALITIES))
    shown = {
        row["name"]: (row["value"], row["wrong"], row["hint"]) for row in status_rows(stet) if row["area"] == "whatsapp"
    }
    assert shown == {
        "quality of line main": ("RED", True, "docs/operations/runbooks/StetLineQualityLow.md"),
        "people a day, account 10": (2000, False, ""),
        "people a day, account 20": ("unlimited", False, ""),
    }


HELD = """
update dispatcher.messages set reason = 'budget_spent';
insert into dispatcher.account_templates (
    tenant, account, name, language, status, reported_at, category, previous_category, categorised_at
) values
    ('penrose', '10', 'hello_v1', 'en', 'APPROVED', now(), 'MARKETING', 'UTILITY', now()),
    ('penrose', '10', 'hello_v1', 'fr', 'DISABLED', now(), 'UTILITY', null, null)
"""


@pytest.mark.parametrize("command", [["status"], ["pause", "line", "main", *WHY, "--yes"]], ids=" ".join)
def test_a_database_that_takes_no_writes_is_named_with_what_helps(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    name = urlsplit(postgres_database).path.strip("/")
    asyncio.run(execute(postgres_database, f'alter database "{name}" set default_transaction_read_only = on'))
    result = stet.invoke(app, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is a standby or read-only; wait for the failover, or promote one" in result.stderr


def test_the_doctor_names_a_database_that_takes_no_writes(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"KAFKA_BOOTSTRAP": "127.0.0.1:1", "SIGNING_KEYS": json.dumps(["5" * 64]), "RULES_DIR": "rules"}
    for setting, value in {**settings, "POSTGRES_DSN": login_of(postgres_database, "rules")}.items():
        monkeypatch.setenv(f"STET_{setting}", value)
    name = urlsplit(postgres_database).path.strip("/")
    asyncio.run(execute(postgres_database, f'alter database "{name}" set default_transaction_read_only = on'))
    rows = map(json.loads, stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"]).stdout.splitlines())
    found = {row["check"]: row for row in rows}["database"]
    assert (found["result"], "is a standby or read-only" in found["sentence"]) == ("wrong", True)


@pytest.mark.usefixtures("message")
def test_the_status_says_what_holds_messages_and_which_page_helps(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, HELD))
    wrong = {row["name"]: (row["value"], row["hint"]) for row in status_rows(stet) if row["wrong"]}
    assert wrong["held by the month's budget"] == (1, "docs/operations/runbooks/StetBudgetSpent.md")
    assert wrong["template hello_v1 en"] == (
        "moved from UTILITY to MARKETING",
        "stet templates status, docs/operations/runbooks/StetTemplateRecategorised.md",
    )
    assert wrong["template hello_v1 fr"] == ("DISABLED", "stet templates status")
    queue = stet.invoke(app, ["lines", "show", "main", "--format", "json"]).stdout.splitlines()
    assert json.loads(queue[-1])["lane"] == "normal"


TRIALS = """
insert into rules.rulebooks (revision, files, first_seen) values ('r2', '{}', now());
insert into rules.rulebook_sources (tenant, replica, revision, read_at) values ('penrose', 'rules-0', 'r2', now());
insert into rules.rulebook_trials (
    tenant, kind, revision, share, max_opt_outs, max_failures, max_disagreements,
    started_at, who, ended_at, result, cause
) values
    ('penrose', 'canary', 'r2', 1, 0, 0, 0, now(), 'ada', now(), 'turned_back', 'opt_out: 1'),
    ('penrose', 'shadow', 'r2', 1, 0, 0, 0, now(), 'ada', null, null, null)
"""


@pytest.mark.usefixtures("people")
def test_the_status_shows_trials_of_rules_and_rules_that_wait(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, TRIALS))
    shown = {row["name"]: (row["value"], row["wrong"]) for row in status_rows(stet) if row["area"] == "rules"}
    assert shown["canary turned back"] == ("r2, opt-out: 1", True)
    assert shown["shadow under way"] == ("r2", False)
    assert shown["revision that waits for a promotion"] == ("r2", False)


POLLED = """
insert into ingest.passes (tenant, entity, started_at, after, completed_at, fields)
values ('penrose', 'works', now(), 0, now(), '{}')
"""
LOCKS = {
    "sender": "stet/dispatcher/portfolio/penrose",
    "poll": "stet/ingest/poll/penrose",
    **{f"{task} of {service}": f"stet/{service}/{task}" for task in ("relay", "audit") for service in SERVICES},
}


async def test_the_status_names_every_task_that_no_replica_leads(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert "poll" not in await _leaders(stet), "a publisher whose systems push has no poll"
    await execute(postgres_database, POLLED)
    connection = await asyncpg.connect(postgres_database)
    for lock in LOCKS.values():
        await connection.execute("select pg_advisory_lock($1)", advisory_lock_key(lock))
    assert await _leaders(stet) == dict.fromkeys(LOCKS, ("held", ""))
    await connection.close()
    assert await _leaders(stet) == dict.fromkeys(LOCKS, ("not held", "docs/operations/runbooks/StetLeaderCount.md"))


async def _leaders(stet: CliRunner) -> dict[str, tuple[str, str]]:
    shown = await asyncio.to_thread(stet.invoke, app, ["status", "--format", "json"])
    rows = map(json.loads, shown.stdout.splitlines())
    return {row["name"]: (row["value"], row["hint"]) for row in rows if row["area"] == "leader"}


async def test_records_that_a_topic_no_longer_has_are_no_lag(pool: Pool) -> None:
    kept = {("consonance.events", 0): range(1000, 1000), ("consonance.events", 1): range(1000, 1007)}
    assert (await lag_by_service(pool, kept))["rules"] == 7


async def test_a_topic_that_ends_before_what_was_read_is_named(pool: Pool, postgres_database: str) -> None:
    progress = (
        "insert into rules.progress (topic, partition, next_offset) values ('contacts', 3, 70), ('contacts', 4, 7)"
    )
    await execute(postgres_database, progress)
    kept = {("contacts", 3): range(10), ("contacts", 4): range(7)}
    assert await read_beyond_the_end(pool, kept) == [("rules", "contacts", ("contacts", 3), 70)]


def test_output_that_cannot_be_written_is_no_fault_of_the_database(stet: CliRunner) -> None:  # noqa: ARG001 -- its environment
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ops", "pause", "list"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=50)  # noqa: S603 -- ours
    assert (ended.returncode, "the output cannot be written: No space left" in ended.stderr) == (2, True), ended.stderr
    assert "STET_POSTGRES_DSN" not in ended.stderr


def test_the_status_says_what_meta_warned_of_until_a_week_is_over(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, WARNINGS))
    warned = [row for row in status_rows(stet) if row["name"].endswith(" warned")]
    assert [(row["name"], row["value"], row["wrong"], row["hint"]) for row in warned] == [
        ("account 1 warned", "ACCOUNT_VIOLATION SCAM", True, "docs/operations/runbooks/StetAccountWarned.md")
    ]
