"""A secret that cannot be one stops the start: its setting is named, and what is wrong with it, but not what it is."""

import base64
import json

import pytest
from pydantic_settings import BaseSettings

from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime.settings import load_settings

GOOD = {
    "STET_TENANT": "penrose",
    "STET_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "STET_POSTGRES_DSN": "postgresql://stet@127.0.0.1/stet",
    "STET_WHATSAPP_APP_SECRETS": json.dumps(["0c9d" * 8, "77e1" * 8]),
    "STET_WHATSAPP_VERIFY_TOKEN": "chosen-by-us",
    "STET_PSEUDONYM_KEY": "5a" * 32,
    "STET_CONSONANCE_URL": "http://127.0.0.1:8000",
    "STET_CONSONANCE_KEY": "given-by-support",
    "STET_CONSONANCE_WEBHOOK_SECRETS": json.dumps(["whsec_" + base64.b64encode(bytes(64)).decode()]),
    "STET_RULES_DIR": "rules",
    "STET_SIGNING_KEYS": json.dumps(["new-key-of-ours!", "old-key-of-ours!"]),
    "STET_WHATSAPP_GRAPH_URL": "https://graph.facebook.com",
    "STET_WHATSAPP_GRAPH_VERSION": "v25.0",
    "STET_WHATSAPP_TOKEN": "EAAG" + "x" * 190,
    "STET_WHATSAPP_LINES": '{"main": "106540352242922"}',
}


def whsec(size: int) -> str:
    return "whsec_" + base64.b64encode(b"q" * size).decode()


@pytest.fixture(autouse=True)
def _good(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("settings", [IngestSettings, RulesSettings, DispatcherSettings, WritebackSettings])
def test_good_secrets_are_taken(settings: type[BaseSettings]) -> None:
    load_settings(settings)


@pytest.mark.parametrize(
    "held", ["", " ", "sh0rt", "7" * 31 + "\u00e9", "77e1 " * 8, "77e1\n" * 8, "'" + "77e1" * 8 + "'"]
)
def test_an_app_secret_that_cannot_be_one_is_refused(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses(IngestSettings, "STET_WHATSAPP_APP_SECRETS", ["0c9d" * 8, held], monkeypatch)


@pytest.mark.parametrize(
    "held",
    ["", whsec(23), whsec(65), whsec(32).removeprefix("whsec_"), "whsec_", "whsec_not base64", whsec(32)[:-1] + "!",
     f'"{whsec(32)}"', "sk_" + "x" * 40],
)  # fmt: skip
def test_a_webhook_secret_that_cannot_be_one_is_refused(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses(IngestSettings, "STET_CONSONANCE_WEBHOOK_SECRETS", [whsec(32), held], monkeypatch)


@pytest.mark.parametrize("held", ["", "sh0rt", "a key with blanks in it", "fifteen-letters"])
def test_a_signing_key_that_cannot_be_one_is_refused(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses(RulesSettings, "STET_SIGNING_KEYS", ["new-key-of-ours!", held], monkeypatch)


@pytest.mark.parametrize(
    ("settings", "name", "held"),
    [
        (IngestSettings, "STET_WHATSAPP_VERIFY_TOKEN", "verify"),
        (IngestSettings, "STET_WHATSAPP_VERIFY_TOKEN", "verify me please"),
        (IngestSettings, "STET_PSEUDONYM_KEY", "of-less-than-thirty-two-letters"),
        (IngestSettings, "STET_CONSONANCE_KEY", "given-by-support\r\nX-More: 1"),
        (WritebackSettings, "STET_CONSONANCE_KEY", "given by support"),
        (DispatcherSettings, "STET_WHATSAPP_TOKEN", "Bearer EAAG" + "x" * 190),
        (DispatcherSettings, "STET_WHATSAPP_TOKEN", '"EAAG' + "x" * 190 + '"'),
    ],
)
def test_a_credential_that_cannot_be_one_is_refused(
    settings: type[BaseSettings], name: str, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses(settings, name, held, monkeypatch)


def test_blanks_and_line_breaks_around_a_value_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a Secret that was made with echo, which a pod gets as a variable."""
    token, secrets = GOOD["STET_WHATSAPP_TOKEN"], ["new-key-of-ours!\n"]
    monkeypatch.setenv("STET_WHATSAPP_TOKEN", f"{token}\n")
    monkeypatch.setenv("STET_WHATSAPP_GRAPH_URL", "https://graph.facebook.com\r\n")
    monkeypatch.setenv("STET_POSTGRES_PASSWORD", " a word\n")
    monkeypatch.setenv("STET_SIGNING_KEYS", json.dumps(secrets))
    settings = load_settings(DispatcherSettings)
    assert settings.whatsapp_token.get_secret_value() == token
    assert settings.endpoint().graph_url == "https://graph.facebook.com"
    assert settings.dsn.endswith("?password=a%20word")
    assert load_settings(RulesSettings).signing_keys[0].get_secret_value() == "new-key-of-ours!"


@pytest.mark.parametrize("name", ["STET_WHATSAPP_APP_SECRETS", "STET_CONSONANCE_WEBHOOK_SECRETS"])
def test_a_list_of_no_secrets_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses(IngestSettings, name, [], monkeypatch)


def refuses(settings: type[BaseSettings], name: str, held: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, held if isinstance(held, str) else json.dumps(held))
    with pytest.raises(Misconfigured) as refused:
        load_settings(settings)
    assert refused.value.setting == name
    secret = str(held[-1] if held else "") if isinstance(held, list) else str(held)
    assert not secret.strip() or secret.strip() not in str(refused.value)
