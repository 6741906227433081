"""The metrics of a process: each is declared once, as a constant, and all are exposed with the label ``service``.

Declarations are kept, so that docs/reference/metrics.md is made from them. Counters and histograms are updated by the
batch: an update of a labelled one costs a microsecond.
"""

import platform
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import product
from math import prod
from typing import TypeVar

import prometheus_client
from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared.contracts.topics import SERVICES
from shared.runtime.build import VERSION, commit

NO_RULE = "none"
"""The value of the label ``rule`` where no rule is concerned."""

OTHER = "other"
"""The value of a label for every value beyond the number that a process keeps apart."""

DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DELAYS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds in seconds: of what a machine does, and of what waits for several machines."""

_REGISTRY = CollectorRegistry()
MOST_RULES = 200
_MOST_INITIAL_SERIES = 64
M = TypeVar("M", bound=MetricWrapperBase)

Exemplar = dict[str, str]
"""``trace_id`` and ``span_id`` of a trace in which an observation was made."""


# ------------------------------------------------------------------ declarations


class Replicas(StrEnum):
    """How a gauge is read over the replicas of a service: each counts its own, or all say the same."""

    SUM = "sum"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Label:
    """``values`` is the closed set; without one, ``description`` says what bounds the values."""

    name: str
    values: tuple[str, ...] = ()
    description: str = ""


def label(name: str, values: Iterable[str] = (), description: str = "") -> Label:
    """An enum is a closed set of values."""
    return Label(name, tuple(map(str, values)), description)


TOPIC = label("topic", description="a topic, without the prefix of the installation")
RULE = label("rule", description="the name of a rule, `none` or `other`")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A metric as docs/reference/metrics.md lists it; ``replicas`` is for gauges, ``buckets`` for histograms."""

    name: str
    kind: str
    meaning: str
    labels: tuple[Label, ...]
    services: tuple[str, ...]
    replicas: Replicas | None = None
    buckets: tuple[float, ...] = ()
    has_exemplars: bool = False


DECLARATIONS: dict[str, Declaration] = {}


@dataclass(frozen=True, slots=True)
class Metrics:
    """Declares the metrics of ``services``.

    Series whose labels all have closed sets begin with 0 where they are few: a rate then sees the first increase.
    """

    services: tuple[str, ...]

    @classmethod
    def of(cls, *services: str) -> "Metrics":
        return cls(services)

    def counter(self, name: str, meaning: str, *labels: Label) -> Counter:
        declaration = Declaration(name, "counter", meaning, labels, self.services)
        return self._declare(declaration, Counter(name, meaning, _names(labels), registry=None))

    def gauge(self, name: str, meaning: str, *labels: Label, replicas: Replicas = Replicas.MAX) -> Gauge:
        declaration = Declaration(name, "gauge", meaning, labels, self.services, replicas)
        return self._declare(declaration, Gauge(name, meaning, _names(labels), registry=None))

    def histogram(
        self, name: str, meaning: str, *labels: Label, buckets: tuple[float, ...] = DURATIONS, exemplars: bool = False
    ) -> "Histogram":
        declaration = Declaration(
            name, "histogram", meaning, labels, self.services, buckets=buckets, has_exemplars=exemplars
        )
        return self._declare(declaration, Histogram(name, meaning, _names(labels), buckets=buckets, registry=None))

    def _declare(self, declaration: Declaration, metric: M) -> M:
        if declaration.name in DECLARATIONS:
            raise ValueError(f"{declaration.name} is declared twice")
        DECLARATIONS[declaration.name] = declaration
        _REGISTRY.register(metric)
        closed = [one.values for one in declaration.labels]
        if declaration.labels and all(closed) and prod(map(len, closed)) <= _MOST_INITIAL_SERIES:
            for values in product(*closed):
                metric.labels(*values)
        return metric


def _names(labels: Iterable[Label]) -> tuple[str, ...]:
    return tuple(one.name for one in labels)


class Histogram(prometheus_client.Histogram):
    """A histogram that takes the observations of a batch at once, at a tenth of the cost of one by one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Negative amounts, which clocks that differ can give, count as 0."""
        amounts = [max(0.0, amount) for amount in amounts]
        self._sum.inc(sum(amounts))
        bounds = self._upper_bounds
        for place, times in Tally([bisect_left(bounds, amount) for amount in amounts]).items():
            self._buckets[place].inc(times)


def current_exemplar() -> Exemplar | None:
    """The exemplar of the span that is open now; None where none is recorded."""
    span = trace.get_current_span().get_span_context()
    if not (span.is_valid and span.trace_flags.sampled):
        return None
    return {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}


@dataclass(slots=True)
class BoundedValues:
    """Values of a label: the first ``most`` as they are, all later ones as ``other``."""

    most: int
    _known: set[str] = field(default_factory=set)

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self.most:
            return OTHER
        self._known.add(value)
        return value


_rules = BoundedValues(MOST_RULES)


def rule_label(rule: str | None) -> str:
    """The value of the label ``rule``."""
    return NO_RULE if rule is None else _rules(rule)


def add_tally(metric: Counter, tally: Mapping[tuple[str, ...], int]) -> None:
    """Add a number for each combination of the labels' values."""
    for values, times in tally.items():
        metric.labels(*values).inc(times)


# ------------------------------------------------------------------ exposition


@dataclass(frozen=True, slots=True)
class _OfService(Collector):
    """The registry with one more label on every sample."""

    service: str

    def collect(self) -> Iterator[Metric]:
        for metric in _REGISTRY.collect():
            declared = DECLARATIONS.get(metric.name) or DECLARATIONS.get(f"{metric.name}_total")
            if declared is not None and self.service not in declared.services:
                continue  # of a module that this service imports and does not use
            metric.samples = [one._replace(labels={**one.labels, "service": self.service}) for one in metric.samples]
            yield metric


def exposition(service: str, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type: OpenMetrics, with exemplars, where ``accept`` asks for it."""
    encode, content_type = choose_encoder(accept)
    return encode(_OfService(service)), content_type


# ------------------------------------------------------------------ the metrics that every service has

_metrics = Metrics.of(*SERVICES)

_BUILD = _metrics.gauge(
    "stet_build_info",
    "Always 1: the version that runs.",
    label("version"),
    label("commit"),
    label("python"),
    replicas=Replicas.SUM,
)
_HTTP_REQUESTS = _metrics.counter(
    "stet_http_requests_total",
    "Requests answered.",
    label("route", description="the paths of the public port and of the health port, `other` for every other path"),
    label("status", description="the HTTP status"),
)
_HTTP_SECONDS = _metrics.histogram(
    "stet_http_request_duration_seconds",
    "Time from a complete request to its response.",
    label("route", description="as above"),
)


@cache
def collect_process_metrics() -> None:
    """Once in a process: its CPU, memory and open files, its garbage collection, and what was built into it.

    OpenMetrics has a ``_created`` series beside each counter and histogram, which Prometheus stores as one more series
    unless it is told to take start times in. Nothing here reads them, so they are left out.
    """
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
    ProcessCollector(registry=_REGISTRY)
    PlatformCollector(registry=_REGISTRY)
    GCCollector(registry=_REGISTRY)
    _BUILD.labels(VERSION, commit(), platform.python_version()).set(1)


def count_request(route: str, status: int, seconds: float | None = None) -> None:
    """``seconds`` is None for a request that was rejected half read."""
    _requests_of(route, status).inc()
    if seconds is not None:
        _seconds_of(route).observe(seconds)


@cache
def _requests_of(route: str, status: int) -> Counter:
    return _HTTP_REQUESTS.labels(route, str(int(status)))


@cache
def _seconds_of(route: str) -> Histogram:
    return _HTTP_SECONDS.labels(route)


def watch(metric: Gauge, values: Mapping[str, Callable[[], float]]) -> None:
    """Read the gauge at each scrape, by the value of its one label."""
    for value, read in values.items():
        metric.labels(value).set_function(read)
