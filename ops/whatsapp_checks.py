"""The checks of ``stet doctor`` about WhatsApp: numbers, templates, webhooks, and the secret of the app.

They ask the Graph API with the token of the service, follow no redirect, and change nothing.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Self

import aiohttp

from ops.command_line import Service
from ops.command_settings import cause_of
from ops.findings import Finding, Result, fine, warning, wrong
from ops.web_checks import TIMEOUT, date_findings, why_not_served
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.whatsapp_client import WhatsAppEndpoint
from services.ingest.settings import IngestSettings

_MANAGEMENT = "whatsapp_business_management"
_TOKEN_REFUSED, _BAD_PARAMETER = 190, 100
_NO_PERMISSION = frozenset({3, 10, *range(200, 300)})
"""Meta's codes of errors: docs/reference/whatsapp.md."""
_PROOF = "appsecret_proof"


async def check_whatsapp(settings: DispatcherSettings, _: Service) -> Sequence[Finding]:
    """The number of each line, and of each account its templates and whether our app gets its webhooks."""
    async with _graph(settings.endpoint()) as graph:
        findings = await _number_findings(graph)
        for account in settings.accounts if graph.goes_on else ():
            found = await graph.findings(_templates(account)) if settings.reads_templates else []
            if all(one.result is Result.FINE for one in found):
                found += await _webhook_findings(graph, account)
            findings += found
    if len(settings.accounts_of_lines) < len(settings.whatsapp_lines):
        sentence = (
            "STET_WHATSAPP_BUSINESS_ACCOUNT does not name the account of each line by its number: whether webhooks of "
            "it reach our app is not known, nor a missing template before a send; look it up in WhatsApp Manager"
        )
        findings.append(warning("account", sentence))
    return findings


async def check_media_at_whatsapp(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    """The numbers, with the token by which ingest downloads files."""
    endpoint = _endpoint_of_ingest(settings)
    if not settings.keeps_files or endpoint is None:
        return []
    async with _graph(endpoint) as graph:
        return await _number_findings(graph)


async def check_app_secrets(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    """Send the proof that each secret makes of the token: the Graph API refuses one of another secret.

    https://developers.facebook.com/docs/graph-api/guides/secure-requests
    """
    secrets = [secret.get_secret_value() for secret in settings.whatsapp_app_secrets]
    endpoint = _endpoint_of_ingest(settings)
    if not secrets:
        return []
    if endpoint is None:
        needed = "STET_WHATSAPP_TOKEN, STET_WHATSAPP_GRAPH_URL and STET_WHATSAPP_GRAPH_VERSION"
        sentence = (
            f"not proved: STET_WHATSAPP_APP_SECRETS may be of another app, as ingest has not {needed} to ask with. "
            "docs/operations/connections.md proves it by the id of the app; later /readyz shows what is refused"
        )
        return [warning("app secret", sentence)]
    async with _graph(endpoint) as graph:
        answer = await graph.get("app?fields=id")
        if answer.fault is not None:
            is_said = settings.keeps_files and not graph.goes_on  # by the check of the numbers
            return [] if is_said else [answer.finding(_OWN_APP)]
        proofs = [await graph.get(f"app?fields=id&{_PROOF}={_proof(endpoint.token, secret)}") for secret in secrets]
    return _secret_findings(proofs)


def _secret_findings(proofs: Sequence["_Answer"]) -> list[Finding]:
    """Of several secrets those that are refused, as an app has one, and another for the time of a rotation."""
    refused = [str(place) for place, answer in enumerate(proofs, 1) if answer.fault is _Fault.PROOF]
    other = [answer for answer in proofs if answer.fault not in {None, _Fault.PROOF}]
    if other:
        return [wrong("app secret", f"STET_WHATSAPP_GRAPH_URL: app: {other[0].said}")]
    if len(refused) == len(proofs):
        advice = "copy it again from developers.facebook.com (App settings, Basic), or make the token with that app"
        sentence = "STET_WHATSAPP_APP_SECRETS: none is the secret of the app that STET_WHATSAPP_TOKEN belongs to"
        return [wrong("app secret", f"{sentence}: {advice}")]
    if refused:
        sentence = f"STET_WHATSAPP_APP_SECRETS: number {', '.join(refused)} of {len(proofs)} is not the app's secret"
        return [warning("app secret", f"{sentence}: take it out of the list when the rotation is over")]
    return [fine("app secret", "WhatsApp takes the proof that it makes")]


def _proof(token: str, secret: str) -> str:
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def _endpoint_of_ingest(settings: IngestSettings) -> WhatsAppEndpoint | None:
    if not (settings.whatsapp_token and settings.whatsapp_graph_url and settings.whatsapp_graph_version):
        return None
    numbers = {str(line): number for line, number in settings.whatsapp_lines.items()}
    token = settings.whatsapp_token.get_secret_value()
    return WhatsAppEndpoint(settings.whatsapp_graph_url, settings.whatsapp_graph_version, token, numbers)


# ------------------------------------------------------------------ what is asked


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request by its path after the version, with the sentence that an answer proves, and that for an unknown id."""

    path: str
    check: str
    proof: str
    unknown: str
    permission: str


_OWN_APP = _Asked("app", "app secret", "", "STET_WHATSAPP_TOKEN: WhatsApp does not know its app", _MANAGEMENT)


async def _number_findings(graph: "_Graph") -> list[Finding]:
    findings: list[Finding] = []
    for line, number in graph.endpoint.numbers.items():
        if graph.goes_on:
            findings += await graph.findings(_number(line, number))
    return findings


def _number(line: str, number: str) -> _Asked:
    advice = "look the phone number id up in WhatsApp Manager, or let the system user use it"
    return _Asked(
        f"{number}?fields=id,quality_rating,name_status",
        "whatsapp",
        f"line {line} is number {number}",
        f"STET_WHATSAPP_LINES: line {line}: WhatsApp does not know {number}: {advice}",
        "whatsapp_business_messaging",
    )


def _templates(account: str) -> _Asked:
    proof = f"the templates of account {account} can be read"
    return _Asked(f"{account}/message_templates?limit=1", "templates", proof, _unknown(account), _MANAGEMENT)


def _unknown(account: str) -> str:
    setting = "STET_WHATSAPP_BUSINESS_ACCOUNT or STET_WHATSAPP_ACCOUNTS"
    advice = "look its id up in WhatsApp Manager, or let the system user use the account"
    return f"{setting}: WhatsApp does not know account {account}: {advice}"


async def _webhook_findings(graph: "_Graph", account: str) -> list[Finding]:
    """Whether the app of the token is among those that the account sends its webhooks to.

    https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/subscribed_apps/
    """
    path = f"{account}/subscribed_apps"
    listed = await graph.get(path)
    if listed.fault is _Fault.PERMISSION:
        sentence = f"whether account {account} sends them to our app cannot be asked: the token lacks {_MANAGEMENT}"
        return [warning("webhooks", f"{sentence}; see the app's list in WhatsApp Manager, or make a token with it")]
    if listed.fault is not None:
        return [listed.finding(_Asked(path, "webhooks", "", _unknown(account), _MANAGEMENT))]
    own = _app_id((await graph.get("app?fields=id")).body)
    return [_webhook_finding(graph.endpoint, account, own, _subscribed(listed.body))]


def _webhook_finding(endpoint: WhatsAppEndpoint, account: str, own: str | None, apps: Sequence[str]) -> Finding:
    if own is None and apps:
        sentence = f"account {account} sends them to app {', '.join(apps)}; which one is ours WhatsApp does not say now"
        return warning("webhooks", f"{sentence}: compare the app id at developers.facebook.com (App settings, Basic)")
    if own in apps:
        return fine("webhooks", f"account {account} sends them to our app {own}")
    others = f"only to app {', '.join(apps)}" if apps else "to no app"
    ours = "our app" if own is None else f"app {own} of STET_WHATSAPP_TOKEN"
    call = f"{endpoint.graph_url.rstrip('/')}/{endpoint.version}/{account}/subscribed_apps"
    sentence = f"account {account} sends them {others}: no message and no status reaches ingest"
    return wrong("webhooks", f"{sentence}; subscribe {ours} by an empty POST, with that token, to {call}")


def _subscribed(body: Any) -> list[str]:
    entries = body.get("data") if isinstance(body, dict) else None
    found = [
        _app_id(entry.get("whatsapp_business_api_data", entry)) for entry in entries or () if isinstance(entry, dict)
    ]
    return [app for app in found if app is not None]


def _app_id(body: Any) -> str | None:
    return str(body["id"]) if isinstance(body, dict) and "id" in body else None


# ------------------------------------------------------------------ the Graph API


class _Fault(Enum):
    TOKEN = auto()
    PROOF = auto()
    UNKNOWN_ID = auto()
    PERMISSION = auto()
    NO_ANSWER = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer of the Graph API; ``said`` tells it without the words of the answer, which may repeat what was sent."""

    fault: _Fault | None
    body: Any
    said: str
    dated: Sequence[Finding] = ()

    @classmethod
    def of(cls, status: int, body: Any, dated: Sequence[Finding]) -> Self:
        if status == HTTPStatus.OK:
            return cls(None, body, "", dated)
        error = body.get("error") if isinstance(body, dict) else None
        fields: Mapping[str, Any] = error if isinstance(error, dict) else {}
        code = fields.get("code")
        return cls(_fault(code, str(fields.get("message", ""))), body, f"HTTP {status}, code {code}", dated)

    def finding(self, asked: _Asked) -> Finding:
        if self.fault is None:
            return fine(asked.check, asked.proof)
        return wrong(asked.check, _sentence(self.fault, self.said, asked))


def _sentence(fault: _Fault, said: str, asked: _Asked) -> str:
    token, url = "STET_WHATSAPP_TOKEN", "STET_WHATSAPP_GRAPH_URL"
    sentences = {
        _Fault.TOKEN: f"{token}: WhatsApp refuses it (code {_TOKEN_REFUSED}): make a new token of the system user in "
        "Meta Business Settings",
        _Fault.PROOF: f"{token}: the app takes calls with a proof of its secret alone, which Stet does not send: "
        "switch “Require App Secret” off at developers.facebook.com (App settings, Advanced)",
        _Fault.UNKNOWN_ID: asked.unknown,
        _Fault.PERMISSION: f"{token}: it lacks a permission ({said}): make one with {asked.permission}, of a system "
        "user to whom the account is assigned",
        _Fault.NO_ANSWER: f"{url}: {said}",
        _Fault.OTHER: f"{url}: {asked.path.partition('?')[0]}: {said}",
    }
    return sentences[fault]


def _fault(code: object, message: str) -> _Fault:
    if code == _TOKEN_REFUSED:
        return _Fault.TOKEN
    if code == _BAD_PARAMETER:
        return _Fault.PROOF if _PROOF in message else _Fault.UNKNOWN_ID
    return _Fault.PERMISSION if code in _NO_PERMISSION else _Fault.OTHER


@dataclass(slots=True)
class _Graph:
    """``goes_on`` until an answer makes further questions useless: it would be the same fault again."""

    endpoint: WhatsAppEndpoint
    session: aiohttp.ClientSession
    goes_on: bool = True

    async def findings(self, asked: _Asked) -> list[Finding]:
        answer = await self.get(asked.path)
        return [answer.finding(asked), *answer.dated]

    async def get(self, path: str) -> _Answer:
        url = f"{self.endpoint.graph_url.rstrip('/')}/{self.endpoint.version}/{path}"
        try:
            async with self.session.get(url, allow_redirects=False) as response:
                down = why_not_served(response.status)
                body: Any = None if down else await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = f"{self.endpoint.graph_url} does not answer ({cause_of(error)})"
            answer = _Answer(_Fault.NO_ANSWER, None, said)
        else:
            answer = (
                _Answer(_Fault.NO_ANSWER, None, f"{self.endpoint.graph_url} {down}")
                if down
                else _Answer.of(response.status, body, date_findings(response, "WhatsApp"))
            )
        self.goes_on = self.goes_on and answer.fault not in {_Fault.NO_ANSWER, _Fault.TOKEN, _Fault.PROOF}
        return answer


@asynccontextmanager
async def _graph(endpoint: WhatsAppEndpoint) -> AsyncIterator[_Graph]:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session:
        yield _Graph(endpoint, session)
