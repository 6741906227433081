"""The hours in which a message may leave: when its person may be written to, until it expires. Pure.

``OpenHours`` are instants (business time), oldest first: an opening, its closing, the next opening, and so on. Without
any, the message may leave at any hour.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

OpenHours = Sequence[datetime]


def next_opening(open_hours: OpenHours, now: datetime) -> datetime | None:
    """``now`` where the message may leave, else the next opening, and None after the last closing."""
    place = bisect_right(open_hours, now)
    if not open_hours or place % 2:
        return now
    return open_hours[place] if place < len(open_hours) else None


def open_time(open_hours: OpenHours, begins: datetime, ends: datetime) -> timedelta:
    """How much of the time between two instants was open."""
    if not open_hours:
        return ends - begins
    spans = zip(open_hours[::2], open_hours[1::2], strict=True)
    return sum((max(min(ends, closes) - max(begins, opens), timedelta()) for opens, closes in spans), timedelta())
