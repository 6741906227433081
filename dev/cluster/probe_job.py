"""``python -m dev.cluster.probe_job WORK WORD``: pushes one event, and follows it to its decision and its message.

It runs in a pod beside the services, and prints one JSON object: the revision of the rules that decided and
the number of messages that hold ``WORD``.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from dev.cluster.in_cluster import BOOTSTRAP, CONSONANCE_URL, WHATSAPP_URL
from shared.contracts.topics import PARTITIONS

_DECISIONS = "decisions"
_SECONDS = 120.0
_POLL_SECONDS = 0.5


def main(
    work: Annotated[int, typer.Argument(help="The work of Consonance that the event is about.")],
    word: Annotated[str, typer.Argument(help="What no other event has: the name of its new stage or of a block.")],
    messages: Annotated[
        int, typer.Option(help="How many messages about it to wait for; with none, nobody is told.")
    ] = 0,
) -> None:
    print(orjson.dumps(asyncio.run(_follow(work, word, messages))).decode())


async def _follow(work: int, word: str, messages: int) -> dict[str, Any]:
    began = time.monotonic()
    async with aiohttp.ClientSession(raise_for_status=True) as session, asyncio.timeout(_SECONDS):
        await _push(session, work, word, notice=messages > 0)
        decision = await _decision(f"evt-{word}")
        while len(found := await _messages(session, word)) < messages:
            await asyncio.sleep(_POLL_SECONDS)
        return {
            "revision": decision["revision"],
            "messages": len(found),
            "seconds": round(time.monotonic() - began, 1),
        }


async def _push(session: aiohttp.ClientSession, work: int, word: str, *, notice: bool) -> None:
    """A change of stage, about which authors are told; or the end of an unknown block, which tells no person."""
    event = {"id": f"evt-{word}", **(_stage_changed(work, word) if notice else _unblocked(work, word))}
    async with session.post(f"{CONSONANCE_URL}/_simulator/push", json=event):
        pass


def _stage_changed(work: int, word: str) -> dict[str, Any]:
    data = {
        "work": work, "to_stage": word, "to_stage_key": "typesetting",
        "changed_at": datetime.now(UTC).isoformat(),  # noqa: TID251 -- the event's own time
    }  # fmt: skip
    return {"type": "work.stage_changed", "data": data}


def _unblocked(work: int, word: str) -> dict[str, Any]:
    data = {"work": work, "block_id": word, "resolved_by": {"type": "user", "id": "11"}}
    return {"type": "work.unblocked", "data": data}


async def _decision(event: str) -> dict[str, Any]:
    """The first decision about an event."""
    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(_DECISIONS, number) for number in range(PARTITIONS)])
        async for record in consumer:
            data: dict[str, Any] = orjson.loads(record.value)["data"]
            if event in (data.get("events") or [data.get("about")]):
                return data
    finally:
        await consumer.stop()
    raise RuntimeError("the topic of decisions ended")


async def _messages(session: aiohttp.ClientSession, word: str) -> list[Any]:
    async with session.get(f"{WHATSAPP_URL}/_simulator/messages") as answer:
        return [message for message in await answer.json() if word in message["text"]]


if __name__ == "__main__":
    typer.run(main)
