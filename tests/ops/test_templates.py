"""``stet templates`` against the simulator over a real socket, and what it says of templates on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copytree
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from dev.postgres import login_of
from dev.whatsapp.template_account import TemplateAccount
from shared.clients.graph_api import TemplateClient, TemplateEndpoint
from tests.dev.whatsapp.simulator_under_test import ACCOUNT, TOKEN, SimulatorUnderTest, running_simulator
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import BOOK
from tests.web_servers import serving

APP = "670843887433847"
PDF = b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n%%EOF\n"
STATEMENT = """\
template: statement_cover
category: utility
version: 1
header: document
example: samples/statement.pdf
languages:
  en: {body: "Your statement for this half year is ready now."}
  fr: {body: "Votre relevé de ce semestre est disponible."}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = copytree(BOOK, tmp_path / "rules")
    (folder / "royalties" / "samples").mkdir(parents=True)
    (folder / "royalties" / "statement_cover.template.yaml").write_text(STATEMENT)
    (folder / "royalties" / "samples" / "statement.pdf").write_bytes(PDF)
    return folder


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorUnderTest]:
    async with running_simulator(None, review_seconds=0, app=APP) as simulator:
        monkeypatch.setenv("STET_WHATSAPP_GRAPH_URL", simulator.url)
        monkeypatch.setenv("STET_WHATSAPP_GRAPH_VERSION", "v25.0")
        monkeypatch.setenv("STET_WHATSAPP_TOKEN", TOKEN)
        monkeypatch.setenv("STET_WHATSAPP_BUSINESS_ACCOUNT", ACCOUNT)
        monkeypatch.setenv("STET_WHATSAPP_APP", APP)
        yield simulator


async def stet(*arguments: str | Path) -> int:
    """In a thread, since the simulator answers in this one."""
    return await asyncio.to_thread(run_stet, "templates", *map(str, arguments))


def rows_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """An object a line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def listed(simulator: SimulatorUnderTest) -> dict[tuple[str, str], dict[str, Any]]:
    async with TemplateClient(TemplateEndpoint(simulator.url, "v25.0", ACCOUNT, TOKEN)) as client:
        return {(entry["name"], entry["language"]): entry for entry in await client.list()}


async def test_a_plan_says_what_is_missing_and_changes_nothing(
    simulator: SimulatorUnderTest, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await stet("plan", folder) == 1
    printed = capsys.readouterr()
    assert "permission_request_v1" in printed.out
    assert "to create" in printed.err
    assert await stet("plan", folder, "--format", "json") == 1
    rows = rows_of(capsys)
    assert {row["action"] for row in rows} == {"create"}
    assert {"template", "language", "status", "category", "note", "file"} <= rows[0].keys()
    assert await listed(simulator) == {}


async def test_apply_is_dry_unless_it_is_told(
    simulator: SimulatorUnderTest, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await stet("apply", folder) == 1
    assert "a dry run; --yes creates and edits" in capsys.readouterr().err
    assert await listed(simulator) == {}


async def test_apply_creates_what_is_missing_and_uploads_an_example_once(
    simulator: SimulatorUnderTest, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await stet("apply", folder, "--yes", "--format", "json") == 0
    rows = rows_of(capsys)
    assert {row["action"] for row in rows} == {"created"}
    found = await listed(simulator)
    assert found.keys() == {(row["template"], row["language"]) for row in rows}
    headers = [found["statement_cover_v1", language]["components"][0] for language in ("en", "fr")]
    assert headers[0]["format"] == "DOCUMENT"
    assert headers[0] == headers[1], "the example was uploaded once for both languages"
    await simulator.rest()
    assert await stet("plan", folder) == 0
    assert f"the account has all {len(rows)} templates as written" in capsys.readouterr().out
    assert await stet("apply", folder, "--yes") == 0


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("content", "app", "note"),
    [
        (None, APP, "cannot be read: No such file"),
        (b"", APP, "is empty, and no PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(16), APP, "is image/png, and no PDF"),
        (PDF, "", "set STET_WHATSAPP_APP"),
    ],
)
async def test_a_template_whose_example_cannot_be_uploaded_is_left_to_a_person(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    app: str,
    note: str,
) -> None:
    example = folder / "royalties" / "samples" / "statement.pdf"
    example.unlink() if content is None else example.write_bytes(content)
    if not app:
        monkeypatch.delenv("STET_WHATSAPP_APP")
    assert await stet("apply", folder, "--yes", "--format", "json") == 1
    rows = {row["template"]: row for row in rows_of(capsys)}
    assert rows["statement_cover_v1"]["action"] == "act"
    assert note in rows["statement_cover_v1"]["note"]
    assert rows["permission_request_v1"]["action"] == "created"


@pytest.mark.usefixtures("simulator")
async def test_a_category_that_meta_chooses_at_once_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the creation has it, and no webhook need follow."""
    create = TemplateAccount.create
    monkeypatch.setattr(TemplateAccount, "create", lambda *args: {**create(*args), "category": "MARKETING"})
    assert await stet("apply", folder, "--yes", "--format", "json") == 1
    for row in rows_of(capsys):
        assert (row["action"], row["category"]) == ("created", "MARKETING")
        assert "Meta moved it to MARKETING" in row["note"]


@pytest.mark.usefixtures("simulator")
async def test_a_template_that_meta_refuses_is_reported_and_the_others_are_applied(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_WHATSAPP_APP", "1")
    assert await stet("apply", folder, "--yes", "--format", "json") == 1
    rows = {row["template"]: row for row in rows_of(capsys)}
    assert rows["statement_cover_v1"]["action"] == "refused"
    assert "does not exist" in rows["statement_cover_v1"]["note"]
    assert rows["permission_request_v1"]["action"] == "created"


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("STET_WHATSAPP_TOKEN", "EAAG-another", "STET_WHATSAPP_TOKEN"),
        ("STET_WHATSAPP_BUSINESS_ACCOUNT", "not a number", "STET_WHATSAPP_BUSINESS_ACCOUNT"),
        ("STET_WHATSAPP_GRAPH_URL", "http://127.0.0.1:1", "STET_WHATSAPP_GRAPH_URL"),
    ],
)
async def test_a_wrong_setting_is_named(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv(setting, value)
    assert await stet("plan", folder) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "EAAG" not in printed.err + printed.out


@pytest.mark.usefixtures("simulator")
async def test_rules_with_faults_are_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "house.yaml").write_text("publisher: [")
    assert await stet("plan", folder) == 2
    assert "run stet rules check" in capsys.readouterr().err


@pytest.mark.integration
async def test_the_status_of_templates_is_that_of_the_database(
    postgres_database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_POSTGRES_DSN", login_of(postgres_database, "operator"))
    monkeypatch.setenv("STET_TENANT", "penrose")
    assert await stet("status") == 0
    printed = capsys.readouterr()
    assert "Meta has reported nothing of any template yet" in printed.out
    assert "was never read" in printed.err
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(
        "insert into dispatcher.account_templates"
        " (tenant, account, name, language, status, category, reason, reported_at)"
        " values ('penrose', '1', 'hello_v1', 'en', 'REJECTED', 'UTILITY', 'SCAM', now()),"
        " ('another', '1', 'theirs_v1', 'en', 'REJECTED', 'UTILITY', 'SCAM', now())"
    )
    await connection.close()
    assert await stet("status", "--format", "json") == 1
    (row,) = rows_of(capsys)
    assert (row["template"], row["status"], row["reason"], row["waiting"]) == ("hello_v1", "REJECTED", "SCAM", 0)
    assert "account" not in row


OTHER = "209000000000001"


@pytest.fixture
async def two_accounts(
    simulator: SimulatorUnderTest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SimulatorUnderTest]:
    """A Graph API with a second account, whose calls go to a simulator of its own; yields that one."""
    async with running_simulator(None, review_seconds=0, app=APP, business_account=OTHER) as other:

        async def forward(request: web.Request) -> web.Response:
            to = other if f"/{OTHER}/" in request.path else simulator
            kept = {
                name: request.headers[name]
                for name in ("Authorization", "Content-Type", "file_offset")
                if name in request.headers
            }
            async with aiohttp.request(
                request.method, f"{to.url}{request.rel_url}", data=await request.read(), headers=kept
            ) as answer:
                return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")

        async with serving([web.route("*", "/{path:.*}", forward)]) as url:
            monkeypatch.setenv("STET_WHATSAPP_GRAPH_URL", url)
            monkeypatch.setenv("STET_WHATSAPP_ACCOUNTS", json.dumps({"acquisitions": OTHER}))
            yield other


async def test_one_account_of_all_lines_may_be_named_by_the_lines_alone(
    simulator: SimulatorUnderTest,
    two_accounts: SimulatorUnderTest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "royalties" / "statement_cover.template.yaml").unlink()
    monkeypatch.delenv("STET_WHATSAPP_BUSINESS_ACCOUNT")
    assert await stet("apply", folder, "--yes") == 0
    async with TemplateClient(TemplateEndpoint(two_accounts.url, "v25.0", OTHER, TOKEN)) as client:
        assert await client.list()
    assert not await listed(simulator)
    await two_accounts.rest()


@pytest.mark.usefixtures("simulator")
async def test_a_plan_without_any_account_names_the_settings(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STET_WHATSAPP_BUSINESS_ACCOUNT")
    assert await stet("plan", folder) == 2
    printed = capsys.readouterr().err
    assert "STET_WHATSAPP_BUSINESS_ACCOUNT" in printed
    assert "STET_WHATSAPP_ACCOUNTS" in printed


async def test_each_account_gets_the_templates(
    simulator: SimulatorUnderTest,
    two_accounts: SimulatorUnderTest,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "royalties" / "statement_cover.template.yaml").unlink()
    assert await stet("apply", folder, "--yes", "--format", "json") == 0
    rows = rows_of(capsys)
    by_account = {
        account: {row["template"] for row in rows if row["account"] == account} for account in (ACCOUNT, OTHER)
    }
    assert by_account[ACCOUNT] == by_account[OTHER]
    async with TemplateClient(TemplateEndpoint(two_accounts.url, "v25.0", OTHER, TOKEN)) as client:
        assert {entry["name"] for entry in await client.list()} == by_account[OTHER]
    assert {name for name, _ in await listed(simulator)} == by_account[ACCOUNT]
    await simulator.rest()
    await two_accounts.rest()
    assert await stet("plan", folder) == 0


_WAITING = """
    insert into dispatcher.messages (
        tenant, message_id, person_id, line, lane, state, reason, content, button_ids, template_name, template_language,
        resend, requested_at, expires_at, not_before, changed_at, request_event, say
    )
    select 'penrose', 'm' || name, 'p', 'acquisitions', 1, 'waiting', reason, '{}', '{}', name, 'en', 'never', now(),
        now(), now(), now(), 'e', 's'
    from (values
        ('hello_v1', 'template_paused'), ('gone_v1', 'template_missing'), ('refused_v1', 'template_throttled')
    ) as t (name, reason)
"""


async def test_the_status_tells_the_accounts_apart(
    postgres_database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "STET_POSTGRES_DSN": login_of(postgres_database, "operator"),
        "STET_TENANT": "penrose",
        "STET_WHATSAPP_BUSINESS_ACCOUNT": ACCOUNT,
        "STET_WHATSAPP_ACCOUNTS": json.dumps({"acquisitions": OTHER}),
    }.items():
        monkeypatch.setenv(name, value)
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(
        "insert into dispatcher.account_templates (tenant, account, name, language, status, category, reported_at)"
        " select 'penrose', account, 'hello_v1', 'en', status, 'UTILITY', now()"
        " from unnest($1::text[], array['APPROVED', 'PAUSED']) as t (account, status)",
        [ACCOUNT, OTHER],
    )
    await connection.execute(_WAITING)
    await connection.close()
    assert await stet("status", "--format", "json") == 1
    rows = [(row["account"], row["template"], row["status"], row["waiting"]) for row in rows_of(capsys)]
    assert rows == [
        (ACCOUNT, "hello_v1", "APPROVED", 0),
        (OTHER, "gone_v1", "MISSING", 1),
        (OTHER, "hello_v1", "PAUSED", 1),
        (OTHER, "refused_v1", "UNKNOWN", 1),
    ]
