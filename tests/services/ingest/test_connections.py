"""Who is cut off, and who goes first: the table of connections, without a socket."""

from dataclasses import dataclass, field

import pytest

from services.ingest.connections import CLOSE_SECONDS, SEND_SECONDS, Connections, Cut, Limits, Stage

LIMITS = Limits(connections=3, body_bytes=100, header_seconds=5, body_seconds=10, idle_seconds=30)


@dataclass(eq=False)
class Peer:
    """Does as a connection of the port does."""

    name: str
    table: Connections
    log: list[str]
    stage: Stage = Stage.HEADER
    held: int = 0

    def cut(self, why: Cut) -> None:
        self.log.append(f"{self.name} cut for {why}")
        self.table.release(self, self.held)
        self.table.enter(self, Stage.CLOSING, 1000)

    def abort(self) -> None:
        self.log.append(f"{self.name} aborted")

    def close(self) -> None:
        raise NotImplementedError

    def close_after_answer(self) -> None:
        raise NotImplementedError


@dataclass
class Port:
    log: list[str] = field(default_factory=list)
    told: list[Cut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = Connections(LIMITS, self.told.append)

    def peer(self, name: str, stage: Stage, at: float = 0) -> Peer:
        peer = Peer(name, self.table, self.log)
        assert self.table.admit(peer, at)
        self.table.enter(peer, stage, at)
        return peer


@pytest.mark.parametrize(
    ("stage", "seconds", "end"),
    [
        (Stage.HEADER, LIMITS.header_seconds, "a cut for header"),
        (Stage.BODY, LIMITS.body_seconds, "a cut for body"),
        (Stage.IDLE, LIMITS.idle_seconds, "a cut for idle"),
        (Stage.SENDING, SEND_SECONDS, "a cut for sending"),
        (Stage.CLOSING, CLOSE_SECONDS, "a aborted"),
    ],
)
def test_each_stage_has_its_time(stage: Stage, seconds: float, end: str) -> None:
    port = Port()
    port.peer("a", stage, at=1)
    port.peer("b", stage, at=2)
    port.table.sweep(1 + seconds - 0.01)
    assert port.log == []
    port.table.sweep(1 + seconds)
    assert port.log == [end]


def test_an_answer_takes_as_long_as_it_takes() -> None:
    port = Port()
    port.peer("a", Stage.ANSWER)
    port.table.sweep(10_000)
    assert port.log == []


@pytest.mark.parametrize(
    ("stages", "goes"),
    [
        ((Stage.IDLE, Stage.HEADER, Stage.HEADER), "b"),
        ((Stage.BODY, Stage.IDLE, Stage.IDLE), "b"),
        ((Stage.ANSWER, Stage.SENDING, Stage.BODY), "c"),
        ((Stage.HEADER, Stage.HEADER, Stage.CLOSING), "c"),
        ((Stage.HEADER, Stage.HEADER, Stage.HEADER), "a"),
    ],
)
def test_one_too_many_pushes_out_who_waits_longest_for_the_least(stages: tuple[Stage, ...], goes: str) -> None:
    port = Port()
    for name, stage in zip("abc", stages, strict=True):
        port.peer(name, stage)
    port.peer("d", Stage.HEADER)
    assert port.log == [f"{goes} aborted"]
    assert len(port.table) == LIMITS.connections


def test_a_request_in_hand_is_not_given_up_for_a_newcomer() -> None:
    port = Port()
    for name in "abc":
        port.peer(name, Stage.ANSWER)
    assert not port.table.admit(Peer("d", port.table, port.log), 0)
    assert (port.log, port.told) == ([], [Cut.FULL])


def test_the_oldest_body_makes_room_for_the_bytes_of_others() -> None:
    port = Port()
    old, young, new = (
        port.peer(name, stage) for name, stage in (("a", Stage.BODY), ("b", Stage.BODY), ("c", Stage.HEADER))
    )
    assert port.table.hold(old, 60)
    assert port.table.hold(young, 40)
    assert port.table.hold(new, 30)
    assert port.log == ["a cut for bytes"]
    assert port.table.held == 70


def test_a_body_may_have_to_make_room_for_its_own_rest() -> None:
    port = Port()
    old = port.peer("a", Stage.BODY)
    assert port.table.hold(old, 90)
    assert not port.table.hold(old, 20)
    assert port.log == ["a cut for bytes"]
    assert port.table.held == old.held == 0


def test_bodies_in_hand_are_kept_and_a_newcomers_is_refused() -> None:
    port = Port()
    busy, new = port.peer("a", Stage.ANSWER), port.peer("b", Stage.HEADER)
    assert port.table.hold(busy, 90)
    assert not port.table.hold(new, 20)
    assert (port.log, port.told, port.table.held) == ([], [Cut.BYTES], 90)


def test_a_closed_connection_leaves_its_place_and_its_bytes() -> None:
    port = Port()
    gone = port.peer("a", Stage.BODY)
    port.table.hold(gone, 50)
    port.table.leave(gone)
    port.table.leave(gone)
    assert (len(port.table), port.table.held) == (0, 0)
