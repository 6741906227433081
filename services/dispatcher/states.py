"""The closed words of the ledger: where a message stands, why, and how far WhatsApp says it got."""

from enum import IntEnum, StrEnum

from shared.contracts.whatsapp import Status


class State(StrEnum):
    """``intent`` is committed before the request leaves, so a process that dies leaves a trace and not a doubt."""

    WAITING = "waiting"
    INTENT = "intent"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    UNCERTAIN = "uncertain"
    FAILED = "failed"
    DROPPED = "dropped"
    WITHDRAWN = "withdrawn"


SENT = frozenset({State.ACCEPTED, State.DELIVERED, State.READ})
"""WhatsApp is known to have taken it."""


class Rank(IntEnum):
    """What statuses have proved; it only rises. ``failed`` stands apart and has no rank."""

    NONE = 0
    SENT = 1
    DELIVERED = 2
    READ = 3


RANKS = {
    Status.SENT: Rank.SENT,
    Status.DELIVERED: Rank.DELIVERED,
    Status.READ: Rank.READ,
    Status.PLAYED: Rank.READ,
}


class Reason(StrEnum):
    """Why a message waits, was dropped, failed or is uncertain; the same word in row, event, log, span and metric."""

    # it waits
    PAIR_RATE = "pair_rate"
    NUMBER_RATE = "number_rate"
    PAIR_HELD = "pair_held"
    NUMBER_HELD = "number_held"
    TEMPLATE_PAUSED = "template_paused"
    TEMPLATE_HELD = "template_held"
    UNKNOWN_PERSON = "unknown_person"
    NOT_REACHED = "not_reached"
    REFUSED_FOR_NOW = "refused_for_now"
    WINDOW_WAS_CLOSED = "window_was_closed"
    REPEATED = "repeated"
    # it was dropped
    EXPIRED = "expired"
    NO_ADDRESS = "no_address"
    NO_TEMPLATE = "no_template"
    TEMPLATE_DISABLED = "template_disabled"
    UNKNOWN_LINE = "unknown_line"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    BUTTONS_NOT_SENDABLE = "buttons_not_sendable"
    UNREADABLE = "unreadable"
    # it failed
    UNREACHABLE = "unreachable"
    TEMPLATE_REFUSED = "template_refused"
    MESSAGE_REFUSED = "message_refused"
    REFUSED_AGAIN = "refused_again"
    SETTLED_NOT_SENT = "settled_not_sent"
    # it is uncertain
    NO_ANSWER = "no_answer"
    UNREADABLE_ANSWER = "unreadable_answer"
    SERVER_ERROR = "server_error"
    LEASE_ENDED = "lease_ended"


class Evidence(StrEnum):
    """What settled an uncertain send."""

    STATUS = "status"
    TAP = "tap"
    LATE_ANSWER = "late_answer"
    SILENCE = "silence"
    PERSON = "person"
