"""All checks of one run, in the order they are told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.chaos.checks import coverage, ends, recovery, sends, timers, writes
from dev.chaos.checks.files import Files, Finding

CHECKS: tuple[Callable[[Files], Finding], ...] = (
    ends.events, ends.repeated_decisions, ends.parked, ends.refused, ends.decided_effects, ends.messages,
    ends.withdrawals, ends.notices,
    sends.doubled, sends.doubled_words, sends.unasked,
    sends.withdrawn, sends.ended, sends.answered, sends.stopped, sends.order, sends.limits,
    timers.early, timers.unheard, timers.quiet,
    writes.answers, writes.asked_twice, writes.ends, writes.truth, writes.twice,
    ends.undrained, coverage.enough,
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    seed: int
    counts: dict[str, int]
    findings: list[Finding]
    recoveries: list[recovery.Recovery]
    ended: list[str]

    @property
    def holds(self) -> bool:
        return not any(finding.violations for finding in self.findings)


def judge_files(files: Files) -> Verdict:
    findings = [check(files) for check in CHECKS]
    ended = [f"{one['name']} with {one['code']}: {one['last_words'][:200]}" for one in files.run["ended"]]
    return Verdict(files.run["seed"], coverage.counts(files), findings, recovery.recoveries(files), ended)


def judge(folder: Path) -> Verdict:
    return judge_files(Files.load(folder))
