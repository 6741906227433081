"""Dashboards and alerts on a real Prometheus that scrapes a real stack: each query is run, and failures are caused.

All durations of the alerts are shortened (dev/observability/observed_stack.py); nothing else is changed.
"""

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from dev.demo.runner import DemoResult
from dev.demo.stories import STORIES
from dev.demo.story import london
from dev.observability.alerts import ALERTS
from dev.observability.alerts.definition import Alert
from dev.observability.catalogue import FOREIGN_METRICS, selectors
from dev.observability.dashboards import dashboards
from dev.observability.failures import FAILING_STACK, QUICK_ROUNDS
from dev.observability.failures.run import CausedFailure, FailureReport, cause_failures
from dev.observability.observed_stack import TIME_SCALE, ObservedStack
from dev.observability.panels import Dashboard, Kind, Panel, Query
from dev.observability.prometheus import Firing, InvalidExpression, without_variables
from dev.observability.rule_files import read_rule_files

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]

_QUERIES = [
    (page, panel, query) for page in dashboards(read_rule_files()) for panel in page.panels for query in panel.queries
]
_FAILURES = [failure for one in QUICK_ROUNDS for failure in one.failures if failure.expected]
_MORNING = london(6, 1, 10, 10)  # a Tuesday, when people may be written to
_SCRAPED_SECONDS = _SWITCH_SECONDS = 3.0
_UNREACHED = "Who was not reached, and why?"
_EMPTY = {
    ("rules-acquisitions", "How long do people take to answer?"): "no story has two open pitches of one person",
    ("rules-acquisitions", _UNREACHED): "who writes can be written to",
    ("rules-marketing", _UNREACHED): "each of the colleagues who are told can be reached",
    ("platform", "What was restarted, and which loops meet errors?"): "no loop fails here; restarts there are",
}
"""Panels that a stack of the stories and failures leaves without a number, or one of their queries, and why."""


@dataclass
class Observation:
    """The answers of Prometheus after the stories and after the failures."""

    played: DemoResult
    faults: dict[str, str] = field(default_factory=dict)  # by query or alert
    failed_rules: list[str] = field(default_factory=list)
    healthy: set[Firing] = field(default_factory=set)
    failures: FailureReport = field(default_factory=FailureReport)
    watchdog_interval: float = math.inf
    watchdog_silence: float = 0.0


@pytest.fixture(scope="module")
def observation() -> Observation:
    return asyncio.run(_observe())


async def _observe() -> Observation:
    async with ObservedStack.open("flow-observability", FAILING_STACK) as observed:
        found = Observation(await observed.play(STORIES))
        await observed.stack.virtual_clock.run_until(_MORNING)
        await asyncio.sleep(_SCRAPED_SECONDS)
        found.healthy = await observed.prometheus.firing()
        found.failures = await cause_failures(observed, QUICK_ROUNDS)
        names = await observed.prometheus.metric_names()
        for query in _QUERIES:
            found.faults[_name(*query)] = await _fault_of_query(observed, *query)
        for alert in ALERTS:
            found.faults[alert.name] = await _fault_of_alert(observed, alert, names)
        found.failed_rules = await observed.prometheus.failed_rules()
        found.watchdog_interval = observed.receiver.seconds_since("StetWatchdog")
        await observed.prometheus.kill()
        await asyncio.sleep(_SWITCH_SECONDS)
        found.watchdog_silence = observed.receiver.seconds_since("StetWatchdog")
        return found


# ------------------------------------------------------------------ queries


def _name(page: Dashboard, panel: Panel, query: Query) -> str:
    return f"{page.name}: {panel.title} {query.legend}".strip()


async def _fault_of_query(observed: ObservedStack, page: Dashboard, panel: Panel, query: Query) -> str:
    """Empty where the query had an answer at some time since the start."""
    window = f"{observed.elapsed}s" if "$__range" in query.expression else "10s"
    try:
        answer = await _numbers(observed, panel, without_variables(page.expression(query), window))
    except InvalidExpression as error:
        return str(error)
    return "" if answer or (page.name, panel.title) in _EMPTY else "it is empty"


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


def test_no_alert_of_a_failure_fires_when_all_is_well(observation: Observation) -> None:
    assert not observation.healthy & {alert for failure in _FAILURES for alert in failure.expected}


@pytest.mark.parametrize("failure", _FAILURES, ids=lambda failure: failure.name)
def test_a_failure_fires_its_alerts(observation: Observation, failure: CausedFailure) -> None:
    (result,) = [one for one in observation.failures.results if one.failure is failure]
    assert (result.missing, result.before) == (frozenset(), frozenset())


def test_an_alert_is_over_when_its_cause_is(observation: Observation) -> None:
    assert observation.failures.lingering == set()


def test_the_dead_mans_switch_arrives_until_prometheus_dies(observation: Observation) -> None:
    assert observation.watchdog_interval < _SWITCH_SECONDS
    assert observation.watchdog_silence >= _SWITCH_SECONDS
