"""Durations in descriptions of alerts, and the scale by which a test shortens all of them.

An expression writes an age as ``<6h>`` (rendered in seconds), a range as ``[5m]`` and a look back as ``offset 5m``; all
are multiplied by the scale, and how long an alert has to hold by a factor of its own. Nothing else depends on them.
"""

import re
from dataclasses import dataclass

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"(\d+)([smhd])"
_AGE = re.compile(rf"<{_DURATION}>")
_RANGE = re.compile(rf"(\[|offset ){_DURATION}\b")


@dataclass(frozen=True)
class TimeScale:
    """``factor`` 1 is what is deployed; 1/60 makes minutes of hours and seconds of minutes. ``hold_factor`` is for how
    long an alert has to hold, which a test waits for.
    """

    factor: float = 1.0
    hold_factor: float = 1.0

    def hold(self, text: str) -> str:
        """How long an alert has to hold, as Prometheus writes it."""
        return _scaled(text, self.hold_factor)

    def expression(self, text: str) -> str:
        """The expression with its ages in seconds and its ranges scaled."""
        ranged = _RANGE.sub(lambda found: found[1] + _scaled(found[2] + found[3], self.factor), text)
        return _AGE.sub(lambda found: f"{parse_seconds(found[1] + found[2]) * self.factor:g}", ranged)


def _scaled(text: str, factor: float) -> str:
    """A duration of Prometheus, exact to the millisecond."""
    return text if factor == 1 else f"{max(round(parse_seconds(text) * factor * 1000), 1)}ms"


def parse_seconds(text: str) -> int:
    """Raises ValueError for anything but a number with s, m, h or d."""
    found = re.fullmatch(_DURATION, text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration like 30s, 5m, 6h or 3d")
    return int(found[1]) * _UNITS[found[2]]
