"""One run from beginning to end: the stack, the load, the strikes, the recovery; its files are what is judged."""

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
from ruamel.yaml import YAML

from dev.chaos.cast import Cast, draw, open_at, write_crowd, write_rules
from dev.chaos.drain import drain
from dev.chaos.driver import Driver
from dev.chaos.journal import Journal
from dev.chaos.killer import FAULTS, Killer, kinds
from dev.chaos.rig import PER_SECOND, Rig, rig
from dev.chaos.witness import Witness, witnessing, write_down
from dev.stack import RUN

_PEOPLE, _WORKS = 200, 200
_WARM_SECONDS = 4.0
_COVER_SECONDS = 90.0  # more than asked for at most, until every kind of strike has come once
_STILL_SECONDS = 60.0  # without any change, and what is left is given up
_DRAIN_SECONDS = 420.0
_OPENS_AFTER = timedelta(seconds=60)
_KEPT = 5  # folders of earlier runs


@dataclass(frozen=True)
class Plan:
    """``say`` prints one line of progress."""

    name: str
    seed: int
    minutes: float
    folder: Path
    say: Callable[[str], None]


async def perform(name: str, seed: int, minutes: float) -> Path:
    """Make a run of ``minutes`` under load; returns the folder of its files."""
    began = time.monotonic()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is meant to be

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    plan = Plan(name, seed, minutes, _folder(name, seed), say)
    say(f"seed {seed}, {minutes:g} minutes, {plan.folder}")
    cast = draw(seed, _now(), _PEOPLE, _WORKS)
    write_crowd(cast, plan.folder / "crowd.json")
    await _with_a_rig(plan, cast)
    return plan.folder


async def _with_a_rig(plan: Plan, cast: Cast) -> None:
    rules = plan.folder / "rules"

    def prepare() -> None:
        open_at(cast, _now() + _OPENS_AFTER)
        write_rules(cast, rules)

    async with rig(plan.name, plan.folder / "crowd.json", rules, prepare, plan.say) as run:
        async with witnessing(run.neighbours.kafka_bootstrap, plan.folder) as witness:
            await _run(run, witness, cast, plan)
        with suppress(OSError):
            shutil.copytree(run.folder / "logs", plan.folder / "logs")


async def _run(run: Rig, witness: Witness, cast: Cast, plan: Plan) -> None:
    journal = Journal(plan.folder / "journal.jsonl")
    driver = Driver(cast, plan.seed, journal, run.layout.consonance_url, run.layout.whatsapp_url)
    await driver.prepare()
    killer = Killer(run, plan.seed, journal, plan.say)
    if run.disk is None:
        plan.say("no full disk in this run: only root may mount a file system of limited size")
    plan.say("ready: the load begins")
    began = time.time()
    telling = asyncio.ensure_future(_tell(driver, witness, plan.say))
    try:
        await _load(run, driver, killer, plan.minutes)
        plan.say(f"the load is over after {killer.strikes} strikes; waiting until all of it is done")
        left = await drain(run, witness, _STILL_SECONDS, _DRAIN_SECONDS)
    finally:
        telling.cancel()
    await write_down(run, plan.folder)
    _describe(run, cast, plan, {"began": began, "left": left})


async def _load(run: Rig, driver: Driver, killer: Killer, minutes: float) -> None:
    """Both until the time is up; a driver that fails ends the run."""
    ends = time.monotonic() + minutes * 60
    driving = asyncio.ensure_future(driver.run())
    await asyncio.sleep(_WARM_SECONDS)
    spoiling = asyncio.ensure_future(killer.spoil())
    striking = asyncio.ensure_future(killer.strike_until(ends, ends + _COVER_SECONDS))
    try:
        await asyncio.wait({driving, striking, spoiling}, return_when=asyncio.FIRST_COMPLETED)
        driver.ending.set()
        for task in (driving, striking):
            await task
    finally:
        for task in (driving, striking, spoiling):
            task.cancel()
    await _no_more_faults(run)


async def _tell(driver: Driver, witness: Witness, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(15)
        said = ", ".join(f"{number} {kind}" for kind, number in sorted(driver.journal.counts.items()))
        say(f"      so far: {said}, {witness.records} records")


async def _no_more_faults(run: Rig) -> None:
    async with aiohttp.ClientSession() as session:
        await session.delete(f"{run.layout.consonance_url}/_simulator/faults")


def _describe(run: Rig, cast: Cast, plan: Plan, more: dict[str, Any]) -> None:
    """What the checks must know of the run and cannot see in its records."""
    about = {
        **more,
        "seed": plan.seed,
        "minutes": plan.minutes,
        "per_second": PER_SECOND,
        "lines": {number: line for line, number in run.layout.lines.items()},
        "kinds": [str(kind) for kind in kinds(run)],
        "faults": FAULTS,
        "opens": cast.opens.timestamp(),
        "sleepers": [person.digits for person in cast.sleepers],
        "authors": {str(work.id): [cast.people[one].digits for one in work.authors] for work in cast.works.values()},
        "steps": _steps(plan.folder / "rules"),
        "ended": [vars(one) for one in run.ended],
    }
    (plan.folder / "run.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))


def _steps(rules: Path) -> dict[str, list[dict[str, Any]]]:
    """Of each rule, its steps as written: verb, words, and the seconds they wait."""
    found = {}
    for file in rules.glob("*.rule.yaml"):
        written = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        found[written["rule"]] = [_step(step) for step in written["steps"]]
    return found


def _step(step: dict[str, Any]) -> dict[str, Any]:
    verb = next(
        (verb for verb in ("tell", "ask", "remind", "hand_over", "collect", "give_up") if verb in step), "record"
    )
    after = step.get("after")
    return {"verb": verb, "say": step.get("say"), "after": float(after.split()[0]) if after else 0.0}


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
