"""The steps of one write, with a store and a Consonance that answer as told: what is noted, and what is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any, cast

import pytest

import services.writeback
from services.writeback import executor as executor_module
from services.writeback.attachments import FILES_WAIT, MediaFile
from services.writeback.capabilities import OperationSupport
from services.writeback.changes import WriteChange
from services.writeback.circuit_breaker import RecordsUnreadable
from services.writeback.comparison import EarlierWrites
from services.writeback.executor import WriteExecutor
from services.writeback.operation_mapping import load_mapping
from services.writeback.protocol import MAX_FAILED_READS, MutationAnswer, WriteAttempt
from services.writeback.write_state import StoredWrite
from shared.clients.consonance_graphql import (
    KeyRefused,
    MutationRejected,
    NoAnswer,
    QueryFailed,
    RequestNotSent,
    UnusableAnswer,
)
from shared.contracts.consonance import MetadataField
from shared.contracts.errors import Throttled, Unavailable
from shared.contracts.ids import PersonId
from shared.contracts.writes import Attachment, RequestWrite, WriteInput, WriteOperation
from shared.runtime.clock import MachineInstant, machine_now
from tests.services.writeback.samples import (
    NEW_SUBTITLE,
    NOW,
    SUBTITLE,
    TENANT,
    item,
    metadata,
    milestone,
    pitch,
    request,
)

_MAPPING = load_mapping(Path(services.writeback.__file__).parent / "mapping" / "consonance.yaml")
_SUPPORTED = {MetadataField.SUBTITLE: "work subtitle", MetadataField.TITLE: "work title"}
OLD_TITLE, NEW_TITLE = "Salt", "The Salt Road"
BOTH = metadata(item(), item(NEW_TITLE, OLD_TITLE, field=MetadataField.TITLE, item_id="i2"))
ACCEPTED = {"data": {"updateWork": {"work": {"id": 61421}, "errors": []}}}
REFUSED = {"data": {"updateWork": {"work": None, "errors": ["too long"]}}}
OLD_SCHEMA = {"errors": [{"message": "Field 'subtitle' doesn't exist on type 'Work'"}]}
UNANSWERED = MutationAnswer.UNANSWERED
BEFORE = NOW.replace(year=2025)
"""On the clock of the machine, an instant that has been."""


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Store:
    """Notes what it is asked to save. ``starts`` and ``renews``: whether the write is still this process's."""

    starts: bool = True
    renews: bool = True
    files: dict[str, MediaFile] = field(default_factory=dict)
    others: Sequence[StoredWrite] = ()
    clock: Clock = field(default_factory=Clock)
    noted: list[tuple[object, ...]] = field(default_factory=list)
    settled: list[StoredWrite] = field(default_factory=list)

    async def fetch_files(self, _: StoredWrite) -> dict[str, MediaFile]:
        return dict(self.files)

    async def await_files(self, _: StoredWrite, missing: Sequence[str]) -> dict[str, MediaFile]:
        self.noted.append(("await_files", *missing))
        return {}

    async def save_request(self, stored: StoredWrite) -> None:
        self.noted.append(("save_request", *(one.url for one in cast("Any", stored.write.input).attachments)))

    async def fetch_earlier_writes(self, _: StoredWrite) -> EarlierWrites:
        return EarlierWrites()

    async def fetch_others(self, _: StoredWrite) -> Sequence[StoredWrite]:
        return self.others

    async def start_attempt(self, stored: StoredWrite, before: Mapping[str, str | None]) -> bool:
        self.noted.append(("start_attempt", stored.attempts, *before.values()))
        return self.starts

    async def renew_attempt(self, _: StoredWrite) -> bool:
        self.noted.append(("renew_attempt",))
        return self.renews

    async def record_answer(self, stored: StoredWrite, answer: MutationAnswer) -> None:
        self.noted.append(("record_answer", stored.attempts, answer))

    async def withdraw_attempt(self, stored: StoredWrite, until: datetime) -> None:
        self.noted.append(("withdraw_attempt", stored.attempts))
        assert until > machine_now()

    async def postpone(self, _: StoredWrite, until: datetime, *, is_unknown: bool, failed_reads: int = 0) -> None:
        self.noted.append(("postpone", is_unknown, failed_reads))
        assert until > machine_now()

    async def settle(self, stored: StoredWrite, step: Any, __: object) -> None:
        self.settled.append(stored)
        self.noted.append(("settle", str(step.outcome)))

    async def open_task(self, _: StoredWrite, reason: object, __: object) -> None:
        self.noted.append(("open_task", str(reason)))


@dataclass
class Consonance:
    """Shows ``values`` for ever, and gives ``answers`` to the mutations in turn; an error in their place is raised."""

    values: dict[str, Any] = field(default_factory=lambda: {"subtitle": SUBTITLE, "title": OLD_TITLE})
    answers: list[Any] = field(default_factory=list)
    read_error: Exception | None = None
    readable: frozenset[int | None] = frozenset({61421})
    sent: list[dict[str, Any]] = field(default_factory=list)
    asked: list[int | None] = field(default_factory=list)
    takes_values: bool = True
    shows_record: bool = True

    async def query(self, _: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        target = variables["target"]
        self.asked.append(target)
        if self.read_error is not None and target not in self.readable - {61421}:
            raise self.read_error
        return {"work": {"id": target, **self.values}} if self.shows_record else {}

    async def mutate(self, document: str, variables: dict[str, Any]) -> Any:
        self.sent.append(variables)
        answer = self.answers.pop(0) if self.answers else ACCEPTED
        if isinstance(answer, Exception):
            raise answer
        if answer is ACCEPTED and self.takes_values:
            self.values["subtitle" if "subtitle" in document else "title"] = variables["value"]
        return answer


class Supports:
    """The shipped mapping, as if the schema had all of it."""

    def __init__(self, *, has_query: bool = True) -> None:
        self.outdated = 0
        self.has_query = has_query

    def mark_outdated(self) -> None:
        self.outdated += 1

    def choose(self, change: WriteChange) -> OperationSupport | None:
        name = _SUPPORTED.get(change.inputs.get("field"))  # type: ignore[arg-type]
        if change.operation is WriteOperation.COMPLETE_MILESTONE:
            name = "work subtitle"  # a query of some record, whose target has no name
        if name is None:
            return None
        mapped = _MAPPING[name]
        query = mapped.read.document if self.has_query else None
        return OperationSupport(name, mapped, query, mapped.write.document, None, ())


def stored_write(given: WriteInput | None = None, write: str = "w1", **fields: Any) -> StoredWrite:
    event = request(given or metadata(), write)
    assert isinstance(event.data, RequestWrite)
    return StoredWrite(tenant=TENANT, write=event.data, ordering_key="key", event_id="event", **fields)


@dataclass
class World:
    store: Store = field(default_factory=Store)
    consonance: Consonance = field(default_factory=Consonance)
    supports: Supports = field(default_factory=Supports)
    effect_window: timedelta = timedelta(minutes=10)

    async def execute(self, stored: StoredWrite | None = None) -> bool:
        store, client, supports = cast("tuple[Any, Any, Any]", (self.store, self.consonance, self.supports))
        return await WriteExecutor(store, client, supports, self.effect_window).execute(stored or stored_write())

    @property
    def noted(self) -> list[tuple[object, ...]]:
        return self.store.noted


async def test_a_value_is_written_once_and_read_back() -> None:
    world = World()
    assert await world.execute()
    assert world.noted == [
        ("start_attempt", 0, SUBTITLE),
        ("record_answer", 1, MutationAnswer.ACCEPTED),
        ("settle", "verified"),
    ]
    assert [one["value"] for one in world.consonance.sent] == [NEW_SUBTITLE]


async def test_a_value_that_is_there_already_is_not_written() -> None:
    world = World(consonance=Consonance(values={"subtitle": NEW_SUBTITLE}))
    await world.execute()
    assert (world.noted, world.consonance.sent) == ([("settle", "already_applied")], [])


async def test_the_value_of_before_is_that_of_before_the_first_attempt_and_reads_count_from_the_last() -> None:
    failed = WriteAttempt(1, MutationAnswer.FAILED, machine_now() - timedelta(hours=1))
    world = World()
    await world.execute(stored_write(attempt=failed, before={"i1/61421": "As it was"}, reads=4, failed_reads=3))
    (settled,) = world.store.settled
    assert (settled.before, settled.reads, settled.failed_reads) == ({"i1/61421": "As it was"}, 0, 0)
    assert settled.attempts == 2


async def test_a_process_that_was_overtaken_before_its_attempt_sends_nothing() -> None:
    world = World(store=Store(starts=False))
    await world.execute()
    assert (world.noted, world.consonance.sent) == ([("start_attempt", 0, SUBTITLE)], [])


async def test_a_write_that_no_query_can_read_is_not_said_to_have_been_asked_for() -> None:
    world = World()
    assert not await world.execute(stored_write(pitch()))
    assert world.noted == [("open_task", "unsupported")]


async def test_two_mutations_go_in_order_and_the_second_says_first_that_it_leaves() -> None:
    world = World()
    await world.execute(stored_write(BOTH))
    assert [one["value"] for one in world.consonance.sent] == [NEW_SUBTITLE, NEW_TITLE]
    assert [one[0] for one in world.noted] == ["start_attempt", "renew_attempt", "record_answer", "settle"]


async def test_a_process_that_was_overtaken_between_two_mutations_does_not_send_the_second() -> None:
    world = World(store=Store(renews=False))
    await world.execute(stored_write(BOTH))
    assert len(world.consonance.sent) == 1
    assert ("record_answer", 1, UNANSWERED) in world.noted
    assert world.noted[-1] == ("postpone", True, 0)


@pytest.mark.parametrize(
    ("answer", "noted", "waits"),
    [
        (NoAnswer("lost"), UNANSWERED, ("postpone", True, 0)),
        (MutationRejected("400"), MutationAnswer.FAILED, ("postpone", False, 0)),
        (REFUSED, MutationAnswer.REFUSED, ("open_task", "refused")),
        ({"data": {"updateWork": None}}, MutationAnswer.FAILED, ("postpone", False, 0)),
        ({"errors": [{"message": "broken"}]}, MutationAnswer.FAILED, ("postpone", False, 0)),
    ],
)
async def test_after_an_answer_that_shows_no_success_the_rest_is_not_sent(
    answer: object, noted: MutationAnswer, waits: tuple[object, ...]
) -> None:
    """An attempt that may have landed is unknown until it cannot land any more; an answered one waits a moment only."""
    world = World(consonance=Consonance(answers=[answer]))
    await world.execute(stored_write(BOTH))
    assert len(world.consonance.sent) == 1
    assert world.noted[1:] == [("record_answer", 1, noted), waits]


async def test_an_accepted_value_that_is_not_shown_is_unknown_and_not_written_again() -> None:
    world = World(consonance=Consonance(takes_values=False))
    await world.execute()
    assert len(world.consonance.sent) == 1
    assert world.noted[-1] == ("postpone", True, 0)


async def test_a_lost_answer_is_written_again_only_once_it_cannot_take_effect_any_more() -> None:
    begun = machine_now() - timedelta(minutes=9)
    lost = stored_write(attempt=WriteAttempt(1, UNANSWERED, begun))
    early, late = World(), World(effect_window=timedelta(minutes=8))
    await early.execute(lost)
    assert (early.noted, early.consonance.sent) == ([("postpone", True, 0)], [])
    await late.execute(lost)
    assert [one["value"] for one in late.consonance.sent] == [NEW_SUBTITLE]


@pytest.mark.parametrize("error", [RequestNotSent("refused"), KeyRefused("401"), Throttled("429", wait=timedelta(1))])
async def test_a_request_that_was_not_executed_leaves_no_attempt(error: Exception) -> None:
    world = World(consonance=Consonance(answers=[error]))
    with pytest.raises(type(error)):
        await world.execute()
    assert world.noted[1:] == [("withdraw_attempt", 1)]


async def test_but_leaves_one_where_an_earlier_mutation_of_it_has_gone() -> None:
    world = World(consonance=Consonance(answers=[ACCEPTED, RequestNotSent("refused")]))
    with pytest.raises(RequestNotSent):
        await world.execute(stored_write(BOTH))
    assert world.noted[1:] == [("renew_attempt",), ("record_answer", 1, MutationAnswer.FAILED)]


@pytest.mark.parametrize(("seconds", "is_sent"), [(4, True), (6, False)])
async def test_an_intent_that_is_older_than_five_seconds_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, seconds: int, *, is_sent: bool
) -> None:
    begun = MachineInstant.read()
    later = MachineInstant(begun.wall + timedelta(seconds=seconds), begun.monotonic)
    instants = chain([begun, begun, begun, later], repeat(begun))  # read, compared, the intent, its request; the rest
    monkeypatch.setattr(
        executor_module, "MachineInstant", type("Read", (), {"read": staticmethod(lambda: next(instants))})
    )
    world = World()
    if not is_sent:
        with pytest.raises(RequestNotSent):
            await world.execute()
        assert world.noted[-1] == ("withdraw_attempt", 1)
    else:
        await world.execute()
    assert bool(world.consonance.sent) is is_sent


async def test_a_schema_that_has_changed_is_examined_again() -> None:
    world = World(consonance=Consonance(answers=[OLD_SCHEMA]))
    await world.execute()
    assert world.supports.outdated == 1


# ------------------------------------------------------------------ reads that fail


FAILED = QueryFailed("errors", schema_changed=False)


def other(write: str, given: WriteInput | None = None) -> StoredWrite:
    """A write to another record."""
    made = stored_write(given or metadata(item(target_ids=(int(write),))), write)
    return replace(made, write=made.write.replace(record=f"works/{write}"))


async def test_while_another_record_is_shown_a_failed_read_counts() -> None:
    world = World(Store(others=[other("7")]), Consonance(read_error=FAILED, readable=frozenset({7})))
    await world.execute(stored_write(failed_reads=2))
    assert world.noted == [("postpone", False, 3)]


async def test_after_five_of_them_a_person_is_asked() -> None:
    world = World(Store(others=[other("7")]), Consonance(read_error=FAILED, readable=frozenset({7})))
    await world.execute(stored_write(failed_reads=MAX_FAILED_READS - 1))
    assert world.noted == [("open_task", "unreadable")]


async def test_but_not_while_an_attempt_may_still_land() -> None:
    attempt = WriteAttempt(1, UNANSWERED, machine_now())
    world = World(Store(others=[other("7")]), Consonance(read_error=FAILED, readable=frozenset({7})))
    await world.execute(stored_write(failed_reads=MAX_FAILED_READS - 1, attempt=attempt))
    assert world.noted == [("postpone", True, MAX_FAILED_READS)]


async def test_where_no_record_is_shown_everything_waits_and_nothing_counts() -> None:
    world = World(Store(others=[other("7"), other("8")]), Consonance(read_error=FAILED))
    with pytest.raises(RecordsUnreadable):
        await world.execute(stored_write(failed_reads=2))
    assert world.noted == [("postpone", False, 2)]
    assert world.consonance.asked == [61421, 7, 8]


async def test_where_the_records_of_an_operation_alone_are_not_shown_its_writes_wait_and_nothing_counts() -> None:
    others = [other("7"), stored_write(milestone(), "w9")]
    world = World(Store(others=others), Consonance(read_error=FAILED, readable=frozenset({None})))
    await world.execute(stored_write(failed_reads=2))
    assert (world.noted, world.consonance.asked) == ([("postpone", False, 2)], [61421, 7, None])


async def test_a_record_that_was_not_shown_just_now_is_not_asked_for_again() -> None:
    world = World(Store(others=[other("7"), other("7"), other("61421")]), Consonance(read_error=FAILED))
    with pytest.raises(RecordsUnreadable):
        await world.execute()
    assert world.consonance.asked == [61421, 7]


async def test_a_change_that_no_query_reads_is_done_by_hand() -> None:
    world = World(supports=Supports(has_query=False))
    assert not await world.execute()
    assert (world.noted, world.consonance.asked) == ([("open_task", "unsupported")], [])


async def test_no_more_records_are_asked_for_after_the_first_that_is_shown() -> None:
    world = World(Store(others=[other("7"), other("8")]), Consonance(read_error=FAILED, readable=frozenset({7, 8})))
    await world.execute()
    assert world.consonance.asked == [61421, 7]


async def test_a_failed_read_counts_where_no_other_record_could_be_asked_for() -> None:
    world = World(consonance=Consonance(read_error=FAILED))
    await world.execute()
    assert world.noted == [("postpone", False, 1)]


async def test_an_unusable_answer_without_another_record_is_an_outage_that_is_counted() -> None:
    world = World(consonance=Consonance(read_error=UnusableAnswer("500")))
    with pytest.raises(UnusableAnswer):
        await world.execute(stored_write(failed_reads=MAX_FAILED_READS))
    assert world.noted == [("postpone", False, MAX_FAILED_READS + 1)]


async def test_an_unusable_answer_beside_records_that_are_shown_holds_up_no_other_write() -> None:
    consonance = Consonance(read_error=UnusableAnswer("500"), readable=frozenset({7}))
    world = World(Store(others=[other("7")]), consonance)
    await world.execute()
    assert world.noted == [("postpone", False, 1)]


async def test_a_query_that_the_schema_no_longer_knows_counts_without_asking_for_others() -> None:
    changed = QueryFailed("errors", schema_changed=True)
    world = World(Store(others=[other("7")]), Consonance(read_error=changed))
    await world.execute()
    assert (world.noted, world.consonance.asked, world.supports.outdated) == ([("postpone", False, 1)], [61421], 1)


@pytest.mark.parametrize(("attempt", "is_unknown"), [(None, False), (WriteAttempt(1, UNANSWERED, BEFORE), True)])
async def test_while_consonance_is_away_nothing_counts(attempt: WriteAttempt | None, *, is_unknown: bool) -> None:
    world = World(consonance=Consonance(read_error=Unavailable("away")))
    with pytest.raises(Unavailable):
        await world.execute(stored_write(attempt=attempt, failed_reads=4))
    assert world.noted == [("postpone", is_unknown, 4)]


async def test_a_value_in_another_shape_is_a_failed_read_and_never_taken_for_written() -> None:
    world = World(consonance=Consonance(values={"subtitle": {"text": NEW_SUBTITLE}}))
    await world.execute()
    assert (world.noted, world.consonance.sent) == ([("postpone", False, 1)], [])


async def test_an_answer_without_the_record_is_no_answer() -> None:
    world = World(consonance=Consonance(shows_record=False))
    with pytest.raises(UnusableAnswer):
        await world.execute()
    assert (world.noted, world.consonance.sent) == ([("postpone", False, 1)], [])


# ------------------------------------------------------------------ files


WITH_FILE = pitch(attachments=(Attachment(media_id="m", file_id="f1"),))
STORED_FILE = MediaFile("f1", PersonId("p"), "clean", "https://files.example/f1", None, None)


@pytest.mark.parametrize(
    ("age", "files", "noted"),
    [
        (timedelta(), {}, [("postpone", False, 0)]),
        (FILES_WAIT, {}, [("await_files", "f1"), ("save_request", None), ("open_task", "unsupported")]),
        (
            timedelta(),
            {"f1": STORED_FILE},
            [("save_request", STORED_FILE.url), ("open_task", "unsupported")],
        ),
    ],
    ids=["waits", "waited_long_enough", "is_there"],
)
async def test_a_write_waits_some_minutes_for_its_file(
    age: timedelta, files: dict[str, MediaFile], noted: list[tuple[object, ...]]
) -> None:
    waiting = stored_write(WITH_FILE)
    world = World(Store(files=files, clock=Clock(waiting.write.requested_at + age)))
    await world.execute(waiting)
    assert world.noted == noted


async def test_a_write_that_was_attempted_waits_for_no_file_any_more() -> None:
    attempted = stored_write(WITH_FILE, attempt=WriteAttempt(1, UNANSWERED, NOW))
    world = World(Store(clock=Clock(attempted.write.requested_at + FILES_WAIT)))
    await world.execute(attempted)
    assert {one[0] for one in world.noted}.isdisjoint({"await_files", "save_request"})
