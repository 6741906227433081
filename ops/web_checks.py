"""The checks of ``stet doctor`` about neighbours that speak HTTP: WhatsApp, Consonance, and the collector of traces.

They ask as the services do, follow no redirect, and change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from ops.command_line import Service
from ops.findings import Finding, fine, skew_findings, warning, wrong
from ops.mapping import find_supports
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.whatsapp_client import WhatsAppEndpoint
from services.ingest.settings import IngestSettings
from services.writeback.operation_mapping import load_mapping
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime.settings import ServiceSettings

_SECONDS = 10
_TIMEOUT = aiohttp.ClientTimeout(total=_SECONDS)
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_TOKEN_REFUSED, _UNKNOWN_ID = 190, 100
_NO_PERMISSION = frozenset({3, 10, *range(200, 300)})
"""Meta's codes of errors: docs/reference/whatsapp.md."""


# ------------------------------------------------------------------ WhatsApp


async def check_whatsapp(settings: DispatcherSettings, _: Service) -> Sequence[Finding]:
    """The number of each line, and of each account whose templates are read the list of them."""
    endpoint = settings.endpoint()
    asked = [*_numbers(endpoint)]
    if settings.reads_templates:
        asked += [_account(account) for account in settings.accounts]
    findings = await _graph_findings(endpoint, asked)
    if settings.whatsapp_templates_seconds > 0 and len(settings.accounts_of_lines) < len(settings.whatsapp_lines):
        sentence = (
            "STET_WHATSAPP_BUSINESS_ACCOUNT does not name the account of each line by its number: a missing template "
        )
        findings.append(warning("templates", sentence + "is not known before a send; look it up in WhatsApp Manager"))
    return findings


async def check_media_at_whatsapp(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    """The numbers, with the token by which ingest downloads files."""
    if not settings.keeps_files or settings.whatsapp_token is None:
        return []
    numbers = {str(line): number for line, number in settings.whatsapp_lines.items()}
    token = settings.whatsapp_token.get_secret_value()
    endpoint = WhatsAppEndpoint(settings.whatsapp_graph_url, settings.whatsapp_graph_version, token, numbers)
    return await _graph_findings(endpoint, _numbers(endpoint))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request by its path after the version, with the sentence that an answer proves, and that for an unknown id."""

    path: str
    check: str
    proof: str
    unknown: str
    permission: str


def _numbers(endpoint: WhatsAppEndpoint) -> list[_Asked]:
    advice = "look the phone number id up in WhatsApp Manager, or let the system user use it"
    return [
        _Asked(
            f"{number}?fields=id,quality_rating,name_status",
            "whatsapp",
            f"line {line} is number {number}",
            f"STET_WHATSAPP_LINES: line {line}: WhatsApp does not know {number}: {advice}",
            "whatsapp_business_messaging",
        )
        for line, number in endpoint.numbers.items()
    ]


def _account(account: str) -> _Asked:
    setting = "STET_WHATSAPP_BUSINESS_ACCOUNT or STET_WHATSAPP_ACCOUNTS"
    advice = "look its id up in WhatsApp Manager, or let the system user use the account"
    return _Asked(
        f"{account}/message_templates?limit=1",
        "templates",
        f"the templates of account {account} can be read",
        f"{setting}: WhatsApp does not know account {account}: {advice}",
        "whatsapp_business_management",
    )


async def _graph_findings(endpoint: WhatsAppEndpoint, asked: Sequence[_Asked]) -> list[Finding]:
    findings: list[Finding] = []
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
        for one in asked:
            url = f"{endpoint.graph_url.rstrip('/')}/{endpoint.version}/{one.path}"
            try:
                async with session.get(url, allow_redirects=False) as answer:
                    body: Any = await answer.json(content_type=None)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                sentence = f"STET_WHATSAPP_GRAPH_URL: {endpoint.graph_url} does not answer ({type(error).__name__})"
                return [*findings, wrong(one.check, sentence)]
            findings += [_graph_finding(one, answer.status, body), *_skew(answer, "WhatsApp")]
    return findings


def _graph_finding(asked: _Asked, status: int, body: Any) -> Finding:
    if status == HTTPStatus.OK:
        return fine(asked.check, asked.proof)
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if code == _TOKEN_REFUSED:
        advice = "make a new token of the system user in Meta Business Settings"
        return wrong(asked.check, f"STET_WHATSAPP_TOKEN: WhatsApp refuses it (code 190): {advice}")
    if code == _UNKNOWN_ID:
        return wrong(asked.check, asked.unknown)
    if code in _NO_PERMISSION:
        advice = f"make one with {asked.permission}, of a system user to whom the account is assigned"
        return wrong(asked.check, f"STET_WHATSAPP_TOKEN: it lacks a permission (code {code}): {advice}")
    return wrong(asked.check, f"STET_WHATSAPP_GRAPH_URL: {asked.path.partition('?')[0]}: HTTP {status}, code {code}")


# ------------------------------------------------------------------ Consonance


async def check_polled_consonance(settings: IngestSettings, service: Service) -> Sequence[Finding]:
    if not settings.ingest_role.polls:
        return [fine("consonance", f"not read, as STET_INGEST_ROLE is {settings.ingest_role}")]
    return await check_consonance(settings, service)


async def check_consonance(settings: IngestSettings | WritebackSettings, _: Service) -> Sequence[Finding]:
    headers = {"Authorization": f"Bearer {settings.consonance_key.get_secret_value()}"}
    url = settings.consonance_endpoint
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
            session.post(url, json={"query": "query { __typename }"}, allow_redirects=False) as answer,
        ):
            if answer.status in _REFUSED:
                return [wrong("consonance", "STET_CONSONANCE_KEY: Consonance refuses it: make a new key there")]
            body: Any = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return [wrong("consonance", f"STET_CONSONANCE_URL: {url} does not answer as GraphQL ({type(error).__name__})")]
    if not isinstance(body, dict) or "data" not in body:
        return [wrong("consonance", f"STET_CONSONANCE_URL: {url} is no GraphQL endpoint (HTTP {answer.status})")]
    return [fine("consonance", f"{url} takes the key"), *_skew(answer, "Consonance")]


async def check_mapping(settings: WritebackSettings, _: Service) -> Sequence[Finding]:
    """Read the mapping, and ask Consonance's schema which of its operations it has. Raises Misconfigured."""
    mapping = load_mapping(settings.consonance_mapping)
    try:
        supports = await find_supports(settings, mapping)
    except Misconfigured:  # the check of Consonance says why
        sentence = f"{settings.consonance_mapping} is valid; which of its operations Consonance has cannot be asked now"
        return [warning("mapping", sentence)]
    lacking = [support.name for support in supports if support.write is None or support.read is None]
    if lacking:
        sentence = f"this Consonance lacks {', '.join(lacking)}: each such write becomes a task for a person"
        return [warning("mapping", f"STET_CONSONANCE_MAPPING: {sentence}; stet mapping capabilities says why")]
    return [fine("mapping", f"this Consonance has all {len(supports)} operations of {settings.consonance_mapping}")]


# ------------------------------------------------------------------ the collector of traces


async def check_collector(settings: ServiceSettings, _: Service) -> Sequence[Finding]:
    """Send no spans: an empty request of OTLP over HTTP, with the headers and certificates of the settings.

    https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
    """
    if settings.otlp_endpoint is None:
        return [fine("collector", "none, as STET_OTLP_ENDPOINT is not set: no traces are recorded")]
    url = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    headers = {name: value.get_secret_value() for name, value in settings.otlp_headers.items()}
    try:
        async with (
            aiohttp.ClientSession(
                timeout=_TIMEOUT, connector=aiohttp.TCPConnector(ssl=settings.otlp_tls.context())
            ) as session,
            session.post(
                url, data=b"", headers={"Content-Type": "application/x-protobuf", **headers}, allow_redirects=False
            ) as answer,
        ):
            return [_collector_finding(url, answer.status), *_skew(answer, "the collector")]
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return [wrong("collector", f"STET_OTLP_ENDPOINT: {url} {_collector_fault(error)}; traces are lost until then")]


def _collector_finding(url: str, status: int) -> Finding:
    if status in _REFUSED:
        return wrong(
            "collector", f"STET_OTLP_HEADERS: {url} refuses them (HTTP {status}): renew the token that it asks for"
        )
    if status == HTTPStatus.NOT_FOUND:
        advice = "give the address without /v1/traces, of a receiver of OTLP over HTTP"
        return wrong("collector", f"STET_OTLP_ENDPOINT: nothing takes traces at {url} (HTTP 404): {advice}")
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return wrong("collector", f"STET_OTLP_ENDPOINT: {url} takes no traces (HTTP {status}): see the collector's log")
    return fine("collector", f"{url} takes traces")


def _collector_fault(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return (
            "has a certificate that is not trusted: let STET_OTLP_TLS_CA_FILE name what signs it, or correct the host"
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return "does not speak HTTP/1.1: is it the port of OTLP over gRPC (4317)? That over HTTP is usually 4318"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        return (
            f"does not answer ({type(error).__name__}): is the collector running there, and may this process reach it"
        )
    if isinstance(error, TimeoutError):
        return f"gives no answer in {_SECONDS} seconds: may this process reach it"
    return (
        f"ends the connection ({type(error).__name__}): does it want https:// or http://, or a certificate of this "
        "service (STET_OTLP_TLS_CERTIFICATE_FILE)"
    )


def _skew(answer: aiohttp.ClientResponse, whose: str) -> list[Finding]:
    """By the header ``Date``, where the answer has one that can be read."""
    try:
        at = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return []
    return skew_findings(at if at.tzinfo else at.replace(tzinfo=UTC), whose)
