"""Traces: a trace begins where something comes in, and goes on through ``traceparent`` in records, rows and timers.

Spans are OpenTelemetry's, named and described by its semantic conventions where they have a word, and cost next to
nothing until STET_OTLP_ENDPOINT names a collector. They cost per batch: one for a batch, its transaction and its
records for Kafka, linked to the traces of its events; and one for each effect: a decision, a send, a write.

No span holds personal data: no address, text, name or id of WhatsApp, and of an error only its type.
https://opentelemetry.io/docs/specs/semconv/
"""

import math
import random
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.semconv.attributes.db_attributes import DB_NAMESPACE, DB_OPERATION_NAME, DB_SYSTEM_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_ROUTE
from opentelemetry.semconv.attributes.url_attributes import URL_PATH
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.runtime.connection_settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from requests import Session

_MAX_LINKS = 32
_FLUSH_SECONDS = 0.5
_PROPAGATOR = TraceContextTextMapPropagator()

SpanAttributes = Mapping[str, str | int | bool]
"""By the names of the semantic conventions; what they have no word for begins with ``stet.``."""

# The conventions of messaging are not stable yet, so their package has them under a private name only.
_MESSAGING_SYSTEM = "messaging.system"
_MESSAGING_OPERATION_NAME = "messaging.operation.name"
_MESSAGING_OPERATION_TYPE = "messaging.operation.type"
_MESSAGING_DESTINATION_NAME = "messaging.destination.name"
_MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count"
_MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name"


# ------------------------------------------------------------------ set-up


def configure_traces(service: str, settings: TelemetrySettings) -> None:
    """Without an endpoint no spans are recorded; traceparents still travel."""
    if settings.otlp_endpoint is None:
        trace.set_tracer_provider(
            trace.NoOpTracerProvider()
        )  # unset, it would be looked up in the environment each time
        return
    global _sampler, _provider  # noqa: PLW0603 -- as the tracer provider, which is global too
    _sampler = Sampler(settings.otlp_sample_ratio, settings.otlp_traces_per_second)
    _provider = _provider_for(settings.otlp_endpoint, service, settings)
    trace.set_tracer_provider(_provider)


_provider: "TracerProvider | None" = None  # the one that records, set once, by configure_traces


def _provider_for(endpoint: str, service: str, settings: TelemetrySettings) -> "TracerProvider":
    """OpenTelemetry's SDK is imported here, since a service without a collector need not load it."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    tls = settings.otlp_tls
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        certificate_file=_path(tls.ca_file) or _system_certificates(),
        client_certificate_file=_path(tls.certificate_file),
        client_key_file=_path(tls.key_file),
        headers={name: secret.get_secret_value() for name, secret in settings.otlp_headers.items()},
        session=_trusting_session() if tls.ca_file is not None else None,
    )
    resource = Resource.create({"service.name": f"stet-{service}"})
    provider = TracerProvider(
        resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False
    )  # its own exit hook waits half a minute for a collector
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _trusting_session() -> "Session":
    """A session of the exporter that trusts what the exporter names.

    Of itself it would let REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE outrank that.
    """
    from requests import Session  # noqa: PLC0415

    class TrustingSession(Session):
        def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
            return super().merge_environment_settings(url, proxies, stream, verify or self.verify, cert)

    return TrustingSession()


def _system_certificates() -> str | None:
    """The file or folder of the operating system's certificates. Without it the exporter would trust a list of its own,
    which lacks a publisher's own authority.
    """
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


def _path(file: Path | None) -> str | None:
    return str(file) if file is not None else None


def end_traces() -> None:
    """Send the remaining spans if the collector takes them within half a second; the exit does not wait longer."""
    if _provider is not None:
        flush = threading.Thread(target=_provider.shutdown, daemon=True)
        flush.start()
        flush.join(_FLUSH_SECONDS)


# ------------------------------------------------------------------ sampling

# A trace is recorded whole or not at all: that is decided where it begins, and travels in the flags of ``traceparent``.
# An unrecorded trace makes no span: OpenTelemetry's own samplers are asked when most of the cost is spent.

_SAMPLED = 1
_ODD_DIGITS = frozenset("13579bdf")


@dataclass(slots=True)
class Sampler:
    """Chooses a share of the traces that begin, and of these at most so many a second; a second's worth at once."""

    ratio: float
    per_second: float
    _left: float = field(init=False, default=0.0)
    _at: float = field(init=False, default=-math.inf)

    def is_chosen(self, now: float) -> bool:
        """``now`` are the seconds of a monotonic clock."""
        if random.random() >= self.ratio or self.per_second == 0:
            return False
        self._left = min(max(self.per_second, 1.0), self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


_sampler = Sampler(ratio=0.0, per_second=0.0)  # set once, by configure_traces


def _begins_recorded() -> bool:
    """Whether a trace that begins here is recorded."""
    return _recording() and _sampler.is_chosen(time.monotonic())


def _is_sampled(traceparent: str | None) -> bool:
    """https://www.w3.org/TR/trace-context/#sampled-flag: the last bit of its last hexadecimal digit."""
    return traceparent is not None and traceparent[-1:] in _ODD_DIGITS


def _is_recorded(traceparents: Iterable[str | None]) -> bool:
    """Whether a span that is linked to these traces is recorded: where one of them is."""
    return _recording() and any(map(_is_sampled, traceparents))


# ------------------------------------------------------------------ spans


def server_span(method: str, route: str, traceparent: str | None = None) -> AbstractContextManager[str]:
    """A request from outside: begins a trace, or continues the sender's; gives the traceparent inside.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    if not (_is_recorded([traceparent]) if traceparent else _begins_recorded()):
        return nullcontext(traceparent or _new_traceparent())
    attributes = {HTTP_REQUEST_METHOD: method, HTTP_ROUTE: route, URL_PATH: route}
    return _span(f"{method} {route}", context=_parent(traceparent), kind=SpanKind.SERVER, attributes=attributes)


def poll_span(name: str) -> AbstractContextManager[str]:
    """Something that a poll found: begins a trace; gives the traceparent inside."""
    if not _begins_recorded():
        return nullcontext(_new_traceparent())
    return _span(name, context=Context(), kind=SpanKind.INTERNAL)


def batch_span(
    service: str, topics: Iterable[str], traceparents: Sequence[str | None], count: int
) -> AbstractContextManager[object]:
    """The processing of a batch from Kafka, linked to (at most 32 of) the traces its records belong to."""
    if not _is_recorded(traceparents):
        return nullcontext()
    attributes = {_MESSAGING_CONSUMER_GROUP_NAME: f"stet.{service}"}
    return _messaging_span("process", SpanKind.CONSUMER, topics, traceparents, count, attributes, context=Context())


def publish_span(
    topics: Iterable[str], traceparents: Sequence[str | None], count: int
) -> AbstractContextManager[object]:
    """Records on their way to Kafka, until they are acknowledged: part of the current trace, and linked to theirs."""
    if not _is_recorded(traceparents):
        return nullcontext()
    return _messaging_span("send", SpanKind.PRODUCER, topics, traceparents, count, {})


def database_span(namespace: str) -> AbstractContextManager[object]:
    """A database transaction, where it is part of a recorded trace: a loop that polls would record nothing else."""
    if not trace.get_current_span().is_recording():
        return nullcontext()
    attributes = {DB_SYSTEM_NAME: "postgresql", DB_NAMESPACE: namespace, DB_OPERATION_NAME: "transaction"}
    return _span(f"transaction {namespace}", kind=SpanKind.CLIENT, attributes=attributes)


def loop_span(name: str, traceparents: Sequence[str | None], count: int) -> AbstractContextManager[object]:
    """A round of a loop over rows of several traces, linked to (at most 32 of) them."""
    if not _is_recorded(traceparents):
        return nullcontext()
    return _span(name, context=Context(), links=_links(traceparents), attributes={"stet.rows": count})


def effect_span(
    name: str, traceparent: str | None, attributes: SpanAttributes, kind: SpanKind = SpanKind.CLIENT
) -> AbstractContextManager[str | None]:
    """An attempt of a send or a write, in the trace of the message or write; gives the traceparent inside."""
    if not _is_recorded([traceparent]):
        return nullcontext(traceparent)
    return _span(name, context=_parent(traceparent), kind=kind, attributes=attributes)


def client_span(name: str, attributes: SpanAttributes) -> AbstractContextManager[object]:
    """A request to a neighbour, where it is part of a recorded trace."""
    if not trace.get_current_span().is_recording():
        return nullcontext()
    return _span(name, kind=SpanKind.CLIENT, attributes=attributes)


def past_span(
    name: str,
    traceparent: str | None,
    began_ns: int,
    attributes: SpanAttributes | None = None,
    linked: Sequence[str | None] = (),
) -> str | None:
    """A span for work that has ended, where only the end shows that it deserves one; gives its traceparent.

    It is linked to the batch it was part of, so that what a webhook brought can be followed into the trace that it
    changed, and to the traces ``linked``.
    """
    if not _is_recorded([traceparent]):
        return traceparent
    links = _links(linked)
    if (batch := trace.get_current_span().get_span_context()).is_valid:
        links.append(Link(batch))
    span = _tracer().start_span(
        name, context=_parent(traceparent), start_time=began_ns, attributes=dict(attributes or {}), links=links
    )
    span.end()
    return _traceparent(span)


def annotate(attributes: SpanAttributes, error: str | None = None) -> None:
    """Add attributes to the current span, and the type of an error that was not raised."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attributes(attributes)
    if error is not None:
        span.set_attribute(ERROR_TYPE, error)
        span.set_status(StatusCode.ERROR, error)


def is_recorded(traceparent: str | None) -> bool:
    """Whether spans of this trace are recorded; callers skip work that only a span needs."""
    return _recording() and _is_sampled(traceparent)


def is_recorded_here() -> bool:
    """Whether the current span is recorded; callers skip work that only a span needs."""
    return trace.get_current_span().is_recording()


def traceparent_in(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """The traceparent in the headers of a Kafka record; None also where nothing is recorded."""
    if not _recording():
        return None
    return next((value.decode("latin-1") for name, value in headers if name == "traceparent"), None)


# ------------------------------------------------------------------ inside


def _messaging_span(
    operation: str,
    kind: SpanKind,
    topics: Iterable[str],
    traceparents: Sequence[str | None],
    count: int,
    attributes: SpanAttributes,
    **how: Any,
) -> AbstractContextManager[str]:
    """Named after its topic, where it has only one."""
    names = sorted(set(topics))
    everything = {
        _MESSAGING_SYSTEM: "kafka", _MESSAGING_OPERATION_NAME: operation, _MESSAGING_OPERATION_TYPE: operation,
        _MESSAGING_BATCH_MESSAGE_COUNT: count, **attributes,
    }  # fmt: skip
    if len(names) == 1:
        everything[_MESSAGING_DESTINATION_NAME] = names[0]
    name = f"{operation} {names[0]}" if len(names) == 1 else operation
    return _span(name, links=_links(traceparents), kind=kind, attributes=everything, **how)


@contextmanager
def _span(name: str, **how: Any) -> Iterator[str]:
    """An error is recorded by its type alone: its text may quote personal data."""
    with _tracer().start_as_current_span(name, record_exception=False, set_status_on_exception=False, **how) as span:
        try:
            yield _traceparent(span)
        except BaseException as error:
            span.set_attribute(ERROR_TYPE, type(error).__name__)
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def _links(traceparents: Sequence[str | None]) -> list[Link]:
    """To each trace once, and to at most 32."""
    distinct = dict.fromkeys(parent for parent in traceparents if _is_sampled(parent))
    contexts = [context for parent in list(distinct)[:_MAX_LINKS] if (context := _context(parent)) is not None]
    return [Link(context) for context in contexts if context.is_valid]


def _new_traceparent() -> str:
    """The traceparent of a new trace that is not recorded here; without a collector here, others may record it."""
    flags = 0 if _recording() else _SAMPLED
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-{flags:02x}"


def _recording() -> bool:
    return _provider is not None


def _tracer() -> trace.Tracer:
    return _tracer_of(trace.get_tracer_provider())


@lru_cache(maxsize=1)
def _tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    """Kept, since making one costs as much as a span."""
    return provider.get_tracer("stet")


def _parent(traceparent: str | None) -> Context:
    """Without a traceparent an empty context: the current span is never the parent."""
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, context=Context())


def _traceparent(span: trace.Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _context(traceparent: str | None) -> trace.SpanContext | None:
    return None if traceparent is None else trace.get_current_span(_parent(traceparent)).get_span_context()
