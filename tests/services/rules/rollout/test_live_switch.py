"""New rules take effect in running replicas: from one point in each partition on; no event is lost or judged twice."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dev.postgres import login_of
from services.rules.conversation.chain import Ending
from services.rules.rollout.activations import move_idle_partitions
from services.rules.rollout.watcher import SourceWatcher
from services.rules.waiting_events import TOPICS
from shared.contracts.ids import EventId
from shared.contracts.topics import WHATSAPP_MESSAGES
from shared.runtime.batch import BatchProcessor
from shared.runtime.progress import load_progress
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import BOOK
from tests.services.rules.rules_service import (
    NOW,
    TENANT,
    RulesUnderTest,
    golden_event,
    person_observed,
    rules_under_test,
    text_message,
    work_observed,
)

pytestmark = pytest.mark.integration
SWITCHES = 100
WORK = {"work_id": 61417, "title": "The Salt Road"}
WRITERS = (11, 12, 21)
"""The people who write, one to each partition."""


@dataclass(frozen=True)
class Record:
    """A record as a Kafka client hands it out."""

    value: bytes
    partition: int
    offset: int
    key: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0


@dataclass
class Replica:
    service: RulesUnderTest
    watcher: SourceWatcher
    processor: BatchProcessor
    task: asyncio.Task[None] | None = None

    @property
    def owned(self) -> set[int]:
        return {partition for _, partition in self.processor.positions}


@dataclass
class Cluster:
    """Two replicas over one database, and the records of one topic that they share out between them."""

    folder: Path
    replicas: list[Replica]
    log: list[list[Record]] = field(default_factory=lambda: [[] for _ in WRITERS])

    def produce(self) -> None:
        service = self.replicas[0].service
        for partition, writer in enumerate(WRITERS):
            offset = len(self.log[partition])
            data = text_message(writer, f"message {offset}", NOW)
            event = service.event(data).replace(id=EventId(f"{partition}:{offset}"))
            self.log[partition].append(Record(event.to_bytes(), partition, offset))

    async def assign(self, replica: Replica, partitions: Sequence[int]) -> None:
        """These partitions are the replica's alone; it reads on where the database says."""
        names = {(WHATSAPP_MESSAGES.name, partition): 0 for partition in partitions}
        for other in self.replicas:
            for name in names:
                other.processor.positions.pop(name, None)
        replica.processor.positions.update(await load_progress(replica.service.pool, names))

    async def consume(self, replica: Replica) -> None:
        while True:
            positions = dict(replica.processor.positions)
            unread = [record for (_, partition), at in positions.items() for record in self.log[partition][at : at + 4]]
            if unread:
                await replica.processor.process([(WHATSAPP_MESSAGES.name, record) for record in unread])
            await asyncio.sleep(0)

    def start(self, replica: Replica) -> None:
        replica.task = asyncio.create_task(self.consume(replica))

    async def kill(self, replica: Replica) -> None:
        """In the middle of whatever it does."""
        if replica.task is not None:
            replica.task.cancel()
            await asyncio.gather(replica.task, return_exceptions=True)

    def change_rules(self, number: int) -> None:
        people = self.folder / "people.yaml"
        people.write_text((BOOK / "people.yaml").read_text() + f"# change {number}\n")

    async def drained(self) -> None:
        for replica in self.replicas:
            if replica.task is not None and replica.task.done():
                replica.task.result()
        while any(
            at < len(self.log[partition])
            for replica in self.replicas
            for (_, partition), at in replica.processor.positions.items()
        ):
            await asyncio.sleep(0.01)


@pytest.fixture
async def cluster(postgres_database: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    folder = shutil.copytree(BOOK, tmp_path / "rules")
    async with AsyncExitStack() as stack:
        replicas = []
        for number in range(2):
            service = await stack.enter_async_context(
                rules_under_test(postgres_database, NOW, folder, replica=f"rules-{number}")
            )
            processor = BatchProcessor("rules", TOPICS, service.rules, pool=service.pool, clock=service.clock)
            replicas.append(Replica(service, service.watcher, processor))
        await replicas[0].service.receive(*map(person_observed, WRITERS))
        cluster = Cluster(folder, replicas)
        yield cluster
        for replica in replicas:
            await cluster.kill(replica)


@pytest.mark.timeout(180)
async def test_switches_under_load_and_kills_lose_no_event_and_judge_none_twice(cluster: Cluster) -> None:
    chance = random.Random(7)
    first, second = cluster.replicas
    await cluster.assign(first, [0, 1])
    await cluster.assign(second, [2])
    cluster.start(first)
    cluster.start(second)
    for number in range(SWITCHES):
        for _ in range(8):
            cluster.produce()
        cluster.change_rules(number)
        for replica in chance.sample(cluster.replicas, 2):  # the first to look activates, when it has stood still
            await replica.watcher.follow_source()
            await replica.watcher.follow_source()
        if number % 4 == 3:
            dying, heir = chance.sample(cluster.replicas, 2)
            await cluster.kill(dying)
            await cluster.assign(heir, sorted(dying.owned))
            cluster.start(dying)
            await cluster.assign(dying, [chance.randrange(3)])
    await cluster.drained()

    pool = first.service.pool
    log = [row["revision"] for row in await pool.fetch("select revision from rulebook_activations order by number")]
    assert len(log) == SWITCHES + 1
    assert len(set(log)) == len(log), "nothing was activated twice"
    assert await pool.fetchval("select count(*) from parked") == 0
    decided = await decisions(first.service)
    assert Counter(event for event, _ in decided) == Counter(
        f"{partition}:{offset}" for partition, records in enumerate(cluster.log) for offset in range(len(records))
    )
    place = {revision: number for number, revision in enumerate(log)}
    by_partition: dict[int, list[tuple[int, int]]] = {}
    for event, revision in decided:
        partition, offset = map(int, event.split(":"))
        by_partition.setdefault(partition, []).append((offset, place[revision]))
    for partition, found in by_partition.items():
        numbers = [number for _, number in sorted(found)]
        assert numbers == sorted(numbers), "no partition goes back to an older revision"
        assert len(set(numbers)) > SWITCHES / 4, "the switches fell between the batches"
        await check_points(first.service, partition, sorted(found))


async def check_points(service: RulesUnderTest, partition: int, found: list[tuple[int, int]]) -> None:
    """Each recorded point is where the partition's first decision of that activation lies."""
    rows = await service.pool.fetch(
        "select from_offset, activation - (select min(number) from rulebook_activations) as place "
        "from rulebook_switch_points where topic = $1 and partition = $2 order by activation",
        WHATSAPP_MESSAGES.name, partition,
    )  # fmt: skip
    first = {number: offset for offset, number in reversed(found)}
    recorded = {row["place"]: row["from_offset"] for row in rows}
    assert first.items() <= recorded.items()


async def decisions(service: RulesUnderTest) -> list[tuple[str, str]]:
    """(event, revision) of all that was decided."""
    found: list[tuple[str, str]] = []
    for event in await service.published("decisions"):
        data: dict[str, Any] = event["data"]
        about = data["events"] if "events" in data else [data["about"]]
        found += [(one, data["revision"]) for one in about if ":" in one and "@" not in one]
    return found


async def test_rules_that_do_not_pass_are_refused_and_the_earlier_ones_stay(cluster: Cluster) -> None:
    replica = cluster.replicas[0]
    before = await in_force(replica)
    broken = cluster.folder / "rights" / "permission.rule.yaml"
    good = broken.read_text()
    broken.write_text(good.replace("ask: rights_holder", "ask: rights_holdr"))
    await replica.watcher.follow_source()
    await replica.watcher.follow_source()
    assert await in_force(replica) == before
    row = await replica.service.pool.fetchrow("select * from rulebook_sources where replica = 'rules-0'")
    assert row["refused"] is not None
    assert "rights_holdr" in row["faults"][0]
    broken.write_text(good.replace("2 working days", "3 working days"))
    await replica.watcher.follow_source()
    await replica.watcher.follow_source()
    assert await in_force(replica) != before
    assert await move_idle_partitions(replica.service.pool, 2) == 0, "idle partitions have switched too"


async def test_a_chain_is_ended_by_the_until_line_that_it_began_with_after_its_rule_is_gone(cluster: Cluster) -> None:
    replica = cluster.replicas[0]
    await replica.service.receive(*map(person_observed, (40, 812, 900)), work_observed((812, "rights_holder")))
    asked = golden_event(
        "consonance.rights.approval_requested.v1", respond_by="2027-09-01", work=WORK, request_id="R-9"
    )
    await replica.service.receive(asked)
    shutil.rmtree(cluster.folder / "rights")
    await replica.watcher.follow_source()
    await replica.watcher.follow_source()
    withdrawn = golden_event("consonance.rights.request_withdrawn.v1", work=WORK, request_id="R-9")
    await replica.service.receive(withdrawn)
    (chain,) = await replica.service.chains()
    assert chain.ended is Ending.UNTIL


async def test_a_replica_that_starts_with_broken_rules_goes_on_with_those_in_force(
    cluster: Cluster, postgres_database: str
) -> None:
    (cluster.folder / "people.yaml").write_text("teams: [")
    async with rules_under_test(postgres_database, NOW, cluster.folder, replica="rules-2") as late:
        assert await in_force(late) == await in_force(cluster.replicas[0])


async def in_force(replica: Replica | RulesUnderTest) -> str:
    service = replica.service if isinstance(replica, Replica) else replica
    async with service.pool.acquire() as connection:
        return (await service.rules.rollout.in_force(connection)).active.revision


async def test_an_operator_puts_rules_that_wait_into_force_and_it_is_audited(
    cluster: Cluster, postgres_database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STET_POSTGRES_DSN", login_of(postgres_database, "operator"))
    monkeypatch.setenv("STET_TENANT", TENANT)
    replica, other = cluster.replicas
    before = await in_force(replica)
    for one in cluster.replicas:
        one.watcher.is_manual = True
    cluster.change_rules(1)
    for one in (replica, replica, other, other):
        await one.watcher.follow_source()
    assert await in_force(replica) == before, "new rules wait"
    waiting = await replica.service.pool.fetchval("select revision from rulebook_sources where replica = 'rules-0'")
    assert await asyncio.to_thread(run_stet, "rules", "rollout", "status") == 1
    assert "held" in capsys.readouterr().out
    promote = ("rules", "rollout", "promote", waiting[:10], "--yes", "--reason", "it was reviewed")
    assert await asyncio.to_thread(run_stet, *promote) == 0
    assert await in_force(replica) == waiting
    for one in cluster.replicas:
        await one.watcher.follow_source()
    assert await asyncio.to_thread(run_stet, "rules", "rollout", "status") == 0
    assert (
        await asyncio.to_thread(run_stet, "rules", "rollout", "promote", "zzz", "--yes", "--reason", "a mistake") == 2
    )
    assert await asyncio.to_thread(run_stet, "audit-log") == 0
    assert "it was reviewed" in capsys.readouterr().out


class AwayPool:
    """A pool whose database is away for the first ``times`` connections."""

    def __init__(self, pool: Any, times: int) -> None:
        self._pool, self.left = pool, times

    def acquire(self) -> Any:
        if self.left:
            self.left -= 1
            raise ConnectionRefusedError
        return self._pool.acquire()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


async def test_a_database_that_goes_away_while_rules_starts_is_waited_for(postgres_database: str) -> None:
    async with rules_under_test(postgres_database, NOW) as service:
        known = service.watcher
        pool = AwayPool(service.pool, times=1)
        watcher = SourceWatcher(known.source, known.rollout, pool, "rules-1", known.metrics, seconds=0.01)
        await watcher.begin()
        assert pool.left == 0
