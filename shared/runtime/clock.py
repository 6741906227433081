"""The two clocks: business time comes from a ``Clock`` and reaches deciders as ``now``; machine time is the real one.

A development clock is a file of eight bytes (microseconds since 1970, little-endian) that every process of a stack maps
into memory: reading it costs nothing, and all processes see one instant. Only the process that runs the stack writes
it.
"""

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

FAR_AHEAD = timedelta(hours=1)
"""A stored instant further ahead of now was noted by a clock that has been set back since.

The clocks of two machines never differ by as much, and what uses this stores no wait as long. Queries say it as
``interval '1 hour'``, and a test compares them.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = struct.Struct("<q")


class Clock(Protocol):
    def now(self) -> datetime:
        """Business time, in UTC."""


class SystemClock:
    """Business time is the machine's."""

    def now(self) -> datetime:
        return machine_now()


class DevelopmentClock:
    """Business time as the process that runs a development stack last set it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _MICROSECONDS.size)

    def now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=_MICROSECONDS.unpack_from(self._shared)[0])

    def set(self, instant: datetime) -> None:
        """Move business time forward to ``instant``; an earlier one raises ValueError."""
        if instant < self.now():
            raise ValueError(f"business time does not go back: {self.now()} -> {instant}")
        _MICROSECONDS.pack_into(self._shared, 0, (instant - _EPOCH) // timedelta(microseconds=1))

    @classmethod
    def create(cls, path: Path, start: datetime) -> "DevelopmentClock":
        path.write_bytes(_MICROSECONDS.pack((start - _EPOCH) // timedelta(microseconds=1)))
        return cls(path)


def machine_now() -> datetime:
    """The machine's time in UTC: for leases, backoff, heartbeats and the age of signatures, never for business."""
    return datetime.now(UTC)  # noqa: TID251 -- the one place a clock is read


class MachineInstant(NamedTuple):
    """An instant of this process, by both clocks of the machine. It means nothing to another process."""

    wall: datetime
    monotonic: float

    @classmethod
    def read(cls) -> "MachineInstant":
        return cls(machine_now(), time.monotonic())

    def time_until(self, later: "MachineInstant") -> timedelta:
        """How long a pause was, by the clock that shows more of it.

        A clock that was set back meanwhile shows too little, and the monotonic one stands still in a suspended machine.
        """
        return max(later.wall - self.wall, timedelta(seconds=later.monotonic - self.monotonic))
