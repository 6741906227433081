"""Meta's error answers: codes, HTTP statuses and JSON (docs/reference/whatsapp.md, 4). The code decides."""

from typing import Any

from shared.contracts.errors import Refused

_TITLES: dict[int, tuple[int, str]] = {
    1: (400, "Unknown or invalid request"),
    2: (503, "Service temporarily unavailable"),
    3: (500, "Capability or permission problem"),
    4: (400, "Application request limit reached"),
    10: (403, "Permission denied"),
    33: (400, "Phone number deleted"),
    100: (400, "Invalid parameter"),
    190: (401, "Invalid access token"),
    368: (403, "Temporarily blocked for policy violations"),
    80008: (400, "Rate limit of the management API reached"),
    131059: (400, "Invalid paging cursor"),
    80007: (400, "Rate limit of the business account reached"),
    130429: (400, "Rate limit hit"),
    130472: (400, "User is part of an experiment"),
    130497: (403, "Business may not message this country"),
    131000: (500, "Something went wrong"),
    131005: (403, "Access denied"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131016: (503, "Service unavailable"),
    131021: (400, "Recipient cannot be sender"),
    131026: (400, "Message undeliverable"),
    131031: (403, "Account locked"),
    131042: (400, "Business eligibility payment issue"),
    131047: (400, "Re-engagement message"),
    131048: (400, "Spam rate limit hit"),
    131049: (400, "Not delivered to keep the ecosystem healthy"),
    131050: (400, "User stopped marketing messages"),
    131051: (400, "Unsupported message type"),
    131056: (400, "Pair rate limit hit"),
    131057: (500, "Account in maintenance mode"),
    132000: (400, "Number of parameters does not match"),
    132001: (404, "Template does not exist"),
    132005: (400, "Template text too long"),
    132007: (400, "Template content policy violated"),
    132012: (400, "Parameter format does not match"),
    132015: (400, "Template is paused"),
    132016: (400, "Template is disabled"),
    132018: (400, "Template parameters are not valid"),
    133010: (400, "Phone number not registered"),
}
MISSING_OBJECT = 33  # the subcode beside code 100 when the phone number id is unknown


class GraphError(Refused):
    """A call the Graph API refuses; ``code`` is Meta's and says why; ``message`` where it is not the code's title."""

    def __init__(self, code: int, details: str, *, subcode: int | None = None, message: str | None = None) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.subcode = subcode
        self.message = message


def http_status(code: int) -> int:
    return _TITLES.get(code, (400, ""))[0]


def title(code: int) -> str:
    return _TITLES.get(code, (400, "Unknown error"))[1]


def envelope(error: GraphError, trace: str) -> dict[str, Any]:
    """The body of a refusal; ``trace`` becomes Meta's ``fbtrace_id``."""
    if error.message is not None:
        return {
            "error": {
                "message": error.message,
                "type": "GraphMethodException",
                "code": error.code,
                "fbtrace_id": trace,
            }
        }
    body: dict[str, Any] = {
        "message": f"(#{error.code}) {title(error.code)}",
        "type": "OAuthException",
        "code": error.code,
        "error_data": {"messaging_product": "whatsapp", "details": error.details},
        "fbtrace_id": trace,
    }
    if error.subcode is not None:
        body["error_subcode"] = error.subcode
    return {"error": body}


def in_webhook(code: int, details: str) -> dict[str, Any]:
    """The same error as a failed status carries it."""
    return {
        "code": code,
        "title": title(code),
        "message": title(code),
        "error_data": {"details": details},
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    }
