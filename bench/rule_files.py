"""Judges generated rule files as ``stet rules check``, ``test`` and ``prove`` do, each in a process of its own.

The targets are absolute: seconds of the processor, whatever else the machine does, and the most memory of the process,
with the interpreter and everything it loads.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.results import BenchResult
from bench.rule_folders import write_deadline_rules
from services.rules.rulebook.model import Rulebook
from services.rules.scenario.folder_check import check_folder, play_stories
from shared.contracts.errors import StetError


class MeasuredVerb(StrEnum):
    CHECK = "check"
    TEST = "test"
    PROVE = "prove"


@dataclass(frozen=True, slots=True)
class _Budget:
    """``sentence`` says what is done with so many rules; without ``megabytes``, memory is printed and not judged."""

    judgement: MeasuredVerb
    sentence: str
    rules: int
    seconds: float
    megabytes: int | None = None


_BUDGETS = (
    _Budget(MeasuredVerb.CHECK, "check of 2,000 rules, templates and stories, before they are played", 2_000, 5, 100),
    _Budget(MeasuredVerb.TEST, "500 stories played", 500, 20),
    _Budget(MeasuredVerb.PROVE, "proof of 200 rules", 200, 30),
)


async def measure(_: float) -> AsyncIterator[BenchResult]:
    for budget in _BUDGETS:
        with TemporaryDirectory() as folder:
            rules = write_deadline_rules(Path(folder) / "rules", budget.rules)
            seconds, megabytes = await _judge_apart(budget.judgement, rules)
        memory = "" if budget.megabytes is None else f", {budget.megabytes} MB"
        yield BenchResult(
            name=budget.sentence,
            floor="",
            ours=f"{seconds:.1f} s, {megabytes} MB",
            ratio=None,
            target=f"≤ {budget.seconds:.0f} s{memory}",
            is_met=seconds <= budget.seconds and (budget.megabytes is None or megabytes <= budget.megabytes),
        )


async def _judge_apart(judgement: MeasuredVerb, folder: Path) -> tuple[float, int]:
    """Seconds of the processor and megabytes. Raises StetError where the files have faults."""
    command = (sys.executable, "-m", "bench.rule_files", judgement, str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    if process.returncode:
        raise StetError(f"the generated rule files of {judgement} have faults")
    seconds, megabytes = json.loads(printed)
    return seconds, megabytes


def _judge(judgement: MeasuredVerb, folder: Path) -> bool:
    """Whether all is well with the folder."""
    checked = check_folder(folder)
    if checked.faults:
        return False
    match judgement:
        case MeasuredVerb.CHECK:
            return True
        case MeasuredVerb.TEST:
            return not any(faults for _, faults in play_stories(checked))
        case MeasuredVerb.PROVE:
            return _is_proved(checked.rulebook)


def _is_proved(book: Rulebook) -> bool:
    """Counterexamples are findings as well as proofs; a rule that cannot be decided is neither."""
    from services.rules.analysis.proof import prove  # noqa: PLC0415 -- no part of what a check loads

    *_, proof = prove(book)
    return not proof.undecided


if __name__ == "__main__":
    if not _judge(MeasuredVerb(sys.argv[1]), Path(sys.argv[2])):
        sys.exit(1)
    sys.stdout.write(json.dumps((time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)))
