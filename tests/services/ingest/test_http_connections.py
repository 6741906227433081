"""Which connections are dropped, and in which order: the table of connections, without sockets."""

from dataclasses import dataclass, field

import pytest

from services.ingest.http.connections import (
    CLOSE_SECONDS,
    SEND_SECONDS,
    ConnectionLimits,
    ConnectionState,
    ConnectionTable,
    DropReason,
)

LIMITS = ConnectionLimits(connections=3, body_bytes=100, header_seconds=5, body_seconds=10, idle_seconds=30)


@dataclass(eq=False)
class Peer:
    """Behaves as a connection of the port."""

    name: str
    table: ConnectionTable
    log: list[str]
    state: ConnectionState = ConnectionState.HEADER
    body_bytes: int = 0

    def drop(self, reason: DropReason) -> None:
        self.log.append(f"{self.name} dropped for {reason}")
        self.table.release_bytes(self, self.body_bytes)
        self.table.set_state(self, ConnectionState.CLOSING, 1000)

    def abort(self) -> None:
        self.log.append(f"{self.name} aborted")

    def close(self) -> None:
        raise NotImplementedError

    def close_after_response(self) -> None:
        raise NotImplementedError


@dataclass
class Port:
    log: list[str] = field(default_factory=list)
    reasons: list[DropReason] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = ConnectionTable(LIMITS, self.reasons.append)

    def peer(self, name: str, state: ConnectionState, at: float = 0) -> Peer:
        peer = Peer(name, self.table, self.log)
        assert self.table.admit(peer, at)
        self.table.set_state(peer, state, at)
        return peer


@pytest.mark.parametrize(
    ("state", "seconds", "end"),
    [
        (ConnectionState.HEADER, LIMITS.header_seconds, "a dropped for header_timeout"),
        (ConnectionState.BODY, LIMITS.body_seconds, "a dropped for body_timeout"),
        (ConnectionState.IDLE, LIMITS.idle_seconds, "a dropped for idle_timeout"),
        (ConnectionState.SENDING, SEND_SECONDS, "a dropped for send_timeout"),
        (ConnectionState.CLOSING, CLOSE_SECONDS, "a aborted"),
    ],
)
def test_each_state_has_its_time_limit(state: ConnectionState, seconds: float, end: str) -> None:
    port = Port()
    port.peer("a", state, at=1)
    port.peer("b", state, at=2)
    port.table.drop_overdue(1 + seconds - 0.01)
    assert port.log == []
    port.table.drop_overdue(1 + seconds)
    assert port.log == [end]


def test_a_request_that_is_handled_has_no_time_limit() -> None:
    port = Port()
    port.peer("a", ConnectionState.HANDLING)
    port.table.drop_overdue(10_000)
    assert port.log == []


@pytest.mark.parametrize(
    ("states", "dropped"),
    [
        ((ConnectionState.IDLE, ConnectionState.HEADER, ConnectionState.HEADER), "b"),
        ((ConnectionState.BODY, ConnectionState.IDLE, ConnectionState.IDLE), "b"),
        ((ConnectionState.HANDLING, ConnectionState.SENDING, ConnectionState.BODY), "c"),
        ((ConnectionState.HEADER, ConnectionState.HEADER, ConnectionState.CLOSING), "c"),
        ((ConnectionState.HEADER, ConnectionState.HEADER, ConnectionState.HEADER), "a"),
    ],
)
def test_a_connection_too_many_drops_the_one_that_waits_longest_for_the_least(
    states: tuple[ConnectionState, ...], dropped: str
) -> None:
    port = Port()
    for name, state in zip("abc", states, strict=True):
        port.peer(name, state)
    port.peer("d", ConnectionState.HEADER)
    assert port.log == [f"{dropped} aborted"]
    assert len(port.table) == LIMITS.connections


def test_a_request_in_flight_is_not_dropped_for_a_new_connection() -> None:
    port = Port()
    for name in "abc":
        port.peer(name, ConnectionState.HANDLING)
    assert not port.table.admit(Peer("d", port.table, port.log), 0)
    assert (port.log, port.reasons) == ([], [DropReason.TOO_MANY_CONNECTIONS])


def test_the_oldest_body_is_dropped_for_the_bytes_of_others() -> None:
    port = Port()
    old, young, new = (
        port.peer(name, state)
        for name, state in (("a", ConnectionState.BODY), ("b", ConnectionState.BODY), ("c", ConnectionState.HEADER))
    )
    assert port.table.reserve_bytes(old, 60)
    assert port.table.reserve_bytes(young, 40)
    assert port.table.reserve_bytes(new, 30)
    assert port.log == ["a dropped for body_memory_full"]
    assert port.table.body_bytes == 70


def test_a_body_is_dropped_for_its_own_remaining_bytes_when_it_is_the_oldest() -> None:
    port = Port()
    old = port.peer("a", ConnectionState.BODY)
    assert port.table.reserve_bytes(old, 90)
    assert not port.table.reserve_bytes(old, 20)
    assert port.log == ["a dropped for body_memory_full"]
    assert port.table.body_bytes == old.body_bytes == 0


def test_bodies_in_flight_are_kept_and_a_new_one_is_rejected() -> None:
    port = Port()
    busy, new = port.peer("a", ConnectionState.HANDLING), port.peer("b", ConnectionState.HEADER)
    assert port.table.reserve_bytes(busy, 90)
    assert not port.table.reserve_bytes(new, 20)
    assert (port.log, port.reasons, port.table.body_bytes) == ([], [DropReason.BODY_MEMORY_FULL], 90)


def test_a_closed_connection_frees_its_place_and_its_bytes() -> None:
    port = Port()
    gone = port.peer("a", ConnectionState.BODY)
    port.table.reserve_bytes(gone, 50)
    port.table.remove(gone)
    port.table.remove(gone)
    assert (len(port.table), port.table.body_bytes) == (0, 0)
