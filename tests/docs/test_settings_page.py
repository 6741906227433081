"""The page of settings is what the code declares, and every setting says what it is for."""

import json
from pathlib import Path

from ops.settings import all_settings, settings_page
from shared.runtime.setting_names import SERVICE_SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "settings.md"


def test_the_page_is_what_the_code_declares() -> None:
    assert PAGE.read_text() == settings_page(), "print it anew: stet settings --page > docs/operations/settings.md"


def test_every_setting_is_on_the_page_with_its_meaning() -> None:
    settings = all_settings()
    assert {one.name for one in settings} == SERVICE_SETTINGS
    assert [one.name for one in settings if not one.meaning.endswith(".")] == []


def test_settings_of_a_secret_type_are_marked_as_secret() -> None:
    secret = {one.name for one in all_settings() if one.is_secret}
    assert {"STET_POSTGRES_DSN", "STET_SIGNING_KEYS", "STET_OTLP_HEADERS", "STET_KAFKA_SASL_PASSWORD"} <= secret
    assert not {"STET_TENANT", "STET_WHATSAPP_LINES"} & secret


def test_the_default_of_a_list_is_written_as_it_is_in_the_environment() -> None:
    defaults = [one.default for one in all_settings() if one.type.startswith("JSON") and one.default]
    given = [default for default in defaults if not default.startswith("required")]
    assert given
    assert all(isinstance(json.loads(default), list | dict) for default in given)
