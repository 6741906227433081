"""The eight stories of the demo, and what else may happen in a chat, side by side through one stack that is traced."""

import asyncio
import re

import orjson
import pytest

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.stories import STORIES
from dev.demo.story import STARTS_AT
from dev.layout import SERVICES
from dev.stack import Stack, StackOptions
from shared.runtime.build import VERSION
from tests.flow.audit_state import HOPS, AuditState, read_audit
from tests.flow.collector import Collector, collecting
from tests.flow.exposure import Exposure, expose
from tests.flow.played_stories import assert_passed
from tests.flow.scraped_metrics import ScrapedMetrics
from tests.flow.stories import closed_question, stop, two_questions

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

_STORIES = (*STORIES, stop.STORY, two_questions.STORY, closed_question.STORY)


_RIGHTS = frozenset({"rights.record_decision", "rights.advance_workflow"})
WEBHOOK, PUSH = "POST /whatsapp/webhook", "POST /consonance/events"
_PHONE = re.compile(r"\+?(44|33|49)[0-9]{9,10}")


@pytest.fixture(scope="module")
def played() -> tuple[DemoResult, Collector, Exposure, AuditState]:
    return asyncio.run(_play())


async def _play() -> tuple[DemoResult, Collector, Exposure, AuditState]:
    async with collecting() as collector:
        traced = {service: {"STET_OTLP_ENDPOINT": collector.url, "STET_OTLP_SAMPLE_RATIO": "1"} for service in SERVICES}
        traced["ingest"] |= POLLED_ON_REQUEST.settings["ingest"]
        async with Stack.open("flow-stories", STARTS_AT, StackOptions(settings=traced)) as stack:
            result = await play_stories(stack, _STORIES)
            return result, collector, await expose(stack, _STORIES, collector), await read_audit(stack)


@pytest.fixture(scope="module")
def result(played: tuple[DemoResult, Collector, Exposure, AuditState]) -> DemoResult:
    return played[0]


@pytest.fixture(scope="module")
def collector(played: tuple[DemoResult, Collector, Exposure, AuditState]) -> Collector:
    return played[1]


@pytest.fixture(scope="module")
def exposure(played: tuple[DemoResult, Collector, Exposure, AuditState]) -> Exposure:
    return played[2]


@pytest.fixture(scope="module")
def audit(played: tuple[DemoResult, Collector, Exposure, AuditState]) -> AuditState:
    return played[3]


@pytest.mark.parametrize("title", [story.title for story in _STORIES])
def test_a_story_ends_as_expected(result: DemoResult, title: str) -> None:
    assert_passed(result, title)


def test_nothing_is_lost_sent_twice_or_left_over(result: DemoResult) -> None:
    assert result.faults == []


def test_the_conservation_audit_ran_and_found_no_gap(audit: AuditState) -> None:
    assert audit.gaps == []
    assert {(service, "outbox") for service in SERVICES} <= audit.checked.keys()
    assert len(audit.checked) == HOPS
    assert audit.checked["rules", "decision"] > 0
    assert audit.checked["writeback", "evidence"] > 0
    assert audit.failed == []


def test_one_trace_leads_from_a_reply_to_what_was_written_and_read_back(collector: Collector) -> None:
    to_write = ("consonance.write", "rules.decide", WEBHOOK)
    assert to_write in collector.ways("consonance.write")
    assert ("mutation", *to_write) in collector.ways("mutation")
    assert ("query", *to_write) in collector.ways("query")
    outcomes = {collector.attributes(span)["stet.outcome"] for span in collector.named("consonance.write")}
    assert "verified" in outcomes


def test_the_approval_of_rights_is_connected_from_its_request_to_the_write(collector: Collector) -> None:
    """The request is pushed, asked by WhatsApp and reported on; the reply begins a trace that is linked to it."""
    of_rights = (s for s in collector.named("consonance.write") if collector.attributes(s)["stet.operation"] in _RIGHTS)
    written = [span for span in of_rights if collector.ways_of(span) == ("consonance.write", "rules.decide", WEBHOOK)]
    assert written
    for span in written:
        assert {"mutation", "query", "transaction writeback"} <= collector.names_in([span.trace_id])
        (decided,) = [one for one in collector.spans.values() if one.span_id == span.parent_span_id]
        question = [link.trace_id for link in decided.links]
        assert {PUSH, "rules.decide", "dispatcher.send", "dispatcher.update"} <= collector.names_in(question)


def test_a_batch_is_linked_to_the_traces_of_its_records(collector: Collector) -> None:
    processed = [span for span in collector.spans.values() if span.name.startswith("process")]
    begun = {span.trace_id for name in (WEBHOOK, PUSH) for span in collector.named(name)}
    assert begun & {link.trace_id for span in processed for link in span.links}
    assert {"process messages.requested", "process writes.requested"} <= {span.name for span in processed}
    assert any(span.name == "transaction rules" for span in collector.spans.values())


def test_sends_and_statuses_have_outcomes(collector: Collector) -> None:
    sends = [collector.attributes(span) for span in collector.named("dispatcher.send")]
    assert {"accepted"} <= {one["stet.outcome"] for one in sends}
    assert {one["http.request.method"] for one in sends} == {"POST"}
    assert 200 in {one.get("http.response.status_code") for one in sends}
    updates = {collector.attributes(span)["stet.event"] for span in collector.named("dispatcher.update")}
    assert "messages.message.delivered.v1" in updates


@pytest.mark.parametrize("origin", [WEBHOOK, PUSH, "ingest.poll"])
def test_one_trace_leads_from_what_came_in_to_what_was_sent(collector: Collector, origin: str) -> None:
    """Across timers too: what is due later belongs to the trace that began it."""
    assert ("dispatcher.send", "rules.decide", origin) in collector.ways("dispatcher.send")
    assert {way[-1] for way in collector.ways("dispatcher.send")} <= {WEBHOOK, PUSH, "ingest.poll"}


def test_records_on_their_way_to_kafka_have_spans_for_each_batch(collector: Collector) -> None:
    """A round of the relay with records for several topics names none."""
    for name in ("send", "send messages.events", "send decisions"):
        relayed = [collector.attributes(span) for span in collector.named(name)]
        assert {one["messaging.system"] for one in relayed} == {"kafka"}
        assert all(int(one["messaging.batch.message_count"]) > 0 for one in relayed)
    assert ("send whatsapp.statuses", WEBHOOK) in collector.ways("send whatsapp.statuses")


@pytest.mark.parametrize("kind", ["number", "name", "text", "wamid"])
def test_no_key_header_decision_log_span_or_metric_shows_what_is_personal(exposure: Exposure, kind: str) -> None:
    assert exposure.personal[kind]
    assert exposure.leaks(kind) == []


def test_no_span_carries_a_number_or_a_word_of_anybody(collector: Collector) -> None:
    said = collector.text()
    assert _PHONE.search(said) is None
    assert "Grammar of Tides" not in said


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_exposes_the_metrics_that_are_declared_for_it(exposure: Exposure, service: str) -> None:
    scraped = ScrapedMetrics.of(exposure, service)
    assert list(scraped.undeclared()) == []
    assert scraped.total("stet_leader", task="relay") == 1
    assert scraped.total("stet_build_info", version=VERSION) == 1
    assert scraped.total("process_cpu_seconds_total") > 0
    assert scraped.total("stet_database_query_duration_seconds_count") > 0


def test_the_metrics_tell_what_happened_in_the_stories(exposure: Exposure) -> None:
    ingest, rules, dispatcher, writeback = (ScrapedMetrics.of(exposure, service) for service in SERVICES)
    counts = {
        "webhooks": ingest.total("stet_http_requests_total", route="/whatsapp/webhook", status="200"),
        "taps": rules.total("stet_replies_total", path="button"),
        "answers": rules.total("stet_answer_duration_seconds_count"),
        "delays": rules.total("stet_decision_delay_seconds_count"),
        "questions asked": rules.total("stet_messages_requested_total", verb="ask"),
        "rulebooks": rules.total("stet_rules_revision_info"),
        "sent": dispatcher.total("stet_messages_total", outcome="accepted"),
        "sent in time": dispatcher.total("stet_message_delay_seconds_count"),
        "senders": dispatcher.total("stet_leader", task="sender"),
        "written": writeback.total("stet_write_outcomes_total", outcome="verified"),
        "mutations": writeback.total("stet_consonance_requests_total", kind="mutation", outcome="answered"),
        "polls": ingest.total("stet_polls_total", outcome="completed"),
    }
    assert [name for name, count in counts.items() if not count] == []
    assert counts["sent"] == dispatcher.total("stet_sends_total", outcome="accepted")
    assert counts["sent in time"] == counts["sent"]


def test_a_duration_leads_to_the_trace_it_was_measured_in(exposure: Exposure) -> None:
    traces = ScrapedMetrics.of(exposure, "ingest").traces("stet_webhook_publish_duration_seconds_bucket")
    assert traces
    assert {len(bytes.fromhex(trace)) for trace in traces} == {16}


@pytest.mark.parametrize("service", SERVICES)
def test_a_log_line_names_its_service_version_and_instance(exposure: Exposure, service: str) -> None:
    lines = [orjson.loads(line) for line in exposure.shown[f"log of {service}"].splitlines() if line.startswith(b"{")]
    assert lines
    assert {(line.get("service"), line.get("version")) for line in lines} == {(service, VERSION)}
    assert all(line.get("instance") and line.get("timestamp") for line in lines)


def test_the_log_line_of_a_write_leads_to_its_trace(exposure: Exposure) -> None:
    lines = [orjson.loads(line) for line in exposure.shown["log of writeback"].splitlines() if line.startswith(b"{")]
    settled = [line for line in lines if line["event"] == "write.settled"]
    assert settled
    assert all(len(line["trace_id"]) == 32 and len(line["span_id"]) == 16 for line in settled)
