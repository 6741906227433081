"""Signatures of requests: Meta's HMAC over the raw body, Standard Webhooks for Consonance's events, in constant time.

Rejected signatures are counted and logged at a limited rate: a forgery looks like a wrong secret of our own, so
operators get the numbers of both.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started · https://www.standardwebhooks.com
"""

import hmac
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from shared.runtime.credentials import hmac_sha256
from shared.runtime.telemetry import get_logger

WINDOW_MINUTES = 10
LOG_INTERVAL_SECONDS = 60.0
_MAX_LOG_SUBJECTS = 64
_PREFIX = b"sha256="
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
MOST_SECONDS_APART = 300
"""Between a signature and its check, as Standard Webhooks have it."""
_META_SIGNATURE = re.compile(rb"sha256=[0-9a-fA-F]{64}")

_log = get_logger()


def is_signed_by_meta(body: bytes, header: bytes | None, secrets: Iterable[bytes]) -> bool:
    """``header`` is X-Hub-Signature-256. Any of the secrets may have signed, so that one can be replaced."""
    if header is None or not header.startswith(_PREFIX):
        return False
    claimed = header.removeprefix(_PREFIX).lower()
    return any([hmac.compare_digest(hmac_sha256(key, body).encode(), claimed) for key in secrets])  # noqa: C419 -- every secret is tried


def is_signed_for_consonance(body: bytes, headers: Mapping[bytes, bytes], secrets: Iterable[str]) -> bool:
    """``headers`` in lower case. Signatures older or newer than five minutes of machine time are not valid."""
    texts = {name.decode("latin-1"): text.decode("latin-1") for name, text in headers.items()}
    return any([_verifies(body, texts, secret) for secret in secrets])  # noqa: C419 -- every secret is tried


def _verifies(body: bytes, headers: dict[str, str], secret: str) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: a header or a body that is not even text
        return False
    return True


def seconds_after_signing(headers: Mapping[bytes, bytes], now: float) -> int | None:
    """Seconds from the time in the headers of a pushed event to ``now``; None where they have no time.

    Negative for a time in the future. A sender can write any time, so this proves nothing.
    """
    stamp = headers.get(b"webhook-timestamp", b"")
    return int(now) - int(stamp) if _TIMESTAMP.fullmatch(stamp) else None


def has_meta_signature_format(header: bytes | None) -> bool:
    """Whether it could be Meta's signature with a secret that this service does not have."""
    return header is not None and _META_SIGNATURE.fullmatch(header) is not None


class RateLimitedLog:
    """Warnings that any sender on the internet can cause: logged at once, and then at most once a minute.

    ``times`` in a line counts the occurrences since the line before. ``now`` is monotonic. Each ``subject`` is counted
    for itself; beyond 64 of them within a minute they share one line.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._logged_at: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warning(self, now: float, subject: str = "", times: int = 1, **fields: Any) -> None:
        if subject not in self._logged_at and len(self._logged_at) >= _MAX_LOG_SUBJECTS:
            self._forget_old(now)
            subject = subject if len(self._logged_at) < _MAX_LOG_SUBJECTS else ""
        times += self._suppressed.pop(subject, 0)
        if now - self._logged_at.get(subject, -LOG_INTERVAL_SECONDS) < LOG_INTERVAL_SECONDS:
            self._suppressed[subject] = times
            return
        self._logged_at[subject] = now
        _log.warning(self._event, times=times, **fields)

    def _forget_old(self, now: float) -> None:
        """Remove the subjects that were last logged a minute ago and have not occurred since."""
        old = [subject for subject, logged in self._logged_at.items() if now - logged >= LOG_INTERVAL_SECONDS]
        for subject in old:
            if subject not in self._suppressed:
                del self._logged_at[subject]


@dataclass(slots=True)
class _Minute:
    number: int
    accepted: int = 0
    rejected: int = 0


@dataclass(slots=True)
class SignatureCounts:
    """The requests of one sender in the last ten minutes, by whether their signature was valid.

    ``setting`` holds our secrets; ``location`` says where the sender keeps its own. ``now`` is monotonic.
    """

    sender: str
    setting: str
    location: str
    _minutes: deque[_Minute] = field(default_factory=lambda: deque(maxlen=WINDOW_MINUTES))
    _log: RateLimitedLog = field(default_factory=lambda: RateLimitedLog("signature.rejected"))
    _age_of_rejected: int | None = None

    def count_accepted(self, now: float) -> None:
        self._minute(now).accepted += 1

    def count_rejected(self, now: float, age: int | None = None) -> None:
        """``age`` is how many seconds ago it says it was signed."""
        self._minute(now).rejected += 1
        self._age_of_rejected = age if age is not None and abs(age) > MOST_SECONDS_APART else None
        accepted, _ = self.recent(now)
        aged: dict[str, Any] = {} if self._age_of_rejected is None else {"signed_seconds_ago": age}
        self._log.warning(
            now, sender=self.sender, setting=self.setting, location=self.location, recently_accepted=accepted, **aged
        )

    def recent(self, now: float) -> tuple[int, int]:
        """Accepted and rejected requests of the last ten minutes."""
        oldest = int(now // 60) - WINDOW_MINUTES
        minutes = [minute for minute in self._minutes if minute.number > oldest]
        return sum(minute.accepted for minute in minutes), sum(minute.rejected for minute in minutes)

    def are_refused(self) -> bool:
        """Whether signatures came in the last ten minutes, and none of them was valid."""
        accepted, rejected = self.recent(time.monotonic())
        return rejected > 0 and accepted == 0

    def detail(self, now: float) -> str:
        """A line for ``/readyz`` that says what to do about rejected signatures; empty if there were none lately."""
        accepted, rejected = self.recent(now)
        if not rejected:
            return ""
        counted = f"{self.sender}: in the last {WINDOW_MINUTES} minutes {rejected} rejected for their signature"
        if accepted:
            return (
                f"{counted}, {accepted} accepted: from a stranger, or one of two secrets is missing in {self.setting}"
            )
        if (age := self._age_of_rejected) is not None:
            when = f"{abs(age)} s {'ago' if age > 0 else 'ahead'} by the clock of this machine"
            return (
                f"{counted}, none accepted: the last one was signed {when}, and {MOST_SECONDS_APART} s are allowed: "
                "is the clock of this machine or of the sender wrong?"
            )
        return f"{counted}, none accepted: {self.setting} may not be what the sender signs with ({self.location})"

    def _minute(self, now: float) -> _Minute:
        number = int(now // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]
