"""The closed set of reasons that rows, events, logs, spans and metrics of the dispatcher share.

A module of its own, because the planner, the payload, the response parser and the state machine all need it.
"""

from enum import StrEnum


class MessageReason(StrEnum):
    """Why a message waits, was dropped, failed or is uncertain."""

    # the message waits
    PAIR_RATE = "pair_rate"
    NUMBER_RATE = "number_rate"
    PAIR_THROTTLED = "pair_throttled"
    NUMBER_THROTTLED = "number_throttled"
    TEMPLATE_PAUSED = "template_paused"
    TEMPLATE_PENDING = "template_pending"
    TEMPLATE_REJECTED = "template_rejected"
    TEMPLATE_MISSING = "template_missing"
    TEMPLATE_RECATEGORISED = "template_recategorised"
    TEMPLATE_DISABLED = "template_disabled"
    TEMPLATE_THROTTLED = "template_throttled"
    MARKETING_LIMIT = "marketing_limit"
    MARKETING_PAUSED = "marketing_paused"
    PORTFOLIO_LIMIT = "portfolio_limit"
    ACCOUNT_RESTRICTED = "account_restricted"
    BUDGET_SPENT = "budget_spent"
    QUIET_HOURS = "quiet_hours"
    PAUSED_BY_OPERATOR = "paused_by_operator"
    DOCUMENT_PENDING = "document_pending"
    UNKNOWN_PERSON = "unknown_person"
    EARLIER_MESSAGE = "earlier_message"
    NOT_REACHED = "not_reached"
    REFUSED_FOR_NOW = "refused_for_now"
    WINDOW_WAS_CLOSED = "window_was_closed"
    REPEATED = "repeated"
    # the message was dropped
    EXPIRED = "expired"
    EXPIRED_WHILE_PAUSED = "expired_while_paused"
    EXPIRED_OVER_BUDGET = "expired_over_budget"
    NO_ADDRESS = "no_address"
    NO_TEMPLATE = "no_template"
    UNKNOWN_LINE = "unknown_line"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    BUTTONS_NOT_SENDABLE = "buttons_not_sendable"
    DOCUMENT_MISSING = "document_missing"
    DOCUMENT_NOT_ALLOWED = "document_not_allowed"
    DOCUMENT_TOO_LARGE = "document_too_large"
    DOCUMENT_WRONG_TYPE = "document_wrong_type"
    DOCUMENT_REFUSED = "document_refused"
    DOCUMENT_NOT_SENDABLE = "document_not_sendable"
    UNREADABLE = "unreadable"
    # the message failed
    UNREACHABLE = "unreachable"
    MESSAGE_REFUSED = "message_refused"
    REFUSED_AGAIN = "refused_again"
    SETTLED_NOT_SENT = "settled_not_sent"
    # the send is uncertain
    NO_ANSWER = "no_answer"
    UNREADABLE_ANSWER = "unreadable_answer"
    SERVER_ERROR = "server_error"
    LEASE_ENDED = "lease_ended"


TEMPLATE_WAITS = (
    MessageReason.TEMPLATE_PAUSED,
    MessageReason.TEMPLATE_PENDING,
    MessageReason.TEMPLATE_REJECTED,
    MessageReason.TEMPLATE_MISSING,
    MessageReason.TEMPLATE_RECATEGORISED,
    MessageReason.TEMPLATE_DISABLED,
    MessageReason.TEMPLATE_THROTTLED,
)

MARKETING_WAITS = (MessageReason.MARKETING_LIMIT, MessageReason.MARKETING_PAUSED)
"""Meta delivers no marketing template to the person: not in these 24 hours, or not in their country."""

MAY_BE_PASSED = (
    *TEMPLATE_WAITS,
    *MARKETING_WAITS,
    MessageReason.BUDGET_SPENT,
    MessageReason.QUIET_HOURS,
    MessageReason.PAUSED_BY_OPERATOR,
    MessageReason.DOCUMENT_PENDING,
)
"""While a message waits for one of these, messages of other chains may pass its chain in their chat."""

WAITS_OUTSIDE_WINDOWS = (
    *TEMPLATE_WAITS,
    *MARKETING_WAITS,
    MessageReason.PORTFOLIO_LIMIT,
    MessageReason.ACCOUNT_RESTRICTED,
    MessageReason.BUDGET_SPENT,
    MessageReason.PAUSED_BY_OPERATOR,
)
"""A message that waits for one of these may go at once as free text, when its person writes."""
