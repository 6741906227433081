"""Judges generated rule files as ``stet rules check``, ``test`` and ``prove`` do, each in a process of its own.

Seconds are those of the processor, with the interpreter and everything that is loaded. A check is judged beside its
floor, the reading of the same files by libyaml's parser alone, and by the most memory of its process; the seconds of
the others are judged as they are.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.results import BenchResult
from bench.rule_folders import write_deadline_rules
from bench.rule_judgement import MeasuredVerb
from dev.layout import ROOT
from shared.contracts.errors import StetError

_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Budget:
    """``sentence`` says what is done with so many generated rules, or with those of rules/; ``seconds`` and
    ``megabytes`` how much that may take.
    """

    judgement: MeasuredVerb
    sentence: str
    rules: int | None
    seconds: float
    megabytes: int | None = None

    @property
    def target(self) -> str:
        return f"≤ {self.seconds:.0f} s" + (f", {self.megabytes} MB" if self.megabytes else "")

    def is_met(self, seconds: float, megabytes: int) -> bool:
        return seconds <= self.seconds and (self.megabytes is None or megabytes <= self.megabytes)


_CHECKED = 2_000
_CHECK_RATIO, _CHECK_MEGABYTES = 0.15, 100
_BUDGETS = (
    _Budget(MeasuredVerb.CHECK_COMMAND, "check of rules/, with all stories played", None, 5, 100),
    _Budget(MeasuredVerb.CHECK_COMMAND, "check of 2,000 rules, with a story of each played", 2_000, 5, 100),
    _Budget(MeasuredVerb.TEST, "all stories of rules/ played", None, 20),
    _Budget(MeasuredVerb.TEST, "500 stories played", 500, 20),
    _Budget(MeasuredVerb.TEST, "2,000 stories played", 2_000, 80),
    _Budget(MeasuredVerb.PROVE, "proof of rules/", None, 30),
    _Budget(MeasuredVerb.PROVE, "proof of 200 rules", 200, 30),
    _Budget(MeasuredVerb.PROVE, "proof of 2,000 rules", 2_000, 30),
)


async def measure(_: float) -> AsyncIterator[BenchResult]:
    yield await _compare_check_with_reading()
    for budget in _BUDGETS:
        with TemporaryDirectory() as folder:
            rules = write_deadline_rules(Path(folder) / "rules", budget.rules) if budget.rules else ROOT / "rules"
            seconds, megabytes = await _judge_apart(budget.judgement, rules)
        yield BenchResult(
            name=budget.sentence,
            floor="",
            ours=f"{seconds:.1f} s, {megabytes} MB",
            ratio=None,
            target=budget.target,
            is_met=budget.is_met(seconds, megabytes),
        )


async def _compare_check_with_reading() -> BenchResult:
    """In turns, and by the fewest seconds of each: what else the machine does adds to both."""
    with TemporaryDirectory() as folder:
        rules = write_deadline_rules(Path(folder) / "rules", _CHECKED)
        rounds = [
            (await _judge_apart(MeasuredVerb.READ, rules), await _judge_apart(MeasuredVerb.CHECK, rules))
            for _ in range(_ROUNDS)
        ]
    floor, ours = min(read[0] for read, _ in rounds), min(check[0] for _, check in rounds)
    megabytes = max(check[1] for _, check in rounds)
    return BenchResult(
        name=f"check of {_CHECKED:,} rules, templates and stories, before they are played",
        floor=f"{floor:.2f} s",
        ours=f"{ours:.1f} s, {megabytes} MB",
        ratio=floor / ours,
        target=f"≥ {_CHECK_RATIO}, {_CHECK_MEGABYTES} MB",
        is_met=floor / ours >= _CHECK_RATIO and megabytes <= _CHECK_MEGABYTES,
    )


async def _judge_apart(judgement: MeasuredVerb, folder: Path) -> tuple[float, int]:
    """Seconds of the processor and megabytes. Raises StetError where the files have faults."""
    command = (sys.executable, "-m", "bench.rule_judgement", judgement, str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    if process.returncode:
        raise StetError(f"the generated rule files of {judgement} have faults")
    seconds, megabytes = json.loads(printed)
    return seconds, megabytes
