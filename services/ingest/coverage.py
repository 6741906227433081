"""The coverage of the WhatsApp webhook: the time in which no webhook can have been missed. All of it is machine time.

The dispatcher needs it before it concludes from a missing status that a message was not sent. A rejected webhook, or a
time of absence, opens a gap. While the gap is open a heartbeat confirms only the time after it. The gap closes when
WhatsApp has had the time to redeliver the rejected webhooks and no other was rejected; then the heartbeat confirms the
time of the gap as well. A send is covered when ``since <= attempt`` and ``until`` is after it in the newest heartbeat.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.runtime.clock import FAR_AHEAD, MachineInstant, machine_now


@dataclass(frozen=True, slots=True)
class Coverage:
    """``since``..``until`` is covered, except for a gap open since ``gap_since``, last extended at ``gap_until``."""

    since: datetime
    until: datetime
    gap_since: datetime | None = None
    gap_until: datetime | None = None

    def is_ahead(self, now: datetime) -> bool:
        """Whether a clock was set back since, so that no heartbeat would confirm anything for as long as the step."""
        return self.until > now + FAR_AHEAD

    def set_back(self, now: datetime) -> "Coverage":
        """The coverage that remains after this machine's clock was set back to ``now``."""
        return Coverage(
            min(self.since, now),
            now,
            None if self.gap_since is None else min(self.gap_since, now),
            None if self.gap_until is None else min(self.gap_until, now),
        )


@dataclass(frozen=True, slots=True)
class CoverageUpdate:
    """The coverage after a heartbeat, which confirms the time from ``confirmed_since``. ``new_gap``: just opened."""

    coverage: Coverage
    confirmed_since: datetime
    new_gap: datetime | None = None


def start_coverage(now: datetime) -> CoverageUpdate:
    """The first heartbeat of an account."""
    return CoverageUpdate(Coverage(since=now, until=now), confirmed_since=now)


def extend_coverage(
    coverage: Coverage, now: datetime, missed_at: datetime | None, redelivery_period: timedelta
) -> CoverageUpdate:
    """The coverage after a heartbeat at ``now``.

    ``missed_at``: the last instant since the last heartbeat at which a webhook may have been missed (a rejection, the
    end of an absence). ``redelivery_period`` is the time given to WhatsApp to send a rejected webhook again.
    """
    new_gap = coverage.until if missed_at is not None and coverage.gap_since is None else None
    if missed_at is not None:
        coverage = replace(coverage, gap_since=coverage.gap_since or coverage.until, gap_until=missed_at)
    if coverage.gap_until is not None and now >= coverage.gap_until + redelivery_period:
        coverage = replace(coverage, gap_since=None, gap_until=None)
    coverage = replace(coverage, until=now)
    return CoverageUpdate(coverage, confirmed_since=min(coverage.gap_until or coverage.since, now), new_gap=new_gap)


@dataclass(slots=True)
class CoverageTracker:
    """The state of the webhook in this process between two heartbeats."""

    missed_at: datetime | None = None
    reason: str = ""
    in_flight: dict[object, datetime] = field(default_factory=dict)
    was_unready: bool = False
    has_suspect_signature: bool = False
    asked_at: MachineInstant | None = None

    def begin_heartbeat(self, asked_at: MachineInstant, longest_pause: timedelta) -> None:
        """A process whose last heartbeat began longer ago stood still: webhooks that came to it had no answer."""
        if self.asked_at is not None and self.asked_at.time_until(asked_at) > longest_pause:
            self.record_miss("away")
        self.asked_at = asked_at

    def record_miss(self, reason: str) -> None:
        """A webhook was rejected, or may have been missed, until now; the first reason is reported."""
        if self.missed_at is None:
            self.reason = reason
        self.missed_at = machine_now()

    def record_unready(self) -> None:
        """A load balancer keeps webhooks from this process now, and until its next probe succeeds."""
        self.was_unready = True
        self.record_miss("unready")

    def record_suspect_signature(self) -> None:
        """A webhook that may come from WhatsApp was signed with an unknown secret."""
        self.has_suspect_signature = True

    def record_valid_signature(self) -> None:
        """A webhook with a valid signature followed, so the suspect one was a stranger's."""
        self.has_suspect_signature = False

    def begin_request(self) -> object:
        """A webhook arrives; until ``end_request`` it may still be rejected."""
        token = object()
        self.in_flight[token] = machine_now()
        return token

    def end_request(self, token: object) -> None:
        del self.in_flight[token]

    def complete_until(self) -> datetime:
        """The instant before which all webhooks have been answered."""
        return min(self.in_flight.values(), default=machine_now())
