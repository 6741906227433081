"""The eight stories of the demo, and what else may happen in a chat, side by side through one stack that is traced."""

import asyncio
import re

import pytest

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.stories import STORIES
from dev.demo.story import STARTS_AT
from dev.layout import SERVICES
from dev.stack import Stack, StackOptions
from tests.flow.collector import Collector, collecting
from tests.flow.exposure import Exposure, expose
from tests.flow.played_stories import assert_passed
from tests.flow.stories import closed_question, stop, two_questions

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

_STORIES = (*STORIES, stop.STORY, two_questions.STORY, closed_question.STORY)


_PHONE = re.compile(r"\+?(44|33|49)[0-9]{9,10}")


@pytest.fixture(scope="module")
def played() -> tuple[DemoResult, Collector, Exposure]:
    return asyncio.run(_play())


async def _play() -> tuple[DemoResult, Collector, Exposure]:
    async with collecting() as collector:
        traced = {service: {"STET_OTLP_ENDPOINT": collector.url} for service in SERVICES}
        traced["ingest"] |= POLLED_ON_REQUEST.settings["ingest"]
        async with Stack.open("flow-stories", STARTS_AT, StackOptions(settings=traced)) as stack:
            result = await play_stories(stack, _STORIES)
            return result, collector, await expose(stack, _STORIES, collector)


@pytest.fixture(scope="module")
def result(played: tuple[DemoResult, Collector, Exposure]) -> DemoResult:
    return played[0]


@pytest.fixture(scope="module")
def collector(played: tuple[DemoResult, Collector, Exposure]) -> Collector:
    return played[1]


@pytest.fixture(scope="module")
def exposure(played: tuple[DemoResult, Collector, Exposure]) -> Exposure:
    return played[2]


@pytest.mark.parametrize("title", [story.title for story in _STORIES])
def test_a_story_ends_as_expected(result: DemoResult, title: str) -> None:
    assert_passed(result, title)


def test_nothing_is_lost_sent_twice_or_left_over(result: DemoResult) -> None:
    assert result.faults == []


def test_one_trace_leads_from_what_came_in_to_what_was_written_and_read_back(collector: Collector) -> None:
    assert ("consonance.write", "rules.decide", "ingest.webhook") in collector.ways("consonance.write")


@pytest.mark.parametrize("origin", ["ingest.webhook", "ingest.push", "ingest.poll"])
def test_one_trace_leads_from_what_came_in_to_what_was_sent(collector: Collector, origin: str) -> None:
    """Across timers too: what is due later belongs to the trace that began it."""
    assert ("dispatcher.send", "rules.decide", origin) in collector.ways("dispatcher.send")
    assert {way[-1] for way in collector.ways("dispatcher.send")} <= {"ingest.webhook", "ingest.push", "ingest.poll"}


@pytest.mark.parametrize("kind", ["number", "name", "text", "wamid"])
def test_no_key_header_decision_log_span_or_metric_shows_what_is_personal(exposure: Exposure, kind: str) -> None:
    assert exposure.personal[kind]
    assert exposure.leaks(kind) == []


def test_no_span_carries_a_number_or_a_word_of_anybody(collector: Collector) -> None:
    said = collector.text()
    assert _PHONE.search(said) is None
    assert "Grammar of Tides" not in said
