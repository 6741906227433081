"""Access to the Graph API by its token and, where it is sent, the proof of the app secret, as Meta checks them."""

import hashlib
import hmac

from aiohttp import web

from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.simulator import WhatsAppOptions

_PROOF = "appsecret_proof"


def check_access(request: web.Request, options: WhatsAppOptions, scheme: str = "Bearer") -> None:
    """Raises GraphError. https://developers.facebook.com/docs/graph-api/guides/secure-requests"""
    expected = f"{scheme} {options.token}"
    if not _equal(request.headers.get("Authorization", ""), expected):
        raise GraphError(190, "the access token cannot be read")
    proof = hmac.new(options.app_secret.encode(), options.token.encode(), hashlib.sha256).hexdigest()
    sent = request.query.get(_PROOF)
    if sent is not None and not _equal(sent, proof):
        raise GraphError(100, "", message=f"Invalid {_PROOF} provided in the API argument")
    if sent is None and options.require_app_secret:
        raise GraphError(100, "", message=f"API calls from the server require an {_PROOF} argument")


def _equal(sent: str, expected: str) -> bool:
    return hmac.compare_digest(sent.encode(), expected.encode())
