"""Checks sends: none twice, none after its reason is gone, each person's messages in their order."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from dev.chaos.checks.files import CheckResult, DatabaseRow, RecordedEvent, RecordedSend, RunFiles, epoch

IN_FLIGHT_SECONDS = 2.0
"""From the time at which every consumer could have a record to the time at which one on a busy machine has acted on it.

Only an attempt begun in these seconds is excused: it was committed before its request left, so no other process could
withdraw it without knowing whether it had left. A consumer that is killed or frozen is no excuse.
"""

_PAIR_EVERY, _PAIR_BURST = 6.0, 45
_ROUNDING = 1e-3
_SAME_MOMENT = 0.5  # seconds: a batch is recorded, and the next claimed, within it
_THROTTLED = ("130429", "131056")
_STALE = frozenset({"answered", "handled", "until", "gave_up", "replaced", "left_with_owner"})


def sent_twice(files: RunFiles) -> CheckResult:
    """WhatsApp takes a message id once, and once more for each repetition declared beforehand.

    A repetition is declared by ``resolved`` as ``resent``, or by a ``failed`` status of the earlier send, which proves
    that it did not arrive. An uncertain message with evidence of its delivery may not be sent again.
    """
    result = CheckResult("message sent twice")
    for message_id, sends in files.sends_of.items():
        result.judged += 1
        arrived = [sent for sent in sends if not sent.failed]
        declared = [o for o in files.outcomes.get(message_id, ()) if o.data.get("resolution") == "resent"]
        if len(arrived) > 1 + len(declared):
            result.add_violation(f"arrived {len(arrived)} times, {len(declared)} repetitions declared", message_id)
    return result


def same_text_twice(files: RunFiles) -> CheckResult:
    """One cause sends one text to one person once, whatever ids the messages have."""
    result = CheckResult("text sent twice")
    sent: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for message_id, record in files.requested.items():
        if message_id in files.sends_of:
            result.judged += 1
            data = record.data
            sent[record.event.get("causationid"), data["person_id"], data["say"], data["body"]].add(message_id)
    for (cause, person, say, _), ids in sent.items():
        if len(ids) > 1:
            result.add_violation(f"{say} went {len(ids)} times to {person} for one cause {cause}", *ids)
    return result


def not_requested(files: RunFiles) -> CheckResult:
    """WhatsApp took no message that rules did not request."""
    result = CheckResult("message without a request")
    for sent in files.sends:
        result.judged += 1
        if sent.message_id not in files.requested:
            result.add_violation("was sent and never requested", sent.message_id)
    for row in files.rows["sent"]:
        if not row["biz_opaque_callback_data"]:
            result.add_violation("was sent without callback data", row["wamid"])
    return result


# ------------------------------------------------------------------ after the reason is gone


def withdrawn(files: RunFiles) -> CheckResult:
    """No attempt begins after every consumer could read its withdrawal, except in flight (above)."""
    result = CheckResult("send after withdrawal")
    for message_id, record in files.withdrawals.items():
        result.judged += 1
        for sent in files.sends_of.get(message_id, ()):
            _late(result, sent, record, f"went out {{late:.1f}} s after it was withdrawn ({record.data['reason']})")
    return result


def ended(files: RunFiles) -> CheckResult:
    """No question, reminder or offer of a chain is sent after the decision that ended the chain could be read.

    In flight is as above. Messages about the end itself have no buttons; they and replies to a tap do not count.
    """
    result = CheckResult("send after the end")
    for chain_id, chain in files.chains.items():
        closing = closing_of(files, chain_id, chain)
        if closing is None:
            continue
        result.judged += 1
        replies = {m["message_id"] for m in chain.get("outgoing", ()) if m.get("reply")}
        for asked, sent in _questions(files, chain_id):
            if asked.time < closing.time and sent.message_id not in replies:
                what = f"{asked.data['say']} went out {{late:.1f}} s after its chain was {chain['closing']}"
                _late(result, sent, closing, what, chain_id)
    return result


def answered(files: RunFiles) -> CheckResult:
    """No question or reminder begins after this person's own answer was decided.

    In flight is as above. One that rules requests after that decision is late whatever the delay, unless the decision
    itself withdraws it.
    """
    result = CheckResult("late reminder")
    for chain_id, chain in files.chains.items():
        for person, decision in _answers(files, chain):
            result.judged += 1
            for asked, sent in _questions(files, chain_id, person):
                what = f"{asked.data['say']} went out {{late:.1f}} s after {person} had answered"
                if asked.data["say"] in _asking(files, str(chain["rule"])):
                    if asked.time > decision.time and asked.id not in _taken_back(decision):
                        result.add_violation("was asked for after the answer", asked.data["message_id"], chain_id)
                    _late(result, sent, decision, what, chain_id)
    return result


def _taken_back(decision: RecordedEvent) -> set[str]:
    """Messages that a decision withdraws: a batch may carry an instant from before it could be committed."""
    return {one for verdict in decision.data.get("verdicts", ()) for one in verdict.get("withdrawn", ())}


_STALE_BUTTON = {"take": "take", "give_back": "done"}
"""Once one of these answers is decided, unsent messages of the chain that offer this one have lost their reason."""


def handed_over(files: RunFiles) -> CheckResult:
    """No offer begins after the decision that a person had taken the matter, no reminder after it was given back.

    In flight is as above. A message that is requested later, or replies to a tap, is not meant.
    """
    result = CheckResult("offer after it was taken")
    for chain_id, chain in files.chains.items():
        replies = {m["message_id"] for m in chain.get("outgoing", ()) if m.get("reply")}
        for record, verdict in files.verdicts.get(chain_id, ()):
            button = _STALE_BUTTON.get(verdict.get("step", ""))
            if button is None or verdict["reason"] != "answered":
                continue
            result.judged += 1
            for asked, sent in _questions(files, chain_id):
                if _offers(asked, button) and asked.time < record.time and sent.message_id not in replies:
                    what = f"{asked.data['say']} went out {{late:.1f}} s after {verdict['step']}"
                    _late(result, sent, record, what, chain_id)
    return result


def _offers(asked: RecordedEvent, answer: str) -> bool:
    return any(button["button_id"].split(".")[2] == answer for button in asked.data["buttons"])


def stopped(files: RunFiles) -> CheckResult:
    """After the decision about STOP only its confirmation is requested; earlier requests may be in flight."""
    result = CheckResult("send after STOP")
    by_person: dict[str, list[RecordedSend]] = defaultdict(list)
    for sent in files.sends:
        if sent.message_id in files.requested:
            by_person[files.requested[sent.message_id].data["person_id"]].append(sent)
    for person, decision in files.stops.items():
        result.judged += 1
        for sent in by_person.get(person, ()):
            asked = files.requested[sent.message_id]
            if asked.data["say"] == "stopped":
                continue
            if asked.time > decision.time:
                result.add_violation(f"{asked.data['say']} was asked for after STOP", sent.message_id)
            _late(result, sent, decision, f"{asked.data['say']} went out {{late:.1f}} s after STOP")
    return result


def _late(result: CheckResult, sent: RecordedSend, known: RecordedEvent, sentence: str, *ids: str) -> None:
    late = sent.begun_at - known.seen_at
    if late > IN_FLIGHT_SECONDS:
        result.add_violation(sentence.format(late=late), f"{sent.message_id}.{sent.attempt}", *ids)


def _questions(
    files: RunFiles, chain_id: str, person: str | None = None
) -> Iterator[tuple[RecordedEvent, RecordedSend]]:
    for record in files.messages_of.get(chain_id, ()):
        if record.data.get("buttons") and person in (None, record.data["person_id"]):
            for sent in files.sends_of.get(record.data["message_id"], ()):
                yield record, sent


def _asking(files: RunFiles, rule: str) -> set[str]:
    """The templates of a rule's questions and reminders."""
    return {step["say"] for step in files.run["steps"].get(rule, ()) if step["verb"] in ("ask", "remind")}


def _answers(files: RunFiles, chain: DatabaseRow) -> Iterator[tuple[str, RecordedEvent]]:
    """Each person with a final answer, and the decision about it."""
    for given in chain.get("given", ()):
        decision = files.decision_on(given["wamid"])
        if given.get("final") and decision is not None:
            yield given["person_id"], decision


def closing_of(files: RunFiles, chain_id: str, chain: DatabaseRow) -> RecordedEvent | None:
    """The decision that ended a chain for a reason that makes its questions stale; None for a live or done chain."""
    if chain.get("closing") not in _STALE:
        return None
    finals = [given for given in chain.get("given", ()) if given.get("final")]
    if chain["closing"] == "answered" and finals:
        return _answered(files, chain_id, str(finals[-1]["wamid"]))
    if chain["closing"] == "left_with_owner":
        return _left(files, chain_id, chain)
    reason = "until" if chain["closing"] == "until" else None
    ends = [record for record, verdict in files.verdicts.get(chain_id, ()) if _ends(chain, verdict, reason)]
    return ends[-1] if ends else None


def _answered(files: RunFiles, chain_id: str, last_answer: str) -> RecordedEvent | None:
    """The decision on the last answer, or a later one: after a STOP the quorum may wait for no other person."""
    records = [record for record, verdict in files.verdicts.get(chain_id, ()) if verdict["reason"] == "answered"]
    decision = files.decision_on(last_answer)
    return max([*records, *([decision] if decision else [])], key=lambda record: record.time, default=None)


def _left(files: RunFiles, chain_id: str, chain: DatabaseRow) -> RecordedEvent | None:
    """The latest decision that told the owner team, or ran the last step of a chain that no person had."""
    told = {m.data["message_id"] for m in files.messages_of.get(chain_id, ()) if m.data["say"] == "left_with_owner"}
    last = str(len(chain["steps"]) - 1)
    found = (
        record
        for record, verdict in files.verdicts.get(chain_id, ())
        if told & {*verdict.get("messages", ())} or (verdict["reason"] == "step_due" and verdict.get("step") == last)
    )
    return max(found, key=lambda record: record.time, default=None)


def _ends(chain: DatabaseRow, verdict: DatabaseRow, reason: str | None) -> bool:
    """Whether a verdict is of the kind that ends a chain."""
    if reason is not None:
        return bool(verdict["reason"] == reason)
    if chain["closing"] == "handled":
        return verdict.get("step") == "done"
    if chain["closing"] == "gave_up":
        return verdict.get("step") == str(len(chain["steps"]) - 1)
    return verdict["reason"] in {"step_due", "answered"}


# ------------------------------------------------------------------ order and limits


def order(files: RunFiles) -> CheckResult:
    """Messages of one line to one person arrive in the order of their requests, whatever held one back.

    An uncertain message may be overtaken by one begun later: it may have arrived, and uncertain sends hold nothing
    back. A message in flight may not: the other has to wait.
    """
    result = CheckResult("overtaken message")
    for chat in _chats(files).values():
        for place, sent in enumerate(chat):
            result.judged += 1
            for earlier in chat[:place]:
                if earlier.at > sent.at and not _in_doubt(files, earlier.message_id, sent.begun_at):
                    result.add_violation(
                        f"arrived {earlier.at - sent.at:.1f} s after one to {sent.person} that was asked for later",
                        earlier.message_id, sent.message_id,
                    )  # fmt: skip
    return result


def _chats(files: RunFiles) -> Mapping[tuple[str, str], list[RecordedSend]]:
    """The first arrival of each message, by person and line, in the order they were asked for."""
    chats: dict[tuple[str, str], list[RecordedSend]] = defaultdict(list)
    for record in sorted(files.requested.values(), key=lambda record: (record.partition, record.offset)):
        sends = files.sends_of.get(record.data["message_id"])
        if sends:
            chats[record.data["person_id"], record.data["line"]].append(min(sends, key=lambda sent: sent.at))
    return chats


def _in_doubt(files: RunFiles, message_id: str, by: float) -> bool:
    doubts = (outcome for outcome in files.outcomes.get(message_id, ()) if outcome.kind == "uncertain")
    return any(doubt.time <= by + _SAME_MOMENT for doubt in doubts)


def limits(files: RunFiles) -> CheckResult:
    """The simulator refused nothing for its rate, and the accepted messages fit the rates of number and pair.

    A number's rate counts both directions. Nothing is in flight: a message counts when it arrives.
    """
    result = CheckResult("limit exceeded")
    for counts in files.rows["counts"]:
        for code in _THROTTLED:
            if refused := counts["errors"]["answer"].get(code, 0):
                result.add_violation(f"WhatsApp refused {refused} sends with {code}")
    moves: list[tuple[float, str, RecordedSend | None]] = [(one.at, one.line, one) for one in files.sends]
    moves += [(epoch(row["at"]), row["line"], None) for row in files.rows["replies"]]
    per_second = files.run["per_second"]
    numbers, pairs = _Buckets(1 / per_second, per_second), _Buckets(_PAIR_EVERY, _PAIR_BURST)
    for at, line, send in sorted(moves, key=lambda one: one[0]):
        fits = numbers.take(line, at)
        if send is None:
            continue
        result.judged += 1
        if not fits:
            result.add_violation(f"line {files.run['lines'].get(line, line)} sent too fast", send.message_id)
        if not pairs.take((line, send.person), at):
            result.add_violation("exceeded the rate of messages to this person", send.message_id)
    return result


class _Buckets:
    """``burst`` may go at once, one more every ``every`` seconds."""

    def __init__(self, every: float, burst: int) -> None:
        self._every, self._most = every, every * burst
        self._full_at: dict[object, float] = {}

    def take(self, who: object, at: float) -> bool:
        debt = max(0.0, self._full_at.get(who, at) - at)
        self._full_at[who] = at + min(debt + self._every, self._most)
        return debt + self._every <= self._most + _ROUNDING
