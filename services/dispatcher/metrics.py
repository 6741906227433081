"""The metrics of the dispatcher; label values come from closed sets."""

from collections import Counter
from collections.abc import Iterable

from services.dispatcher.provider_responses import (
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
    error_class,
)
from shared.runtime.failures import describe_failure
from shared.runtime.telemetry import counter, gauge, get_logger, histogram

log = get_logger()

SEND_DURATION = histogram(
    "stet_dispatcher_send_duration_seconds", "Time from a request to WhatsApp until its response."
)
SENDS_IN_FLIGHT = gauge("stet_dispatcher_sends_in_flight", "Sends that have begun and have no committed outcome.")
MESSAGES_WAITING = gauge("stet_dispatcher_waiting_messages", "Messages that wait to be sent.")
OLDEST_WAITING_AGE = gauge(
    "stet_dispatcher_oldest_waiting_message_age_seconds",
    "Business time since the oldest waiting message was requested.",
)
SENDS_UNCERTAIN = gauge("stet_dispatcher_uncertain_sends", "Sends that nothing proves or disproves yet.")
OLDEST_UNCERTAIN_AGE = gauge(
    "stet_dispatcher_oldest_uncertain_send_age_seconds", "Business time since the oldest uncertain send began."
)
LINE_STOPPED = gauge("stet_dispatcher_line_stopped", "1 while a line sends nothing until an operator acts.", "line")
LEADER = gauge("stet_dispatcher_leader", "1 while this replica is the leader and sends.")
CATCHING_UP = gauge(
    "stet_dispatcher_catching_up", "1 while the leader catches up with the topics and does not send yet."
)
UNREAD_PARTITIONS = gauge(
    "stet_dispatcher_unread_partitions", "Partitions that were not read lately; the leader sends their people nothing."
)
SET_ASIDE = counter(
    "stet_dispatcher_set_aside_total",
    "Rows and responses that a loop could not handle and set aside.",
    "loop",
    "reason",
)
MESSAGES_SET_ASIDE = gauge(
    "stet_dispatcher_set_aside_messages", "Messages that no loop reads until an operator releases them."
)
LOOP_ERRORS = counter("stet_dispatcher_loop_errors_total", "Errors after which a loop went on.", "loop")
TOKEN_REFUSED = gauge("stet_dispatcher_token_refused", "1 while WhatsApp refuses STET_WHATSAPP_TOKEN.")
PLANNED_MESSAGES = counter(
    "stet_dispatcher_planned_messages_total", "Decisions of the planner by action and reason.", "action", "reason"
)
_SENDS = counter("stet_dispatcher_sends_total", "Sends by their outcome.", "outcome")
_PROVIDER_ERRORS = counter(
    "stet_dispatcher_provider_errors_total", "Errors that WhatsApp returned, by class.", "error_class"
)
_ERROR = "error"


def count_outcomes(outcomes: Iterable[SendOutcome]) -> None:
    """Count a batch at once: each update of a labelled counter costs as much as a small function."""
    for (outcome, code), times in Counter(map(outcome_labels, outcomes)).items():
        _SENDS.labels(outcome).inc(times)
        if outcome == _ERROR:
            _PROVIDER_ERRORS.labels(code).inc(times)


def outcome_labels(outcome: SendOutcome) -> tuple[str, str]:
    """The outcome as a label, and the class of its error code where WhatsApp returned one."""
    match outcome:
        case SendAccepted():
            return "accepted", ""
        case SendUncertain(reason) | SendNotStarted(reason):
            return reason.value, ""
        case SendError(code, _):
            return _ERROR, error_class(code)


def record_loop_error(loop: str, error: BaseException) -> None:
    """Count and log an error that no single row explains. The error's own text is left out: it may quote data."""
    LOOP_ERRORS.labels(loop).inc()
    log.error("loop.failed", loop=loop, sentence=describe_failure(error))
