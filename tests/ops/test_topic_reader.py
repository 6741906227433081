"""Reading topics ends, also on a broker that stands still in the middle."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from dev.kafka import EmbeddedKafka
from dev.processes import family_of
from ops import topic_reader
from ops.topic_reader import TopicScan, kept_ranges
from shared.contracts.errors import Misconfigured
from shared.contracts.topics import CONTACTS, DECISIONS
from shared.runtime.connection_settings import KafkaSettings
from tests.infrastructure import declare_topics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
_RECORDS = 40
_SIZE = 900_000  # so that no fetch holds many of them


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker of its own, since it is frozen, with records that take several fetches."""
    kafka = EmbeddedKafka(tmp_path / "data", tmp_path)
    await kafka.start()
    await declare_topics(kafka.bootstrap, "")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    for number in range(_RECORDS):
        await producer.send_and_wait(DECISIONS.name, b"wanted " + bytes(_SIZE), partition=number % 2)
    await producer.stop()
    yield kafka
    await kafka.child.stop()


def _settings(kafka: EmbeddedKafka) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap=kafka.bootstrap)


async def _freeze_once_it_reads(kafka: EmbeddedKafka, scan: TopicScan, patched: pytest.MonkeyPatch) -> None:
    """From then on the scan gives up sooner; before, a busy machine has the time that a command has."""
    while not scan.read:
        await asyncio.sleep(0)
    for process in family_of(kafka.child.pid):
        process.suspend()
    patched.setattr(topic_reader, "_ANSWER_SECONDS", 1.5)


async def test_a_broker_that_freezes_leaves_what_was_read_and_a_sentence_about_the_rest(
    broker: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = TopicScan(_settings(broker), [DECISIONS])
    freezing = asyncio.create_task(_freeze_once_it_reads(broker, scan, monkeypatch))
    try:
        async with asyncio.timeout(30):
            found = await scan.find(["wanted"])
    finally:
        await freezing
        for process in family_of(broker.child.pid):
            process.resume()
    assert 0 < len(found) == scan.read < _RECORDS
    assert f"after {scan.read} record" in scan.missing
    assert "not read to the end: decisions (" in scan.missing


async def test_a_scan_that_needs_everything_says_that_it_is_not_there(
    broker: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = TopicScan(_settings(broker), [DECISIONS])
    freezing = asyncio.create_task(_freeze_once_it_reads(broker, scan, monkeypatch))
    try:
        with pytest.raises(Misconfigured, match="not read to the end: decisions"):
            await scan.find_all(["wanted"])
    finally:
        await freezing
        for process in family_of(broker.child.pid):
            process.resume()


async def test_a_scan_of_a_broker_that_answers_is_complete(broker: EmbeddedKafka) -> None:
    scan = TopicScan(_settings(broker), [DECISIONS])
    assert len(await scan.find_all(["wanted"])) == _RECORDS
    assert scan.missing == ""


async def test_a_topic_that_is_not_there_is_named_and_the_others_are_read(broker: EmbeddedKafka) -> None:
    scan = TopicScan(_settings(broker), [DECISIONS, replace(DECISIONS, name="unmade")])
    assert len(await scan.find(["wanted"])) == _RECORDS
    assert scan.missing == "the broker has no topic unmade, or does not show it; see stet topics check"


async def test_a_lag_is_not_known_where_a_topic_is_not_there(broker: EmbeddedKafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.delete_topics([CONTACTS.name])
    while CONTACTS.name in await admin.list_topics():
        await asyncio.sleep(0.1)
    await admin.close()
    with pytest.raises(Misconfigured, match="the broker has no topic contacts"):
        await kept_ranges(_settings(broker))
