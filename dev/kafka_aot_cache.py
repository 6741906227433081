"""``python -m dev.kafka_aot_cache``: prepares Kafka's classes, so that a broker starts with half the processor time.

Java's AOT cache (JEP 483) holds classes loaded and linked; a broker is run for its record of which it needs. Where the
cache cannot be made, the reason is printed and the exit code is 1; brokers start without it, only more slowly.
"""

import asyncio
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from dev.kafka import EmbeddedKafka, aot_cache, java
from dev.processes import Child, Command, ProcessFailed

_TOPIC = "first"


async def make_aot_cache(cache: Path) -> None:
    """Make ``cache`` in one step, and remove those of other versions beside it. Raises ProcessFailed or OSError."""
    folder = Path(tempfile.mkdtemp(prefix="stet-"))
    draft, record = cache.with_suffix(".draft"), folder / "classes"
    try:
        await _record(folder, record)
        write = java("-XX:AOTMode=create", f"-XX:AOTConfiguration={record}", f"-XX:AOTCache={draft}", "-Xlog:aot*=off")
        await Child(Command("kafka-aot-cache", write), folder).run()
        for old in cache.parent.glob("kafka-*.aot"):
            old.unlink()
        draft.replace(cache)
    finally:
        draft.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


async def _record(folder: Path, record: Path) -> None:
    """Run a broker that does a little of everything a stack asks of it; Java writes the record when it ends."""
    kafka = EmbeddedKafka(folder, java_options=("-XX:AOTMode=record", f"-XX:AOTConfiguration={record}"))
    try:
        await kafka.start()
        await _use(kafka.bootstrap)
    finally:
        await kafka.stop()


async def _use(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(_TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(_TOPIC, b"record")
    reader = AIOKafkaConsumer(_TOPIC, bootstrap_servers=bootstrap, group_id="first", auto_offset_reset="earliest")
    async with reader as consumer:
        await consumer.getone()
        await consumer.commit()


def main() -> int:
    cache = aot_cache()
    if cache.exists():
        return 0
    print(f"Apache Kafka: preparing its classes in {cache}", file=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its first group waits for the broker's coordinator
    try:
        asyncio.run(make_aot_cache(cache))
    except (ProcessFailed, OSError) as error:
        print(f"Apache Kafka: its classes could not be prepared: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
