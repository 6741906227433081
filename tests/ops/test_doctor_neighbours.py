"""The doctor tries the neighbours of each service as the service uses them, and says what to do about what fails."""

import asyncio
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dev.ports import LOOPBACK
from ops import file_checks, web_checks, whatsapp_checks
from ops.command_line import Service
from ops.findings import Finding, Result
from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime import tracing
from tests.buckets import bucket
from tests.dev.whatsapp.simulator_under_test import (
    ACCOUNT,
    ACQUISITIONS,
    MAIN,
    SECRET,
    TOKEN,
    SimulatorUnderTest,
    running_simulator,
)
from tests.services.ingest.test_media_checks import clamd
from tests.shared.certificates import Authority
from tests.web_servers import serving

_NOBODY = 65534
SHARED = {"kafka_bootstrap": "127.0.0.1:1", "postgres_dsn": "postgresql://127.0.0.1:1/stet", "tenant": "penrose"}
GRAPH = {
    "whatsapp_graph_url": "http://127.0.0.1:1",
    "whatsapp_graph_version": "v25.0",
    "whatsapp_token": "5" * 32,
    "whatsapp_lines": {"main": "222222222222222"},
}
RECEIVING = {
    "ingest_role": "web",
    "whatsapp_app_secrets": ["5" * 32],
    "whatsapp_verify_token": "a-verify-token-of-ours",
    "pseudonym_key": "5" * 64,
    "consonance_webhook_secrets": ["whsec_ZGV2ZWxvcG1lbnQtZGV2ZWxvcG1lbnQtMDAwMDA="],
}


def ingest(**given: Any) -> IngestSettings:
    return IngestSettings(**{**SHARED, **RECEIVING, **GRAPH, **given})


def dispatcher(**given: Any) -> DispatcherSettings:
    return DispatcherSettings(**{**SHARED, **GRAPH, **given})


def writeback(url: str, **given: Any) -> WritebackSettings:
    return WritebackSettings(**{**SHARED, "consonance_url": url, "consonance_key": "5" * 32, **given})


def only(findings: Any) -> Finding:
    (found,) = findings
    assert isinstance(found, Finding)
    return found


# ------------------------------------------------------------------ stores


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder without the right to write; the test is an ordinary user for as long as it lasts."""
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "files"
        made.mkdir(mode=0o555)
        Path(name).chmod(0o755)
        before = os.geteuid()
        if before == 0:
            os.seteuid(_NOBODY)  # no right keeps root from writing
        try:
            yield made
        finally:
            os.seteuid(before)
            made.chmod(0o755)


async def media_finding(url: str) -> Finding:
    return only(await file_checks.check_media_store(ingest(media_store=url), Service.INGEST))


async def test_the_probe_of_the_media_store_leaves_no_file(tmp_path: Path) -> None:
    assert (await media_finding(tmp_path.as_uri())).result is Result.FINE
    assert list((tmp_path / "penrose").iterdir()) == []


async def test_a_folder_that_may_not_be_written_is_named_with_the_cause(unwritable: Path) -> None:
    found = await media_finding(unwritable.as_uri())
    assert found.result is Result.WRONG
    assert found.sentence.startswith(f"STET_MEDIA_STORE: an object cannot be written to {unwritable.as_uri()}")
    assert "(permission denied)" in found.sentence


@pytest.mark.parametrize(
    ("denied", "result", "sentence"),
    [
        ([], Result.FINE, "s3://files takes an object and deletes it again"),
        (["GetObject", "ListBucket"], Result.FINE, "s3://files takes an object and deletes it again"),
        (["PutObject"], Result.WRONG, "an object cannot be written to s3://files (the store says: permission denied)"),
        (["DeleteObject"], Result.WRONG, "the object cannot be deleted again (the store says: permission denied)"),
    ],
)
async def test_of_a_bucket_the_right_that_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, denied: list[str], result: Result, sentence: str
) -> None:
    async with bucket(monkeypatch, denied) as made:
        found = await media_finding("s3://files")
    assert found.result is result, found
    assert sentence in found.sentence
    assert bool(made.objects) is ("DeleteObject" in denied)


@pytest.mark.parametrize(
    ("denied", "result", "sentence"),
    [
        (["PutObject", "DeleteObject"], Result.FINE, "can be listed and read"),
        (["GetObject"], Result.WRONG, "can be listed, and not read"),
        (["GetObject", "ListBucket"], Result.WRONG, "let the dispatcher read and list"),
    ],
)
async def test_the_store_of_documents_is_read_and_never_written(
    monkeypatch: pytest.MonkeyPatch, denied: list[str], result: Result, sentence: str
) -> None:
    settings = dispatcher(document_store="s3://files")
    async with bucket(monkeypatch, denied) as made:
        made.objects["contract.pdf"] = b"%PDF"
        found = only(await file_checks.check_document_store(settings, Service.DISPATCHER))
    assert found.result is result, found
    assert sentence in found.sentence
    assert made.objects == {"contract.pdf": b"%PDF"}


async def test_a_folder_of_documents_that_is_not_mounted_is_not_created(tmp_path: Path) -> None:
    settings = dispatcher(document_store=(tmp_path / "gone").as_uri())
    found = only(await file_checks.check_document_store(settings, Service.DISPATCHER))
    assert found.sentence.startswith("STET_DOCUMENT_STORE: there is no folder")
    assert not (tmp_path / "gone").exists()


# ------------------------------------------------------------------ clamd and hosts


async def scanner_finding(address: str, most_mb: int = 2) -> Finding:
    settings = ingest(media_store="file:///tmp", media_scanner=address, media_max_mb=most_mb)
    return only(await file_checks.check_scanner(settings, Service.INGEST))


async def test_clamd_is_asked_and_scans_as_much_as_the_largest_file() -> None:
    async with clamd(most=2_000_000) as scanner:
        found = await scanner_finding(scanner.address)
        assert found.result is Result.FINE, found
        assert list(map(len, scanner.streams)) == [2_000_000]
    async with clamd(most=1_500_000) as scanner:
        found = await scanner_finding(scanner.address)
    assert found.result is Result.WRONG
    assert "StreamMaxLength" in found.sentence


async def test_a_scanner_that_is_away_or_is_no_clamd_is_named() -> None:
    assert "does not answer (clamd: connection refused)" in (await scanner_finding("tcp://127.0.0.1:1")).sentence

    async def other(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example\r\n\0")
        writer.close()

    async with await asyncio.start_server(other, LOOPBACK, 0) as server:
        found = await scanner_finding(f"tcp://{LOOPBACK}:{server.sockets[0].getsockname()[1]}")
    assert "no clamd" in found.sentence


async def test_each_host_of_files_is_asked() -> None:
    async with serving([]) as url:
        settings = dispatcher(document_hosts=[url, "http://127.0.0.1:1"])
        there, away = await file_checks.check_document_hosts(settings, Service.DISPATCHER)
    assert (there.result, away.result) == (Result.FINE, Result.WRONG)
    assert "STET_DOCUMENT_HOSTS: http://127.0.0.1:1 does not answer" in away.sentence


# ------------------------------------------------------------------ the collector


@asynccontextmanager
async def collector(status: int = 200, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """A receiver of OTLP over HTTP."""
    asked: list[str] = []

    async def traces(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request.headers.get("Authorization", ""))
        return web.Response(status=status, content_type="application/x-protobuf")

    app = web.Application()
    app.add_routes([web.post("/v1/traces", traces)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
    try:
        yield f"{'https' if context else 'http'}://{LOOPBACK}:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def collector_finding(url: str, **given: Any) -> Finding:
    return only(await web_checks.check_collector(dispatcher(otlp_endpoint=url, **given), Service.DISPATCHER))


async def test_a_collector_gets_an_empty_request_with_the_headers() -> None:
    async with collector() as (url, asked):
        found = await collector_finding(url, otlp_headers={"Authorization": "Bearer t"})
    assert found.result is Result.FINE, found
    assert asked == ["Bearer t"]


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "STET_OTLP_HEADERS"), (503, "takes no traces (HTTP 503)"), (302, "HTTP 302")]
)
async def test_the_finding_names_the_reason_why_a_collector_refused_spans(status: int, sentence: str) -> None:
    async with collector(status) as (url, _):
        found = await collector_finding(url)
    assert found.result is Result.WRONG
    assert sentence in found.sentence


async def test_another_path_and_another_protocol_are_recognized() -> None:
    async with collector() as (url, _):
        assert "without /v1/traces" in (await collector_finding(f"{url}/v1/traces")).sentence
    assert "does not answer" in (await collector_finding("http://127.0.0.1:1")).sentence

    async def grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The settings frame of HTTP/2, with which a server of gRPC begins."""
        await reader.read(100)
        writer.write(bytes.fromhex("000000040000000000"))
        writer.close()

    async with await asyncio.start_server(grpc, LOOPBACK, 0) as server:
        found = await collector_finding(f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}")
    assert "4317" in found.sentence, found


async def test_the_certificates_of_a_collector_are_checked_both_ways(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, ours = authority.issue("collector"), authority.issue("stet-dispatcher")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    mutual = {"otlp_tls_certificate_file": ours.certificate, "otlp_tls_key_file": ours.key}
    async with collector(context=context) as (url, _):
        trusted = await collector_finding(url, otlp_tls_ca_file=authority.ca_file, **mutual)
        untrusted = await collector_finding(url)
        without = await collector_finding(url, otlp_tls_ca_file=authority.ca_file)
    assert trusted.result is Result.FINE, trusted
    assert "STET_OTLP_TLS_CA_FILE" in untrusted.sentence
    assert "STET_OTLP_TLS_CERTIFICATE_FILE" in without.sentence


async def test_without_a_file_of_authorities_doctor_and_service_trust_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("collector")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.certificate, server.key)
    async with collector(context=context) as (url, asked):
        assert (await collector_finding(url)).result is Result.FINE
        provider = tracing._provider_for(url, "rules", dispatcher(otlp_endpoint=url))
        provider.get_tracer("stet").start_span("probe").end()
        await asyncio.to_thread(provider.shutdown)
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_our_file_of_authorities_outranks_those_that_the_exporters_library_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As the platform sets one for every container."""
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    server = authority.issue("collector")
    monkeypatch.setenv(name, str(other.ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.certificate, server.key)
    async with collector(context=context) as (url, asked):
        settings = dispatcher(otlp_endpoint=url, otlp_tls_ca_file=authority.ca_file)
        provider = tracing._provider_for(url, "rules", settings)
        provider.get_tracer("stet").start_span("probe").end()
        await asyncio.to_thread(provider.shutdown)
    assert len(asked) == 1


# ------------------------------------------------------------------ WhatsApp and Consonance


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (190, "STET_WHATSAPP_TOKEN: WhatsApp refuses it"),
        (100, "does not know account 111111111111111"),
        (10, "whatsapp_business_management"),
        (200, "whatsapp_business_management"),
    ],
)
async def test_the_account_whose_templates_are_read_is_tried(code: int, sentence: str) -> None:
    async def number(_: web.Request) -> web.Response:
        return web.json_response({"id": "222222222222222"})

    async def templates(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": code}}, status=400)

    routes = [web.get("/v25.0/222222222222222", number), web.get("/v25.0/111111111111111/message_templates", templates)]
    async with serving(routes) as url:
        settings = dispatcher(whatsapp_graph_url=url, whatsapp_business_account="111111111111111")
        line, account = await whatsapp_checks.check_whatsapp(settings, Service.DISPATCHER)
    assert line.result is Result.FINE
    assert account.result is Result.WRONG
    assert sentence in account.sentence


async def test_a_redirect_is_no_answer_and_takes_the_key_nowhere() -> None:
    """The services do not follow it either."""
    reached = []

    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/graphql")

    async def graphql(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.json_response({"data": {"__typename": "Query"}})

    async with serving([web.post("/moved", moved), web.post("/graphql", graphql)]) as url:
        found = only(await web_checks.check_consonance(writeback(f"{url}/moved"), Service.WRITEBACK))
    assert found.result is Result.WRONG
    assert reached == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (429, "limits how often we ask (HTTP 429)"),
        (500, "is down or overloaded, or a proxy before it cannot reach it (HTTP 500)"),
        (503, "is down or overloaded, or a proxy before it cannot reach it (HTTP 503)"),
    ],
)
async def test_a_neighbour_that_fails_is_not_taken_for_a_wrong_address(status: int, said: str) -> None:
    async def fail(_: web.Request) -> web.Response:
        return web.Response(text="<html>try later</html>", status=status)

    async with serving([web.post("/graphql", fail), web.get("/{path:.*}", fail)]) as url:
        consonance = only(await web_checks.check_consonance(writeback(f"{url}/graphql"), Service.WRITEBACK))
        whatsapp = await whatsapp_checks.check_whatsapp(dispatcher(whatsapp_graph_url=url), Service.DISPATCHER)
    for found in (consonance, whatsapp[0]):
        assert found.result is Result.WRONG
        assert f"{url}{'/graphql' if found is consonance else ''} {said}" in found.sentence
        assert "nothing is lost" in found.sentence


async def test_a_mapping_that_cannot_be_read_is_named() -> None:
    with pytest.raises(Misconfigured, match="STET_CONSONANCE_MAPPING"):
        await web_checks.check_mapping(
            writeback("http://127.0.0.1:1", consonance_mapping="/gone.yaml"), Service.WRITEBACK
        )


async def test_a_mapping_whose_consonance_is_away_is_valid_and_untried() -> None:
    found = only(await web_checks.check_mapping(writeback("http://127.0.0.1:1"), Service.WRITEBACK))
    assert found.result is Result.WARNING


NUMBERS = {"main": MAIN, "acquisitions": ACQUISITIONS}
OTHER_SECRET = "e1" * 16


async def whatsapp_findings(simulator: SimulatorUnderTest, **given: Any) -> list[Finding]:
    settings = dispatcher(**{
        "whatsapp_graph_url": simulator.url, "whatsapp_token": TOKEN, "whatsapp_lines": NUMBERS,
        "whatsapp_business_account": ACCOUNT, **given,
    })  # fmt: skip
    return list(await whatsapp_checks.check_whatsapp(settings, Service.DISPATCHER))


async def app_secret_findings(simulator: SimulatorUnderTest, *secrets: str, **given: Any) -> list[Finding]:
    settings = ingest(**{
        "whatsapp_graph_url": simulator.url, "whatsapp_token": TOKEN, "whatsapp_lines": NUMBERS,
        "whatsapp_app_secrets": list(secrets), **given,
    })  # fmt: skip
    return list(await whatsapp_checks.check_app_secrets(settings, Service.INGEST))


async def call_subscribed_apps(simulator: SimulatorUnderTest, method: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{simulator.url}/v25.0/{ACCOUNT}/subscribed_apps"
    async with simulator.session.request(method, url, headers=headers) as answer:
        assert answer.status == 200


async def test_an_account_that_sends_its_webhooks_elsewhere_is_named_with_the_call_that_mends_it() -> None:
    async with running_simulator(None) as simulator:
        assert {one.result for one in await whatsapp_findings(simulator)} == {Result.FINE}
        await call_subscribed_apps(simulator, "DELETE")
        (found,) = [one for one in await whatsapp_findings(simulator) if one.result is not Result.FINE]
        await call_subscribed_apps(simulator, "POST")
        assert {one.result for one in await whatsapp_findings(simulator)} == {Result.FINE}
    assert (found.check, found.result) == ("webhooks", Result.WRONG)
    assert f"account {ACCOUNT} sends them to no app" in found.sentence
    assert f"POST, with that token, to {simulator.url}/v25.0/{ACCOUNT}/subscribed_apps" in found.sentence


async def test_webhooks_that_another_app_gets_are_not_ours() -> None:
    entry = {"whatsapp_business_api_data": {"id": "7", "name": "Other"}}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"data": [entry]} if "subscribed" in request.path else {"id": "8"})

    async with serving([web.get("/v25.0/{rest:.*}", answer)]) as url:
        settings = dispatcher(whatsapp_graph_url=url, whatsapp_business_account=ACCOUNT)
        *_, found = await whatsapp_checks.check_whatsapp(settings, Service.DISPATCHER)
    assert found.result is Result.WRONG
    assert f"account {ACCOUNT} sends them only to app 7" in found.sentence
    assert "subscribe app 8 of STET_WHATSAPP_TOKEN" in found.sentence


async def test_a_token_without_the_right_to_ask_for_webhooks_is_a_warning_where_no_templates_are_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        error = {"error": {"code": 10, "message": "no permission"}}
        return web.json_response(error, status=403) if "subscribed" in request.path else web.json_response({"id": "8"})

    async with serving([web.get("/v25.0/{rest:.*}", answer)]) as url:
        settings = dispatcher(whatsapp_graph_url=url, whatsapp_business_account=ACCOUNT, whatsapp_templates_seconds=0)
        *_, found = await whatsapp_checks.check_whatsapp(settings, Service.DISPATCHER)
    assert (found.check, found.result) == ("webhooks", Result.WARNING)
    assert "whatsapp_business_management" in found.sentence


@pytest.mark.parametrize(
    ("secrets", "result", "sentence"),
    [
        ([SECRET], Result.FINE, "WhatsApp takes the proof"),
        ([OTHER_SECRET], Result.WRONG, "App settings, Basic"),
        ([OTHER_SECRET, SECRET], Result.WARNING, "number 1 of 2 is not the app's secret"),
    ],
)
async def test_each_app_secret_is_proved_and_never_shown(secrets: list[str], result: Result, sentence: str) -> None:
    async with running_simulator(None) as simulator:
        found = only(await app_secret_findings(simulator, *secrets))
    assert (found.check, found.result) == ("app secret", result), found
    assert sentence in found.sentence
    assert not any(hidden in found.sentence for hidden in (*secrets, TOKEN))


async def test_an_app_that_asks_each_call_for_a_proof_is_recognized_once() -> None:
    async with running_simulator(None, require_app_secret=True) as simulator:
        found = only(await whatsapp_findings(simulator))
        of_ingest = only(await app_secret_findings(simulator, SECRET))
    assert "Require App Secret" in found.sentence
    assert "Require App Secret" in of_ingest.sentence


async def test_a_refused_token_is_told_once() -> None:
    async with running_simulator(None) as simulator:
        found = only(await whatsapp_findings(simulator, whatsapp_token="f" * 32))
    assert "STET_WHATSAPP_TOKEN: WhatsApp refuses it" in found.sentence


async def test_without_a_token_ingest_says_what_shows_a_wrong_app_secret() -> None:
    async with running_simulator(None) as simulator:
        found = only(await app_secret_findings(simulator, SECRET, whatsapp_token=None))
    assert found.result is Result.WARNING
    assert found.sentence.startswith("not proved: STET_WHATSAPP_APP_SECRETS")
    assert "docs/operations/connections.md" in found.sentence
    assert "/readyz" in found.sentence
