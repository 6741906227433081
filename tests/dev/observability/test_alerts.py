"""The alerts: names, texts, runbook pages, and the two series that each is tested with."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from dev.layout import ROOT
from dev.observability.__main__ import DEPLOY, RULES, SLOW_UNIT_TESTS, UNIT_TESTS
from dev.observability.alerts import ALERTS
from dev.observability.alerts.definition import Alert, AlertSeverity
from dev.observability.dashboards import dashboards
from dev.observability.durations import TimeScale
from dev.observability.prometheus import promtool
from dev.observability.promises import PROMISES
from dev.observability.rule_files import read_rule_files
from dev.observability.rule_rendering import rule_groups, to_yaml
from ops import status
from tests.dev.observability.test_dashboards import unknown_names

_RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"
_RULES = read_rule_files()
_PAGES = {page.name for page in dashboards(_RULES)}
_HEADLINES = ["What it means", "What to look at", "What to do", "How to see that it is over"]
_each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name} {alert.severity}")


@_each_alert
def test_an_alert_reads_only_metrics_and_labels_that_exist(alert: Alert) -> None:
    assert list(unknown_names(alert.expression)) == []


@_each_alert
def test_an_alert_has_a_series_that_fires_it_and_one_that_does_not(alert: Alert) -> None:
    assert all(example.series for example in alert.fires) or alert.severity is AlertSeverity.NONE
    assert bool(alert.silent) == (alert.name != "StetWatchdog"), "only the dead man's switch always fires"


@_each_alert
def test_an_alert_tells_a_person_what_it_is(alert: Alert) -> None:
    assert re.fullmatch(r"Stet([A-Z][a-z]+)+", alert.name)
    assert not alert.summary.endswith(".")
    assert alert.description.endswith(".")
    assert alert.dashboard in _PAGES


@_each_alert
def test_an_alert_has_a_runbook_page_that_says_what_to_do(alert: Alert) -> None:
    page = (_RUNBOOKS / f"{alert.name}.md").read_text()
    assert page.startswith(f"# {alert.name}\n")
    sections = dict(re.findall(r"^## (.+)\n\n((?:(?!## ).*\n?)+)", page, re.MULTILINE))
    assert list(sections) == _HEADLINES
    assert all(len(text.strip()) > 20 for text in sections.values())


def test_every_runbook_page_belongs_to_an_alert_and_is_listed() -> None:
    pages = {path.stem for path in _RUNBOOKS.glob("Stet*.md")}
    index = (_RUNBOOKS / "README.md").read_text()
    assert pages == {alert.name for alert in ALERTS}
    assert set(re.findall(r"\]\((Stet\w+)\.md\)", index)) == pages


def test_every_promise_has_an_alert_that_pages_and_one_that_files_a_ticket() -> None:
    for promise in PROMISES:
        watching = [alert for alert in ALERTS if f'promise="{promise.name}"' in alert.expression]
        assert {alert.severity for alert in watching} == {AlertSeverity.PAGE, AlertSeverity.TICKET}


def test_a_scale_shortens_every_duration_and_nothing_else() -> None:
    scale = TimeScale(1 / 60)
    assert scale.expression("rate(stet_sends_total[5m]) > 0.5") == "rate(stet_sends_total[5000ms]) > 0.5"
    assert scale.expression("stet_snapshot_age_seconds > <30m>") == "stet_snapshot_age_seconds > 30"
    assert scale.expression("stet_parked_records offset 10m") == "stet_parked_records offset 10000ms"
    assert TimeScale().expression("stet_snapshot_age_seconds > <30m>") == "stet_snapshot_age_seconds > 1800"


@pytest.mark.integration
@pytest.mark.parametrize("tests", [UNIT_TESTS, SLOW_UNIT_TESTS], ids=lambda path: path.name)
def test_promtool_sees_each_alert_fire_and_stay_silent(tests: Path) -> None:
    _promtool("test", "rules", str(DEPLOY / tests))


@pytest.mark.integration
@pytest.mark.parametrize("factor", [1, 1 / 60], ids=["deployed", "scaled"])
def test_promtool_accepts_the_rules(tmp_path: Path, factor: float) -> None:
    path = tmp_path / RULES.name
    path.write_text(to_yaml(rule_groups(_RULES, TimeScale(factor))))
    _promtool("check", "rules", str(path))


def _promtool(*arguments: str) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("StetPollStale", status.STALE_POLL),
        ("StetWebhookGapOpen", status.OPEN_GAP),
        ("StetWritesPending", status.LATE_WRITE),
    ],
)
def test_stet_status_calls_wrong_what_an_alert_reports_at_its_bound(name: str, bound: timedelta) -> None:
    (alert,) = [each for each in ALERTS if each.name == name]
    found = re.search("> <([0-9]+)m>", alert.expression) or re.fullmatch("([0-9]+)m", alert.holds)
    assert found is not None
    assert timedelta(minutes=int(found[1])) == bound
