"""Traces: a trace begins where something comes in and goes on through ``traceparent``; spans cost per batch.

They are OpenTelemetry's, and cost next to nothing until STET_OTLP_ENDPOINT names a collector. A trace goes on through
``traceparent`` either way.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.runtime.connection_settings import TelemetrySettings

_MAX_LINKS = 32
_FLUSH_SECONDS = 0.5
_PROPAGATOR = TraceContextTextMapPropagator()


def configure_traces(service: str, settings: TelemetrySettings) -> None:
    """Without an endpoint no spans are recorded; traceparents still travel."""
    if settings.otlp_endpoint is None:
        trace.set_tracer_provider(
            trace.NoOpTracerProvider()
        )  # unset, it would be looked up in the environment each time
        return
    resource = Resource.create({"service.name": f"stet-{service}"})
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False
    )  # its own exit hook waits half a minute for a collector
    provider.add_span_processor(BatchSpanProcessor(_exporter(settings.otlp_endpoint, settings)))
    trace.set_tracer_provider(provider)


def _exporter(endpoint: str, settings: TelemetrySettings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 -- costly, and for a collector
        OTLPSpanExporter,
    )

    tls = settings.otlp_tls
    return OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        certificate_file=_path(tls.ca_file),
        client_certificate_file=_path(tls.certificate_file),
        client_key_file=_path(tls.key_file),
        headers={name: secret.get_secret_value() for name, secret in settings.otlp_headers.items()},
    )


def _path(file: Path | None) -> str | None:
    return str(file) if file is not None else None


def end_traces() -> None:
    """Send the remaining spans if the collector takes them within half a second; the exit does not wait longer."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        flush = threading.Thread(target=provider.shutdown, daemon=True)
        flush.start()
        flush.join(_FLUSH_SECONDS)


def intake_span(name: str, traceparent: str | None = None) -> AbstractContextManager[str]:
    """A span for an incoming request: begins a trace, or continues the sender's; gives the traceparent inside.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    if not _recording():
        return nullcontext(traceparent or f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01")
    return _span(name, context=_parent(traceparent), kind=SpanKind.SERVER)


def batch_span(name: str, traceparents: Sequence[str | None], **fields: str | int) -> AbstractContextManager[object]:
    """One span for a batch, linked to (at most 32 of) the traces its records belong to."""
    if not _recording():
        return nullcontext()
    contexts = [c for parent in traceparents[:_MAX_LINKS] if (c := _context(parent)) is not None]
    return _span(name, links=[Link(c) for c in contexts], kind=SpanKind.CONSUMER, attributes=fields)


def effect_span(name: str, traceparent: str | None, **fields: str | int) -> AbstractContextManager[str | None]:
    """A span for a send or a write, in the message's trace; gives the traceparent inside."""
    if not _recording():
        return nullcontext(traceparent)
    return _span(name, context=_parent(traceparent), kind=SpanKind.CLIENT, attributes=fields)


def past_span(name: str, traceparent: str | None, began_ns: int, **fields: str | int) -> str | None:
    """A span for work that has ended, where only the end shows that it deserves one; gives its traceparent."""
    if not _recording():
        return traceparent
    span = _tracer().start_span(name, context=_parent(traceparent), start_time=began_ns, attributes=dict(fields))
    span.end()
    return _traceparent(trace.set_span_in_context(span))


@contextmanager
def _span(name: str, **how: Any) -> Iterator[str]:
    """An error is recorded by its type alone: its text may quote personal data."""
    with _tracer().start_as_current_span(name, record_exception=False, set_status_on_exception=False, **how) as span:
        try:
            yield _traceparent(get_current()) or ""
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def _recording() -> bool:
    return isinstance(trace.get_tracer_provider(), TracerProvider)


def _tracer() -> trace.Tracer:
    return trace.get_tracer("stet")


def _parent(traceparent: str | None) -> Context:
    """Without a traceparent an empty context: the current span is never the parent."""
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, context=Context())


def _traceparent(context: Context) -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=context)
    return carrier.get("traceparent")


def _context(traceparent: str | None) -> trace.SpanContext | None:
    return None if traceparent is None else trace.get_current_span(_parent(traceparent)).get_span_context()
