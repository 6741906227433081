"""Spans: a trace begins, goes on, is linked to others and sampled as a whole; it never carries what an error says."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from shared.runtime import tracing
from shared.runtime.tracing import (
    Sampler,
    annotate,
    batch_span,
    client_span,
    database_span,
    effect_span,
    loop_span,
    past_span,
    poll_span,
    publish_span,
    server_span,
    traceparent_in,
)

BEGUN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUESTION = "00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.fixture
def ratio() -> float:
    return 1.0


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, ratio: float) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_recording", lambda: True)
    monkeypatch.setattr(tracing, "_sampler", Sampler(ratio, per_second=1000))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("stet"))
    yield exporter
    provider.shutdown()


def spans(recorded: InMemorySpanExporter) -> list[ReadableSpan]:
    return list(recorded.get_finished_spans())


def chosen(sampler: Sampler, first: float, last: float, count: int) -> int:
    """How many of so many traces, begun at equal intervals from the first second to the last, are recorded."""
    return sum(sampler.is_chosen(first + (last - first) * number / count) for number in range(count))


def test_of_a_burst_a_second_s_worth_of_traces_is_recorded() -> None:
    sampler = Sampler(ratio=1, per_second=50)
    assert chosen(sampler, 1000.0, 1000.0, 5000) == 50
    assert abs(chosen(sampler, 1001.0, 1011.0, 50_000) - 550) <= 1


def test_all_traces_are_recorded_where_few_begin() -> None:
    assert chosen(Sampler(ratio=1, per_second=50), 0.0, 10.0, 490) == 490


def test_a_share_of_the_traces_counts_against_their_number_a_second() -> None:
    assert 400 < chosen(Sampler(ratio=0.5, per_second=50), 0.0, 20.0, 1000) < 600
    assert chosen(Sampler(ratio=0.5, per_second=50), 0.0, 20.0, 100_000) <= 1050


@pytest.mark.parametrize(("per_second", "recorded_traces"), [(0.0, 0), (0.5, 5)])
def test_less_than_one_trace_a_second_is_recorded(per_second: float, recorded_traces: int) -> None:
    assert abs(chosen(Sampler(1, per_second), 0.0, 10.0, 1000) - recorded_traces) <= (1 if per_second else 0)


def test_a_trace_goes_on_from_span_to_span(recorded: InMemorySpanExporter) -> None:
    with server_span("POST", "/hook") as received:
        pass
    decided = past_span("decided", received, began_ns=1)
    with effect_span("sent", decided, {}) as sent:
        pass
    first, second, third = spans(recorded)
    parents = [span.parent and span.parent.span_id for span in (first, second, third)]
    assert parents == [None, first.context.span_id, second.context.span_id]
    assert (sent or "").startswith(f"00-{third.context.trace_id:032x}-{third.context.span_id:016x}-")
    assert first.context.trace_id == third.context.trace_id


def test_a_sender_may_have_begun_the_trace(recorded: InMemorySpanExporter) -> None:
    with server_span("POST", "/hook", BEGUN) as received:
        assert received.split("-")[1] == BEGUN.split("-")[1]
    assert spans(recorded)[0].parent is not None


def test_a_surrounding_span_is_not_the_parent(recorded: InMemorySpanExporter) -> None:
    with batch_span("rules", ["contacts"], [BEGUN], 1), poll_span("ingest.poll"):
        pass
    assert spans(recorded)[0].parent is None


def test_a_batch_is_linked_to_each_trace_once_and_to_32_at_most(recorded: InMemorySpanExporter) -> None:
    parents = [f"00-{number:032x}-b7ad6b7169203331-01" for number in range(1, 50) for _ in range(2)]
    with batch_span("rules", ["contacts", "contacts"], [None, "broken", *parents], len(parents)):
        pass
    (span,) = spans(recorded)
    traces = [link.context.trace_id for link in span.links]
    assert traces == sorted(set(traces))
    assert 30 <= len(traces) <= 32


def test_spans_are_named_and_described_by_the_semantic_conventions(recorded: InMemorySpanExporter) -> None:
    with server_span("POST", "/hook"):
        annotate({"http.response.status_code": 200})
        with publish_span({"contacts"}, [BEGUN], 3), database_span("rules"):
            pass
    with batch_span("rules", ["contacts", "writes.events"], [BEGUN], 2):
        pass
    found = {span.name: (span.kind, dict(span.attributes or {})) for span in spans(recorded)}
    kafka = {"messaging.system": "kafka"}
    assert found == {
        "POST /hook": (
            SpanKind.SERVER,
            {
                "http.request.method": "POST",
                "http.route": "/hook",
                "url.path": "/hook",
                "http.response.status_code": 200,
            },
        ),
        "send contacts": (
            SpanKind.PRODUCER,
            kafka
            | {
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.batch.message_count": 3,
                "messaging.destination.name": "contacts",
            },
        ),
        "transaction rules": (
            SpanKind.CLIENT,
            {"db.system.name": "postgresql", "db.namespace": "rules", "db.operation.name": "transaction"},
        ),
        "process": (
            SpanKind.CONSUMER,
            kafka
            | {
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.batch.message_count": 2,
                "messaging.consumer.group.name": "stet.rules",
            },
        ),
    }


def test_a_past_span_is_linked_to_its_batch_and_to_other_traces(recorded: InMemorySpanExporter) -> None:
    with batch_span("rules", ["contacts"], [BEGUN], 1):
        past_span("rules.decide", BEGUN, 1, {"stet.effects": 1}, [QUESTION, NOT_SAMPLED, None])
    decided, batch = spans(recorded)
    linked = [link.context.trace_id for link in decided.links]
    assert linked == [int(QUESTION.split("-")[1], 16), batch.context.trace_id]
    assert decided.context.trace_id == int(BEGUN.split("-")[1], 16)


def test_a_transaction_outside_a_trace_makes_no_span(recorded: InMemorySpanExporter) -> None:
    with database_span("rules"):
        pass
    assert spans(recorded) == []


def test_an_error_leaves_only_its_type(recorded: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), effect_span("sent", BEGUN, {}):
        raise ValueError("the secret is +447700900123")
    with effect_span("refused", BEGUN, {}):
        annotate({"stet.outcome": "error"}, error="131047")
    sent, refused = spans(recorded)
    assert (sent.status.description, sent.events) == ("ValueError", ())
    assert dict(sent.attributes or {}) == {"error.type": "ValueError"}
    assert (refused.status.is_ok, dict(refused.attributes or {})["error.type"]) == (False, "131047")


@pytest.mark.parametrize("ratio", [0.0])
def test_a_trace_is_recorded_whole_or_not_at_all(recorded: InMemorySpanExporter) -> None:
    """None begins here, but one that a sender has begun and records is gone on with, by links too."""
    with server_span("POST", "/new") as new, client_span("query", {}), database_span("rules"):
        assert int(new[-2:], 16) & 1 == 0
    past_span("new", new, 1)
    with server_span("POST", "/begun", BEGUN):
        pass
    with batch_span("rules", ["contacts"], [NOT_SAMPLED], 1):
        pass
    with effect_span("dispatcher.send", NOT_SAMPLED, {}) as sent, publish_span(["contacts"], [NOT_SAMPLED], 1):
        assert sent == NOT_SAMPLED
    with loop_span("dispatcher.record", [NOT_SAMPLED, BEGUN], 2):
        pass
    assert [span.name for span in spans(recorded)] == ["POST /begun", "dispatcher.record"]


def test_the_trace_of_a_record_is_in_its_headers(recorded: InMemorySpanExporter) -> None:
    del recorded
    assert traceparent_in([("other", b"x"), ("traceparent", BEGUN.encode())]) == BEGUN
    assert traceparent_in([]) is None


def test_without_a_collector_traces_begin_and_go_on_all_the_same() -> None:
    with server_span("POST", "/hook") as received, effect_span("sent", received, {}) as sent:
        assert sent == past_span("decided", received, began_ns=1) == received
        with batch_span("rules", [], [], 0), publish_span([], [], 0), database_span("rules"), client_span("query", {}):
            annotate({"stet.outcome": "accepted"}, error="never seen")
    with poll_span("ingest.poll") as polled, loop_span("dispatcher.record", [], 0):
        assert len(polled.split("-")) == len(received.split("-")) == 4
