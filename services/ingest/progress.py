"""Where a pass over all of an entity stands, and how the next one begins; pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

OVERLAP = timedelta(days=1)
"""``changedSince`` counts whole days in a zone nobody documents: ask for a day more."""


@dataclass(frozen=True, slots=True)
class Pass:
    """``after``: all up to this id is seen. ``fields`` had a complete first pass, so their differences are told.

    ``started_at`` is business time, for it is compared with the source's dates; ``completed_at`` is machine time.
    """

    started_at: datetime
    changed_since: date | None = None
    after: int = 0
    completed_at: datetime | None = None
    fields: frozenset[str] = frozenset()


def next_pass(last: Pass | None, now: datetime, fields: Collection[str]) -> Pass:
    """The one that was interrupted, else a new one: over everything while a field still lacks its first pass."""
    if last is None:
        return Pass(started_at=now)
    if last.completed_at is None:
        return last
    baseline = not last.fields >= set(fields)
    since = None if baseline else last.started_at.date() - OVERLAP
    return Pass(started_at=now, changed_since=since, fields=last.fields)
