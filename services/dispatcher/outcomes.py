"""What one request came to, read from WhatsApp's answer or from its absence. Pure."""

from datetime import timedelta
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.errors import Action, Fault, Scope, fault_of
from services.dispatcher.states import Reason
from shared.contracts.ids import Wamid

_LONGEST_WAMID = 1024
_HIGHEST_CODE = 2**31 - 1
_DIGITS = 9
_OK = 200
_REDIRECT = 300
_TOO_MANY = 429
_SERVER_ERRORS = 500
_SLOW_DOWN = Fault(Action.THROTTLE_NUMBER, Scope.NUMBER)
_WRONG_DOOR = Fault(Action.OPERATOR, Scope.ACCOUNT)  # an answer that is not WhatsApp's: a wrong address or a proxy


class Taken(Struct, frozen=True):
    """WhatsApp accepted it."""

    wamid: Wamid


class Faulted(Struct, frozen=True):
    """WhatsApp named an error; ``wait`` where it also said for how long."""

    code: int | None
    fault: Fault
    wait: timedelta | None = None


class Doubtful(Struct, frozen=True):
    """The request left, and nobody can say what became of it."""

    reason: Reason


class Unsent(Struct, frozen=True):
    """The request never left: no connection, or our lease on it ended first."""

    reason: Reason


Outcome = Taken | Faulted | Doubtful | Unsent


def read_answer(status: int, body: bytes, wait: timedelta | None = None) -> Outcome:
    document = _json(body)
    if _OK <= status < _REDIRECT:
        wamid = _wamid(document)
        return Taken(wamid) if wamid else Doubtful(Reason.UNREADABLE_ANSWER)
    error = document.get("error")
    if isinstance(error, dict) and (code := _code(error.get("code"))) is not None:
        subcode = error.get("error_subcode")
        return Faulted(code, fault_of(code, subcode, http_status=status), wait)
    return _unnamed(status, wait)


def _unnamed(status: int, wait: timedelta | None) -> Outcome:
    if status >= _SERVER_ERRORS:
        return Doubtful(Reason.SERVER_ERROR)
    return Faulted(None, _SLOW_DOWN if status == _TOO_MANY else _WRONG_DOOR, wait)


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _wamid(document: dict[str, Any]) -> Wamid | None:
    match document:
        case {"messages": [{"id": str(wamid)}, *_]} if wamid.isprintable() and 0 < len(wamid) <= _LONGEST_WAMID:
            return Wamid(wamid)
    return None


def _code(code: object) -> int | None:
    """A whole number, also where it is spelt as text, that fits into the ledger."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) <= _DIGITS:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and abs(code) <= _HIGHEST_CODE else None
