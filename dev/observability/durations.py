"""Durations in descriptions of alerts, and the scale by which a test shortens all of them.

An expression writes an age as ``<6h>`` (rendered in seconds) and a range as ``[5m]``; both, and how long an alert
has to hold, are multiplied by the scale. Nothing else of an alert depends on it.
"""

import re
from dataclasses import dataclass

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"(\d+)([smhd])"
_AGE = re.compile(rf"<{_DURATION}>")
_RANGE = re.compile(rf"\[{_DURATION}\]")


@dataclass(frozen=True)
class TimeScale:
    """``factor`` 1 is what is deployed; 1/60 makes minutes of hours and seconds of minutes."""

    factor: float = 1.0

    def duration(self, text: str) -> str:
        """A duration of Prometheus, exact to the millisecond."""
        if self.factor == 1:
            return text
        return f"{max(round(parse_seconds(text) * self.factor * 1000), 1)}ms"

    def expression(self, text: str) -> str:
        """The expression with its ages in seconds and its ranges scaled."""
        ranged = _RANGE.sub(lambda found: f"[{self.duration(found[1] + found[2])}]", text)
        return _AGE.sub(lambda found: f"{parse_seconds(found[1] + found[2]) * self.factor:g}", ranged)


def parse_seconds(text: str) -> int:
    """Raises ValueError for anything but a number with s, m, h or d."""
    found = re.fullmatch(_DURATION, text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration like 30s, 5m, 6h or 3d")
    return int(found[1]) * _UNITS[found[2]]
