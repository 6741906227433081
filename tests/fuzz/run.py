"""Runs inputs through the targets in portions, each with a seed of its own, and reports the results."""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import structlog
from rich.console import Console
from rich.table import Table

from services.ingest.metrics import IngestMetrics
from shared.runtime.startup import end_with_parent
from tests.fuzz.mutations import Mutator
from tests.fuzz.targets import AIMS, Counts, Target

SLOWEST_MS = 50.0
"""CPU that one input may take; what seems to take longer is measured again, for a busy machine misleads."""

_PORTION = 1_000
_MOST_FAILURES = 20
_WORTH_TWO_PROCESSES = 60_000
_PROGRESS_SECONDS = 15


class Portion(NamedTuple):
    """Inputs of one target; with the seed of the run it says exactly which."""

    aim: str
    start: int
    inputs: int


@dataclass
class Failure:
    aim: str
    body: bytes
    sentence: str


@dataclass
class Report:
    counts: Counts = field(default_factory=Counts)
    slowest_ms: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        self.counts = Counts(*map(sum, zip(astuple(self.counts), astuple(other.counts), strict=True)))
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)
        self.failures += other.failures


def portions(count: int) -> list[Portion]:
    """The targets' shares of so many inputs, mixed so that progress is even."""
    found = []
    for name, aim in AIMS.items():
        left = count * aim.share // 100
        starts = range(0, left, _PORTION)
        found += [(start / max(1, left), Portion(name, start, min(_PORTION, left - start))) for start in starts]
    return [portion for _, portion in sorted(found)]


def run(seed: int, count: int, progress: Console | None = None) -> dict[str, Report]:
    """By target. Stops early after many failures."""
    reports = {name: Report() for name in AIMS}
    began = told = time.monotonic()
    for portion, report in _reports(seed, portions(count), alone=count < _WORTH_TWO_PROCESSES):
        reports[portion.aim].add(report)
        if progress is not None and time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            done = sum(each.counts.inputs for each in reports.values())
            progress.print(f"{done:>9,} of {count:,} inputs, {done / (told - began):,.0f} a second")
        if sum(len(each.failures) for each in reports.values()) > _MOST_FAILURES:
            break
    return reports


def _reports(seed: int, wanted: Sequence[Portion], *, alone: bool) -> Iterator[tuple[Portion, Report]]:
    if alone:
        yield from ((portion, take(seed, portion)) for portion in wanted)
        return
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        waiting = {pool.submit(take, seed, portion): portion for portion in wanted}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def take(seed: int, portion: Portion) -> Report:
    """One portion, in this process."""
    aim = AIMS[portion.aim]
    inputs, report = aim.corpus(), Report()
    mutator = Mutator(f"{seed}/{portion.aim}/{portion.start}", inputs)
    target = aim.make(_metrics())
    loop = asyncio.new_event_loop()
    try:
        with silent():
            for _ in range(portion.inputs):
                _try(target, mutator.body(mutator.choose(inputs)), loop, report, portion.aim)
    finally:
        loop.close()
    return report


def _try(target: Target, body: bytes, loop: asyncio.AbstractEventLoop, report: Report, aim: str) -> None:
    report.counts.inputs += 1
    try:
        milliseconds = _measured(target, body, loop, report.counts)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what is looked for
        report.failures.append(Failure(aim, body, f"{type(error).__name__}: {error}"))
        return
    again = 0
    while milliseconds > SLOWEST_MS and again < 3:
        gc.collect()
        milliseconds = min(milliseconds, _measured(target, body, loop, Counts()))
        again += 1
    report.slowest_ms = max(report.slowest_ms, milliseconds)
    if milliseconds > SLOWEST_MS:
        report.failures.append(Failure(aim, body, f"it took {milliseconds:.0f} ms of CPU"))


def _measured(target: Target, body: bytes, loop: asyncio.AbstractEventLoop, counts: Counts) -> float:
    prepared = target.prepare(body)
    began = time.thread_time()
    became = loop.run_until_complete(target.take(prepared))
    milliseconds = (time.thread_time() - began) * 1_000
    target.check(prepared, became, counts)
    return milliseconds


@lru_cache(maxsize=1)
def _metrics() -> IngestMetrics:
    return IngestMetrics()


@contextmanager
def silent() -> Iterator[None]:
    """No log of a million refusals."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def show(console: Console, seed: int, reports: dict[str, Report]) -> None:
    table = Table(title=f"seed {seed}")
    for name in ("target", "inputs", "updates", "events", "parked", "refused", "not ours", "slowest ms", "failures"):
        table.add_column(name, justify="left" if name == "target" else "right")
    total = Report()
    for name, report in reports.items():
        total.add(report)
        table.add_row(*_row(name, report))
    table.add_section()
    table.add_row(*_row("all", total))
    console.print(table)


def _row(name: str, report: Report) -> list[str]:
    return [
        name, *(f"{number:,}" for number in astuple(report.counts)), f"{report.slowest_ms:.1f}",
        str(len(report.failures)),
    ]  # fmt: skip


def keep(folder: Path, seed: int, failures: Sequence[Failure]) -> list[str]:
    """Each failing input in a file of its own; what to say of them."""
    folder.mkdir(parents=True, exist_ok=True)
    sentences = []
    for number, failure in enumerate(failures):
        file = folder / f"{failure.aim.replace(' ', '-')}-{seed}-{number}.bin"
        file.write_bytes(failure.body)
        sentences.append(f"{failure.aim}: {failure.sentence} ({file})")
    return sentences
