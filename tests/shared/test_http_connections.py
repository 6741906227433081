"""Which connections are dropped, and in which order: the table of connections, without sockets."""

from dataclasses import dataclass, field

import pytest

from shared.runtime.http.connections import (
    CLOSE_SECONDS,
    SEND_SECONDS,
    ConnectionLimits,
    ConnectionState,
    ConnectionTable,
    DropReason,
)

LIMITS = ConnectionLimits(connections=3, body_bytes=100, header_seconds=5, body_seconds=10, idle_seconds=30)


@dataclass(eq=False)
class FakeConnection:
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

    def close_after_next_response(self) -> None:
        raise NotImplementedError


@dataclass
class TableUnderTest:
    log: list[str] = field(default_factory=list)
    reasons: list[DropReason] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = ConnectionTable(LIMITS, self.reasons.append)

    def connect(self, name: str, state: ConnectionState, at: float = 0) -> FakeConnection:
        connection = FakeConnection(name, self.table, self.log)
        assert self.table.admit(connection, at)
        self.table.set_state(connection, state, at)
        return connection


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
    tested = TableUnderTest()
    tested.connect("a", state, at=1)
    tested.connect("b", state, at=2)
    tested.table.drop_overdue(1 + seconds - 0.01)
    assert tested.log == []
    tested.table.drop_overdue(1 + seconds)
    assert tested.log == [end]


def test_a_request_that_is_handled_has_no_time_limit() -> None:
    tested = TableUnderTest()
    tested.connect("a", ConnectionState.HANDLING)
    tested.table.drop_overdue(10_000)
    assert tested.log == []


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
    tested = TableUnderTest()
    for name, state in zip("abc", states, strict=True):
        tested.connect(name, state)
    tested.connect("d", ConnectionState.HEADER)
    assert tested.log == [f"{dropped} aborted"]
    assert len(tested.table) == LIMITS.connections


def test_a_request_in_flight_is_not_dropped_for_a_new_connection() -> None:
    tested = TableUnderTest()
    for name in "abc":
        tested.connect(name, ConnectionState.HANDLING)
    assert not tested.table.admit(FakeConnection("d", tested.table, tested.log), 0)
    assert (tested.log, tested.reasons) == ([], [DropReason.TOO_MANY_CONNECTIONS])


def test_the_oldest_body_is_dropped_for_the_bytes_of_others() -> None:
    tested = TableUnderTest()
    old, young, new = (
        tested.connect(name, state)
        for name, state in (("a", ConnectionState.BODY), ("b", ConnectionState.BODY), ("c", ConnectionState.HEADER))
    )
    assert tested.table.reserve_bytes(old, 60)
    assert tested.table.reserve_bytes(young, 40)
    assert tested.table.reserve_bytes(new, 30)
    assert tested.log == ["a dropped for body_memory_full"]
    assert tested.table.body_bytes == 70


def test_a_body_is_dropped_for_its_own_remaining_bytes_when_it_is_the_oldest() -> None:
    tested = TableUnderTest()
    old = tested.connect("a", ConnectionState.BODY)
    assert tested.table.reserve_bytes(old, 90)
    assert not tested.table.reserve_bytes(old, 20)
    assert tested.log == ["a dropped for body_memory_full"]
    assert tested.table.body_bytes == old.body_bytes == 0


def test_bodies_in_flight_are_kept_and_a_new_one_is_rejected() -> None:
    tested = TableUnderTest()
    busy, new = tested.connect("a", ConnectionState.HANDLING), tested.connect("b", ConnectionState.HEADER)
    assert tested.table.reserve_bytes(busy, 90)
    assert not tested.table.reserve_bytes(new, 20)
    assert (tested.log, tested.reasons, tested.table.body_bytes) == ([], [DropReason.BODY_MEMORY_FULL], 90)


def test_a_closed_connection_frees_its_place_and_its_bytes() -> None:
    tested = TableUnderTest()
    gone = tested.connect("a", ConnectionState.BODY)
    tested.table.reserve_bytes(gone, 50)
    tested.table.remove(gone)
    tested.table.remove(gone)
    assert (len(tested.table), tested.table.body_bytes) == (0, 0)
