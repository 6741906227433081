"""The effects of the stories: messages at WhatsApp, writes in Consonance, approved metadata on its topic.

Each message and each write has to be expected by one story, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from dev.demo.simulators import Simulators
from dev.demo.story import DemoStory
from shared.contracts.topics import PARTITIONS
from shared.contracts.values import JsonObject

_APPLIED = "applied"
_APPROVED = "metadata.approved"


@dataclass
class SentMessage:
    """``to`` is the simulator's name for the person; ``template`` and ``language`` None: free text, in the window."""

    wamid: str
    to: str
    text: str
    template: str | None
    language: str | None
    buttons: tuple[str, ...]
    at: datetime
    expected: bool = False


@dataclass
class SentMessages:
    """All messages of a run, in order; ``refresh`` fetches those since the last one."""

    simulators: Simulators
    stories: Sequence[DemoStory]
    _messages: dict[str, SentMessage] = field(default_factory=dict)
    _since: str = ""

    async def refresh(self) -> None:
        query = f"?since={self._since.replace('+', '%2B')}" if self._since else ""
        for document in await self.simulators.whatsapp(f"messages{query}"):
            self._messages.setdefault(document["wamid"], _message(document))
            self._since = document["at"]

    def unexpected(self, story: DemoStory | None) -> list[SentMessage]:
        """Messages that no line expected yet, of this story; with None those that belong to no story."""
        left = (message for message in self._messages.values() if not message.expected)
        return [message for message in left if self._story_of(message) is story]

    def _story_of(self, message: SentMessage) -> DemoStory | None:
        named = [story for story in self.stories if any(words in message.text for words in story.about)]
        played = [story for story in self.stories if message.to in _handles(story)]
        return next(iter(named or played), None)


def _handles(story: DemoStory) -> set[str]:
    return {str(contact) for contact in story.roles} | {guest.handle for guest in story.guests}


def _message(document: Mapping[str, Any]) -> SentMessage:
    return SentMessage(
        wamid=document["wamid"],
        to=document["person"],
        text=document["text"],
        template=document["template"],
        language=document["language"],
        buttons=tuple(button["title"] for button in document["buttons"]),
        at=datetime.fromisoformat(document["at"]),
    )


@dataclass
class ConsonanceWrites:
    """The writes in the log of the Consonance simulator."""

    simulators: Simulators
    _expected: set[int] = field(default_factory=set)

    async def match(self, operation: str, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The one write of ``operation`` with the fields ``wanted`` that was not expected yet; else None."""
        found = [
            (number, entry)
            for number, entry in await self._unexpected()
            if entry["operation"] == operation
            and entry["outcome"] == _APPLIED
            and wanted.items() <= entry["input"].items()
        ]
        if len(found) != 1:
            return None
        self._expected.add(found[0][0])
        return found[0][1]

    async def unexpected(self) -> list[Mapping[str, Any]]:
        return [entry for _, entry in await self._unexpected()]

    async def _unexpected(self) -> list[tuple[int, Mapping[str, Any]]]:
        entries = enumerate(await self.simulators.consonance("log"))
        return [(number, entry) for number, entry in entries if number not in self._expected]


class ApprovedMetadata:
    """The topic that downstream systems read, from its beginning to its end."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def changes_of(self, work_id: int) -> list[JsonObject]:
        """The data of every event about a work, oldest first within a partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            events = await _all(consumer)
        finally:
            await consumer.stop()
        return [event["data"] for event in events if event["data"].get("work_id") == work_id]


async def _all(consumer: AIOKafkaConsumer) -> list[Any]:
    partitions = [TopicPartition(_APPROVED, number) for number in range(PARTITIONS)]
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    events = []
    for partition, end in ends.items():
        while await consumer.position(partition) < end:
            for batch in (await consumer.getmany(partition, timeout_ms=200)).values():
                events += [orjson.loads(record.value) for record in batch]
    return events
