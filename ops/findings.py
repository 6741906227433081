"""The findings of ``stet doctor``, which every module of its checks makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from shared.runtime.clock import machine_now

_MOST_SKEW = timedelta(seconds=2)


class Result(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """``sentence`` begins with the setting, where one is wrong, and ends with what to do."""

    check: str
    result: Result
    sentence: str


def fine(check: str, sentence: str) -> Finding:
    return Finding(check, Result.FINE, sentence)


def warning(check: str, sentence: str) -> Finding:
    return Finding(check, Result.WARNING, sentence)


def wrong(check: str, sentence: str) -> Finding:
    return Finding(check, Result.WRONG, sentence)


def skew_findings(theirs: datetime, whose: str) -> list[Finding]:
    """A warning where the clock of a neighbour differs from this machine's."""
    difference = abs(machine_now() - theirs)
    if difference <= _MOST_SKEW:
        return []
    sentence = f"the clock of {whose} differs by {difference.total_seconds():.0f} s: synchronise both by NTP"
    return [warning("clock", sentence)]


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The instant at which a server answered, by its own clock; None where it sends none that can be read."""
    try:
        at = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
