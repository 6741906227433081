"""The four promises that are measured: their objectives, and the recording rules that dashboards and alerts share.

For each promise ``stet:promise_errors:ratio_rate<window>`` is the share of events that broke it, and
``stet:promise_errors:increase<window>`` how many they were. Where nothing happened, the share is not a number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
LONG_WINDOWS = ("1h", "6h", "1d", "3d")
LANE_BUDGETS = {"critical": "60.0", "normal": "600.0", "bulk": "3600.0"}
"""Seconds from the request of a message to WhatsApp's acceptance, as the bucket of the histogram is labelled."""


@dataclass(frozen=True)
class Promise:
    """``events`` and ``errors`` are PromQL with ``WINDOW`` in place of a range; ``objective`` the share to keep.

    ``errors`` may be empty where no error was ever counted.
    """

    name: str
    sentence: str
    objective: float
    events: str
    errors: str
    labels: tuple[str, ...] = field(default=())

    @property
    def budget(self) -> float:
        """The share of events that may break the promise."""
        return round(1 - self.objective, 6)

    def events_over(self, window: str) -> str:
        return self.events.replace("WINDOW", window)

    def errors_over(self, window: str) -> str:
        """0 where events were counted and no error was."""
        errors, events = (text.replace("WINDOW", window) for text in (self.errors, self.events))
        return f"(({errors}) or 0 * ({events}))"

    def ratio_over(self, window: str) -> str:
        return f"{self.errors_over(window)} / ({self.events_over(window)})"


def _late(histogram: str, budget: str, labels: str = "namespace", matcher: str = "") -> tuple[str, str]:
    """The events of a histogram of seconds, and those that took longer than ``budget``."""
    inside = f"{matcher}, " if matcher else ""
    all_events = f"sum by ({labels}) (rate({histogram}_count{{{matcher}}}[WINDOW]))".replace("{}", "")
    in_time = f'sum by ({labels}) (rate({histogram}_bucket{{{inside}le="{budget}"}}[WINDOW]))'
    return all_events, f"{all_events} - {in_time}"


def _late_by_lane() -> tuple[str, str]:
    lanes = [
        _late("stet_message_delay_seconds", budget, "namespace, lane", f'lane="{lane}"')
        for lane, budget in LANE_BUDGETS.items()
    ]
    return " or ".join(events for events, _ in lanes), " or ".join(f"({errors})" for _, errors in lanes)


PROMISES = (
    Promise(
        "webhook_accepted",
        "WhatsApp's webhooks are accepted: they are durable in Kafka before they are answered 200",
        0.999,
        'sum by (namespace) (rate(stet_http_requests_total{route="/whatsapp/webhook", status=~"2..|5.."}[WINDOW]))',
        'sum by (namespace) (rate(stet_http_requests_total{route="/whatsapp/webhook", status=~"5.."}[WINDOW]))',
    ),
    Promise(
        "decided_in_time", "An event is decided within 30 seconds", 0.99, *_late("stet_decision_delay_seconds", "30.0")
    ),
    Promise(
        "sent_in_time",
        "A message is accepted by WhatsApp within its lane's budget: critical 1 minute, normal 10, bulk 60",
        0.99,
        *_late_by_lane(),
        labels=("lane",),
    ),
    Promise(
        "written_in_time",
        "A reply is in Consonance within 60 seconds",
        0.99,
        *_late("stet_write_duration_seconds", "60.0"),
    ),
)


@dataclass(frozen=True)
class RecordingRule:
    """``labels`` are added to every series of the result."""

    record: str
    expression: str
    labels: dict[str, str]


def promise_records() -> Iterator[RecordingRule]:
    for promise in PROMISES:
        labels = {"promise": promise.name}
        for window in WINDOWS:
            yield RecordingRule(f"stet:promise_errors:ratio_rate{window}", promise.ratio_over(window), labels)
        for window in LONG_WINDOWS:
            increase = promise.errors_over(window).replace("rate(", "increase(")
            yield RecordingRule(f"stet:promise_errors:increase{window}", increase, labels)


@dataclass(frozen=True)
class BurnRate:
    """The error budget of 30 days burns ``factor`` times too fast, over ``long`` and still over ``short``."""

    long: str
    short: str
    factor: float


PAGE_RATES = (BurnRate("1h", "5m", 14.4), BurnRate("6h", "30m", 6))
TICKET_RATES = (BurnRate("1d", "2h", 3), BurnRate("3d", "6h", 1))
"""The windows and factors of https://sre.google/workbook/alerting-on-slos/: 2 and 5 % of the budget of 30 days are gone
in an hour and in six (page), 10 % in one day and in three (ticket)."""

FEWEST_ERRORS = 5
"""In a quiet hour one late message is a large share of all; so few errors never alert."""


def burn_expression(promise: Promise, rates: tuple[BurnRate, ...]) -> str:
    return "\nor\n".join(_burns(promise, rate) for rate in rates)


def _burns(promise: Promise, rate: BurnRate) -> str:
    series = f'{{promise="{promise.name}"}}'
    limit = f"{rate.factor * promise.budget:g}"
    return (
        f"(\n  stet:promise_errors:ratio_rate{rate.long}{series} > {limit}\n"
        f"  and stet:promise_errors:ratio_rate{rate.short}{series} > {limit}\n"
        f"  and stet:promise_errors:increase{rate.long}{series} >= {FEWEST_ERRORS}\n)"
    )
