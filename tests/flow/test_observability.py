"""Dashboards and alerts on a real Prometheus that scrapes a real stack: each query is run, and failures are injected.

All durations of the alerts are a sixtieth of those deployed (dev/observability/durations.py); nothing else is changed.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaProducer

from dev.demo.runner import DemoResult
from dev.demo.stories import blocks, metadata, rights
from dev.observability.alerts import ALERTS
from dev.observability.alerts.definition import Alert
from dev.observability.catalogue import FOREIGN_METRICS, selectors
from dev.observability.dashboards import dashboards
from dev.observability.observed_stack import TIME_SCALE, ObservedStack
from dev.observability.panels import Dashboard, Kind, Panel, Query
from dev.observability.prometheus import InvalidExpression, without_variables
from dev.observability.rule_files import read_rule_files
from dev.processes import family_of

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

_STORIES = (rights.STORY, metadata.STORY, blocks.STORY)
_ASKING_OWNER = "rules-rights"
_PAGES = [page for page in dashboards(read_rule_files()) if page.name == _ASKING_OWNER or "rules-" not in page.name]
_QUERIES = [(page, panel, query) for page in _PAGES for panel in page.panels for query in panel.queries]
_ALERT_SECONDS = 60.0
_UNREADABLE = b"\xff is no record"

Firing = tuple[str, str]  # the name of an alert, and the service it is about


@dataclass(frozen=True)
class Failure:
    """A failure caused in the stack, and the alerts that must fire while it lasts."""

    name: str
    expected: frozenset[Firing]


_KILLED = Failure("a killed service", frozenset({("StetServiceAbsent", "writeback")}))
_UNREAD = Failure("an unreadable record", frozenset({("StetRecordsParked", "rules")}))
_FROZEN = Failure("a frozen broker", frozenset({("StetConsumerLagging", "rules")}))


@dataclass
class Observation:
    """The answers of Prometheus after the stories, and what fired before and during each failure."""

    played: DemoResult
    faults: dict[str, str] = field(default_factory=dict)  # by query or alert
    failed_rules: list[str] = field(default_factory=list)
    healthy: set[Firing] = field(default_factory=set)
    fired: dict[str, set[Firing]] = field(default_factory=dict)
    over: set[Firing] = field(default_factory=set)


@pytest.fixture(scope="module")
def observation() -> Observation:
    return asyncio.run(_observe())


async def _observe() -> Observation:
    async with ObservedStack.open("flow-observability") as observed:
        found = Observation(await observed.play(_STORIES))
        names = await observed.prometheus.metric_names()
        for query in _QUERIES:
            found.faults[_name(*query)] = await _fault_of_query(observed, *query, names)
        for alert in ALERTS:
            found.faults[alert.name] = await _fault_of_alert(observed, alert, names)
        found.failed_rules = await observed.prometheus.failed_rules()
        found.healthy = await observed.prometheus.firing()
        for failure, injected in ((_KILLED, _killed), (_UNREAD, _unreadable_record), (_FROZEN, _frozen_broker)):
            found.fired[failure.name] = await _fired(observed, failure, injected(observed))
        found.over = await _until_over(observed, _KILLED.expected | _FROZEN.expected)
        return found


# ------------------------------------------------------------------ queries


def _name(page: Dashboard, panel: Panel, query: Query) -> str:
    return f"{page.name}: {panel.title} {query.legend}".strip()


async def _fault_of_query(observed: ObservedStack, page: Dashboard, panel: Panel, query: Query, names: set[str]) -> str:
    """Empty where the query has an answer, or the panel says why it need not have one and its metrics are scraped."""
    window = f"{observed.elapsed}s" if "$__range" in query.expression else "10s"
    try:
        answer = await _numbers(observed, panel, without_variables(page.expression(query), window))
    except InvalidExpression as error:
        return str(error)
    if answer:
        return ""
    return "it is empty" if panel.empty_because is None else _not_scraped(query.expression, names)


async def _numbers(observed: ObservedStack, panel: Panel, expression: str) -> list[float]:
    if panel.kind in {Kind.TABLE, Kind.BARS}:
        points = [one["value"] for one in await observed.prometheus.query(expression)]
    else:
        end = observed.began + observed.elapsed
        series = await observed.prometheus.query_range(expression, observed.began, end, 1.0)
        points = [point for one in series for point in one["values"]]
    return [number for _, text in points if not math.isnan(number := float(text))]


async def _fault_of_alert(observed: ObservedStack, alert: Alert, names: set[str]) -> str:
    """An alert is silent when all is well, so its metrics have to be scraped."""
    try:
        await observed.prometheus.query(TIME_SCALE.expression(alert.expression))
    except InvalidExpression as error:
        return str(error)
    return _not_scraped(alert.expression, names)


def _not_scraped(expression: str, names: set[str]) -> str:
    """Names without a series or a description; those of other systems and of recording rules are left out."""
    read = {one.name for one in selectors(expression) if one.name not in FOREIGN_METRICS and ":" not in one.name}
    missing = sorted(name for name in read if not _families(name) & names)
    return f"nothing exposes {', '.join(missing)}" if missing else ""


def _families(name: str) -> set[str]:
    """The names under which a series may be described: OpenMetrics describes a counter without its ending."""
    return {name, *(name.removesuffix(ending) for ending in ("_total", "_bucket", "_count", "_sum"))}


# ------------------------------------------------------------------ failures


@asynccontextmanager
async def _killed(observed: ObservedStack) -> AsyncIterator[None]:
    await observed.stack.kill("writeback")
    yield
    await observed.stack.start("writeback")


@asynccontextmanager
async def _unreadable_record(observed: ObservedStack) -> AsyncIterator[None]:
    producer = AIOKafkaProducer(bootstrap_servers=observed.stack.neighbours.kafka_bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait("consonance.events", _UNREADABLE, key=b"unreadable")
    finally:
        await producer.stop()
    yield


@asynccontextmanager
async def _frozen_broker(observed: ObservedStack) -> AsyncIterator[None]:
    family = family_of(observed.stack.children["kafka"].pid)
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


async def _fired(observed: ObservedStack, failure: Failure, injected: AbstractAsyncContextManager[None]) -> set[Firing]:
    """The expected alerts that fired while the failure lasted."""
    async with injected:
        fired: set[Firing] = set()
        deadline = time.monotonic() + _ALERT_SECONDS
        while fired != failure.expected and time.monotonic() < deadline:
            fired |= await observed.prometheus.firing() & failure.expected
            await asyncio.sleep(0.5)
    return fired


async def _until_over(observed: ObservedStack, alerts: Iterable[Firing]) -> set[Firing]:
    """Of these alerts, those that no longer fire: all of them, or as many as do within the time."""
    expected = set(alerts)
    deadline = time.monotonic() + _ALERT_SECONDS
    while (over := expected - await observed.prometheus.firing()) != expected and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return over


# ------------------------------------------------------------------ tests


def test_the_stories_behind_the_numbers_end_as_expected(observation: Observation) -> None:
    assert observation.played.passed


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: _name(*query))
def test_the_query_of_a_panel_has_an_answer(observation: Observation, query: tuple[Dashboard, Panel, Query]) -> None:
    assert observation.faults[_name(*query)] == ""


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name} {alert.severity}")
def test_an_alert_can_be_evaluated_on_what_is_scraped(observation: Observation, alert: Alert) -> None:
    assert observation.faults[alert.name] == ""


def test_every_rule_is_evaluated_without_an_error(observation: Observation) -> None:
    assert observation.failed_rules == []


def test_the_dead_mans_switch_fires_when_all_is_well_and_no_alert_of_a_failure_does(observation: Observation) -> None:
    assert ("StetWatchdog", "") in observation.healthy
    assert not observation.healthy & (_KILLED.expected | _UNREAD.expected | _FROZEN.expected)


@pytest.mark.parametrize("failure", [_KILLED, _UNREAD, _FROZEN], ids=lambda failure: failure.name)
def test_a_failure_fires_its_alert(observation: Observation, failure: Failure) -> None:
    assert observation.fired[failure.name] == failure.expected


def test_an_alert_is_over_when_its_cause_is(observation: Observation) -> None:
    assert observation.over == _KILLED.expected | _FROZEN.expected
