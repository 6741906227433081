"""Lines and the WhatsApp business accounts that they belong to."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.dispatcher.app import open_document_clients
from services.dispatcher.documents import DocumentRefused
from services.dispatcher.reasons import MessageReason
from services.dispatcher.settings import DispatcherSettings


def _settings(**changes: Any) -> DispatcherSettings:
    given = {
        "tenant": "penrose",
        "kafka_bootstrap": "127.0.0.1:1",
        "postgres_dsn": "postgresql://127.0.0.1:1/stet",
        "whatsapp_graph_url": "https://graph.facebook.com",
        "whatsapp_graph_version": "v25.0",
        "whatsapp_token": "EAAG" + "x" * 60,
        "whatsapp_lines": {"main": "1", "rights": "2", "sales": "3"},
    }
    return DispatcherSettings(**(given | changes))


@pytest.mark.parametrize(
    ("named", "accounts", "of_lines"),
    [
        ({}, [], {}),
        ({"whatsapp_business_account": "10"}, ["10"], dict.fromkeys(("main", "rights", "sales"), "10")),
        (
            {"whatsapp_business_account": "10", "whatsapp_accounts": {"sales": "20"}},
            ["10", "20"],
            {"main": "10", "rights": "10", "sales": "20"},
        ),
        ({"whatsapp_accounts": {"main": "10", "sales": "20"}}, ["10", "20"], {"main": "10", "sales": "20"}),
    ],
)
def test_a_line_belongs_to_the_account_that_settings_name(
    named: dict[str, Any], accounts: list[str], of_lines: dict[str, str]
) -> None:
    settings = _settings(**named)
    assert (settings.accounts, settings.accounts_of_lines) == (accounts, of_lines)
    assert [endpoint.account for endpoint in settings.template_endpoints()] == accounts
    assert settings.reads_templates is bool(accounts)


@pytest.mark.parametrize("setting", ["whatsapp_accounts", "whatsapp_rates"])
def test_a_misspelt_line_is_named(setting: str) -> None:
    with pytest.raises(ValidationError, match=f"STET_{setting.upper()} names the line “slaes”"):
        _settings(**{setting: {"slaes": "20"}})


async def test_a_document_is_refused_where_no_setting_names_a_place_of_documents() -> None:
    async with open_document_clients(_settings()) as (source, _):
        with pytest.raises(DocumentRefused) as refused:
            source.open("https://files.example/proof.pdf")
    assert refused.value.reason is MessageReason.DOCUMENT_NOT_ALLOWED
    async with open_document_clients(_settings(document_hosts=("files.example",))) as (source, uploads):
        assert (type(source).__name__, type(uploads).__name__) == ("DocumentSource", "WhatsAppUploads")
