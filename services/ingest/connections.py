"""The open connections of the public port: how long each may wait, how many there are, how much of bodies they hold.

A stranger may open as many as he likes and send nothing, half a header, or a body drop by drop. So each stage of a
connection has its time, and where the number or the bytes are used up, the one that has waited longest goes: a sender
who speaks is served whatever the others do, behind a reverse proxy or without one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

CLOSE_SECONDS = 2.0
"""For a sender that is cut off to read why, and to stop sending."""

SEND_SECONDS = 10.0
"""For a sender to read a long answer."""


class Stage(StrEnum):
    """What a connection waits for."""

    HEADER = "header"  # the rest of a request's header; on a new connection, all of it
    IDLE = "idle"  # another request, after one that was answered
    BODY = "body"  # the rest of a request's body
    ANSWER = "answer"  # us
    SENDING = "sending"  # its sender, to read the answer
    CLOSING = "closing"  # its end: all was said


class Cut(StrEnum):
    """Why a connection was ended before its sender wished it."""

    HEADER = "header"
    IDLE = "idle"
    BODY = "body"
    SENDING = "sending"
    FULL = "full"  # of connections
    BYTES = "bytes"  # of bodies


class Connection(Protocol):
    """``stage`` and ``held`` (bytes of body) are the table's to change."""

    stage: Stage
    held: int

    def cut(self, why: Cut) -> None:
        """End it: it leaves the table, or goes on to CLOSING."""

    def abort(self) -> None:
        """End it at once, whatever was still to be said."""

    def close(self) -> None:
        """End it once what was said is delivered."""

    def close_after_answer(self) -> None:
        """End it, after the request in hand."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``connections`` at once, ``body_bytes`` of all bodies in memory, and the seconds each stage may last."""

    connections: int
    body_bytes: int
    header_seconds: float
    body_seconds: float
    idle_seconds: float

    def seconds(self, stage: Stage) -> float | None:
        """None: the answer has a limit of its own."""
        return {
            Stage.HEADER: self.header_seconds,
            Stage.IDLE: self.idle_seconds,
            Stage.BODY: self.body_seconds,
            Stage.SENDING: SEND_SECONDS,
            Stage.CLOSING: CLOSE_SECONDS,
        }.get(stage)


_OVERDUE: Mapping[Stage, Cut] = {
    Stage.HEADER: Cut.HEADER,
    Stage.IDLE: Cut.IDLE,
    Stage.BODY: Cut.BODY,
    Stage.SENDING: Cut.SENDING,
}
_FIRST_TO_GO = (Stage.CLOSING, Stage.HEADER, Stage.IDLE, Stage.BODY)
"""A request that is being answered is never given up for another."""


class Connections:
    """Every operation costs the same however many there are. ``told`` hears of each connection that is cut.

    Connections of a stage stand in the order they came to it, which is the order of their deadlines.
    """

    def __init__(self, limits: Limits, told: Callable[[Cut], None]) -> None:
        self.held = 0
        self.answering: set[asyncio.Task[None]] = set()
        self._limits = limits
        self._told = told
        self._since: dict[Stage, dict[Connection, float]] = {stage: {} for stage in Stage}

    def __len__(self) -> int:
        return sum(map(len, self._since.values()))

    def admit(self, connection: Connection, now: float) -> bool:
        """Whether there is room, be it that of one who waited too long."""
        if len(self) >= self._limits.connections and not self._make_room(Cut.FULL, _FIRST_TO_GO):
            self._told(Cut.FULL)
            return False
        self._since[connection.stage][connection] = now
        return True

    def enter(self, connection: Connection, stage: Stage, now: float) -> None:
        """A stage begins, and with it its time."""
        del self._since[connection.stage][connection]
        connection.stage = stage
        self._since[stage][connection] = now

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._since[connection.stage].pop(connection, None)
        self.release(connection, connection.held)

    def hold(self, connection: Connection, size: int) -> bool:
        """So many bytes more of its body; False where there is no room for them, nor an older body to give up."""
        while self.held + size > self._limits.body_bytes:
            if not self._make_room(Cut.BYTES, (Stage.BODY,)):
                self._told(Cut.BYTES)
                return False
            if connection.stage is Stage.CLOSING:  # its own was the oldest
                return False
        connection.held += size
        self.held += size
        return True

    def release(self, connection: Connection, size: int) -> None:
        """So many bytes of its bodies are not needed any more."""
        connection.held -= size
        self.held -= size

    def sweep(self, now: float) -> None:
        """Cut what has waited too long."""
        for stage, since in self._since.items():
            seconds = self._limits.seconds(stage)
            if seconds is None:
                continue
            for connection in _before(since, now - seconds):
                self._end(connection, stage)

    def answer(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin to answer a request; it goes on if its sender is gone."""
        task = asyncio.get_running_loop().create_task(work)
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)

    def all_at(self, *stages: Stage) -> list[Connection]:
        return [connection for stage in stages for connection in self._since[stage]]

    def _end(self, connection: Connection, stage: Stage) -> None:
        why = _OVERDUE.get(stage)
        if why is None:
            connection.abort()
            return
        self._told(why)
        connection.cut(why)

    def _make_room(self, why: Cut, stages: tuple[Stage, ...]) -> bool:
        for stage in stages:
            longest = next(iter(self._since[stage]), None)
            if longest is not None:
                self._give_up(longest, why)
                return True
        return False

    def _give_up(self, connection: Connection, why: Cut) -> None:
        if connection.stage is not Stage.CLOSING:
            self._told(why)
        if why is Cut.FULL:  # its place is needed now
            self.leave(connection)
            connection.abort()
        else:
            connection.cut(why)


def _before(since: dict[Connection, float], then: float) -> list[Connection]:
    found = []
    for connection, began in since.items():
        if began > then:
            break
        found.append(connection)
    return found
