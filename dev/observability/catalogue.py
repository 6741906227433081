"""The metrics that docs/reference/metrics.md lists, and those that a PromQL expression names.

A dashboard or an alert may use a metric of that page, a recording rule of ours, or one of ``FOREIGN_METRICS``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from dev.layout import ROOT

REFERENCE = ROOT / "docs" / "reference" / "metrics.md"

FOREIGN_METRICS = {
    "ALERTS": "of Prometheus itself: every alert that is pending or firing",
    "cnpg_collector_sync_replicas": "of CloudNativePG: synchronous replicas that are expected and that are there",
    "kafka_server_replicamanager_underreplicatedpartitions": "of Kafka through Strimzi's metrics reporter",
    "kafka_server_replicamanager_underminisrpartitioncount": "of Kafka through Strimzi's metrics reporter",
    "process_cpu_seconds_total": "of prometheus_client",
    "process_max_fds": "of prometheus_client",
    "process_open_fds": "of prometheus_client",
    "process_resident_memory_bytes": "of prometheus_client",
    "process_start_time_seconds": "of prometheus_client",
}
"""Metrics that are not ours, and where they come from."""

SCRAPE_LABELS = frozenset({"namespace", "instance", "job", "pod", "service"})
"""Labels that every series has from its scrape, and ``service``, which every series of ours has."""

_ROW = re.compile(r"^\| `?(?P<name>(?:stet|process)_\w+)`? \| (?P<type>\w+) \|(?P<labels>[^|]*)\|", re.MULTILINE)
_HISTOGRAM_SERIES = ("_bucket", "_count", "_sum")
_METRIC = re.compile(r"\b(?:(?:stet|process|cnpg|kafka)_\w+|stet:[\w:]+|ALERTS)\b")
_SELECTOR = re.compile(rf"(?P<name>{_METRIC.pattern})(?:\{{(?P<matchers>[^}}]*)\}})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


@dataclass(frozen=True)
class Metric:
    """One row of the page."""

    name: str
    type: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Selector:
    """A metric that an expression reads, with the labels it is selected by."""

    name: str
    labels: frozenset[str]


@cache
def read_catalogue() -> dict[str, Metric]:
    """Every series that the page promises, by name; a histogram by the names of its three series."""
    found: dict[str, Metric] = {}
    for row in _ROW.finditer(REFERENCE.read_text()):
        metric = Metric(row["name"], row["type"], _labels(row["labels"]))
        for name in _series_names(metric):
            found[name] = metric
    return found


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric of the expression, once for each place."""
    for found in _SELECTOR.finditer(expression):
        yield Selector(found["name"], frozenset(_MATCHER.findall(found["matchers"] or "")))


def add_matchers(expression: str, matchers: str) -> str:
    """Add label matchers, like ``namespace=~"$namespace"``, to every metric that the expression reads."""

    def add(found: re.Match[str]) -> str:
        inside = ", ".join(part for part in (found["matchers"], matchers) if part)
        return f"{found['name']}{{{inside}}}"

    return _SELECTOR.sub(add, expression)


def _labels(cell: str) -> frozenset[str]:
    """The names in a cell like ``route: /healthz, /readyz; status: the HTTP status`` or ``loop, reason``."""
    heads = (part.partition(":")[0] for part in cell.split(";"))
    return frozenset(name.strip(" `*") for head in heads for name in head.split(",") if name.strip(" `*"))


def _series_names(metric: Metric) -> Iterator[str]:
    if metric.type != "histogram":
        yield metric.name
    else:
        yield from (metric.name + ending for ending in _HISTOGRAM_SERIES)
