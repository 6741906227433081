"""What an operator asks of the dispatcher, as metrics; labels come from closed sets only."""

from collections import Counter
from collections.abc import Iterable

from services.dispatcher.errors import code_class
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, Unsent
from shared.runtime.telemetry import counter, gauge, histogram

SEND_SECONDS = histogram("stet_dispatcher_send_seconds", "From a request to WhatsApp to its answer")
IN_FLIGHT = gauge("stet_dispatcher_in_flight", "Sends begun whose result is not committed yet")
WAITING = gauge("stet_dispatcher_waiting_messages", "Messages that wait to be sent")
OLDEST_WAITING = gauge("stet_dispatcher_oldest_waiting_seconds", "Business time since the oldest waiting request")
UNCERTAIN = gauge("stet_dispatcher_uncertain_sends", "Sends nobody can prove or disprove yet")
OLDEST_UNCERTAIN = gauge("stet_dispatcher_oldest_uncertain_seconds", "Business time since the oldest of them began")
STOPPED = gauge("stet_dispatcher_line_stopped", "1 while nothing may leave by this line: somebody must act", "line")
OWNS = gauge("stet_dispatcher_owns_portfolio", "1 where this replica sends")
CATCHING_UP = gauge("stet_dispatcher_catching_up", "1 while the owner reads what came before it, and does not send")
SET_ASIDE = counter(
    "stet_dispatcher_set_aside_total", "Rows and answers that a loop could not handle, and left alone", "loop", "reason"
)
SET_ASIDE_NOW = gauge("stet_dispatcher_set_aside_messages", "Messages that are left alone until a person looks")
LOOP_ERRORS = counter("stet_dispatcher_loop_errors_total", "Errors that a loop met and went on after", "loop")
TOKEN_REFUSED = gauge("stet_dispatcher_token_refused", "1 while WhatsApp refuses STET_WHATSAPP_TOKEN")
VERDICTS = counter("stet_dispatcher_verdicts_total", "What plan decided, and why", "verdict", "reason")
_OUTCOMES = counter("stet_dispatcher_sends_total", "What sends came to", "outcome")
_FAULTED = "faulted"
_ERRORS = counter("stet_dispatcher_errors_total", "Errors WhatsApp named, by what they ask for", "code_class")


def count_outcomes(outcomes: Iterable[Outcome]) -> None:
    """A batch at a time: a labelled counter costs as much as a small function."""
    for (outcome, code), times in Counter(map(labels_of, outcomes)).items():
        _OUTCOMES.labels(outcome).inc(times)
        if outcome == _FAULTED:
            _ERRORS.labels(code).inc(times)


def labels_of(outcome: Outcome) -> tuple[str, str]:
    """The outcome's word, and the class of its code where WhatsApp named one."""
    match outcome:
        case Taken():
            return "accepted", ""
        case Doubtful(reason) | Unsent(reason):
            return reason.value, ""
        case Faulted(code, _):
            return _FAULTED, code_class(code)
