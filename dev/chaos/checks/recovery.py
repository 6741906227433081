"""How soon after each strike something came of an event that happened after it. Not judged, but told."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from dev.chaos.checks.files import Files, epoch

_FIRST_EVENTS_SECONDS = 2.0


@dataclass(frozen=True)
class Recovery:
    """Seconds from the strike: ``first`` until the first effect of a later event, ``slowest`` until those of all events
    of the first two seconds had theirs; None where none came.
    """

    kind: str
    at: float
    first: float | None
    slowest: float | None


def recoveries(files: Files) -> list[Recovery]:
    pairs = sorted(_effects(files))
    happened = [began for began, _ in pairs]
    found = []
    for row in (row for row in files.rows["journal"] if row["kind"] == "strike"):
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


def _effects(files: Files) -> Iterator[tuple[float, float]]:
    """When a push happened, and when the first message it caused was taken."""
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
