"""A setting that is missing or wrong stops the start and is named; what it holds is never told."""

import base64
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from ops.templates import TemplateSettings
from ops.topics import TopicSettings
from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime.settings import load_settings

HELD = "s3cret-of-theirs"
GOOD = {
    "STET_TENANT": "penrose",
    "STET_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "STET_POSTGRES_DSN": f"postgresql://stet:{HELD}@127.0.0.1/stet",
    "STET_WHATSAPP_APP_SECRETS": f'["{HELD}"]',
    "STET_WHATSAPP_VERIFY_TOKEN": HELD,
    "STET_WHATSAPP_LINES": '{"main": "1065"}',
    "STET_PSEUDONYM_KEY": HELD * 2,
    "STET_CONSONANCE_URL": "http://127.0.0.1:8000",
    "STET_CONSONANCE_KEY": HELD,
    "STET_CONSONANCE_WEBHOOK_SECRETS": f'["whsec_{base64.b64encode(HELD.encode() * 2).decode()}"]',
}


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_setting_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(Misconfigured) as refused:
        load_settings(IngestSettings)
    assert str(refused.value) == f"{name}: not set"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STET_TENANT", f"Penrose {HELD}"),
        ("STET_WHATSAPP_APP_SECRETS", HELD),
        ("STET_WHATSAPP_APP_SECRETS", "[]"),
        ("STET_CONSONANCE_WEBHOOK_SECRETS", f'{{"one": "{HELD}"}}'),
        ("STET_CONSONANCE_URL", f"ftp://{HELD}"),
        ("STET_HEALTH_PORT", HELD),
        ("STET_PUBLISHER_TIME_ZONE", f"Europe/{HELD}"),
        ("STET_SECRETS_DIR", f"/nowhere/{HELD}"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as refused:
        load_settings(IngestSettings)
    assert refused.value.setting == name
    assert HELD not in str(refused.value)


_FILES = {
    "STET_MEDIA_STORE": "file:///tmp", "STET_WHATSAPP_GRAPH_VERSION": "v25.0", "STET_WHATSAPP_TOKEN": HELD,
    "STET_WHATSAPP_GRAPH_URL": "https://graph.facebook.com", "STET_WHATSAPP_BUSINESS_ACCOUNT": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (IngestSettings, "STET_CONSONANCE_URL", "http://web.consonance.app"),
        (IngestSettings, "STET_WHATSAPP_GRAPH_URL", "http://graph.facebook.com"),
        (IngestSettings, "STET_MEDIA_HOSTS", '["lookaside.fbsbx.com", "http://files:8080"]'),
        (DispatcherSettings, "STET_WHATSAPP_GRAPH_URL", "http://graph.facebook.com"),
        (TemplateSettings, "STET_WHATSAPP_GRAPH_URL", "http://graph.facebook.com"),
        (WritebackSettings, "STET_CONSONANCE_URL", "http://Web.Consonance.app/graphql"),
    ],
)
def test_a_secret_goes_in_clear_text_only_to_hosts_that_are_named(
    settings: type[BaseSettings], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other, held in _FILES.items():
        monkeypatch.setenv(other, held)
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=f"^{name}: must begin with https://, since a secret is sent to it"):
        load_settings(settings)
    monkeypatch.setenv("STET_PLAIN_HTTP_HOSTS", '["web.consonance.app", "graph.facebook.com", "files"]')
    load_settings(settings)


def test_everything_at_fault_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STET_CONSONANCE_KEY")
    monkeypatch.setenv("STET_LISTEN_PORT", "70000")
    with pytest.raises(Misconfigured, match=r"STET_LISTEN_PORT: .*; STET_CONSONANCE_KEY: not set"):
        load_settings(IngestSettings)


_TO_RECEIVE = {name for name in GOOD if "WHATSAPP" in name} | {
    "STET_PSEUDONYM_KEY", "STET_CONSONANCE_WEBHOOK_SECRETS",
}  # fmt: skip
_TO_POLL = {"STET_CONSONANCE_URL", "STET_CONSONANCE_KEY"}


@pytest.mark.parametrize(("role", "foreign"), [("web", _TO_POLL), ("poll", _TO_RECEIVE)])
def test_a_workload_of_ingest_needs_only_what_its_role_needs(
    role: str, foreign: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_INGEST_ROLE", role)
    for name in foreign:
        monkeypatch.delenv(name)
    assert load_settings(IngestSettings).ingest_role == role
    for name in sorted((_TO_POLL | _TO_RECEIVE) - foreign):
        with monkeypatch.context() as without:
            without.delenv(name)
            with pytest.raises(Misconfigured, match=f"{name}: not set"):
                load_settings(IngestSettings)


def test_a_workload_that_only_polls_cannot_have_polling_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_INGEST_ROLE", "poll")
    monkeypatch.setenv("STET_CONSONANCE_POLL_SECONDS", "0")
    with pytest.raises(Misconfigured, match="STET_CONSONANCE_POLL_SECONDS: 0 is not for STET_INGEST_ROLE=poll"):
        load_settings(IngestSettings)


def test_a_secret_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STET_CONSONANCE_KEY")
    monkeypatch.setenv("STET_SECRETS_DIR", str(tmp_path))
    (tmp_path / "STET_CONSONANCE_KEY").write_text("from-a-file\n")
    assert load_settings(IngestSettings).consonance_key.get_secret_value() == "from-a-file"


@pytest.mark.parametrize(
    ("also", "sentence"),
    [
        ({}, "STET_DEVELOPMENT_CLOCK: also needs STET_ALLOW_DEVELOPMENT_CLOCK=1"),
        (
            {"STET_ALLOW_DEVELOPMENT_CLOCK": "1", "STET_CONSONANCE_URL": "https://consonance.example"},
            "STET_DEVELOPMENT_CLOCK: is for loopback and the Services of components/dev only, not STET_CONSONANCE_URL",
        ),
    ],
)
def test_a_development_clock_stays_at_home(
    also: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"STET_DEVELOPMENT_CLOCK": str(tmp_path / "clock"), **also}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as refused:
        load_settings(IngestSettings)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("dsn", "environment"),
    [
        ("postgresql://stet@db.example/stet", {}),
        ("postgresql://stet@127.0.0.1,db.example:5433/stet", {}),
        ("postgresql:///stet?host=db.example", {}),
        ("postgresql:///stet?host=%2Fvar%2Frun,db.example", {}),
        ("postgresql:///stet?hostaddr=203.0.113.7", {}),
        ("postgresql:///stet?host=::ffff:203.0.113.7", {}),
        ("postgresql:///stet", {"PGHOST": "db.example"}),
        ("postgresql:///stet?service=production", {}),
        ("postgresql:///stet", {"PGSERVICE": "production"}),
        ("postgresql://stet@dev-database.example/stet", {}),
        ("postgresql://stet@dev-database,database.stet.svc/stet", {}),
    ],
)
def test_a_development_clock_never_reaches_a_database_elsewhere(
    dsn: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_clock = {"STET_DEVELOPMENT_CLOCK": str(tmp_path / "clock"), "STET_ALLOW_DEVELOPMENT_CLOCK": "1"}
    for name, value in {**with_clock, "STET_POSTGRES_DSN": dsn, **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match="STET_DEVELOPMENT_CLOCK: is for loopback and"):
        load_settings(IngestSettings)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://stet:a,b%40c@127.0.0.1:5432,[::1]:5433/stet",
        "postgresql://stet@localhost/stet?host=::1",
        "postgresql://stet@/stet?host=/tmp/folder",
        "postgresql://stet@%2Ftmp%2Ffolder/stet",
        "postgresql:///stet",
        "postgresql://stet@dev-database:5432/stet",
    ],
)
def test_a_development_clock_works_with_a_database_made_for_development(
    dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_clock = {"STET_DEVELOPMENT_CLOCK": str(tmp_path / "clock"), "STET_ALLOW_DEVELOPMENT_CLOCK": "1"}
    for name, value in {**with_clock, "STET_POSTGRES_DSN": dsn}.items():
        monkeypatch.setenv(name, value)
    assert load_settings(IngestSettings).development_clock is not None


def test_a_service_reads_only_what_it_knows_from_the_folder_of_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STET_SECRETS_DIR", str(tmp_path))
    (tmp_path / "..data").mkdir()  # as Kubernetes lays a projected volume out
    for name in ("ca.crt", "STET_SIGNING_KEYS", "STET_RULES_BUNDLE_TOKEN"):
        (tmp_path / name).write_text("of another service")
    assert load_settings(IngestSettings).tenant == "penrose"


def test_topics_are_made_on_a_development_clock_without_a_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STET_DEVELOPMENT_CLOCK", str(tmp_path / "clock"))
    monkeypatch.setenv("STET_ALLOW_DEVELOPMENT_CLOCK", "1")
    for database in ("", "postgresql://127.0.0.1/stet"):
        monkeypatch.setenv("STET_POSTGRES_DSN", database)
        assert load_settings(TopicSettings).kafka_bootstrap == "127.0.0.1:9092"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('["short"]', "entry 1: it must have 16 to 256 characters"),
        (
            '["short", "shorter"]',
            "entry 1: it must have 16 to 256 characters; STET_SIGNING_KEYS: entry 2: it must have 16 to 256 characters",
        ),
        ("[1]", "entry 1: it must be text"),
        ("[]", "it has too few entries"),
    ],
)
def test_each_fault_of_a_list_is_said_once(value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_RULES_DIR", "/rules")
    monkeypatch.setenv("STET_SIGNING_KEYS", value)
    with pytest.raises(Misconfigured) as refused:
        load_settings(RulesSettings)
    assert str(refused.value) == f"STET_SIGNING_KEYS: {sentence}"
