"""The table of open connections of a port: time limits per state, their number, the memory of their bodies.

A stranger may open many connections and send nothing, half a header, or a body byte by byte. So each state of a
connection has a time limit, and where the number or the memory is used up, the connection that has waited longest is
dropped. A sender that sends is served whatever the others do, with or without a reverse proxy.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

CLOSE_SECONDS = 2.0
"""For a sender that is dropped to read the reason and to stop sending."""

SEND_SECONDS = 10.0
"""For a sender to read a long response."""


class ConnectionState(StrEnum):
    """The thing that a connection waits for."""

    HEADER = "header"  # the rest of a request's header; on a new connection, all of it
    IDLE = "idle"  # another request, after one that was answered
    BODY = "body"  # the rest of a request's body
    HANDLING = "handling"  # the handler
    SENDING = "sending"  # the sender, to read the response
    CLOSING = "closing"  # the sender, to close: the last response is sent


class DropReason(StrEnum):
    """Why the server ended a connection before its sender did."""

    HEADER_TIMEOUT = "header_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    BODY_TIMEOUT = "body_timeout"
    SEND_TIMEOUT = "send_timeout"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    BODY_MEMORY_FULL = "body_memory_full"


class TrackedConnection(Protocol):
    """``state`` and ``body_bytes`` (bytes of bodies in memory) are changed only by the table."""

    state: ConnectionState
    body_bytes: int

    def drop(self, reason: DropReason) -> None:
        """End it: it leaves the table, or goes on to CLOSING."""

    def abort(self) -> None:
        """End it at once, with whatever is still to be sent."""

    def close(self) -> None:
        """End it after everything written has been delivered."""

    def close_after_response(self) -> None:
        """End it after the response to the request that is handled now."""

    def close_after_next_response(self) -> None:
        """End it with the response to the request that is handled now, or else to the next one."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """``connections`` at once, ``body_bytes`` of all bodies in memory, and the seconds each state may last."""

    connections: int
    body_bytes: int
    header_seconds: float
    body_seconds: float
    idle_seconds: float

    def seconds(self, state: ConnectionState) -> float | None:
        """None for HANDLING: handlers have a deadline of their own."""
        return {
            ConnectionState.HEADER: self.header_seconds,
            ConnectionState.IDLE: self.idle_seconds,
            ConnectionState.BODY: self.body_seconds,
            ConnectionState.SENDING: SEND_SECONDS,
            ConnectionState.CLOSING: CLOSE_SECONDS,
        }.get(state)


_TIMEOUTS: Mapping[ConnectionState, DropReason] = {
    ConnectionState.HEADER: DropReason.HEADER_TIMEOUT,
    ConnectionState.IDLE: DropReason.IDLE_TIMEOUT,
    ConnectionState.BODY: DropReason.BODY_TIMEOUT,
    ConnectionState.SENDING: DropReason.SEND_TIMEOUT,
}
_DROP_ORDER = (ConnectionState.CLOSING, ConnectionState.HEADER, ConnectionState.IDLE, ConnectionState.BODY)
"""A connection whose request is handled is never dropped for another."""


class ConnectionTable:
    """Every operation costs the same however many connections there are. ``on_dropped`` gets each reason.

    Connections of a state are in the order in which they entered it, which is the order of their deadlines.
    """

    def __init__(self, limits: ConnectionLimits, on_dropped: Callable[[DropReason], None]) -> None:
        self.body_bytes = 0
        self.handling: set[asyncio.Task[None]] = set()
        self._limits = limits
        self._on_dropped = on_dropped
        self._entered_at: dict[ConnectionState, dict[TrackedConnection, float]] = {
            state: {} for state in ConnectionState
        }

    def __len__(self) -> int:
        return sum(map(len, self._entered_at.values()))

    def admit(self, connection: TrackedConnection, now: float) -> bool:
        """Add a connection, in the place of an older one if necessary; False where there is no place."""
        full = len(self) >= self._limits.connections
        if full and not self._drop_oldest(DropReason.TOO_MANY_CONNECTIONS, _DROP_ORDER):
            self._on_dropped(DropReason.TOO_MANY_CONNECTIONS)
            return False
        self._entered_at[connection.state][connection] = now
        return True

    def set_state(self, connection: TrackedConnection, state: ConnectionState, now: float) -> None:
        """The state begins now, and its time limit with it."""
        del self._entered_at[connection.state][connection]
        connection.state = state
        self._entered_at[state][connection] = now

    def remove(self, connection: TrackedConnection) -> None:
        """Forget a connection that is closed."""
        self._entered_at[connection.state].pop(connection, None)
        self.release_bytes(connection, connection.body_bytes)

    def reserve_bytes(self, connection: TrackedConnection, size: int) -> bool:
        """Count more bytes of its body; False where neither memory nor an older body to drop is left."""
        while self.body_bytes + size > self._limits.body_bytes:
            if not self._drop_oldest(DropReason.BODY_MEMORY_FULL, (ConnectionState.BODY,)):
                self._on_dropped(DropReason.BODY_MEMORY_FULL)
                return False
            if connection.state is ConnectionState.CLOSING:  # its own was the oldest
                return False
        connection.body_bytes += size
        self.body_bytes += size
        return True

    def release_bytes(self, connection: TrackedConnection, size: int) -> None:
        """Count bytes of its bodies as free again."""
        connection.body_bytes -= size
        self.body_bytes -= size

    def drop_overdue(self, now: float) -> None:
        """Drop the connections that have been in their state for too long."""
        for state, entered_at in self._entered_at.items():
            seconds = self._limits.seconds(state)
            if seconds is None:
                continue
            for connection in _entered_before(entered_at, now - seconds):
                self._time_out(connection, state)

    def start_handling(self, work: Coroutine[Any, Any, None]) -> None:
        """Start to handle a request; the handler goes on if its sender disconnects."""
        task = asyncio.get_running_loop().create_task(work)
        self.handling.add(task)
        task.add_done_callback(self.handling.discard)

    def in_states(self, *states: ConnectionState) -> list[TrackedConnection]:
        return [connection for state in states for connection in self._entered_at[state]]

    def _time_out(self, connection: TrackedConnection, state: ConnectionState) -> None:
        reason = _TIMEOUTS.get(state)
        if reason is None:
            connection.abort()
            return
        self._on_dropped(reason)
        connection.drop(reason)

    def _drop_oldest(self, reason: DropReason, states: tuple[ConnectionState, ...]) -> bool:
        for state in states:
            oldest = next(iter(self._entered_at[state]), None)
            if oldest is not None:
                self._drop(oldest, reason)
                return True
        return False

    def _drop(self, connection: TrackedConnection, reason: DropReason) -> None:
        if connection.state is not ConnectionState.CLOSING:
            self._on_dropped(reason)
        if reason is DropReason.TOO_MANY_CONNECTIONS:  # its place is needed now
            self.remove(connection)
            connection.abort()
        else:
            connection.drop(reason)


def _entered_before(entered_at: dict[TrackedConnection, float], instant: float) -> list[TrackedConnection]:
    found = []
    for connection, entered in entered_at.items():
        if entered > instant:
            break
        found.append(connection)
    return found
