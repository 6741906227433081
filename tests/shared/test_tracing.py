"""Spans: a trace begins, goes on, and never carries what an error says."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.runtime import tracing
from shared.runtime.tracing import batch_span, effect_span, intake_span, past_span


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_recording", lambda: True)
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("stet"))
    yield exporter
    provider.shutdown()


def test_a_trace_goes_on_from_span_to_span(recorded: InMemorySpanExporter) -> None:
    with intake_span("in") as received:
        pass
    decided = past_span("decided", received, began_ns=1)
    with effect_span("sent", decided) as sent:
        pass
    first, second, third = recorded.get_finished_spans()
    parents = [span.parent and span.parent.span_id for span in (first, second, third)]
    assert parents == [None, first.context.span_id, second.context.span_id]
    assert (sent or "").startswith(f"00-{third.context.trace_id:032x}-{third.context.span_id:016x}-")
    assert first.context.trace_id == third.context.trace_id


def test_a_sender_may_have_begun_the_trace(recorded: InMemorySpanExporter) -> None:
    begun = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with intake_span("in", begun) as received:
        assert received.split("-")[1] == begun.split("-")[1]
    assert recorded.get_finished_spans()[0].parent is not None


def test_what_surrounds_a_span_is_not_its_parent(recorded: InMemorySpanExporter) -> None:
    with batch_span("batch", []), intake_span("in"):
        pass
    assert recorded.get_finished_spans()[0].parent is None


def test_an_error_leaves_only_its_type(recorded: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), effect_span("sent", None):
        raise ValueError("the secret is +447700900123")
    (span,) = recorded.get_finished_spans()
    assert (span.status.description, span.events) == ("ValueError", ())


def test_without_a_collector_traces_begin_and_go_on_all_the_same() -> None:
    with intake_span("in") as received, effect_span("sent", received) as sent:
        assert sent == past_span("decided", received, began_ns=1) == received
    assert len(received.split("-")) == 4
