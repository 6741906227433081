"""A run that judged too little proves nothing, and fails with that sentence."""

from collections import Counter
from collections.abc import Mapping

from dev.chaos.checks.files import Files, Finding

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
"""Of an hour of three seeds as of two minutes: less than this is no load."""


_SHARE_SENT = 0.6  # of what was requested; the rest may be withdrawn, or too late after an outage


def counts(files: Files) -> dict[str, int]:
    says = Counter(record.data["say"] for record in files.requested.values())
    kinds = Counter(record.kind for record in files.topic("messages.events"))
    writes = Counter(record.kind for record in files.topic("writes.events"))
    journal = Counter(row["kind"] for row in files.rows["journal"])
    return {
        "events accepted": sum(push["state"] == "taken" for push in files.rows["pushed"]) + len(files.rows["said"]),
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
        "strikes": journal["strike"],
        "processes ended by themselves": len(files.run["ended"]),
    }


def enough(files: Files) -> Finding:
    """Every kind of thing the checks judge happened, and every kind of strike and fault came at least once."""
    finding = Finding("too little judged")
    seen = counts(files)
    for name, least in _LEAST.items():
        finding.judged += 1
        if seen[name] < least:
            finding.against(f"the run proves nothing: {seen[name]} {name}, at least {least} are needed")
    struck = Counter(f"{row['how']} {row['target']}" for row in files.rows["journal"] if row["kind"] == "strike")
    for kind in files.run["kinds"]:
        finding.judged += 1
        if not struck[kind]:
            finding.against(f"the run proves nothing: no strike was “{kind}”")
    spoiled = Counter(row["fault"] for row in files.rows["journal"] if row["kind"] == "fault")
    for fault in files.run["faults"]:
        finding.judged += 1
        if not spoiled[fault]:
            finding.against(f"the run proves nothing: no answer was spoiled by “{fault}”")
    if seen["messages sent"] < _SHARE_SENT * seen["messages requested"]:
        finding.against(
            f"the run proves nothing: of {seen['messages requested']} messages {seen['messages sent']} left"
        )
    return finding
