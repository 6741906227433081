"""A name that nothing reads was misspelt: it stops the start, and the nearest right name is told."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from ops.command_settings import CommandSettings
from ops.evidence.signing import EvidenceSettings
from ops.templates import TemplateSettings
from ops.topics import TopicSettings
from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime.setting_names import KNOWN_SETTINGS, PREFIX, RENAMED_SETTINGS, SERVICE_SETTINGS, check_names

ROOT = Path(__file__).parents[2]
_NAME_OTHERS_ON_PURPOSE = {
    Path(__file__),
    ROOT / "tests" / "deploy" / "test_policies.py",
    ROOT / "shared" / "runtime" / "setting_names.py",
}
MODELS: list[type[BaseSettings]] = [
    IngestSettings, RulesSettings, DispatcherSettings, WritebackSettings,
    CommandSettings, EvidenceSettings, TemplateSettings, TopicSettings,
]  # fmt: skip


def test_the_known_names_are_those_of_all_settings() -> None:
    assert {PREFIX + field.upper() for model in MODELS for field in model.model_fields} == SERVICE_SETTINGS


def test_every_name_in_code_and_docs_is_known() -> None:
    folders = ("services", "shared", "ops", "dev", "bench", "tests", "docs")
    files = [file for folder in folders for end in ("py", "md", "sh") for file in (ROOT / folder).rglob(f"*.{end}")]
    texts = [
        file.read_text()
        for file in (*files, ROOT / "README.md", ROOT / "Makefile")
        if file not in _NAME_OTHERS_ON_PURPOSE
    ]
    named = {name for text in texts for name in re.findall(r"\bSTET_[A-Z_]*[A-Z]\b", text)}
    assert named - KNOWN_SETTINGS == set()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("STET_WHATSAPP_TOKE", "STET_WHATSAPP_TOKEN"),
        ("STET_SIGNING_KEY", "STET_SIGNING_KEYS"),
        ("STET_KAFKA_BOOTSTRAP_SERVERS", "STET_KAFKA_BOOTSTRAP"),
        ("stet_whatsapp_app_secret", "STET_WHATSAPP_APP_SECRETS"),
    ],
)
def test_a_misspelt_name_stops_the_start_and_the_right_one_is_told(name: str, near: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        check_names({name: "a value", "PATH": "/bin"})
    assert refused.value.setting == name
    assert f"did you mean {near}?" in str(refused.value)
    assert "a value" not in str(refused.value)


@pytest.mark.parametrize("former", sorted(RENAMED_SETTINGS))
def test_a_former_name_stops_the_start_and_the_new_one_is_named(former: str) -> None:
    new = RENAMED_SETTINGS[former]
    with pytest.raises(Misconfigured, match=f"it is called {new} now"):
        check_names({former: "a value"})
    assert former not in KNOWN_SETTINGS
    assert new in SERVICE_SETTINGS


def test_all_misspelt_names_are_told_at_once() -> None:
    with pytest.raises(Misconfigured, match=r"STET_WHATSAPP_LINE.*STET_WHATSAPP_TOKE"):
        check_names({"STET_WHATSAPP_TOKE": "", "STET_WHATSAPP_LINE": ""})


def test_a_misspelt_file_of_secrets_stops_the_start_too(tmp_path: Path) -> None:
    for name in ("STET_WHATSAPP_TOKE", "..data", "tls.key", "STET_WHATSAPP_LINES"):
        (tmp_path / name).touch()
    with pytest.raises(Misconfigured, match=r"STET_WHATSAPP_TOKE: a file in STET_SECRETS_DIR.*STET_WHATSAPP_TOKEN"):
        check_names({}, tmp_path)


def test_variables_that_kubernetes_adds_for_a_service_are_no_settings() -> None:
    check_names(
        {
            "STET_INGEST_SERVICE_HOST": "10.0.0.7", "STET_INGEST_SERVICE_PORT": "8080",
            "STET_INGEST_SERVICE_PORT_HTTP": "8080", "STET_INGEST_PORT": "tcp://10.0.0.7:8080",
            "STET_INGEST_PORT_8080_TCP": "tcp://10.0.0.7:8080", "STET_INGEST_PORT_8080_TCP_ADDR": "10.0.0.7",
            "STET_INGEST_PORT_8080_TCP_PORT": "8080", "STET_INGEST_PORT_8080_TCP_PROTO": "tcp",
        }
    )  # fmt: skip
