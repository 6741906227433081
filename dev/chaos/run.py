"""One run from start to end: stack, load, faults, recovery; the checks judge its files."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from dev.chaos.chaos_stack import PER_SECOND, ChaosStack, open_chaos_stack
from dev.chaos.drain import drain
from dev.chaos.fault_injection import FAULTS, FaultInjector, disruptions_of
from dev.chaos.load import LoadGenerator
from dev.chaos.population import Population, draw_population, population_facts, set_opening, write_records, write_rules
from dev.chaos.recorder import RunLog, TopicRecorder, recording, save_tables
from dev.stack import RUN

_PEOPLE, _WORKS = 200, 200
_WARM_SECONDS = 4.0
_COVER_SECONDS = 90.0  # longer than requested at most, for every kind of disruption to come once
_STILL_SECONDS = 120.0  # without a change, after which the rest is given up; a message waits 90 at most, then expires
_DRAIN_SECONDS = 1200.0
_OPENS_AFTER = timedelta(seconds=60)
_KEPT = 5  # folders of earlier runs


@dataclass(frozen=True)
class RunPlan:
    """``say`` prints one line of progress."""

    name: str
    seed: int
    minutes: float
    folder: Path
    report: Callable[[str], None]


async def run_chaos(name: str, seed: int, minutes: float) -> Path:
    """Make a run of ``minutes`` under load; returns the folder of its files. Raises StetError or OSError."""
    began = time.monotonic()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is intended

    def report(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    plan = RunPlan(name, seed, minutes, _folder(name, seed), report)
    report(f"seed {seed}, {minutes:g} minutes, {plan.folder}")
    population = draw_population(seed, _now(), _PEOPLE, _WORKS)
    write_records(population, plan.folder / "records.json")
    await _run_on_stack(plan, population)
    return plan.folder


async def _run_on_stack(plan: RunPlan, population: Population) -> None:
    rules = plan.folder / "rules"

    def prepare() -> None:
        set_opening(population, _now() + _OPENS_AFTER)
        write_rules(population, rules)

    async with open_chaos_stack(plan.name, plan.folder / "records.json", rules, prepare, plan.report) as stack:
        async with recording(stack.neighbours.kafka_bootstrap, plan.folder) as recorder:
            await _run(stack, recorder, population, plan)
        with suppress(OSError):
            shutil.copytree(stack.folder / "logs", plan.folder / "logs")


async def _run(stack: ChaosStack, recorder: TopicRecorder, population: Population, plan: RunPlan) -> None:
    journal = RunLog(plan.folder / "journal.jsonl")
    load = LoadGenerator(population, plan.seed, journal, stack.layout.consonance_url, stack.layout.whatsapp_url)
    await load.prepare()
    injector = FaultInjector(stack, plan.seed, journal, plan.report)
    if stack.disk is None:
        plan.report("no full disk in this run: only root may mount a file system of limited size")
    plan.report("ready: the load starts")
    began = time.time()
    reporting = asyncio.ensure_future(_report_progress(load, recorder, plan.report))
    try:
        await _load(stack, load, injector, plan.minutes)
        plan.report(f"the load is over after {injector.disruptions} disruptions; waiting until all work is done")
        left = await drain(stack, recorder, _STILL_SECONDS, _DRAIN_SECONDS)
    finally:
        reporting.cancel()
    await save_tables(stack, plan.folder)
    _describe(stack, population, plan, {"began": began, "left": left})


async def _load(stack: ChaosStack, load: LoadGenerator, injector: FaultInjector, minutes: float) -> None:
    """Load and faults until the time is up; a load that fails ends the run."""
    ends = time.monotonic() + minutes * 60
    loading = asyncio.ensure_future(load.run())
    await asyncio.sleep(_WARM_SECONDS)
    injecting = asyncio.ensure_future(injector.inject_response_faults())
    disrupting = asyncio.ensure_future(injector.disrupt_until(ends, ends + _COVER_SECONDS))
    try:
        await asyncio.wait({loading, disrupting, injecting}, return_when=asyncio.FIRST_COMPLETED)
        load.ending.set()
        for task in (loading, disrupting):
            await task
    finally:
        for task in (loading, disrupting, injecting):
            task.cancel()
    await _no_more_faults(stack)


async def _report_progress(load: LoadGenerator, recorder: TopicRecorder, report: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(15)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(load.journal.counts.items()))
        report(f"      so far: {counts}, {recorder.records} records")


async def _no_more_faults(stack: ChaosStack) -> None:
    async with aiohttp.ClientSession() as session:
        await session.delete(f"{stack.layout.consonance_url}/_simulator/faults")


def _describe(stack: ChaosStack, population: Population, plan: RunPlan, more: dict[str, Any]) -> None:
    """Save facts of the run that the checks need and its records do not have."""
    about = {
        **more,
        **population_facts(population, plan.folder / "rules"),
        "seed": plan.seed,
        "minutes": plan.minutes,
        "per_second": PER_SECOND,
        "lines": {number: line for line, number in stack.layout.lines.items()},
        "kinds": [str(kind) for kind in disruptions_of(stack)],
        "faults": FAULTS,
        "ended": [vars(one) for one in stack.ended],
    }
    (plan.folder / "run.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))


def _folder(name: str, seed: int) -> Path:
    """A new folder for the files of a run; of earlier runs the newest few stay."""
    runs = RUN / f"{name}-runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir())[: -_KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)
    folder = runs / f"{_now():%Y%m%d-%H%M%S}-seed-{seed}"
    folder.mkdir()
    return folder


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 -- the run's own clock
