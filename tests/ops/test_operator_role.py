"""Operators act as a role of their own on a real database: what they may write, and what stands in the audit log."""

import asyncio
import json

import asyncpg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from dev.postgres import login_of
from ops.__main__ import app
from ops.changes import QUERIES as CHANGES
from ops.changes import audited
from ops.command_settings import CommandSettings
from ops.database import operator_pool
from shared.contracts.errors import Misconfigured
from shared.runtime.postgres import Pool
from tests.ops.rows import ACTIVATION, RULEBOOK, execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration


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


_COMMANDS = (["status"], ["pause", "tenant", *WHY, "--yes"], ["lines", "list"], ["sends", "list"], ["cost"])


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
async def test_a_tenant_that_the_database_does_not_know_is_refused(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("STET_TENANT", "penrse")
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    await execute(postgres_database, RULEBOOK)
    await execute(postgres_database, ACTIVATION)
    result = await asyncio.to_thread(stet.invoke, app, command)
    assert result.exit_code == 2, result.output
    assert "STET_TENANT: this database knows no tenant penrse; it has penrose" in result.stderr
    assert "Correct the name, or let STET_POSTGRES_DSN name the database of penrse" in result.stderr.replace("\n", " ")


async def test_before_the_first_start_of_rules_any_tenant_is_taken(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_TENANT", "elsewhere")
    result = await asyncio.to_thread(stet.invoke, app, ["pause", "list"])
    assert (result.exit_code, result.stdout) == (0, "nothing is paused\n")


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


async def test_a_change_that_is_interrupted_is_logged_so_and_says_what_stands(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = asyncio.Event()

    async def drain() -> None:
        async with audited(pool, "drain", "penrose", "a test") as entry:
            entry.kept_change = "penrose is paused"
            begun.set()
            await asyncio.Event().wait()

    drained = asyncio.create_task(drain())
    await begun.wait()
    drained.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drained
    assert (await pool.fetch(CHANGES.list_entries, None, 10))[0]["result"] == "interrupted; penrose is paused"
    assert "penrose is paused" in capsys.readouterr().err


async def test_a_change_that_loses_its_database_fails_with_the_first_error(pool: Pool) -> None:
    async def drain() -> None:
        async with audited(pool, "drain", "penrose", "a test"):
            pool.terminate()
            raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        await drain()


def test_a_retry_of_chains_names_what_is_not_set_aside(stet: CliRunner) -> None:
    every = stet.invoke(app, ["chains", "retry", "--all", *WHY, "--yes"])
    assert (every.exit_code, every.stderr.strip()) == (1, "no chain is set aside")
    one = stet.invoke(app, ["chains", "retry", "c1", *WHY, "--yes"])
    assert (one.exit_code, "see stet chains list" in one.stderr) == (1, True)


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
    result = "done" if action == "show consent" else "there was none"
    assert [(each["who"], each["action"], each["reason"], each["result"]) for each in entries] == [
        ("ada", action, "a test", result)
    ]


@pytest.mark.parametrize(
    "thing", ["+447700900806", "44 7700 900806", "GB.13491208655302741918", "wamid.HBgMNDQ3NzAwOTAwODA2"]
)
def test_the_audit_log_keeps_no_address_that_was_looked_for(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, thing: str
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert stet.invoke(app, ["trace", thing, "--no-topics", "--reveal", *WHY]).exit_code == 1
    (entry,) = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    assert (entry["target"], entry["result"]) == ("a phone number, a BSUID or a wamid", "there was none")


def test_a_schema_of_another_version_is_named_with_what_to_do(stet: CliRunner, postgres_database: str) -> None:
    asyncio.run(execute(postgres_database, "alter table operator.audit_log rename to another"))
    result = stet.invoke(app, ["audit-log"])
    assert (result.exit_code, "its schemas are of another version" in result.stderr) == (2, True), result.stderr
    assert "run stet migrate" in result.stderr
