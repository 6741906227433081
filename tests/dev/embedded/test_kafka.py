import os
import sys
from pathlib import Path
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis.strategies import uuids

from dev.kafka import EmbeddedKafka, aot_cache, cluster_id
from dev.kafka_jars import check_versions, class_path
from shared.contracts.errors import Misconfigured


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def write(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=8_000_000) as producer:
        await producer.send_and_wait(topic, value)


async def first(bootstrap: str, topic: str) -> bytes | None:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        value: bytes | None = (await consumer.getone()).value
        return value


@pytest.mark.integration
async def test_a_record_comes_back(kafka_bootstrap: str, unique_suffix: str) -> None:
    topic = f"kept.{unique_suffix}"
    await create(kafka_bootstrap, topic)
    await write(kafka_bootstrap, topic, b"stet")
    assert await first(kafka_bootstrap, topic) == b"stet"


@pytest.mark.integration
async def test_an_acknowledged_record_outlives_a_kill_on_the_same_port(own_kafka: EmbeddedKafka) -> None:
    before, pid = own_kafka.bootstrap, own_kafka.child.pid
    await create(own_kafka.bootstrap, "kept")
    await write(own_kafka.bootstrap, "kept", b"x" * 5_000_000)
    await own_kafka.kill()
    assert not own_kafka.child.alive
    await own_kafka.start()
    assert own_kafka.bootstrap == before
    assert own_kafka.child.pid != pid
    assert await first(before, "kept") == b"x" * 5_000_000


@given(uuids())
def test_no_cluster_id_looks_like_an_option(drawn: UUID) -> None:
    assert not cluster_id(drawn).startswith("-")
    assert len(cluster_id(drawn)) == 22


def test_a_client_library_of_another_version_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"kafka-clients is 3\.9\.1 and kafka-server is 4\.3\.1"):
        check_versions({"kafka-clients": "3.9.1", "kafka-server": "4.3.1"})


def test_listed_jars_are_not_resolved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_time = class_path()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "stet").mkdir()
    listing = next((Path.home() / ".cache" / "stet").glob("kafka-*.json"))
    (tmp_path / "stet" / listing.name).write_text(listing.read_text())
    assert class_path(progress=_unexpected) == first_time
    assert all(Path(jar).exists() for jar in first_time.split(os.pathsep))


def _unexpected(done: int, of: int, jar: str) -> None:
    raise AssertionError((done, of, jar))


def test_java_is_given_the_prepared_classes_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    option = f"-XX:AOTCache={aot_cache()}"
    assert option not in EmbeddedKafka(tmp_path / "kafka").command.argv
    aot_cache().touch()
    assert option in EmbeddedKafka(tmp_path / "kafka").command.argv


def test_prepared_classes_fit_one_java_and_one_list_of_jars(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {aot_cache()}
    monkeypatch.setattr("dev.kafka.version", lambda _: "26.0.0")
    places.add(aot_cache())
    monkeypatch.setattr("dev.kafka.class_path", lambda: "other.jar")
    places.add(aot_cache())
    assert len(places) == 3
