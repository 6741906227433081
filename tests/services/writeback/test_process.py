"""The process as it runs: from Kafka to Consonance and back, killed where it hurts most, counted in the simulator."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.processes import ProcessFailed
from shared.contracts import topics
from shared.runtime.clock import DevelopmentClock
from tests.dev.consonance.stand import Stand, standing
from tests.services.writeback.samples import NOW, metadata, pitch, request
from tests.services.writeback.writeback_process import WritebackProcess, writeback

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as stand:
        yield stand


@pytest.fixture
async def service(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path, stand: Stand
) -> AsyncIterator[WritebackProcess]:
    DevelopmentClock.create(run_folder / "clock", NOW)
    driven = {"STET_DEVELOPMENT_CLOCK": str(run_folder / "clock"), "STET_ALLOW_DEVELOPMENT_CLOCK": "1"}
    service = await writeback(kafka_bootstrap, postgres_database, run_folder, stand.url, **driven)
    await service.start()
    yield service
    await service.child.stop()


def words(events: list[dict[str, object]]) -> list[str]:
    return [str(event["type"]).split(".")[-2] for event in events]


async def created(stand: Stand, count: int) -> None:
    """Waits until so many acquisitions were asked for; the test's own time limit ends a wait in vain."""
    while len(await stand.tell("GET", "log?operation=createAcquisition")) < count:
        await asyncio.sleep(0.01)


async def test_from_a_request_to_a_verified_write_and_downstream(service: WritebackProcess) -> None:
    asked = request(metadata())
    await service.send(topics.WRITES_REQUESTED, asked, asked)
    (verified,) = await service.heard(topics.WRITES_EVENTS, 1)
    (approved,) = await service.heard(topics.METADATA_APPROVED, 1)
    assert (verified["causationid"], verified["partitionkey"]) == (asked.id, asked.partitionkey)
    assert approved["data"]["work_id"] == 61421
    await service.at_rest()
    assert 'outcome="verified"' in (await service.get("metrics"))[1]


async def test_killed_between_intent_and_result_it_looks_before_it_writes(
    service: WritebackProcess, stand: Stand
) -> None:
    fault = {"kind": "write_then_timeout", "operation": "CreateAcquisition", "seconds": 60}
    await stand.tell("POST", "faults", fault)
    await service.send(topics.WRITES_REQUESTED, request(pitch(), "w1", "acquisitions/PITCH-7", None))
    await created(stand, 1)
    await service.child.kill()
    await service.start()
    assert words(await service.heard(topics.WRITES_EVENTS, 1)) == ["verified"]
    assert len(await stand.tell("GET", "log?operation=createAcquisition")) == 1


async def test_killed_again_and_again_it_writes_each_once(service: WritebackProcess, stand: Stand) -> None:
    names = [f"p{number}" for number in range(40)]
    asked = [
        request(pitch(dedupe_key=name, reference=name, title=name), name, f"acquisitions/{name}", None)
        for name in names
    ]
    await service.send(topics.WRITES_REQUESTED, *asked)
    for reached in (5, 20):
        await created(stand, reached)
        await service.child.kill()
        await service.start()
    heard = await service.heard(topics.WRITES_EVENTS, 40)
    await service.at_rest()
    assert sorted(e["data"]["reference"] for e in heard if "verified" in e["type"]) == sorted(names)
    log = await stand.tell("GET", "log?operation=createAcquisition")
    assert sorted(entry["input"]["dedupe_key"] for entry in log) == sorted(names)


async def test_a_missing_setting_stops_the_start_and_is_named(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path
) -> None:
    service = await writeback(
        kafka_bootstrap, postgres_database, run_folder, "http://127.0.0.1:9", STET_CONSONANCE_MAPPING="none.yaml"
    )
    with pytest.raises(ProcessFailed, match="misconfigured: STET_CONSONANCE_MAPPING"):
        await service.start()
    await service.child.stop()
