"""Evidence is held, shown, exported and signed on a real database, and the audit log says who read it."""

import asyncio
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from ops.__main__ import app
from ops.evidence.signing import public_key_of
from services.writeback.evidence_chain import EvidenceDraft
from services.writeback.evidence_store import append_evidence
from tests.ops.rows import execute
from tests.ops.stet_command import WHY
from tests.services.writeback.writeback_under_test import open_pool

pytestmark = pytest.mark.integration
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


@pytest.mark.usefixtures("evidence")
@pytest.mark.parametrize("command", [["export", RECORD], [RECORD]])
def test_evidence_is_written_signed_verified_and_noted(
    stet: CliRunner, signing_key: Ed25519PrivateKey, tmp_path: Path, command: list[str]
) -> None:
    folder = tmp_path / "court"
    folder.mkdir()
    (folder / "rights-R-9.json").touch(mode=0o644)  # from an earlier export, and opened since
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


@pytest.mark.usefixtures("evidence")
def test_evidence_without_a_key_to_sign_with_is_not_exported(stet: CliRunner, tmp_path: Path) -> None:
    found = stet.invoke(app, ["evidence", "export", RECORD, *WHY, "--to", str(tmp_path / "court")])
    assert (found.exit_code, "STET_EVIDENCE_KEY_FILE" in found.stderr) == (2, True)
    assert not (tmp_path / "court").exists()


_OTHER_KEY = "update writeback.evidence_keys set key = sha256('another') where person_id = 'p1'"
_ERASED_KEY = (
    "insert into writeback.evidence_keys (tenant, person_id, key_id, created_at, destroyed_at)"
    " values ('penrose', 'p2', 'k2', now(), now());"
    " update writeback.evidence_entries set key_id = 'k2' where sequence = 2"
)


@pytest.mark.usefixtures("evidence", "signing_key")
@pytest.mark.parametrize(
    ("tampering", "sentence", "verdict"),
    [
        ("delete from writeback.evidence_entries where sequence = 2", "entry 1: it is not the last one", "entry 1"),
        ("delete from writeback.evidence_entries", "entry 0: it is not the last one", "entry 0"),
        (_OTHER_KEY, "entry 2: it does not open with its key", "entry 2: its content"),
        ("delete from writeback.evidence_keys", "entry 1: its key is missing", "entry 1: its content"),
        (_ERASED_KEY, "entry 2: its header names another key", "entry 2: its content"),
    ],
    ids=["cut", "emptied", "key exchanged", "keys deleted", "hidden behind an erased person"],
)
def test_a_chain_that_an_administrator_changed_is_not_signed_as_complete(
    stet: CliRunner, postgres_database: str, tmp_path: Path, tampering: str, sentence: str, verdict: str
) -> None:
    """Neither the command nor the script takes a shorter chain for the whole, or a lost key for an erasure."""
    asyncio.run(
        execute(postgres_database, "set session_replication_role = replica; " + tampering)
    )  # no trigger hinders it
    arguments = ["evidence", "export", RECORD, *WHY, "--to", str(tmp_path)]
    found = stet.invoke(app, arguments)
    assert (found.exit_code, sentence in found.stderr) == (1, True), found.output
    call = [sys.executable, "-I", str(tmp_path / "verify.py"), str(tmp_path / "rights-R-9.json")]
    verified = subprocess.run(call, capture_output=True, text=True, check=False, timeout=50)  # noqa: S603 -- ours
    assert (verified.returncode, verified.stderr.startswith(verdict)) == (1, True), verified.stderr
    shown = stet.invoke(app, ["evidence", "show", RECORD, *WHY])
    assert (shown.exit_code, sentence in shown.stderr) == (1, True), shown.output
