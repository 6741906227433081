"""Plays stories side by side on one stack, and looks at the end for effects that no story expected."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import aiohttp
import asyncpg

from dev.demo.effects import ApprovedMetadata, ConsonanceWrites, SentMessages
from dev.demo.people import read_people, register_people
from dev.demo.simulators import CallRefused, DemoStack, Simulators, development_clock
from dev.demo.story import ENDS_AT, DemoStory, Transcript
from dev.demo.story_run import DemoContext, StoryFailed, StoryRun
from dev.demo.timeline import ClockDriver, Timeline
from dev.layout import SERVICES
from dev.stack import StackOptions
from shared.runtime.clock import Clock

POLLED_ON_REQUEST = StackOptions(settings={"ingest": {"STET_CONSONANCE_POLL_SECONDS": "86400"}})
"""Stories poll by a call: between their steps business time stands still, and so must Consonance."""

_BASELINE_SECONDS = 60.0  # for the events of the first complete poll to be handled
_MOST_PARKED = 20  # rows that are reported
_PARKED = "select topic, sentence from parked where state = 'parked' order by id limit $1"
_EXPECTED_PARKED = {"ingest parked polled contacts: contact 835: phones.0.phoneNumber: there is no usable number in it"}
"""The seed has a contact with "ask at the studio" in a phone field, which has to be reported."""

OnInstant = Callable[[datetime], None]


@dataclass(frozen=True)
class DemoStoryResult:
    """``fault`` is None where the story ended as expected."""

    story: DemoStory
    transcript: Transcript
    fault: str | None


@dataclass(frozen=True)
class DemoResult:
    """``faults`` are those of no single story, such as a parked record or a message that no story expects."""

    stories: Sequence[DemoStoryResult]
    faults: Sequence[str]

    @property
    def passed(self) -> bool:
        return not self.faults and all(result.fault is None for result in self.stories)


async def play_stories(
    stack: DemoStack,
    stories: Sequence[DemoStory],
    *,
    on_instant: OnInstant = lambda _: None,
    driver: ClockDriver | None = None,
) -> DemoResult:
    """Play ``stories`` on a stack with a virtual clock that polls on request; ``driver`` moves its time."""
    clock = development_clock(stack)
    async with aiohttp.ClientSession() as session:
        sent_messages = SentMessages(Simulators.of(stack.layout, session), stories)
        timeline = Timeline(clock, driver or stack.virtual_clock, _refresh(sent_messages, clock, on_instant))
        context = await _prepare(stack, sent_messages, timeline)
        runs = [StoryRun(story, context) for story in stories]
        faults: dict[DemoStory, str] = {}
        await timeline.play([_play(run, faults) for run in runs])
        results = [DemoStoryResult(run.story, run.transcript, faults.get(run.story)) for run in runs]
        return DemoResult(results, await unexpected_effects(context))


async def _prepare(stack: DemoStack, sent_messages: SentMessages, timeline: Timeline) -> DemoContext:
    """Register all people at WhatsApp, and let the first poll, which makes no changes known, go through."""
    simulators = sent_messages.simulators
    people = await read_people(simulators)
    await register_people(simulators, [guest for story in sent_messages.stories for guest in story.guests])
    await simulators.poll()
    await stack.virtual_clock.settle(_BASELINE_SECONDS)
    approved_metadata = ApprovedMetadata(stack.neighbours.kafka_bootstrap)
    writes = ConsonanceWrites(simulators)
    return DemoContext(stack, simulators, timeline, people, sent_messages, writes, approved_metadata)


def _refresh(sent_messages: SentMessages, clock: Clock, on_instant: OnInstant) -> Callable[[], Awaitable[None]]:
    async def refresh() -> None:
        await sent_messages.refresh()
        on_instant(clock.now())

    return refresh


async def _play(run: StoryRun, faults: dict[DemoStory, str]) -> None:
    """Play a story, and wait until ENDS_AT: no message may follow its end."""
    try:
        await run.story.play(run)
        run.expect_no_message()
        await run.wait_until(ENDS_AT)
        run.expect_no_message()
    except (StoryFailed, CallRefused) as fault:
        faults[run.story] = str(fault)


# ------------------------------------------------------------------ effects that no story expected


async def unexpected_effects(context: DemoContext) -> list[str]:
    """A sentence for each message, webhook, push, write and parked record that no story expected."""
    return [
        *await _unexpected_messages(context),
        *await _failed_pushes(context),
        *await _unexpected_writes(context),
        *await _unexpected_parked(context.stack),
    ]


async def _unexpected_messages(context: DemoContext) -> list[str]:
    counts = await context.simulators.whatsapp("counts")
    unexpected = [f"{one.to} was sent “{one.text}”, in no story" for one in context.sent_messages.unexpected(None)]
    repeated = [f"a message was sent {times} times" for times in counts["repeated_callbacks"].values()]
    undelivered = counts["webhooks"]["undelivered"]
    return [*unexpected, *repeated, *([f"{undelivered} webhooks were not delivered"] if undelivered else [])]


async def _failed_pushes(context: DemoContext) -> list[str]:
    pushes = await context.simulators.consonance("pushes")
    return [f"the push {one['id']} is {one['state']}: {one['statuses']}" for one in pushes if one["state"] != "taken"]


async def _unexpected_writes(context: DemoContext) -> list[str]:
    return [
        f"{entry['operation']} {entry['input']} was written ({entry['outcome']}), in no story"
        for entry in await context.writes.unexpected()
    ]


async def _unexpected_parked(stack: DemoStack) -> list[str]:
    found = []
    for service in SERVICES:
        async with _connection(stack, service) as connection:
            rows = await connection.fetch(_PARKED, _MOST_PARKED)
        found += [f"{service} parked {row['topic']}: {row['sentence']}" for row in rows]
    missing = [f"a record that had to be parked was not: {one}" for one in _EXPECTED_PARKED.difference(found)]
    return [*(one for one in found if one not in _EXPECTED_PARKED), *missing]


@asynccontextmanager
async def _connection(stack: DemoStack, schema: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.neighbours.postgres_dsn, server_settings={"search_path": schema})
    try:
        yield connection
    finally:
        await connection.close()
