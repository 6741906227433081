"""Checks timers: none fires before its time or before earlier events are decided; quiet hours are kept."""

from collections.abc import Iterator
from itertools import pairwise

from dev.chaos.checks.files import ButtonTap, CheckResult, DatabaseRow, RecordedEvent, RunFiles, epoch

_CLOCK_SECONDS = 0.05  # instants in records are rounded, and a batch is decided at one instant
_SHORTCUTS = frozenset({"not_me", "give_back", "take", "done"})


def early(files: RunFiles) -> CheckResult:
    """A step's first message is not requested before its wait has passed.

    A wait that the rules cut short is not meant: no recipient of the previous step could be reached, all declined, or
    one gave the matter back. Nothing is in flight: the instants are those of the decisions.
    """
    result = CheckResult("early timer")
    for chain_id, asked in files.messages_of.items():
        chain = files.chains.get(chain_id, {})
        for before, step, wait in _followers(files, chain, asked):
            result.judged += 1
            early_by = before + wait - step.time
            if early_by > _CLOCK_SECONDS and not _cut_short(files, chain_id):
                result.add_violation(f"{step.data['say']} was asked for {early_by:.2f} s too soon", chain_id, step.id)
    return result


def _followers(
    files: RunFiles, chain: DatabaseRow, asked: list[RecordedEvent]
) -> Iterator[tuple[float, RecordedEvent, float]]:
    """The time of a step, the first message of the next, and the wait between them in seconds."""
    steps = files.run["steps"].get(chain.get("rule"), [])
    for step, following in pairwise(steps):
        mine = [record for record in asked if record.data["say"] == step["say"]]
        then = [record for record in asked if record.data["say"] == following["say"]]
        if mine and then and following["after"] and step["say"] != following["say"]:
            yield max(record.time for record in mine), then[0], following["after"]


def _cut_short(files: RunFiles, chain_id: str) -> bool:
    verdicts = files.verdicts.get(chain_id, ())
    return any(verdict.get("left_out") or verdict.get("step") in _SHORTCUTS for _, verdict in verdicts)


def timer_before_answer(files: RunFiles) -> CheckResult:
    """A reminder is not requested where an answer had arrived before the reminder was due.

    The fault: the answer was on its topic before the due instant, and was decided only after the reminder. There is no
    tolerance: a timer waits until its partitions are read up to its due time. A reminder that was requested before the
    answer came is none of it: a colleague who gives a matter back has it asked again at once, by the next text.
    """
    result = CheckResult("timer before the answer")
    first: dict[tuple[str, str], ButtonTap] = {}
    for tap in sorted(files.taps, key=lambda tap: tap.record.seen_at):
        asked = files.requested.get(tap.message_id)
        if asked is not None and asked.data.get("chain_id"):
            first.setdefault((asked.data["chain_id"], tap.record.data["person_id"]), tap)
    for (chain_id, person), tap in first.items():
        rule = files.chains.get(chain_id, {}).get("rule")
        for reminder, due in _reminders(files, chain_id, person, rule):
            result.judged += 1
            judged = files.decision(tap.record.id)
            came = tap.record.seen_at
            if came < min(due, reminder.time) and judged is not None and judged.time > reminder.time:
                result.add_violation(
                    f"{reminder.data['say']} was due {due - came:.2f} s after the answer had arrived",
                    chain_id, reminder.id, tap.record.id,
                )  # fmt: skip
    return result


def _reminders(files: RunFiles, chain_id: str, person: str, rule: str | None) -> Iterator[tuple[RecordedEvent, float]]:
    steps = files.run["steps"].get(rule, [])
    asked = files.messages_of.get(chain_id, ())
    for step, following in pairwise(steps):
        base = [record.time for record in asked if record.data["say"] == step["say"]]
        for record in asked:
            is_it = following["verb"] == "remind" and record.data["say"] == following["say"]
            if is_it and base and record.data["person_id"] == person:
                yield record, max(base) + following["after"]


def quiet_hours(files: RunFiles) -> CheckResult:
    """No attempt begins outside the hours that its request names, which has none only where it is critical for staff.

    Of a request whose hours were amended either may count: the dispatcher may read an amendment late.
    Of sleepers, no unasked message is requested before their morning either.
    """
    result = CheckResult("sent in quiet hours")
    for sent in files.sends:
        asked = files.requested.get(sent.message_id)
        known = files.hours.get(sent.message_id, [])
        if known and all(known):
            result.judged += 1
            spans = [one for hours in known for one in hours]
            if not any(epoch(one["opens"]) - _CLOCK_SECONDS <= sent.begun_at < epoch(one["closes"]) for one in spans):
                result.add_violation("left outside the hours of its person", sent.message_id)
        if asked is None or sent.person not in files.run["sleepers"] or asked.data.get("rule") != "chaos-held":
            continue
        result.judged += 1
        if asked.time < files.run["opens"] - _CLOCK_SECONDS and asked.data["say"].startswith("chaos_statement"):
            result.add_violation(
                f"was asked for {files.run['opens'] - asked.time:.0f} s before the morning", sent.message_id
            )
    return result
