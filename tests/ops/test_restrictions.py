"""A restriction of an account by Meta is shown, and lifted by hand where no webhook reports its end."""

import asyncio
import json
from datetime import datetime, timedelta

import asyncpg
import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from services.dispatcher.account_limits import LimitKind, LimitReport, Restriction, limits_in_force
from services.dispatcher.account_store import AccountStore
from shared.runtime.clock import machine_now
from shared.runtime.postgres import connect
from tests.ops.rows import execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration

RESTRICTED = """
insert into dispatcher.account_limits (tenant, account, kind, name, value, until, reported_at) values
    ('penrose', '10', 'restriction', 'RESTRICTED_BIZ_INITIATED_MESSAGING', 1, null, now() - interval '1 day'),
    ('penrose', '10', 'restriction', 'ACCOUNT_DISABLED', 0, null, now()),
    ('penrose', '20', 'restriction', 'ACCOUNT_DISABLED', 1, null, now()),
    ('penrose', '20', 'restriction', 'RESTRICTED_CUSTOMER_INITIATED_MESSAGING', 1, now() - interval '1 hour', now()),
    ('penrose', '10', 'messaging', '', 2000, null, now())
"""


@pytest.fixture
def restricted(postgres_database: str) -> str:
    asyncio.run(execute(postgres_database, RESTRICTED))
    return postgres_database


def listed(stet: CliRunner) -> list[tuple[str, str]]:
    result = stet.invoke(app, ["lines", "restrictions", "--format", "json"])
    rows = list(map(json.loads, result.stdout.splitlines()))
    assert result.exit_code == bool(rows)
    return [(row["account"], row["restriction"]) for row in rows]


async def in_force(database: str) -> set[tuple[str, Restriction]]:
    """As the dispatcher reads it."""
    connection = await connect(database, "dispatcher")
    try:
        return set(limits_in_force(await AccountStore("penrose").load_limits(connection)).restrictions)
    finally:
        await connection.close()


def test_a_restriction_without_an_end_is_lifted_by_hand_and_audited(stet: CliRunner, restricted: str) -> None:
    assert listed(stet) == [("10", "RESTRICTED_BIZ_INITIATED_MESSAGING"), ("20", "ACCOUNT_DISABLED")]
    unconfirmed = stet.invoke(app, ["lines", "lift", "10", *WHY])
    assert (unconfirmed.exit_code, "--yes" in unconfirmed.stderr) == (2, True)
    done = stet.invoke(app, ["lines", "lift", "10", *WHY, "--yes"])
    assert done.exit_code == 0, done.output
    assert "RESTRICTED_BIZ_INITIATED_MESSAGING lifted" in done.stdout
    assert listed(stet) == [("20", "ACCOUNT_DISABLED")]
    assert ("10", Restriction.BUSINESS_INITIATED) not in asyncio.run(in_force(restricted))
    (entry,) = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    assert (entry["action"], entry["target"], entry["who"]) == ("lift restriction", "10", "ada")
    assert entry["result"] == "lifted RESTRICTED_BIZ_INITIATED_MESSAGING"


@pytest.mark.usefixtures("restricted")
def test_lifting_a_restriction_that_does_not_exist_is_refused(stet: CliRunner) -> None:
    for account, only in (("30", []), ("10", ["--restriction", "ACCOUNT_DISABLED"])):
        result = stet.invoke(app, ["lines", "lift", account, *only, *WHY, "--yes"])
        assert result.exit_code == 1
        assert "stet lines restrictions" in result.stderr
    assert len(listed(stet)) == 2


def test_an_older_report_that_comes_late_restricts_nothing_again_and_a_newer_one_does(
    stet: CliRunner, restricted: str
) -> None:
    stet.invoke(app, ["lines", "lift", "20", *WHY, "--yes"])
    report = [LimitReport(LimitKind.RESTRICTION, Restriction.ACCOUNT_DISABLED.value, 1)]
    for at, is_restricted in ((timedelta(hours=-1), False), (timedelta(minutes=1), True)):
        asyncio.run(_reported(restricted, machine_now() + at, report))
        assert (("20", Restriction.ACCOUNT_DISABLED) in asyncio.run(in_force(restricted))) is is_restricted


async def _reported(database: str, at: datetime, report: list[LimitReport]) -> None:
    connection = await connect(database, "dispatcher")
    await AccountStore("penrose").save_limits(connection, "20", at, report)
    await connection.close()


@pytest.mark.usefixtures("restricted")
def test_the_status_shows_a_restriction_with_its_page(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    rows = map(json.loads, stet.invoke(app, ["status", "--format", "json"]).stdout.splitlines())
    shown = {row["name"]: row for row in rows if "of account" in row["name"]}
    assert set(shown) == {"RESTRICTED_BIZ_INITIATED_MESSAGING of account 10", "ACCOUNT_DISABLED of account 20"}
    assert {(row["value"], row["wrong"]) for row in shown.values()} == {("without an end", True)}


@pytest.mark.parametrize("column", ["account", "kind", "name", "tenant"])
async def test_the_role_of_operators_changes_nothing_else_of_a_limit(postgres_database: str, column: str) -> None:
    connection = await asyncpg.connect(postgres_database, server_settings={"role": "stet_operator"})
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(f"update dispatcher.account_limits set {column} = ''")  # noqa: S608 -- names from above
    await connection.close()
