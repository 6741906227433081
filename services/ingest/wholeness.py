"""How long the webhook has been whole: what the dispatcher needs to know before it calls a silent send unsent.

Refusing a webhook, or being away, opens a gap. While it is open the heartbeat vouches only for the time after it;
once WhatsApp has had time to redeliver what was refused, without another refusal, the heartbeat covers the gap too,
and so closes it. All of it is machine time. A send was watched throughout when ``since <= attempt`` and ``until`` is
after it in the newest heartbeat.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Wholeness:
    """``since``..``until`` were whole, but for a gap still open from ``gap_since``, last torn at ``gap_until``."""

    since: datetime
    until: datetime
    gap_since: datetime | None = None
    gap_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """``gap``: opened just now. ``vouched`` is where the heartbeat's own time begins."""

    state: Wholeness
    vouched: datetime
    gap: datetime | None = None


def begin(now: datetime) -> Wholeness:
    """Nobody has watched before."""
    return Wholeness(since=now, until=now)


def beat(state: Wholeness, now: datetime, torn: datetime | None, redelivery: timedelta) -> Beat:
    """``torn``: the last instant a webhook may have been missed since the last beat (a refusal, the end of an absence).

    ``redelivery`` is how long WhatsApp is given to send again what was refused.
    """
    opened = state.until if torn is not None and state.gap_since is None else None
    if torn is not None:
        state = replace(state, gap_since=state.gap_since or state.until, gap_until=torn)
    if state.gap_until is not None and now >= state.gap_until + redelivery:
        state = replace(state, gap_since=None, gap_until=None)
    state = replace(state, until=now)
    return Beat(state, vouched=min(state.gap_until or state.since, now), gap=opened)
