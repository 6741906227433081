"""Searches all that a stack stores or shows outside payloads for personal data: in clear, in base64 or in hex."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from dev.demo.story import DemoStory
from dev.layout import SERVICES
from dev.spellings import stands_in
from dev.stack import Stack
from shared.contracts.topics import ALL_TOPICS, DECISIONS, PARTITIONS, Topic, parked_topic
from tests.flow.collector import Collector

_SHORTEST = 8
"""Shorter words may stand anywhere by chance."""

_PARKED = frozenset(parked_topic(service).name for service in SERVICES)


@dataclass(frozen=True)
class Exposure:
    """``shown`` by place; ``personal`` by kind (number, name, text, wamid)."""

    shown: dict[str, bytes]
    personal: dict[str, frozenset[str]]

    def leaks(self, kind: str) -> list[str]:
        """The places that contain personal data of this kind; the data itself is not returned."""
        secrets = self.personal[kind]
        return sorted(place for place, text in self.shown.items() if any(stands_in(text, one) for one in secrets))


async def expose(stack: Stack, stories: Sequence[DemoStory], collector: Collector) -> Exposure:
    """Read all of it from a stack that still runs."""
    async with aiohttp.ClientSession() as session:
        shown = {
            f"log of {service}": (stack.layout.folder / "logs" / f"{service}.log").read_bytes() for service in SERVICES
        }
        for service in SERVICES:
            url = f"{stack.layout.health_url(service)}/metrics"
            async with session.get(url, headers={"Accept": "application/openmetrics-text"}) as answer:
                shown[f"metrics of {service}"] = await answer.read()
        personal = await _personal(stack, stories, session)
    for topic in ALL_TOPICS:
        shown[topic.name] = b"\n".join([part async for part in _around_payloads(stack, topic)])
    return Exposure(shown | {"spans": collector.text().encode()}, personal)


async def _around_payloads(stack: Stack, topic: Topic) -> AsyncIterator[bytes]:
    """Keys, headers and envelopes; the whole of a decision. A parked record is a payload with its headers."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.neighbours.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic.name, number) for number in range(PARTITIONS)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield _around(topic, record)
    finally:
        await consumer.stop()


def _around(topic: Topic, record: Any) -> bytes:
    headers = [part for name, value in record.headers for part in (name.encode(), value)]
    envelope = b""
    if topic.name not in _PARKED:
        event = orjson.loads(record.value)
        kept = event if topic is DECISIONS else {name: value for name, value in event.items() if name != "data"}
        envelope = orjson.dumps(kept)
    return b" ".join([record.key or b"", *headers, envelope])


async def _personal(
    stack: Stack, stories: Sequence[DemoStory], session: aiohttp.ClientSession
) -> dict[str, frozenset[str]]:
    layout = stack.layout
    contacts = await _json(session, f"{layout.consonance_url.removesuffix('/graphql')}/_simulator/state/contacts")
    messages = await _json(session, f"{layout.whatsapp_url}/_simulator/messages")
    replies = await _json(session, f"{layout.whatsapp_url}/_simulator/replies")
    guests = [guest for story in stories for guest in story.guests]
    numbers = [phone["phone_number"] for contact in contacts for phone in contact["phones"]]
    names = [f"{contact['given_name']} {contact['key_names']}" for contact in contacts if contact["given_name"]]
    texts = [message["text"] for message in messages] + [reply["text"]["body"] for reply in replies if "text" in reply]
    return {
        "number": _long(_digits(number) for number in (*numbers, *(guest.phone or "" for guest in guests))),
        "name": _long((*names, *(guest.name for guest in guests))),
        "text": _long(texts),
        "wamid": _long(part["wamid"].removeprefix("wamid.") for part in (*messages, *replies)),
    }


def _digits(number: str) -> str:
    """Without the zeros a number begins with in its own country: so it stands within its international form."""
    return "".join(filter(str.isdigit, number)).lstrip("0")


def _long(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word for word in words if len(word) >= _SHORTEST)


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        return orjson.loads(await answer.read())
