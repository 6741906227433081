"""The checks of ``stet doctor`` about Consonance and the collector of traces.

They ask as the services do, follow no redirect, and change nothing.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import aiohttp

from ops.command_line import Service
from ops.command_settings import cause_of
from ops.findings import Finding, date_of, fine, skew_findings, warning, wrong
from ops.mapping import find_supports
from services.ingest.settings import IngestSettings
from services.writeback.operation_mapping import load_mapping
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime.settings import ServiceSettings

_SECONDS = 10
TIMEOUT = aiohttp.ClientTimeout(total=_SECONDS)
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


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
            aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session,
            session.post(url, json={"query": "query { __typename }"}, allow_redirects=False) as answer,
        ):
            if answer.status in _REFUSED:
                return [wrong("consonance", "STET_CONSONANCE_KEY: Consonance refuses it: make a new key there")]
            if (why := why_not_served(answer.status)) is not None:
                return [wrong("consonance", f"STET_CONSONANCE_URL: {url} {why}")]
            body: Any = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return [wrong("consonance", f"STET_CONSONANCE_URL: {url} does not answer as GraphQL ({cause_of(error)})")]
    if not isinstance(body, dict) or "data" not in body:
        return [wrong("consonance", f"STET_CONSONANCE_URL: {url} is no GraphQL endpoint (HTTP {answer.status})")]
    return [fine("consonance", f"{url} takes the key"), *date_findings(answer, "Consonance")]


def why_not_served(status: int) -> str | None:
    """Why a server refuses every request, or ours, at the moment; None where its answer is about the request."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return (
            "limits how often we ask (HTTP 429): nothing is lost, and it is asked less by itself; where that stays so, "
            "see what else asks with this login, or have the limit raised"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return (
            f"is down or overloaded, or a proxy before it cannot reach it (HTTP {status}): ask those who run it; "
            "nothing is lost, and what waits goes on by itself"
        )
    return None


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
                timeout=TIMEOUT, connector=aiohttp.TCPConnector(ssl=settings.otlp_tls.context())
            ) as session,
            session.post(
                url, data=b"", headers={"Content-Type": "application/x-protobuf", **headers}, allow_redirects=False
            ) as answer,
        ):
            return [_collector_finding(url, answer.status), *date_findings(answer, "the collector")]
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
        return f"does not answer ({cause_of(error)}): is the collector running there, and may this process reach it"
    if isinstance(error, TimeoutError):
        return f"gives no answer in {_SECONDS} seconds: may this process reach it"
    return (
        f"ends the connection ({cause_of(error)}): does it want https:// or http://, or a certificate of this "
        "service (STET_OTLP_TLS_CERTIFICATE_FILE)"
    )


def date_findings(answer: aiohttp.ClientResponse, whose: str) -> list[Finding]:
    """The difference of the clocks by the header ``Date``, where the answer has one that can be read."""
    at = date_of(answer.headers)
    return [] if at is None else skew_findings(at, whose)
