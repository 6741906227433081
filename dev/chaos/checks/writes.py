"""Checks writes: each first answer is written once, in conflict or a manual task; Consonance applies nothing twice."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from dev.chaos.checks.files import ButtonTap, CheckResult, DatabaseRow, RecordedEvent, RunFiles
from dev.chaos.checks.sends import closing_of

_ENDS = frozenset({"verified", "already_applied", "conflict", "manual", "done_by_hand"})
_STANDS = frozenset({"verified", "already_applied"})
_WRITING = frozenset({"approve", "decline", "seen", "send"})
"""Answers that ask for a write by themselves; ``confirm`` needs its quorum."""


def answers(files: RunFiles) -> CheckResult:
    """The first answer to an open question gets its write requested.

    A question that had ended takes no answer: the decision that ended it is earlier than the decision about the answer.
    For simultaneous events these decisions count, so nothing is in flight.
    """
    result = CheckResult("unwritten answer")
    written = {record.data["evidence"]["chain_id"] for record in files.topic("writes.requested")}
    for chain_id, tap in _first_answers(files):
        result.judged += 1
        decision = files.decision(tap.record.id)
        if decision is None:
            result.add_violation(f"“{tap.answer}” was never decided", chain_id, tap.record.id)
        elif chain_id not in written and not _ended_before(files, chain_id, tap, decision):
            result.add_violation(f"“{tap.answer}” has no write", chain_id, tap.record.id)
    for chain_id in _agreed(files):
        result.judged += 1
        if chain_id not in written:
            result.add_violation("all who were asked have confirmed, and there is no write", chain_id)
    return result


def _first_answers(files: RunFiles) -> Iterator[tuple[str, ButtonTap]]:
    seen: set[str] = set()
    for tap in sorted(files.taps, key=lambda tap: tap.record.seen_at):
        asked = files.requested.get(tap.message_id)
        chain_id = asked.data.get("chain_id") if asked is not None else None
        if chain_id and tap.answer in _WRITING and chain_id not in seen:
            seen.add(chain_id)
            yield chain_id, tap


def _ended_before(files: RunFiles, chain_id: str, tap: ButtonTap, decision: RecordedEvent) -> bool:
    chain = files.chains.get(chain_id)
    if chain is None:
        return False
    closing = closing_of(files, chain_id, chain)
    earlier = closing is not None and closing.time <= decision.time and closing.id != decision.id
    stopped = files.stops.get(tap.record.data["person_id"])
    if _asked_again(files, chain_id, tap, decision):
        return True
    return earlier or (stopped is not None and stopped.time <= decision.time)


def _asked_again(files: RunFiles, chain_id: str, tap: ButtonTap, decision: RecordedEvent) -> bool:
    """Whether a form had shown its summary again, which closes the tapped one."""
    shown = files.requested[tap.message_id]
    return tap.answer == "send" and any(
        shown.time <= other.time < decision.time and other.data["say"] == shown.data["say"] and other.id != shown.id
        for other in files.messages_of.get(chain_id, ())
    )


def _agreed(files: RunFiles) -> Iterator[str]:
    """Chains in which the first answer of each person asked is a confirmation, and that nothing else ended."""
    for chain_id, chain in files.chains.items():
        if chain["rule"] != "chaos-metadata" or chain.get("closing") not in {None, "answered"}:
            continue
        asked = {r.data["person_id"] for r in files.messages_of.get(chain_id, ()) if r.data["say"] == "chaos_confirm"}
        answers_of = {
            given["person_id"]: given["answer"] for given in reversed(chain.get("given", ())) if given.get("final")
        }
        if asked and asked == set(answers_of) and set(answers_of.values()) == {"confirm"}:
            yield chain_id


def requested_twice(files: RunFiles) -> CheckResult:
    """One chain requests at most one write of each operation."""
    result = CheckResult("write asked for twice")
    asked: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in files.topic("writes.requested"):
        result.judged += 1
        asked[record.data["evidence"]["chain_id"], record.data["input"]["operation"]].add(record.data["write_id"])
    for (chain_id, operation), ids in asked.items():
        if len(ids) > 1:
            result.add_violation(f"{operation} was asked for {len(ids)} times", chain_id, *sorted(ids))
    return result


def ends(files: RunFiles) -> CheckResult:
    """Every requested write is verified, already applied, in conflict or a manual task; unknown is no end."""
    result = CheckResult("write without an end")
    for record in files.topic("writes.requested"):
        result.judged += 1
        kinds = {outcome.kind for outcome in files.written.get(record.data["write_id"], ())}
        if not kinds & _ENDS:
            outcomes = ", ".join(sorted(kinds)) or "nothing"
            result.add_violation(f"{record.data['input']['operation']} ended as {outcomes}", record.data["write_id"])
    return result


def missing_in_consonance(files: RunFiles) -> CheckResult:
    """A write with a successful outcome is in Consonance's log."""
    result = CheckResult("write missing in Consonance")
    applied = {key for row in files.rows["written"] if row["outcome"] != "refused" for key in [_log_key(row)]}
    for record in files.topic("writes.requested"):
        kinds = {outcome.kind for outcome in files.written.get(record.data["write_id"], ())}
        if kinds & _STANDS:
            result.judged += 1
            missing = [key for key in _keys(record.data["input"]) if key not in applied]
            if missing:
                result.add_violation(f"is not in the log of Consonance: {missing[0]}", record.data["write_id"])
    return result


def applied_twice(files: RunFiles) -> CheckResult:
    """Consonance applied nothing twice; a repetition that found the value there is not counted."""
    result = CheckResult("written twice")
    applied = Counter(_log_key(row) for row in files.rows["written"] if row["outcome"] == "applied")
    for key, number in applied.items():
        result.judged += 1
        if number > 1 and key[0] in _IDENTITY:
            result.add_violation(f"{key[0]} was applied {number} times", *key[1:])
    return result


_IDENTITY: dict[str, Callable[[DatabaseRow], tuple[object, ...]]] = {
    "recordRightsDecision": lambda given: (given["request_id"], given["decision"]),
    "advanceRightsWorkflow": lambda given: (given["rights_record_id"], given["to_stage"]),
    "updateWork": lambda given: (given["id"], given.get("subtitle")),
    "createAcquisition": lambda given: (given["dedupe_key"],),
    "appendToAcquisition": lambda given: (given["reference"], given["source_message_id"]),
    "recordAcknowledgement": lambda given: (given["document_id"], given.get("kind")),
}
"""The fields that make two writes the same, by operation."""


def _log_key(row: DatabaseRow) -> tuple[object, ...]:
    identity = _IDENTITY.get(row["operation"])
    return (row["operation"], *(identity(row["input"]) if identity else ()))


def _keys(asked: DatabaseRow) -> list[tuple[object, ...]]:
    """The keys in the log of a requested write."""
    match asked["operation"]:
        case "rights.record_decision":
            return [("recordRightsDecision", asked["request_id"], asked["decision"])]
        case "rights.advance_workflow":
            return [("advanceRightsWorkflow", asked["rights_record_id"], asked["to_stage"])]
        case "metadata.apply":
            return [("updateWork", item["target_ids"][0], item["new_value"]) for item in asked["items"]]
        case "acquisition.create":
            return [("createAcquisition", asked["dedupe_key"])]
        case "acquisition.append":
            return [("appendToAcquisition", asked["reference"], asked["source_message_id"])]
        case _:
            return []
