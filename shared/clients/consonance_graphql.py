"""The GraphQL client of Consonance: queries, mutations and introspection over one HTTP session.

Each failure is an error class that says what the caller may do next. The client never repeats a request. It does not
use the ``gql`` library, which hides the HTTP status where the body is JSON, and puts bodies, which may hold personal
data, into its error texts.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

import orjson
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS

from shared.clients.http_requests import HttpClient, RequestFailed, Response
from shared.clients.json_reader import parse_json
from shared.contracts.errors import Throttled, Unavailable
from shared.runtime.clock import FAR_AHEAD, machine_now
from shared.runtime.credentials import SECRET_REFUSED
from shared.runtime.metrics import Metrics, current_exemplar, label
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import annotate, client_span

if TYPE_CHECKING:
    from graphql import GraphQLSchema, IntrospectionQuery

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes. The contacts of a large publisher come in one answer of some 20 MB."""

KEY_SETTING = "STET_CONSONANCE_KEY"

_CONNECTIONS = 32
_DEFAULT_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(hours=1)
_LONGEST_NUMBER = 9  # digits
_LONGEST_LEAD = timedelta(days=366)
_REJECTED = frozenset({403, 413})
"""Statuses by which a firewall or a proxy rejects one mutation; 403 also where a key may only read."""

_OPERATION = re.compile(r"^\s*(query|mutation)\b[ \t]*(\w*)", re.MULTILINE)
_SCHEMA_CODES = frozenset(
    {"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "undefinedField", "argumentNotAccepted"}
)
_SCHEMA_PHRASES = (
    "cannot query field",
    "doesn't exist on type",
    "unknown argument",
    "unknown type",
    "is not defined by",
)

log = get_logger()


class KeyRefused(Unavailable):
    """Consonance answered 401 or 403: nothing was executed, and nothing will be until the key is renewed."""


class MutationRejected(Unavailable):
    """Consonance, or a proxy in front of it, rejected this mutation without reading it: nothing was executed. Other
    mutations may be accepted.
    """


class RequestNotSent(Unavailable):
    """The request did not leave this process: nothing was executed."""


class NoAnswer(Unavailable):
    """The request was sent and no usable answer came: a mutation may or may not have been executed."""


class UnusableAnswer(Unavailable):
    """A query was answered, but without data: the server failed, or the answer has another shape."""


class QueryFailed(Unavailable):
    """Consonance answered a query with errors; ``schema_changed``: it no longer knows a field or type of the query."""

    def __init__(self, sentence: str, *, schema_changed: bool) -> None:
        super().__init__(sentence)
        self.schema_changed = schema_changed


class GraphqlOperation(StrEnum):
    QUERY = "query"
    MUTATION = "mutation"


class RequestOutcome(StrEnum):
    """How a request ended. ``errors``: the answer has GraphQL errors, or it does not come from Consonance."""

    ANSWERED = "answered"
    ERRORS = "errors"
    KEY_REFUSED = "key_refused"
    THROTTLED = "throttled"
    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"


_FAILURES: Mapping[type[Unavailable], RequestOutcome] = {
    KeyRefused: RequestOutcome.KEY_REFUSED,
    MutationRejected: RequestOutcome.ERRORS,
    Throttled: RequestOutcome.THROTTLED,
    RequestNotSent: RequestOutcome.NOT_SENT,
}

_metrics = Metrics.of("ingest", "writeback")
_kind = label("kind", GraphqlOperation)
_REQUESTS = _metrics.counter(
    "stet_consonance_requests_total", "Requests to Consonance.", _kind, label("outcome", RequestOutcome)
)
_REQUEST_DURATION = _metrics.histogram(
    "stet_consonance_request_duration_seconds",
    "Time from a request to Consonance until its answer.",
    _kind,
    exemplars=True,
)


def _outcome_of(status: int, body: Any) -> RequestOutcome:
    is_answer = status < 500 and isinstance(body, dict) and not body.get("errors")
    return RequestOutcome.ANSWERED if is_answer else RequestOutcome.ERRORS


class ConsonanceClient:
    """``timeout`` bounds one request as a whole; the key is sent in one header and appears nowhere else.

    ``service`` and ``meanwhile`` are for the hint about a refused key: what to restart, and what goes on until then.
    """

    def __init__(
        self,
        endpoint: str,
        key: str,
        timeout: timedelta,
        *,
        service: str,
        meanwhile: str,
    ) -> None:
        self._endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json; charset=utf-8"}
        self._timeout = timeout
        self._server = urlsplit(endpoint).hostname or ""
        self._hint = (
            f"Consonance refuses it: make a new key in Consonance, put it in place, restart {service}; {meanwhile}"
        )
        self._refused_gauge = SECRET_REFUSED.labels(KEY_SETTING)
        self._key_refused = False
        self._clock_lead = timedelta()
        self._http = HttpClient(_CONNECTIONS)

    async def __aenter__(self) -> Self:
        """Sends nothing yet."""
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    async def key_detail(self) -> str:
        """The refused setting and its remedy, as a detail of readiness, or an empty text."""
        return f"{KEY_SETTING}: {self._hint}" if self._key_refused else ""

    @property
    def clock_lead(self) -> timedelta:
        """How far this machine's clock was ahead of Consonance's at the newest answer; zero below ``FAR_AHEAD``."""
        return self._clock_lead

    async def query(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The ``data`` of the answer.

        Raises QueryFailed where the answer holds errors, whatever its HTTP status, UnusableAnswer where it has no data,
        and Unavailable for every other failure. An answer of another shape has no data: it does not even show that a
        record is missing.
        """
        status, body = await self._timed(GraphqlOperation.QUERY, document, variables)
        if status >= 500 or not isinstance(body, dict):
            raise UnusableAnswer(f"Consonance answered a query with HTTP {status}")
        if errors := body.get("errors"):
            sentence = f"Consonance answered a query with errors, HTTP {status}"
            raise QueryFailed(sentence, schema_changed=is_schema_error(errors))
        data = body.get("data")
        if not isinstance(data, dict):
            raise UnusableAnswer(f"Consonance answered a query without data, HTTP {status}")
        return data

    async def mutate(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer, with ``data`` and ``errors``.

        Raises KeyRefused, Throttled, MutationRejected or RequestNotSent where nothing was executed, NoAnswer where that
        is unknown.
        """
        status, body = await self._timed(GraphqlOperation.MUTATION, document, variables)
        if status >= 500 or not isinstance(body, dict):
            raise NoAnswer(f"Consonance answered a mutation with HTTP {status}")
        return body

    async def fetch_schema(self) -> "GraphQLSchema":
        """Introspects. Raises Unavailable where the answer describes no valid schema."""
        from graphql import assert_valid_schema, build_client_schema, get_introspection_query  # noqa: PLC0415 -- ingest, whose queries are fixed, reads no schema and does not load it

        described = await self.query(get_introspection_query(descriptions=False), {})
        try:
            schema = build_client_schema(cast("IntrospectionQuery", described))
            assert_valid_schema(schema)
        except Exception as error:  # noqa: BLE001 -- graphql-core raises all kinds of errors on a malformed description
            raise Unavailable(f"Consonance's schema cannot be read: {type(error).__name__}") from None
        return schema

    async def _timed(self, kind: GraphqlOperation, document: str, variables: Mapping[str, Any]) -> tuple[int, Any]:
        began, outcome = time.perf_counter(), RequestOutcome.NO_ANSWER
        try:
            status, body = await self._post(kind, document, variables)
            outcome = _outcome_of(status, body)
        except Unavailable as error:
            outcome = _FAILURES.get(type(error), RequestOutcome.NO_ANSWER)
            raise
        finally:
            _REQUESTS.labels(kind, outcome).inc()
            _REQUEST_DURATION.labels(kind).observe(time.perf_counter() - began, current_exemplar())
        return status, body

    async def _post(self, kind: GraphqlOperation, document: str, variables: Mapping[str, Any]) -> tuple[int, Any]:
        """The HTTP status and the decoded body, None where the body is no JSON."""
        operation, attributes = _span_of(document)
        with client_span(operation, {SERVER_ADDRESS: self._server, **attributes}):
            response = await self._respond(orjson.dumps({"query": document, "variables": variables}))
            annotate({HTTP_RESPONSE_STATUS_CODE: response.status})
            self._note_clock(response.headers.get("date"))
            self._check_status(kind, response.status, response.headers.get("retry-after"))
            return response.status, self._decoded(response.body)

    async def _respond(self, payload: bytes) -> Response:
        try:
            return await self._http.request(
                self._endpoint, self._headers, payload, timeout=self._timeout, longest=LARGEST_ANSWER
            )
        except RequestFailed as error:
            if error.sent:
                raise NoAnswer(f"Consonance did not answer: {error}") from None
            raise RequestNotSent(f"Consonance cannot be reached: {error}") from None

    def _check_status(self, kind: GraphqlOperation, status: int, retry_after: str | None) -> None:
        """Raises for a status that means that nothing was executed, whatever the body says.

        The queries around a mutation show whether the key is refused for good.
        """
        if kind is GraphqlOperation.MUTATION and status in _REJECTED:
            raise MutationRejected(f"Consonance rejected the request with HTTP {status}")
        self._set_key_refused(status in {401, 403})
        if self._key_refused:
            raise KeyRefused(f"Consonance refused the key: HTTP {status}")
        if status == 429:
            raise Throttled("Consonance asked for a pause", wait=_pause(retry_after))

    def _note_clock(self, date: str | None) -> None:
        """An answer says when it was made (https://www.rfc-editor.org/rfc/rfc9110#field.date), not always legibly."""
        lead = clock_lead(date, machine_now())
        if lead and not self._clock_lead:
            log.error("clock_skew.detected", seconds=round(lead.total_seconds()), hint="set this machine's clock")
        self._clock_lead = lead

    def _set_key_refused(self, refused: bool) -> None:  # noqa: FBT001 -- the new value of a flag
        if refused is self._key_refused:
            return
        self._key_refused = refused
        self._refused_gauge.set(refused)
        if refused:
            log.error("secret.refused", setting=KEY_SETTING, hint=self._hint)
        else:
            log.info("secret.accepted", setting=KEY_SETTING)

    def _decoded(self, raw: bytes) -> Any:
        try:
            return parse_json(raw)
        except (ValueError, RecursionError):
            return None


@lru_cache(maxsize=256)
def _span_of(document: str) -> tuple[str, dict[str, str]]:
    """The name of a request's span and its attributes. They come from the document, never from the variables."""
    found = _OPERATION.search(document)
    kind, name = (found[1], found[2]) if found else ("query", "")
    named = {"graphql.operation.name": name} if name else {}
    return kind, {HTTP_REQUEST_METHOD: "POST", "graphql.operation.type": kind, **named}


def is_schema_error(errors: Any) -> bool:
    """Whether one of the GraphQL ``errors`` says that the schema does not know a part of the document."""
    listed = errors if isinstance(errors, list) else [errors]
    return any(_names_schema(error) for error in listed if isinstance(error, Mapping))


def _names_schema(error: Mapping[str, Any]) -> bool:
    extensions, message = error.get("extensions"), error.get("message")
    code = extensions.get("code") if isinstance(extensions, Mapping) else None
    if isinstance(code, str) and code in _SCHEMA_CODES:
        return True
    return isinstance(message, str) and any(phrase in message.lower() for phrase in _SCHEMA_PHRASES)


def _pause(retry_after: str | None) -> timedelta:
    """A Retry-After header's seconds, or the time until its date; an hour at most, five seconds where it says neither.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    written = retry_after or ""
    if written.isascii() and written.isdecimal():
        return min(timedelta(seconds=int(written[:_LONGEST_NUMBER])), _LONGEST_PAUSE)
    if (until := _date_of(written)) is None:
        return _DEFAULT_PAUSE
    left = until - machine_now()
    return min(left, _LONGEST_PAUSE) if left > timedelta(0) else _DEFAULT_PAUSE


def clock_lead(date: str | None, now: datetime) -> timedelta:
    """How far ``now`` is ahead of a Date header; zero where that is less than ``FAR_AHEAD``, or not known.

    A date of more than a year ago is no clock's.
    """
    told = _date_of(date or "")
    lead = timedelta() if told is None else now - told
    return lead if FAR_AHEAD <= lead <= _LONGEST_LEAD else timedelta()


def _date_of(written: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(written)
        return told if told.tzinfo else told.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
