"""``stet erase`` and ``stet export`` on a real database: whom they mean, what they show, what they ask for."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime

import asyncpg
import pytest
from typer.testing import CliRunner

from dev.postgres import login_of
from ops import people
from ops.__main__ import app
from ops.command_line import printable
from ops.topic_reader import FoundRecord
from services.writeback.evidence_chain import EvidenceDraft
from services.writeback.evidence_store import append_evidence
from shared.contracts.topics import WHATSAPP_MESSAGES
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration
_PEOPLE = """
insert into ingest.people (tenant, person_id, contact_id, phone_key, version, state) values
    ('penrose', 'p1', 8, '+447700900123', 1,
     '{"person_id": "p1", "display_name": "Ana Loewe", "addresses": {"phone": "+447700900123"}}'),
    ('penrose', 'v1', null, null, 2, '{"person_id": "v1", "display_name": "ana l", "merged_into": "p1"}'),
    ('penrose', 'v2', null, null, 2, '{"person_id": "v2", "display_name": "Bo", "merged_into": "v1"}'),
    ('penrose', 'p2', 9, '+447700900456', 1, '{"person_id": "p2", "display_name": "Cy Berg"}')
"""
_MESSAGES = """
insert into dispatcher.messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event
)
select 'penrose', id, person, 'main', 1, 'hello', 'read', content::jsonb, '{}', 'never', now(), now(), now(), now(), 'e'
from (values
    ('m1', 'v2', '{"body": "from before the merge"}'),
    ('m2', 'p2', '{"body": "Ana Loewe has answered"}'),
    ('m3', 'p2', '{"body": "between the house and Cy"}')
) as given (id, person, content)
"""
_HELD = """
with key as (
    insert into writeback.evidence_keys (tenant, person_id, key_id, key, created_at)
    values ('penrose', 'p1', 'k1', 'x', now())
), entry as (
    insert into writeback.evidence_entries (tenant, record, sequence, entry_id, key_id, header, hash, recorded_at)
    values ('penrose', 'rights/R-9', 1, 'e1', 'k1', '{"key_id": "k1"}', 'h', now())
)
insert into writeback.evidence_holds (tenant, record, since, who, reason)
values ('penrose', 'rights/R-9', now(), 'ada', 'dispute')
"""


class Topics:
    """Every topic scan finds one message."""

    def __init__(self, *_: object) -> None:
        pass

    async def find_all(self, texts: Iterable[str]) -> list[FoundRecord]:
        assert {"p1", "v1", "v2", "+447700900123"} <= set(texts)
        return [FoundRecord(WHATSAPP_MESSAGES, 0, 7, b"{}")]


@pytest.fixture
async def stet(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    connection = await asyncpg.connect(postgres_database)
    for query in (_PEOPLE, _MESSAGES, _HELD):
        await connection.execute(query)
    await connection.close()
    monkeypatch.setattr(people, "TopicScan", Topics)
    monkeypatch.setenv("STET_POSTGRES_DSN", login_of(postgres_database, "operator"))
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "localhost:9")
    monkeypatch.setenv("STET_TENANT", "penrose")
    monkeypatch.setenv("STET_OPERATOR", "ada")
    return CliRunner()


def test_a_dry_run_shows_where_a_person_is_by_every_id_and_changes_nothing(stet: CliRunner) -> None:
    shown = stet.invoke(app, ["erase", "+447700900123", "--dry-run", "--format", "json"])
    assert shown.exit_code == 0, shown.output
    places = {place["place"]: place["found"] for place in map(json.loads, shown.stdout.splitlines())}
    expected = {
        "ingest.people": 3,
        "dispatcher.messages": 2,
        "writeback.evidence_keys": 1,
        "writeback.evidence_entries": 1,
        "topic whatsapp.messages": 1,
    }
    assert places == expected
    assert "A legal hold on rights/R-9" in shown.stderr
    assert "erase person" not in stet.invoke(app, ["audit-log"]).stdout


def test_an_erasure_is_asked_of_ingest_for_every_id_and_stands_in_the_audit_log(stet: CliRunner) -> None:
    assert stet.invoke(app, ["erase", "8", "--yes"]).exit_code == 2, "it needs a reason"
    done = stet.invoke(app, ["erase", "v2", "--yes", "--reason", "request of 3 March", "--format", "json"])
    assert done.exit_code == 0, done.output
    begun = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["service"], one["person_id"], one["passes"]) for one in begun] == [
        ("ingest", "p1", 0), ("ingest", "v1", 0), ("ingest", "v2", 0)
    ]  # fmt: skip
    (entry,) = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    assert (entry["action"], entry["target"], entry["who"]) == ("erase person", "p1", "ada")


@pytest.mark.parametrize("written", ["+44 7700 900123", "+44-7700-900123", "+447700900123"])
def test_a_number_is_found_however_it_is_written(stet: CliRunner, written: str) -> None:
    shown = stet.invoke(app, ["erase", written, "--dry-run", "--format", "json"])
    assert (shown.exit_code, "ingest.people" in shown.stdout) == (0, True), shown.output


@pytest.mark.parametrize("command", [["erase", "--dry-run"], ["export", *WHY]])
def test_an_unknown_person_is_a_finding(stet: CliRunner, command: list[str]) -> None:
    result = stet.invoke(app, [*command, "+15550100000"])
    assert (result.exit_code, "no such person" in result.stderr) == (1, True)
    assert "name them by the id (p…) that the erasure showed: stet audit-log has it" in result.stderr


def test_an_export_has_what_is_kept_of_the_person_and_nothing_else_of_others(stet: CliRunner) -> None:
    result = stet.invoke(app, ["export", "8", *WHY, "--format", "json"])
    assert result.exit_code == 0, result.output
    places = {one["place"]: one for one in map(json.loads, result.stdout.splitlines())}
    messages = {json.loads(row["content"])["body"] for row in places["dispatcher.messages"]["rows"]}
    assert messages == {"from before the merge", "Ana Loewe has answered"}
    assert {row["person_id"] for row in places["ingest.people"]["rows"]} == {"p1", "v1", "v2"}
    report = stet.invoke(app, ["export", "8", *WHY]).stdout
    assert "What is kept about p1" in report
    assert "kept: STET_KEEP_MESSAGES_DAYS after the last status" in " ".join(report.split())
    assert all(place["kept"] for place in places.values())
    assert "Cy Berg" not in report


def test_an_export_stands_in_the_audit_log(stet: CliRunner) -> None:
    assert stet.invoke(app, ["export", "8", "--reason", "request of 3 March"]).exit_code == 0
    assert stet.invoke(app, ["export", "8", *WHY]).exit_code == 0
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    found = [(one["action"], one["target"], one["who"], one["reason"]) for one in entries]
    assert found == [
        ("export person", "p1", "ada", "a test"),
        ("export person", "p1", "ada", "request of 3 March"),
    ]


async def test_an_export_has_the_approvals_as_they_were_given_and_not_the_key_that_seals_them(
    stet: CliRunner, postgres_database: str
) -> None:
    draft = EvidenceDraft(
        tenant="penrose", record="rights/R-7", entry_id="e7", kind="answer", at=datetime(2027, 3, 3, tzinfo=UTC),
        person_id="v2", public={}, content={"text": "Yes, I approve", "wamid": "wamid.7"},
    )  # fmt: skip
    connection = await asyncpg.connect(postgres_database)
    await connection.execute("set search_path to writeback")
    async with connection.transaction():
        await append_evidence(connection, [draft], datetime(2027, 3, 3, tzinfo=UTC))
    key = await connection.fetchval("select key from evidence_keys where person_id = 'v2'")
    await connection.close()
    result = await asyncio.to_thread(stet.invoke, app, ["export", "8", *WHY, "--format", "json"])
    assert result.exit_code == 0, result.output
    places = {one["place"]: one for one in map(json.loads, result.stdout.splitlines())}
    contents = {row["record"]: row["content"] for row in places["writeback.evidence_entries"]["rows"]}
    assert json.loads(contents["rights/R-7"])["text"] == "Yes, I approve"
    assert contents["rights/R-9"] is None
    assert all("key" not in row for row in places["writeback.evidence_keys"]["rows"])
    report = (await asyncio.to_thread(stet.invoke, app, ["export", "8", *WHY])).stdout
    assert "Yes, I approve" in report
    assert printable(key) not in report
