"""Renders recording rules and alerts: as a file of Prometheus, as a PrometheusRule, and as promtool's unit tests."""

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from dev.observability.alerts import ALERT_GROUPS, ALERTS
from dev.observability.alerts.definition import Alert, Example
from dev.observability.durations import TimeScale, parse_seconds
from dev.observability.promises import RecordingRule, promise_records
from dev.observability.rule_files import DashboardRule

RUNBOOKS = "https://stet.example/docs/operations/runbooks"
"""Where the runbook pages are served; a publisher gives its own with ``--runbooks``."""

HEADER = "# Written by `make dashboards` from dev/observability; a test compares the two.\n"
_RECORDS = "stet-records"
_LABELS = {"app.kubernetes.io/name": "stet", "app.kubernetes.io/part-of": "stet"}


def rule_groups(rules: Iterable[DashboardRule], scale: TimeScale, runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """The content of a rules file."""
    records = [*promise_records(), *flow_records(rules)]
    recording = {"name": _RECORDS, "rules": [_recording(record, scale) for record in records]}
    alerting = [
        {"name": group.name, "rules": [_alerting(alert, scale, runbooks) for alert in group.alerts]}
        for group in ALERT_GROUPS
    ]
    return {"groups": [recording, *alerting]}


def prometheus_rule(groups: Mapping[str, Any]) -> dict[str, Any]:
    """The rules as a PrometheusRule, for the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "stet", "labels": _LABELS},
        "spec": groups,
    }


def flow_records(rules: Iterable[DashboardRule]) -> Iterable[RecordingRule]:
    """One series for each rule with its flow and its owner, to be joined to the metrics that have only the rule."""
    for rule in rules:
        yield RecordingRule("stet:rule_info", "vector(1)", {"rule": rule.name, "flow": rule.flow, "owner": rule.owner})


def to_yaml(document: object) -> str:
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    yaml.dump(document, text)
    return HEADER + text.getvalue()


def _recording(rule: RecordingRule, scale: TimeScale) -> dict[str, Any]:
    return {"record": rule.record, "expr": _promql(rule.expression, scale), "labels": dict(rule.labels)}


def _alerting(alert: Alert, scale: TimeScale, runbooks: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": _promql(alert.expression, scale),
        "for": scale.hold(alert.holds),
        "labels": {"severity": alert.severity.value, "part_of": "stet"},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "dashboard": f"stet-{alert.dashboard}",
            "runbook_url": f"{runbooks.rstrip('/')}/{alert.name}.md",
        },
    }


def _promql(expression: str, scale: TimeScale) -> str:
    rendered = scale.expression(expression)
    return LiteralScalarString(rendered + "\n") if "\n" in rendered else rendered


# ------------------------------------------------------------------ promtool's unit tests

_EVALUATION = "5m"
_SLOW_EVALUATION = "1h"
"""Examples that last longer than a day are evaluated once an hour: all rules are evaluated each time."""


def unit_tests(rules_file: str) -> dict[str, Any]:
    """Unit tests of each alert with series that fire it and series that do not; only those that end within a day."""
    return _test_file(rules_file, _EVALUATION, slow=False)


def slow_unit_tests(rules_file: str) -> dict[str, Any]:
    """The others: the alerts that look back over days."""
    return _test_file(rules_file, _SLOW_EVALUATION, slow=True)


def _test_file(rules_file: str, evaluation: str, *, slow: bool) -> dict[str, Any]:
    alerts = [alert for alert in ALERTS if _is_slow(alert) is slow]
    firing = [(alert, example) for alert in alerts for example in alert.fires]
    silent = [(alert, example) for alert in alerts for example in alert.silent]
    tests = [_test("fires", batch, [{"labels": "{}", "value": 1}]) for batch in _batches(firing)]
    tests += [_test("stays silent", batch, []) for batch in _batches(silent)]
    order = [_RECORDS, *(group.name for group in ALERT_GROUPS)]  # what an alert reads is recorded before it
    return {
        "rule_files": [rules_file],
        "evaluation_interval": evaluation,
        "group_eval_order": order,
        "tests": tests,
    }


def _is_slow(alert: Alert) -> bool:
    return any(parse_seconds(example.after) >= parse_seconds("1d") for example in alert.fires)


_Case = tuple[Alert, Example]


def _batches(cases: Iterable[_Case]) -> list[list[_Case]]:
    """Cases whose metrics have nothing in common share a test: promtool evaluates every rule again for each."""
    batches: list[list[_Case]] = []
    for case in cases:
        fitting = (batch for batch in batches if not any(_collide(case, other) for other in batch))
        batch = next(fitting, None)
        if batch is None:
            batches.append([case])
        else:
            batch.append(case)
    return batches


def _collide(one: _Case, other: _Case) -> bool:
    return one[1].interval != other[1].interval or not _metrics(one).isdisjoint(_metrics(other))


def _metrics(case: _Case) -> set[str]:
    return {series.partition("{")[0] for series in case[1].series}


def _test(outcome: str, batch: Sequence[_Case], expected: list[dict[str, Any]]) -> dict[str, Any]:
    longest = max(parse_seconds(example.after) for _, example in batch)
    interval = batch[0][1].interval
    times = longest // parse_seconds(interval)
    series = {series: f"{values}x{times}" for _, example in batch for series, values in example.series.items()}
    return {
        "name": f"{', '.join(alert.name for alert, _ in batch)}: {outcome}",
        "interval": interval,
        "input_series": [{"series": series, "values": values} for series, values in series.items()],
        "promql_expr_test": [_expectation(alert, example, expected) for alert, example in batch],
    }


def _expectation(alert: Alert, example: Example, expected: list[dict[str, Any]]) -> dict[str, Any]:
    firing = f'ALERTS{{alertname="{alert.name}", alertstate="firing", severity="{alert.severity.value}"}}'
    return {"expr": f"group({firing})", "eval_time": example.after, "exp_samples": expected}
