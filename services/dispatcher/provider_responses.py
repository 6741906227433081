"""The meaning of WhatsApp's response to a request: the types of outcome, the parser, and Meta's error codes as data.

An error is judged by ``error.code`` alone, because HTTP statuses mislead (throttles come as 400). The table follows
Meta, "Cloud API error codes" (https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes).
Only a plain refusal is safe to repeat. Codes 1, 2, 131000, 131016, 131057 and 133004 are faults of Meta's servers: the
message may still arrive, so they leave the send uncertain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.reasons import MessageReason
from shared.contracts.ids import Wamid

_LONGEST_WAMID = 1024
_HIGHEST_CODE = 2**31 - 1  # the attempts table stores an integer
_MOST_DIGITS = 9
_HTTP_OK = 200
_HTTP_REDIRECT = 300
_HTTP_TOO_MANY_REQUESTS = 429
_HTTP_SERVER_ERROR = 500


# ------------------------------------------------------------------ error codes


class ErrorAction(StrEnum):
    """The consequence for the message."""

    RETRY = "retry"  # a refusal that may pass: a few more attempts, then the message fails
    THROTTLE_NUMBER = "throttle_number"  # later, and the whole number (or account) slows down
    THROTTLE_PAIR = "throttle_pair"  # later, and only this person's messages wait
    REFUSE_PERSON = "refuse_person"  # this person cannot be reached
    REFUSE_MESSAGE = "refuse_message"  # this message is invalid
    USE_TEMPLATE = "use_template"  # the window was closed: send again as a template
    OPERATOR = "operator"  # an operator must act; the queue is kept


class ErrorScope(StrEnum):
    """The scope in which the error also stops other messages."""

    MESSAGE = "message"
    PAIR = "pair"
    MARKETING = "marketing"  # marketing templates to this person, by all numbers
    TEMPLATE = "template"
    NUMBER = "number"
    BUSINESS_ACCOUNT = "business_account"  # that of the number, which may be one of several
    ACCOUNT = "account"  # the app with its token, and so every number


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """``ambiguous``: the message may have been sent all the same. ``wait``: how long the scope stops, where known."""

    action: ErrorAction
    scope: ErrorScope = ErrorScope.MESSAGE
    ambiguous: bool = False
    wait: timedelta | None = None


_STOP_ALL = ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.ACCOUNT)
_STOP_ACCOUNT = ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.BUSINESS_ACCOUNT)
_STOP_NUMBER = ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.NUMBER)
_STOP_TEMPLATE = ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.TEMPLATE)
_MAYBE_SENT = ErrorPolicy(ErrorAction.RETRY, ambiguous=True)
_REFUSE_MESSAGE = ErrorPolicy(ErrorAction.REFUSE_MESSAGE)
_REFUSE_PERSON = ErrorPolicy(ErrorAction.REFUSE_PERSON)


ERROR_POLICIES: Mapping[int, ErrorPolicy] = {
    **dict.fromkeys((0, 190), _STOP_ALL),  # the token is invalid or has expired
    **dict.fromkeys((3, 10, *range(200, 300), 131005), _STOP_ACCOUNT),  # a permission is missing
    **dict.fromkeys((1, 2, 131000, 131016, 133004), _MAYBE_SENT),  # faults of Meta's servers
    131057: ErrorPolicy(  # the number is being upgraded
        ErrorAction.RETRY, ErrorScope.NUMBER, ambiguous=True, wait=timedelta(minutes=1)
    ),
    4: ErrorPolicy(ErrorAction.THROTTLE_NUMBER, ErrorScope.ACCOUNT),  # calls of the app
    80007: ErrorPolicy(ErrorAction.THROTTLE_NUMBER, ErrorScope.BUSINESS_ACCOUNT),  # all numbers of the business account
    130429: ErrorPolicy(ErrorAction.THROTTLE_NUMBER, ErrorScope.NUMBER),
    131056: ErrorPolicy(ErrorAction.THROTTLE_PAIR, ErrorScope.PAIR),
    131048: _STOP_NUMBER,  # spam or quality: another attempt makes it worse
    131064: _STOP_ACCOUNT,  # templates were classified wrongly; Meta lifts it after a while
    33: _STOP_NUMBER,  # the number was deleted
    **dict.fromkeys((368, 131031), _STOP_NUMBER),  # policy restriction, account locked
    131037: _STOP_NUMBER,  # a 555 number without an approved display name
    131042: _STOP_ACCOUNT,  # payment
    **dict.fromkeys((131045, 133000, 133005, 133006, 133008, 133009, 133010), _STOP_NUMBER),  # (de)registration and PIN
    133015: ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.NUMBER, wait=timedelta(minutes=5)),
    133016: ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.NUMBER, wait=timedelta(hours=72)),
    **dict.fromkeys(
        (131036, 131055, 134100, 134101, 134102), _STOP_NUMBER
    ),  # the number is used by other products of Meta
    131063: _STOP_TEMPLATE,  # marketing is disabled on Cloud API
    **dict.fromkeys((130403, 130497, 131026, 131050, 137000), _REFUSE_PERSON),
    131047: ErrorPolicy(ErrorAction.USE_TEMPLATE),
    **dict.fromkeys((100, 130472, 131008, 131009, 131021, 131051, 131052, 131053, 131062), _REFUSE_MESSAGE),
    # the person gets enough marketing templates, of all businesses together: none to them for a day (Meta, "Per-user
    # marketing template message limits")
    131049: ErrorPolicy(ErrorAction.REFUSE_MESSAGE, ErrorScope.MARKETING, wait=timedelta(hours=24)),
    **dict.fromkeys((132000, 132005, 132012, 132018), _REFUSE_MESSAGE),
    **dict.fromkeys(  # the template is missing or not approved, against policy, blocked, paused or disabled
        (132001, 132007, 132068, 132069, 132015, 132016), _STOP_TEMPLATE
    ),
    135000: ErrorPolicy(ErrorAction.RETRY),  # generic parameter error
}

_INVALID_PARAMETER = 100
_OBJECT_MISSING = 33  # as a subcode of 100: the phone number id is not one of ours


def error_policy(code: int, subcode: int | None = None, *, http_status: int = 400) -> ErrorPolicy:
    """Look an error code up. An undocumented code refuses the message, or leaves it uncertain after a 5xx status."""
    if code == _INVALID_PARAMETER and subcode == _OBJECT_MISSING:
        return _STOP_NUMBER
    documented = ERROR_POLICIES.get(code)
    if documented is not None:
        return documented
    return _MAYBE_SENT if http_status >= _HTTP_SERVER_ERROR else _REFUSE_MESSAGE


ERROR_CLASSES = ("none", "undocumented", *(action.value for action in ErrorAction))
"""The values that ``error_class`` returns."""


def error_class(code: int | None) -> str:
    """A label from a closed set, for metrics."""
    if code is None:
        return "none"
    return ERROR_POLICIES[code].action.value if code in ERROR_POLICIES else "undocumented"


# ------------------------------------------------------------------ outcomes of a request


class SendAccepted(Struct, frozen=True):
    """WhatsApp accepted the message; ``is_held``: it waits until the template's quality is assessed (pacing)."""

    wamid: Wamid
    is_held: bool = False


class SendError(Struct, frozen=True):
    """WhatsApp returned an error; ``retry_after`` where it also named a wait."""

    code: int | None
    policy: ErrorPolicy
    retry_after: timedelta | None = None


class SendUncertain(Struct, frozen=True):
    """The request left, and its effect is unknown."""

    reason: MessageReason


class SendNotStarted(Struct, frozen=True):
    """The request never left: there was no connection, or its lease had ended."""

    reason: MessageReason


SendOutcome = SendAccepted | SendError | SendUncertain | SendNotStarted


def may_have_arrived(outcome: SendOutcome) -> bool:
    """Whether WhatsApp took the message, or may have."""
    match outcome:
        case SendAccepted() | SendUncertain():
            return True
        case SendError(_, policy):
            return policy.ambiguous
        case SendNotStarted():
            return False


_THROTTLE_NUMBER = ErrorPolicy(ErrorAction.THROTTLE_NUMBER, ErrorScope.NUMBER)
_NOT_WHATSAPP = ErrorPolicy(ErrorAction.OPERATOR, ErrorScope.ACCOUNT)  # a wrong address or a proxy responded


def parse_response(status: int, body: bytes, retry_after: timedelta | None = None) -> SendOutcome:
    """Read an HTTP response. Any body is read without raising; a success without a readable wamid is uncertain."""
    document = _parse_object(body)
    if _HTTP_OK <= status < _HTTP_REDIRECT:
        wamid = _find_wamid(document)
        return SendAccepted(wamid, _is_held(document)) if wamid else SendUncertain(MessageReason.UNREADABLE_ANSWER)
    error = document.get("error")
    if isinstance(error, dict) and (code := _parse_code(error.get("code"))) is not None:
        subcode = error.get("error_subcode")
        return SendError(code, error_policy(code, subcode, http_status=status), retry_after)
    if status >= _HTTP_SERVER_ERROR:
        return SendUncertain(MessageReason.SERVER_ERROR)
    return SendError(None, _THROTTLE_NUMBER if status == _HTTP_TOO_MANY_REQUESTS else _NOT_WHATSAPP, retry_after)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _find_wamid(document: dict[str, Any]) -> Wamid | None:
    match document:
        case {"messages": [{"id": str(wamid)}, *_]} if wamid.isprintable() and 0 < len(wamid) <= _LONGEST_WAMID:
            return Wamid(wamid)
    return None


def _is_held(document: Mapping[str, Any]) -> bool:
    match document:
        case {"messages": [{"message_status": "held_for_quality_assessment"}, *_]}:
            return True
        case _:
            return False


def _parse_code(code: object) -> int | None:
    """A whole number that fits into the attempts table, also where it is written as text."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) <= _MOST_DIGITS:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and abs(code) <= _HIGHEST_CODE else None
