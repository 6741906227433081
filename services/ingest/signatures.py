"""Who sent this? Meta's HMAC over the raw bytes; Standard Webhooks for Consonance's events. In constant time.

And how often the answer was no: a stranger's forgery looks like our own wrong secret, so both are told in numbers.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started · https://www.standardwebhooks.com
"""

import hmac
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from standardwebhooks import Webhook, WebhookVerificationError

from services.ingest.seldom import SeldomLog

WINDOW_MINUTES = 10
_PREFIX = b"sha256="
_META = re.compile(rb"sha256=[0-9a-fA-F]{64}")


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


def looks_like_metas(header: bytes | None) -> bool:
    """Whether it could be Meta's signature with a secret we do not have."""
    return header is not None and _META.fullmatch(header) is not None


@dataclass(slots=True)
class _Minute:
    number: int
    accepted: int = 0
    refused: int = 0


@dataclass(slots=True)
class SignatureCounts:
    """One sender's requests of the last ten minutes. ``setting`` has our secrets; ``where`` is the sender's own copy.

    ``now`` is monotonic.
    """

    sender: str
    setting: str
    where: str
    _minutes: deque[_Minute] = field(default_factory=lambda: deque(maxlen=WINDOW_MINUTES))
    _log: SeldomLog = field(default_factory=lambda: SeldomLog("signature.refused"))

    def accept(self, now: float) -> None:
        self._minute(now).accepted += 1

    def refuse(self, now: float) -> None:
        self._minute(now).refused += 1
        accepted, _ = self.lately(now)
        self._log.report(now, sender=self.sender, setting=self.setting, where=self.where, accepted_lately=accepted)

    def lately(self, now: float) -> tuple[int, int]:
        """Accepted, refused."""
        oldest = int(now // 60) - WINDOW_MINUTES
        minutes = [minute for minute in self._minutes if minute.number > oldest]
        return sum(minute.accepted for minute in minutes), sum(minute.refused for minute in minutes)

    def detail(self, now: float) -> str:
        """What to do, where something was refused lately, else empty; it is forgotten after ten minutes."""
        accepted, refused = self.lately(now)
        if not refused:
            return ""
        told = f"{self.sender}: in the last {WINDOW_MINUTES} minutes {refused} refused for their signature"
        if accepted:
            return f"{told}, {accepted} accepted: somebody else's, or one of two secrets is missing in {self.setting}"
        return f"{told}, none accepted: {self.setting} may not be what the sender signs with ({self.where})"

    def _minute(self, now: float) -> _Minute:
        number = int(now // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]
