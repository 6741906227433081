"""All checks of one run, in the order they are run."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.chaos.checks import ends, recovery, sends, timers, writes
from dev.chaos.checks.files import CheckResult, RunFiles

_LEAST: Mapping[str, int] = {
    "events accepted": 100,
    "messages sent": 100,
    "answers": 10,
    "reminders": 5,
    "offers": 5,
    "STOPs": 1,
    "withdrawals": 1,
    "writes that stand": 10,
    "pitches recorded": 1,
    "messages held for the morning": 1,
    "sends in doubt": 1,
    "bursts": 1,
}
"""Runs of two minutes have more than this; a run with less proves nothing. A run may name other numbers of its own."""


_SHARE_SENT = 0.6  # of what was requested; the rest may be withdrawn, or too late after an outage


def counts(files: RunFiles) -> dict[str, int]:
    says = Counter(record.data["say"] for record in files.requested.values())
    kinds = Counter(record.kind for record in files.topic("messages.events"))
    writes = Counter(record.kind for record in files.topic("writes.events"))
    journal = Counter(row["kind"] for row in files.rows["journal"])
    return {
        "events accepted": sum(push["state"] == "taken" for push in files.rows["pushed"]) + len(files.rows["replies"]),
        "events decided": len(files.decided),
        "messages requested": len(files.requested),
        "messages sent": len(files.sends),
        "answers": sum(bool(g.get("final")) for chain in files.chains.values() for g in chain.get("given", ())),
        "reminders": sum(number for say, number in says.items() if say.endswith("reminder")),
        "offers": sum(says[say] for say in ("chaos_blocked", "chaos_escalated", "chaos_unanswered", "to_take")),
        "STOPs": len(files.stops),
        "withdrawals": len(files.withdrawals),
        "sends in doubt": kinds["uncertain"],
        "repetitions declared": sum(o.data.get("resolution") == "resent" for o in files.topic("messages.events")),
        "messages dropped": kinds["dropped"],
        "messages failed": kinds["failed"],
        "writes that stand": writes["verified"] + writes["already_applied"],
        "writes in conflict": writes["conflict"],
        "manual tasks": len(files.rows["tasks"]),
        "pitches recorded": len(files.rows["acquisitions"]),
        "messages held for the morning": says["chaos_statement"],
        "bursts": journal["burst"],
        "disruptions": journal["disruption"],
        "processes ended by themselves": len(files.run["ended"]),
    }


def enough(files: RunFiles) -> CheckResult:
    """Enough of everything that the checks judge happened, and each kind of disruption and fault came at least once."""
    result = CheckResult("too little judged")
    seen = counts(files)
    for name, least in (_LEAST | files.run.get("least", {})).items():
        result.judged += 1
        if seen[name] < least:
            result.add_violation(f"the run proves nothing: {seen[name]} {name}, at least {least} are needed")
    disrupted = Counter(f"{row['how']} {row['target']}" for row in files.rows["journal"] if row["kind"] == "disruption")
    for kind in files.run["kinds"]:
        result.judged += 1
        if not disrupted[kind]:
            result.add_violation(f"the run proves nothing: no disruption was “{kind}”")
    injected = Counter(row["fault"] for row in files.rows["journal"] if row["kind"] == "fault")
    for fault in files.run["faults"]:
        result.judged += 1
        if not injected[fault]:
            result.add_violation(f"the run proves nothing: no answer had the fault “{fault}”")
    if seen["messages sent"] < _SHARE_SENT * seen["messages requested"]:
        result.add_violation(
            f"the run proves nothing: of {seen['messages requested']} messages {seen['messages sent']} left"
        )
    return result


CHECKS: tuple[Callable[[RunFiles], CheckResult], ...] = (
    ends.events, ends.repeated_decisions, ends.parked, ends.refused, ends.decided_effects, ends.messages,
    ends.withdrawals, ends.notices,
    sends.sent_twice, sends.same_text_twice, sends.not_requested,
    sends.withdrawn, sends.ended, sends.answered, sends.handed_over, sends.stopped, sends.order, sends.limits,
    timers.early, timers.timer_before_answer, timers.quiet_hours,
    writes.answers, writes.requested_twice, writes.ends, writes.missing_in_consonance, writes.applied_twice,
    ends.unfinished, enough,
)  # fmt: skip


@dataclass(frozen=True)
class RunVerdict:
    seed: int
    counts: dict[str, int]
    results: list[CheckResult]
    recoveries: list[recovery.Recovery]
    ended: list[str]

    @property
    def holds(self) -> bool:
        return not any(result.violations for result in self.results)


def judge_files(files: RunFiles) -> RunVerdict:
    results = [check(files) for check in CHECKS]
    ended = [f"{one['name']} with {one['code']}: {one['last_log_line'][:200]}" for one in files.run["ended"]]
    return RunVerdict(files.run["seed"], counts(files), results, recovery.recoveries(files), ended)


def judge(folder: Path) -> RunVerdict:
    return judge_files(RunFiles.load(folder))
