"""What rules was seen to write, one of each kind, so that the floor writes rows of the same size."""

import base64
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from dev.processes import ProcessFailed
from shared.contracts.decisions import DecisionRecorded, SilenceRecorded
from shared.contracts.messages import SendMessage
from shared.contracts.topics import DECISIONS, MESSAGES_REQUESTED, PARTITIONS

_CHAIN = """\
select tenant, rule, subject, revision, key, tags, people, guards, document::text from rules.chains
order by changed_at desc limit 1"""
_WANTED = {"message": SendMessage.kind, "decision": DecisionRecorded.kind, "silence": SilenceRecorded.kind}


async def of_rules(kafka: str, database: Any) -> str:
    """As JSON: a chain's row, and the largest record of each kind as base64."""
    largest = await _largest(kafka)
    missing = [kind for kind in _WANTED.values() if kind not in largest]
    chain = await database.fetchrow(_CHAIN)
    if missing or chain is None:
        raise ProcessFailed("rules", f"wrote none of {', '.join(missing) or 'a chain'}", Path("-"), "")
    found = {name: base64.b64encode(largest[kind]).decode() for name, kind in _WANTED.items()}
    return orjson.dumps({"chain": dict(chain), **found}).decode()


async def _largest(kafka: str) -> dict[str, bytes]:
    """By type; everything written so far is looked at."""
    partitions = [
        TopicPartition(topic.name, number) for topic in (DECISIONS, MESSAGES_REQUESTED) for number in range(PARTITIONS)
    ]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest")
    consumer.assign(partitions)
    largest: dict[str, bytes] = {}
    async with consumer:
        left = sum((await consumer.end_offsets(partitions)).values())
        while left > 0:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                left -= len(records)
                for record in records:
                    _keep_larger(largest, record.value)
    return largest


def _keep_larger(largest: dict[str, bytes], value: bytes) -> None:
    kind = orjson.loads(value)["type"]
    if len(value) > len(largest.get(kind, b"")):
        largest[kind] = value
