"""The metrics of the dispatcher; label values come from closed sets."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.dispatcher.planner import open_time
from services.dispatcher.provider_responses import (
    ERROR_CLASSES,
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
    error_class,
)
from services.dispatcher.reasons import TEMPLATE_WAITS, MessageReason
from services.dispatcher.store import RequestOrigin
from services.dispatcher.templates import KNOWN_STATUSES
from shared.contracts.messages import (
    Lane,
    MessageAccepted,
    MessageDelivered,
    MessageDropped,
    MessageEventData,
    MessageFailed,
    MessageRead,
    MessageResolved,
    MessageTooLate,
    MessageUncertain,
    MessageWithdrawn,
)
from shared.runtime.credentials import SECRET_REFUSED
from shared.runtime.metrics import RULE, BoundedValues, Metrics, Replicas, add_tally, label, rule_label

_ERROR = "error"
_OUTCOMES: dict[type[MessageEventData], str] = {
    MessageAccepted: "accepted",
    MessageDelivered: "delivered",
    MessageRead: "read",
    MessageFailed: "failed",
    MessageDropped: "dropped",
    MessageUncertain: "uncertain",
    MessageResolved: "resolved",
    MessageWithdrawn: "withdrawn",
    MessageTooLate: "too_late",
}
ACCOUNT_WAITS = (MessageReason.PORTFOLIO_LIMIT, MessageReason.ACCOUNT_RESTRICTED)
TEMPLATE_STATUSES = (*KNOWN_STATUSES, "OTHER")
_LANE_DELAYS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
_MOST_REASONS = 60
_OTHER = "other"
CHARGED_CATEGORIES = ("marketing", "utility", "authentication", "service", _OTHER)
PRICING_TYPES = ("regular", "free_customer_service", "free_entry_point", _OTHER)

_metrics = Metrics.of("dispatcher")
_lane = label("lane", Lane)
_loop = label("loop", description="the name of a loop in the code")
_reason = label("reason", description="why: a reason of the dispatcher, or that of a parked record")
_SENDS = _metrics.counter(
    "stet_sends_total",
    "Requests to WhatsApp.",
    label(
        "outcome", ("accepted", _ERROR, "no_answer", "unreadable_answer", "server_error", "lease_ended", "not_reached")
    ),
)
_WHATSAPP_ERRORS = _metrics.counter(
    "stet_whatsapp_errors_total",
    "Errors that WhatsApp returned, by their consequence.",
    label("error_class", ERROR_CLASSES),
)
REQUEST_DURATION = _metrics.histogram(
    "stet_whatsapp_request_duration_seconds", "Time from a request to WhatsApp until its response.", exemplars=True
)
_MESSAGES = _metrics.counter(
    "stet_messages_total",
    "Steps in the lives of messages, as they are published on messages.events.",
    RULE,
    label("outcome", _OUTCOMES.values()),
    label(
        "reason",
        description="why it failed, was dropped or withdrawn, is uncertain, or how it was resolved; else empty",
    ),
)
_MESSAGE_DELAY = _metrics.histogram(
    "stet_message_delay_seconds",
    "Time from the decision on a message until WhatsApp accepted it, without the hours closed to it; waits count.",
    _lane,
    buckets=_LANE_DELAYS,
)
PLANNED_MESSAGES = _metrics.counter(
    "stet_planned_messages_total",
    "Decisions of the planner.",
    label("action", ("send", "wait", "drop")),
    label("reason", description="why it waits or is dropped; else empty"),
)
SENDS_IN_FLIGHT = _metrics.gauge(
    "stet_sends_in_flight", "Sends that have begun and have no committed outcome.", replicas=Replicas.SUM
)
MESSAGES_WAITING = _metrics.gauge("stet_waiting_messages", "Messages that wait to be sent.", _lane)
OLDEST_WAITING_AGE = _metrics.gauge(
    "stet_oldest_waiting_message_age_seconds",
    "Time since the oldest waiting message was decided on; what waits for budget, marketing or hours is not counted.",
    _lane,
)
SENDS_UNCERTAIN = _metrics.gauge("stet_uncertain_sends", "Sends that nothing proves or disproves yet.")
OLDEST_UNCERTAIN_AGE = _metrics.gauge(
    "stet_oldest_uncertain_send_age_seconds", "Time since the oldest uncertain send began."
)
LINE_STOPPED = _metrics.gauge(
    "stet_line_stopped",
    "1 while a line sends nothing until an operator acts, else 0.",
    label("line", description="a line of STET_WHATSAPP_LINES"),
)
NUMBER_QUALITIES = ("GREEN", "YELLOW", "RED", "UNKNOWN")
LINE_QUALITY = _metrics.gauge(
    "stet_line_quality",
    "1 for the quality of a line's number that WhatsApp last said, 0 for the others.",
    label("line", description="a line of STET_WHATSAPP_LINES"),
    label("quality", NUMBER_QUALITIES),
)
CATCHING_UP = _metrics.gauge(
    "stet_catching_up",
    "1 while the leader reads what came before it, and does not send yet.",
    replicas=Replicas.SUM,
)
UNREAD_PARTITIONS = _metrics.gauge(
    "stet_unread_partitions",
    "Partitions that were not read lately; the leader sends their people nothing.",
    replicas=Replicas.SUM,
)
TEMPLATE_READINGS = _metrics.counter(
    "stet_template_readings_total",
    "Readings of the list of the account's templates.",
    label("outcome", ("read", "refused", "unavailable")),
)
TEMPLATES = _metrics.gauge(
    "stet_templates", "Templates by the state that WhatsApp last reported.", label("status", TEMPLATE_STATUSES)
)
TEMPLATES_RECATEGORISED = _metrics.gauge(
    "stet_templates_recategorised", "Templates that WhatsApp has moved to marketing."
)
MESSAGES_FOR_TEMPLATES = _metrics.gauge(
    "stet_template_waiting_messages",
    "Messages that wait for a template.",
    label("reason", (reason.value for reason in TEMPLATE_WAITS)),
)
_DOCUMENT_REFUSALS = (
    MessageReason.DOCUMENT_MISSING,
    MessageReason.DOCUMENT_NOT_ALLOWED,
    MessageReason.DOCUMENT_TOO_LARGE,
    MessageReason.DOCUMENT_WRONG_TYPE,
    MessageReason.DOCUMENT_REFUSED,
    MessageReason.UNKNOWN_LINE,
)
DOCUMENTS = _metrics.counter(
    "stet_documents_total",
    "Documents that go with messages: ready to be sent, tried again later, or refused, by the reason.",
    label("outcome", ("ready", "retried", *(reason.value for reason in _DOCUMENT_REFUSALS))),
)
DOCUMENT_UPLOADS = _metrics.counter(
    "stet_document_uploads_total",
    "Documents that were uploaded to WhatsApp, and those that it had already.",
    label("outcome", ("uploaded", "reused")),
)
_DOCUMENTS_WAITING = _metrics.gauge("stet_documents_waiting", "Documents that are not at WhatsApp yet.")
_DOCUMENT_AGE = _metrics.gauge(
    "stet_document_waiting_age_seconds", "Time since the oldest waiting document was requested; 0 where none waits."
)
LIMITED_MESSAGES = _metrics.gauge(
    "stet_limited_messages",
    "Messages that wait for a limit or a restriction of the WhatsApp account.",
    label("reason", (reason.value for reason in ACCOUNT_WAITS)),
)
ACCOUNT_WARNINGS = _metrics.gauge(
    "stet_account_warnings", "Warnings of Meta to the WhatsApp accounts in the last seven days; stet status has them."
)
SET_ASIDE = _metrics.counter(
    "stet_rows_set_aside_total", "Rows and responses that a loop could not handle and set aside.", _loop, _reason
)
MESSAGES_SET_ASIDE = _metrics.gauge(
    "stet_messages_set_aside", "Messages that no loop reads until an operator releases them."
)
PAUSE_KINDS = ("line", "template", "tenant")
"""The kinds of pause that hold messages; rules have their own."""

OLDEST_PAUSE_AGE = _metrics.gauge(
    "stet_oldest_message_pause_age_seconds",
    "Time since the oldest pause of an operator that holds messages began, by its kind; 0 where there is none.",
    label("kind", PAUSE_KINDS),
)
_CHARGED = _metrics.counter(
    "stet_charged_messages_total",
    "Messages of which WhatsApp said whether it charges for them.",
    label("category", CHARGED_CATEGORIES),
    label("pricing_type", PRICING_TYPES),
)
MONTH_COST = _metrics.gauge(
    "stet_month_cost_units", "Cost of the month's messages so far by the rate card, in units of its currency."
)
MONTH_BUDGET = _metrics.gauge(
    "stet_month_budget_units", "The budget of a month in units of the rate card's currency; 0 where there is none."
)
MONTH_UNPRICED = _metrics.gauge(
    "stet_month_unpriced_messages", "Messages of the month that WhatsApp charges and the rate card has no price for."
)
BUDGET_WARNING = _metrics.gauge(
    "stet_budget_warning", "1 while the month has cost more than the share of the budget that warns, else 0."
)
BUDGET_HELD = _metrics.gauge("stet_budget_held_messages", "Messages that wait for the month's budget.")
_withdrawal_reasons = BoundedValues(_MOST_REASONS)


@dataclass(slots=True)
class MessageTally:
    """Steps of messages in one transaction, counted once it is committed."""

    _steps: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _delays: dict[Lane, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, data: MessageEventData, origin: RequestOrigin) -> None:
        self._steps[rule_label(origin.rule), _OUTCOMES[type(data)], _reason_of(data)] += 1
        if isinstance(data, MessageAccepted) and origin.lane is not None and origin.decided_at is not None:
            self._delays[origin.lane].append(open_time(origin.open_hours, origin.decided_at, data.at).total_seconds())

    def publish(self) -> None:
        add_tally(_MESSAGES, self._steps)
        for lane, delays in self._delays.items():
            _MESSAGE_DELAY.labels(lane).observe_all(delays)


def _reason_of(data: MessageEventData) -> str:
    if isinstance(data, MessageResolved):
        return data.resolution.value
    return _withdrawal_reasons(getattr(data, "reason", ""))


def count_charged(counts: Mapping[tuple[str, str], int]) -> None:
    """Count charged messages by Meta's category and pricing type."""
    for (category, pricing_type), messages in counts.items():
        _CHARGED.labels(
            category if category in CHARGED_CATEGORIES else _OTHER,
            pricing_type if pricing_type in PRICING_TYPES else _OTHER,
        ).inc(messages)


def show_waiting_documents(documents: int, oldest: datetime | None, now: datetime) -> None:
    _DOCUMENTS_WAITING.set(documents)
    _DOCUMENT_AGE.set(max((now - oldest).total_seconds(), 0.0) if oldest is not None else 0.0)


def set_token_refused(setting: str, *, is_refused: bool) -> None:
    SECRET_REFUSED.labels(setting).set(is_refused)


def count_outcomes(outcomes: Iterable[SendOutcome]) -> None:
    """Count a batch at once: each update of a labelled counter costs as much as a small function."""
    for (outcome, code), times in Counter(map(outcome_labels, outcomes)).items():
        _SENDS.labels(outcome).inc(times)
        if outcome == _ERROR:
            _WHATSAPP_ERRORS.labels(code).inc(times)


def outcome_labels(outcome: SendOutcome) -> tuple[str, str]:
    """The outcome as a label, and the class of its error code where WhatsApp returned one."""
    match outcome:
        case SendAccepted():
            return "accepted", ""
        case SendUncertain(reason) | SendNotStarted(reason):
            return reason.value, ""
        case SendError(code, _):
            return _ERROR, error_class(code)
