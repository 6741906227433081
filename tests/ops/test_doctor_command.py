"""``stet doctor`` names each wrong setting, secret and neighbour of a service."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from ops.__main__ import app

pytestmark = pytest.mark.integration


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


def test_the_doctor_counts_the_faults_of_the_rules_and_names_the_first(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree("rules", tmp_path / "rules")
    limits = tmp_path / "rules" / "limits.yaml"
    limits.write_text(limits.read_text("utf-8").replace("replies", "replys"), "utf-8")
    settings = {"STET_KAFKA_BOOTSTRAP": "127.0.0.1:1", "STET_SIGNING_KEYS": '["' + "5" * 64 + '"]'}
    for name, value in {**settings, "STET_RULES_DIR": str(tmp_path / "rules")}.items():
        monkeypatch.setenv(name, value)
    result = stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"])
    found = {row["check"]: row for row in map(json.loads, result.stdout.splitlines())}["rules"]
    assert found["result"] == "wrong"
    assert found["sentence"].startswith("STET_RULES_DIR: 1 fault, the first: limits.yaml:2:7: ")


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


def test_the_doctor_says_of_a_database_that_is_away_what_every_command_says(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"STET_POSTGRES_DSN": "postgresql://stet_rules@127.0.0.1:1/stet", "STET_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    for name, value in {**away, "STET_SIGNING_KEYS": '["' + "5" * 64 + '"]', "STET_RULES_DIR": "rules"}.items():
        monkeypatch.setenv(name, value)
    shown = stet.invoke(app, ["doctor", "--service", "rules", "--format", "json"])
    found = {row["check"]: row["sentence"] for row in map(json.loads, shown.stdout.splitlines())}
    database = "no server at 127.0.0.1:1 answers that takes writes (connection refused); is PostgreSQL running"
    assert database in found["database"]
