"""``stet audit``: the open gaps of a database, and whether every hop is still audited."""

import json
from datetime import timedelta

import pytest
from pydantic import SecretStr

from ops.audit import list_audit
from ops.command_line import OutputFormat, Service
from ops.command_settings import CommandSettings
from shared.runtime.clock import machine_now
from shared.runtime.postgres import connect

pytestmark = pytest.mark.integration

_RUN = "insert into audit_runs (hop, ran_at, checked) values ('decision', $1, 7)"
_GAP = (
    "insert into audit_gaps (hop, subject, since, reason, first_seen)"
    " values ('decision', 't test e1', $1, 'event_not_decided', $1)"
)


async def execute(dsn: str, statement: str, *arguments: object) -> None:
    connection = await connect(dsn, "rules")
    await connection.execute(statement, *arguments)
    await connection.close()


async def audit(dsn: str, *, closed: bool = False, output: OutputFormat = OutputFormat.TEXT) -> int:
    settings = CommandSettings(postgres_dsn=SecretStr(dsn))
    return await list_audit(settings, [Service.RULES], closed=closed, limit=10, output=output)


async def test_the_audit_lists_open_gaps_and_the_hops_that_are_not_audited(
    postgres_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await audit(postgres_database) == 1
    assert "no service has been audited yet" in capsys.readouterr().out

    await execute(postgres_database, _RUN, machine_now())
    assert await audit(postgres_database) == 0
    assert "no gaps" in capsys.readouterr().out

    await execute(postgres_database, _GAP, machine_now())
    assert await audit(postgres_database, output=OutputFormat.JSON) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["kind"], row["hop"], row.get("reason")) for row in rows] == [
        ("gap", "decision", "event_not_decided"),
        ("run", "decision", None),
    ]

    await execute(postgres_database, "update audit_gaps set closed_at = now()")
    await execute(postgres_database, "update audit_runs set ran_at = $1", machine_now() - timedelta(hours=1))
    assert await audit(postgres_database, closed=True) == 1
    said = capsys.readouterr().out
    assert "event_not_decided" in said
    assert "late" in said
