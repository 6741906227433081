"""Logs, metrics and traces. Logs are JSON: an event name and fields. Metrics and spans cost per batch, not per event.

Metrics are kept by prometheus_client, which needs no export thread; traces are OpenTelemetry's, and cost next to
nothing until STET_OTLP_ENDPOINT names a collector. A trace goes on through ``traceparent`` either way.
"""

import logging
import random
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import stamina.instrumentation
import structlog
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_ROOT = Path(__file__).resolve().parents[2]
METRICS = CollectorRegistry()
_MAX_LINKS = 32
_FLUSH_SECONDS = 0.5
_PROPAGATOR = TraceContextTextMapPropagator()
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


# ------------------------------------------------------------------ logs


def get_logger(name: str | None = None) -> Any:
    return structlog.get_logger() if name is None else structlog.get_logger(logger=name)


def configure_logs(service: str, level: str) -> None:
    """Write JSON lines on stderr, from this code and from libraries."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_error_path,
            structlog.processors.JSONRenderer(_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)
    stamina.instrumentation.set_on_retry_hooks(())  # its own hook would log the texts of errors
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries(service)], force=True)


def _json(event: Mapping[str, Any], **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _add_error_path(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Log an error as its type and its path through this repository: its own text may quote personal data."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["places"] = error_path(error)
        if sentence := getattr(error, "sentence", None):
            event["sentence"] = sentence
    return event


class _Libraries(logging.Handler):
    """Writes the log records of libraries in the same JSON form."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, Any] = {"event": "library.logged", "service": self._service, "level": record.levelname.lower()}
        line |= {"logger": record.name, "text": record.getMessage().partition("\n")[0]}
        if record.exc_info and record.exc_info[1] is not None:
            line |= {"error": type(record.exc_info[1]).__name__, "places": error_path(record.exc_info[1])}
        sys.stderr.write(_json(line) + "\n")


# ------------------------------------------------------------------ error locations


def error_location(error: BaseException) -> str:
    """File and line of the innermost frame of this repository that the error passed."""
    return (error_path(error) or ["an unknown place"])[-1]


def error_path(error: BaseException) -> list[str]:
    """File and line of each frame of this repository that the error passed, outermost first.

    Logs show it in place of the error's text, which may quote personal data.
    """
    found = []
    trace = error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
            found.append(f"{path.relative_to(_ROOT)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return found


# ------------------------------------------------------------------ traces


def configure_traces(service: str, endpoint: str | None) -> None:
    """Without an endpoint no spans are recorded; traceparents still travel."""
    if endpoint is None:
        trace.set_tracer_provider(
            trace.NoOpTracerProvider()
        )  # unset, it would be looked up in the environment each time
        return
    resource = Resource.create({"service.name": f"stet-{service}"})
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False
    )  # its own exit hook waits half a minute for a collector
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


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


# ------------------------------------------------------------------ metrics


@cache
def counter(name: str, sentence: str, *labels: str) -> Counter:
    """A Prometheus counter, made once; ``name`` like ``stet_rules_decisions_total``, labels from closed sets only."""
    return Counter(name, sentence, labels, registry=METRICS)


def parked_counter(service: str) -> Counter:
    """The one counter of a service's parked records, whichever part of it parks them."""
    return counter(f"stet_{service}_records_parked_total", "Records parked, by reason.", "reason")


@cache
def gauge(name: str, sentence: str, *labels: str) -> Gauge:
    return Gauge(name, sentence, labels, registry=METRICS)


@cache
def histogram(name: str, sentence: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    """Seconds, unless ``buckets`` say otherwise."""
    return Histogram(name, sentence, labels, registry=METRICS, buckets=buckets)


def exposition() -> bytes:
    return generate_latest(METRICS)
