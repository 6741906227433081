"""Who sent this? Meta's HMAC over the raw bytes; Standard Webhooks for Consonance's events. In constant time.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started · https://www.standardwebhooks.com
"""

import hmac
from collections.abc import Iterable, Mapping

from standardwebhooks import Webhook, WebhookVerificationError

_PREFIX = b"sha256="


def signed_by_meta(body: bytes, header: bytes | None, secrets: Iterable[bytes]) -> bool:
    """``header`` is X-Hub-Signature-256. Every secret is tried, so that one can be replaced without a gap."""
    if header is None or not header.startswith(_PREFIX):
        return False
    claimed = header.removeprefix(_PREFIX).lower()
    return any([hmac.compare_digest(hmac.digest(key, body, "sha256").hex().encode(), claimed) for key in secrets])  # noqa: C419 -- every secret is tried


def signed_for_consonance(body: bytes, headers: Mapping[bytes, bytes], secrets: Iterable[str]) -> bool:
    """``headers`` as the door has them. Signatures older or newer than five minutes of machine time do not count."""
    texts = {name.decode("latin-1"): text.decode("latin-1") for name, text in headers.items()}
    return any([_verifies(body, texts, secret) for secret in secrets])  # noqa: C419 -- every secret is tried


def _verifies(body: bytes, headers: dict[str, str], secret: str) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: a header or a body that is not even text
        return False
    return True
