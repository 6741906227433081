"""An alert: its expression, the text that a person on call reads, and series that fire it and that do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class AlertSeverity(StrEnum):
    """How soon a person must look."""

    PAGE = "page"
    TICKET = "ticket"
    NONE = "none"


@dataclass(frozen=True)
class Example:
    """Series with a value (``1``), or a first value and its growth (``0+60``) each ``interval``; judged ``after``."""

    series: Mapping[str, str]
    after: str = "1h"
    interval: str = "1m"


@dataclass(frozen=True)
class Alert:
    """``holds`` is how long the expression is true before the alert fires; ``dashboard`` the page to open first.

    ``examples`` are series that fire it, and series that do not: none for the dead man's switch, which always fires.
    ``also_fires`` and ``also_silent`` are further states that it must tell apart, such as a burst or a restart.
    """

    name: str
    severity: AlertSeverity
    expression: str
    holds: str
    summary: str
    description: str
    dashboard: str
    examples: tuple[Example, Example | None]
    also_fires: tuple[Example, ...] = ()
    also_silent: tuple[Example, ...] = ()

    @property
    def fires(self) -> tuple[Example, ...]:
        return (self.examples[0], *self.also_fires)

    @property
    def silent(self) -> tuple[Example, ...]:
        first = self.examples[1]
        return self.also_silent if first is None else (first, *self.also_silent)


@dataclass(frozen=True)
class AlertGroup:
    """Alerts that Prometheus evaluates together."""

    name: str
    alerts: Sequence[Alert] = field(default_factory=tuple)


def steady(series: str, firing: str, silent: str, after: str = "1h") -> tuple[Example, Example]:
    """One series with a constant value, or another notation such as ``0+1``, that fires and that does not."""
    return Example({series: firing}, after), Example({series: silent}, after)
