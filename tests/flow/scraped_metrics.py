"""The metrics that the services of a stack exposed, and how they differ from what the code declares."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from dev.metrics_page import load_declarations
from tests.flow.exposure import Exposure

_parse: Any = text_string_to_metric_families  # it has no types
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created")


@dataclass(frozen=True)
class ScrapedMetrics:
    """``samples`` of one service, as OpenMetrics has them."""

    service: str
    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, exposure: Exposure, service: str) -> "ScrapedMetrics":
        families = _parse(exposure.shown[f"metrics of {service}"].decode())
        return cls(service, tuple(sample for family in families for sample in family.samples))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels."""
        wanted = labels.items()
        return sum(one.value for one in self.samples if one.name == name and wanted <= one.labels.items())

    def traces(self, name: str) -> set[str]:
        """The trace ids of the exemplars of a histogram."""
        return {one.exemplar.labels["trace_id"] for one in self.samples if one.name == name and one.exemplar}

    def undeclared(self) -> Iterator[str]:
        """Our samples that are not declared, of other labels or values, or of a service that should not have them."""
        declared = load_declarations()
        for one in self.samples:
            found = declared.get(one.name) or next((declared[n] for n in _names(one.name) if n in declared), None)
            if not one.name.startswith("stet_"):
                continue
            labels = {name: value for name, value in one.labels.items() if name not in {"service", "le"}}
            if found is None or self.service not in found.services or one.labels.get("service") != self.service:
                yield f"{one.name} of {self.service}"
            elif labels.keys() != {label.name for label in found.labels}:
                yield f"{one.name}: {sorted(labels)}"
            else:
                closed = {label.name: label.values for label in found.labels if label.values}
                yield from (f"{one.name}: {name}={labels[name]}" for name in closed if labels[name] not in closed[name])


def _names(sample: str) -> Iterator[str]:
    """The names of metrics that may have this sample; a counter's name ends with ``_total`` as its sample does."""
    for suffix in _SUFFIXES:
        base = sample.removesuffix(suffix)
        yield from (base, f"{base}_total") if base != sample else ()
