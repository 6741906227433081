"""Measures how soon after each disruption later events have an effect. It is reported, not judged."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from dev.chaos.checks.files import RunFiles, epoch

_FIRST_EVENTS_SECONDS = 2.0


@dataclass(frozen=True)
class Recovery:
    """Seconds after a disruption: ``first`` to the first effect of a later event, ``slowest`` until all events
    of the first two seconds have had their effect; None without any.
    """

    kind: str
    at: float
    first: float | None
    slowest: float | None


def recoveries(files: RunFiles) -> list[Recovery]:
    pairs = sorted(_effects(files))
    happened = [began for began, _ in pairs]
    found = []
    for row in (row for row in files.rows["journal"] if row["kind"] == "disruption"):
        at = row["at"]
        later = pairs[bisect_left(happened, at) :]
        soon = [effect for began, effect in later if began < at + _FIRST_EVENTS_SECONDS]
        first = min((effect for _, effect in later[:200]), default=None)
        slowest = max(soon, default=None)
        kind = f"{row['how']} {row['target']}" + (" (both)" if len(row["names"]) > 1 else "")
        found.append(Recovery(kind, at, _since(first, at), _since(slowest, at)))
    return found


def _since(instant: float | None, at: float) -> float | None:
    return None if instant is None else instant - at


def _effects(files: RunFiles) -> Iterator[tuple[float, float]]:
    """The time of each push, and the time at which WhatsApp took its first message."""
    happened = {}
    for push in files.rows["pushed"]:
        body = push["body"]
        if isinstance(body, dict):
            happened[body["id"]] = epoch(body["time"])
    first: dict[str, float] = {}
    for sent in files.sends:
        record = files.requested.get(sent.message_id)
        cause = str(record.event.get("causationid")) if record is not None else ""
        if cause in happened:
            first.setdefault(cause, sent.at)
    yield from ((happened[cause], at) for cause, at in first.items())
