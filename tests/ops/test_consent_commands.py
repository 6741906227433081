"""Opt-ins from a list are previewed, recorded and shown on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from dev.postgres import login_of
from ops import consent
from ops.__main__ import app
from ops.command_settings import CommandSettings
from ops.consent_import import Outcome, read_rows
from ops.database import operator_pool
from services.rules.conversation.fact_values import Consent
from services.rules.store import exclusive_locks_of
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.values import decode, encode
from shared.runtime.postgres import Pool, acquire_locks
from tests.ops.rows import execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("people")
def test_opt_ins_are_previewed_recorded_with_their_evidence_and_shown(stet: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "optins.csv"
    as_whatsapp_names_it = "+44 7700 900902"
    file.write_text(
        "contact,phone,at,evidence\n,+44 7700 900806,2026-03-01,sheet 14\n900,,2026-03-01,sheet 15\n"
        f",{as_whatsapp_names_it},2026-03-01,sheet 16\n"
    )
    preview = stet.invoke(app, ["consent", "import", str(file)])
    assert (preview.exit_code, "3 new; a preview: --apply records" in preview.stdout) == (0, True), preview.output
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


@pytest.fixture
async def rules_pool(postgres_database: str) -> AsyncIterator[Pool]:
    settings = CommandSettings(postgres_dsn=SecretStr(login_of(postgres_database, "operator")))
    async with operator_pool(settings, "rules") as pool:
        yield pool


NOW = datetime(2026, 6, 1, tzinfo=UTC)
_MERGED = """
insert into rules.people (tenant, person_id, document)
values ('penrose', 'v1', '{"person_id": "v1", "merged_into": "p806", "display_name": "", "reachable": false}')
"""


@pytest.mark.usefixtures("people")
async def test_a_row_at_fault_since_the_preview_keeps_all_from_being_recorded(
    rules_pool: Pool, postgres_database: str
) -> None:
    """The question whether to record them may stand for minutes."""
    rows = read_rows("contact,at,evidence\n806,2026-03-01,sheet 14\n900,2026-03-01,sheet 15\n")
    await execute(postgres_database, "delete from ingest.people where person_id = 'p900'")
    planned = await consent._apply(rules_pool, TenantId("penrose"), rows, NOW)
    assert [each.outcome for each in planned] == [Outcome.NEW, Outcome.UNKNOWN_PERSON]
    assert await rules_pool.fetchval("select count(*) from rules.consent") == 0


@pytest.mark.usefixtures("people")
async def test_an_opt_in_by_a_former_id_waits_for_a_stop_that_is_under_way(
    rules_pool: Pool, postgres_database: str
) -> None:
    """Else the opt-in would be written over it, from what was read before."""
    await execute(postgres_database, _MERGED)
    rows = read_rows("person,at,evidence\nv1,2026-03-01,sheet 14\n")
    connection = await asyncpg.connect(postgres_database)
    async with connection.transaction():
        await acquire_locks(connection, "rules", exclusive_locks_of([PersonId("p806")]))
        importing = asyncio.ensure_future(consent._apply(rules_pool, TenantId("penrose"), rows, NOW))
        await asyncio.wait([importing], timeout=1)
        assert not importing.done()
        stop = encode(Consent(opted_out_at=NOW)).decode()
        await connection.execute("insert into rules.consent values ('penrose', 'p806', $1)", stop)
    (planned,) = await importing
    assert planned.outcome is Outcome.OPTED_OUT_SINCE
    saved = decode(Consent, await connection.fetchval("select document::text from rules.consent"))
    assert saved.opted_out
    await connection.close()
