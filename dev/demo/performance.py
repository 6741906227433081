"""A performance: the people are introduced, the stories played side by side, and at the end the house is searched."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from dev.demo.aftermath import left_behind
from dev.demo.cast import assemble, introduce
from dev.demo.downstream import Downstream
from dev.demo.ledger import Ledger
from dev.demo.mailbox import Mailbox
from dev.demo.outside import Outside, Refused
from dev.demo.stage import NotAsTold, Stage, World
from dev.demo.story import CURTAIN, Story
from dev.demo.timeline import Pace, Timeline
from dev.demo.transcript import Transcript
from dev.stack import Options, Stack
from shared.runtime.clock import Clock

POLLED_BY_HAND = Options(settings={"ingest": {"STET_CONSONANCE_POLL_SECONDS": "86400"}})
"""Polls happen when a story says so: between its acts business time stands still, and so must Consonance."""

_BASELINE_SECONDS = 60.0  # for what the first poll of everything says to go through

Watch = Callable[[datetime], None]


@dataclass(frozen=True)
class Outcome:
    """``fault`` None: the story ended as it should."""

    story: Story
    transcript: Transcript
    fault: str | None


@dataclass(frozen=True)
class Performance:
    """``faults``: what no single story answers for, such as a parked record or a message to somebody in none."""

    outcomes: Sequence[Outcome]
    faults: Sequence[str]

    @property
    def as_told(self) -> bool:
        return not self.faults and all(outcome.fault is None for outcome in self.outcomes)


async def perform(
    stack: Stack, stories: Sequence[Story], *, watch: Watch = lambda _: None, pace: Pace | None = None
) -> Performance:
    """Play ``stories`` on a stack that runs on a development clock and is polled by hand."""
    async with aiohttp.ClientSession() as session:
        mailbox = Mailbox(_outside(stack, session), stories)
        timeline = Timeline(_clock(stack), pace or stack.conductor, _looking(mailbox, _clock(stack), watch))
        world = await _world(stack, mailbox, timeline)
        stages = [Stage(story, world) for story in stories]
        faults: dict[Story, str] = {}
        await world.timeline.play([_play(stage, faults) for stage in stages])
        outcomes = [Outcome(stage.story, stage.transcript, faults.get(stage.story)) for stage in stages]
        return Performance(outcomes, await left_behind(world))


def _outside(stack: Stack, session: aiohttp.ClientSession) -> Outside:
    layout = stack.layout
    return Outside(
        session,
        whatsapp=f"{layout.whatsapp_url}/_simulator",
        consonance=f"{layout.consonance_url.removesuffix('/graphql')}/_simulator",
        ingest=layout.health_url("ingest"),
    )


async def _world(stack: Stack, mailbox: Mailbox, timeline: Timeline) -> World:
    """With everybody introduced, and the first, silent look at Consonance done."""
    outside = mailbox.outside
    cast = await assemble(outside)
    await introduce(outside, [guest for story in mailbox.stories for guest in story.guests])
    await outside.poll()
    await stack.conductor.settle(_BASELINE_SECONDS)
    downstream = Downstream(stack.neighbours.kafka_bootstrap)
    return World(stack, outside, timeline, cast, mailbox, Ledger(outside), downstream)


def _clock(stack: Stack) -> Clock:
    if stack.clock is None:
        raise RuntimeError("stories are played on a development clock")
    return stack.clock


def _looking(mailbox: Mailbox, clock: Clock, watch: Watch) -> Callable[[], Awaitable[None]]:
    async def look() -> None:
        await mailbox.look()
        watch(clock.now())

    return look


async def _play(stage: Stage, faults: dict[Story, str]) -> None:
    """To the curtain: after its end a story has to be silent."""
    try:
        await stage.story.play(stage)
        stage.silence()
        await stage.at(CURTAIN)
        stage.silence()
    except (NotAsTold, Refused) as fault:
        faults[stage.story] = str(fault)
