"""The process as it runs, from Kafka to Consonance and back, also when it is killed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from dev.processes import Child, ProcessFailed
from shared.contracts import topics
from shared.runtime.clock import DevelopmentClock
from tests.dev.consonance.simulator_under_test import KEY, SimulatorUnderTest, running_simulator
from tests.services.writeback.samples import NOW, metadata, pitch, request
from tests.services.writeback.writeback_process import WritebackProcess, prepare_process

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
async def stand() -> AsyncIterator[SimulatorUnderTest]:
    async with running_simulator() as stand:
        yield stand


@pytest.fixture
async def service(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path, stand: SimulatorUnderTest
) -> AsyncIterator[WritebackProcess]:
    DevelopmentClock.create(run_folder / "clock", NOW)
    driven = {"STET_DEVELOPMENT_CLOCK": str(run_folder / "clock"), "STET_ALLOW_DEVELOPMENT_CLOCK": "1"}
    service = await prepare_process(kafka_bootstrap, postgres_database, run_folder, stand.url, **driven)
    await service.start()
    yield service
    await service.child.stop()


def outcomes(events: list[dict[str, object]]) -> list[str]:
    return [str(event["type"]).split(".")[-2] for event in events]


async def created(stand: SimulatorUnderTest, count: int) -> None:
    """Waits until so many acquisitions were requested; the time limit of the test ends a wait in vain."""
    while len(await stand.tell("GET", "log?operation=createAcquisition")) < count:
        await asyncio.sleep(0.01)


@dataclass
class ProjectedSecret:
    """A folder of secrets as a kubelet keeps it: links to a hidden folder, which a renamed link replaces at once."""

    folder: Path
    versions: int = 0

    def put(self, **values: str) -> None:
        self.versions += 1
        content = self.folder / f"..{self.versions}"
        content.mkdir(parents=True)
        for name, value in values.items():
            (content / name).write_text(value)
        (self.folder / "..data_tmp").symlink_to(content.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for name in values:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")


async def test_a_changed_secret_that_can_be_used_ends_the_process_cleanly(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path, stand: SimulatorUnderTest
) -> None:
    secret = ProjectedSecret(run_folder / "secrets")
    secret.put(STET_CONSONANCE_KEY="an-old-key")
    own = {"STET_SECRETS_DIR": str(secret.folder), "STET_SECRETS_RESTART_SECONDS": "0.5"}
    prepared = await prepare_process(kafka_bootstrap, postgres_database, run_folder, stand.url, **own)
    command = prepared.child.command
    without_key = {name: value for name, value in command.environment.items() if name != "STET_CONSONANCE_KEY"}
    service = replace(prepared, child=Child(replace(command, environment=without_key), run_folder))
    await service.start()
    secret.put(STET_CONSONANCE_KEY="")
    while "not usable" not in (await service.get("readyz"))[1]:
        await asyncio.sleep(0.05)
    assert service.child.alive
    secret.put(STET_CONSONANCE_KEY=KEY)
    assert await service.child.ended() == 0
    logged = [line["event"] for line in map(orjson.loads, service.child.log.read_text().splitlines())]
    assert [event for event in logged if event.startswith("restart.") or event == "secret.changed"] == [
        "secret.changed", "restart.scheduled", "restart.refused", "restart.scheduled", "restart.started",
    ]  # fmt: skip
    assert logged[-1] == "process.stopped"
    await service.child.stop()
    await service.start()
    await service.send(topics.WRITES_REQUESTED, request(metadata()))
    assert outcomes(await service.read_topic(topics.WRITES_EVENTS, 1)) == ["verified"]
    await service.child.stop()


async def test_a_request_becomes_a_verified_write_and_an_approved_change(service: WritebackProcess) -> None:
    requested = request(metadata())
    await service.send(topics.WRITES_REQUESTED, requested, requested)
    (verified,) = await service.read_topic(topics.WRITES_EVENTS, 1)
    (approved,) = await service.read_topic(topics.METADATA_APPROVED, 1)
    assert (verified["causationid"], verified["partitionkey"]) == (requested.id, requested.partitionkey)
    assert approved["data"]["work_id"] == 61421
    await service.wait_until_idle()
    assert 'outcome="verified"' in (await service.get("metrics"))[1]


async def test_a_process_killed_during_a_request_reads_before_it_writes(
    service: WritebackProcess, stand: SimulatorUnderTest
) -> None:
    fault = {"kind": "write_then_timeout", "operation": "CreateAcquisition", "seconds": 60}
    await stand.tell("POST", "faults", fault)
    await service.send(topics.WRITES_REQUESTED, request(pitch(), "w1", "acquisitions/PITCH-7", None))
    await created(stand, 1)
    await service.child.kill()
    await service.start()
    assert outcomes(await service.read_topic(topics.WRITES_EVENTS, 1, "verified"))[-1] == "verified"
    assert len(await stand.tell("GET", "log?operation=createAcquisition")) == 1


async def test_a_process_killed_repeatedly_writes_each_record_once(
    service: WritebackProcess, stand: SimulatorUnderTest
) -> None:
    names = [f"p{number}" for number in range(40)]
    requested = [
        request(pitch(dedupe_key=name, reference=name, title=name), name, f"acquisitions/{name}", None)
        for name in names
    ]
    await service.send(topics.WRITES_REQUESTED, *requested)
    for reached in (5, 20):
        await created(stand, reached)
        await service.child.kill()
        await service.start()
    events = await service.read_topic(topics.WRITES_EVENTS, 40, "verified")
    await service.wait_until_idle()
    assert sorted(e["data"]["reference"] for e in events if "verified" in e["type"]) == sorted(names)
    log = await stand.tell("GET", "log?operation=createAcquisition")
    assert sorted(entry["input"]["dedupe_key"] for entry in log) == sorted(names)


async def test_a_missing_setting_stops_the_start_and_is_named(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path
) -> None:
    service = await prepare_process(
        kafka_bootstrap, postgres_database, run_folder, "http://127.0.0.1:9", STET_CONSONANCE_MAPPING="none.yaml"
    )
    with pytest.raises(ProcessFailed, match="misconfigured: STET_CONSONANCE_MAPPING"):
        await service.start()
    await service.child.stop()
