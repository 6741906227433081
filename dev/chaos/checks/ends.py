"""Checks that nothing is lost: each accepted event has one decision or parked row, each message and write an end."""

from collections.abc import Iterator

from dev.chaos.checks.files import CheckResult, DatabaseRow, RecordedEvent, RunFiles

_READ_BY_RULES = ("consonance.events", "contacts", "whatsapp.messages", "messages.events", "writes.events")
_ENDS = frozenset({"accepted", "failed", "dropped", "withdrawn", "resolved"})
_CLOSED = frozenset({"failed", "dropped", "withdrawn"})

NEVER_FINISHED = "never finished"
"""The check that all work was done when the run was given up."""


def events(files: RunFiles) -> CheckResult:
    """An event that a service answered with 2xx is on its topic or parked, and rules decided it once or parked it.

    Nothing is in flight here: the run is drained before it is judged. The same decision twice on the topic (from a
    killed relay) is one; two that differ are two.
    """
    result = CheckResult("lost event")
    parked = _parked(files)
    present = {record.id for topic in _READ_BY_RULES for record in files.topic(topic)}
    for event_id in _accepted(files):
        if event_id not in present and event_id not in parked:
            result.add_violation("was accepted and is neither on its topic nor parked", event_id)
    for record in (record for topic in _READ_BY_RULES for record in files.topic(topic)):
        result.judged += 1
        decisions = files.decided.get(record.id, [])
        if not decisions and record.id not in parked:
            result.add_violation(f"of {record.topic} has no decision and is not parked", record.id)
        if len(decisions) > 1:
            result.add_violation(f"of {record.topic} was decided {len(decisions)} times", record.id)
    return result


def repeated_decisions(files: RunFiles) -> CheckResult:
    """One decision id, one content: a decision made again after a kill would differ at least in its instant."""
    result = CheckResult("decided twice")
    first: dict[str, DatabaseRow] = {}
    for row in files.rows["topics"]:
        if row["topic"] == "decisions" and "id" in row["event"]:
            result.judged += 1
            data = row["event"]["data"]
            if first.setdefault(row["event"]["id"], data) != data:
                result.add_violation("was decided twice, differently", row["event"].get("causationid"))
    return result


def _accepted(files: RunFiles) -> Iterator[str]:
    for push in files.rows["pushed"]:
        if push["state"] == "taken":
            body = push["body"]
            yield from (event["id"] for event in (body if isinstance(body, list) else [body]))
    yield from (files.replies.get(reply["wamid"], reply["wamid"]) for reply in files.rows["replies"])


def _parked(files: RunFiles) -> set[str]:
    """Ids of events that are parked, as the rows and the topics have them."""
    return {word for row in files.rows["parked"] for word in str(row["event"] or "").split()}


def parked(files: RunFiles) -> CheckResult:
    """All records of the load are valid, so none has a reason to be parked; a neighbour that is away is waited for."""
    result = CheckResult("parked without a reason")
    for row in files.rows["parked"]:
        result.judged += 1
        result.add_violation(
            f"{row['service']} parked a valid record: {row['reason']}: {row['sentence']}", row["event"]
        )
    return result


def refused(files: RunFiles) -> CheckResult:
    """Every push is well formed and signed, so none may be refused for good."""
    result = CheckResult("refused without a reason")
    for push in files.rows["pushed"]:
        result.judged += 1
        if push["state"] != "taken":
            result.add_violation(f"a push is {push['state']}, answered {push['statuses'][-3:]}", push["id"])
    return result


def decided_effects(files: RunFiles) -> CheckResult:
    """The messages and writes that a decision names are on their topics: they leave together or not at all."""
    result = CheckResult("lost effect")
    writes = {record.data["write_id"] for record in files.topic("writes.requested")}
    known = {"messages": files.requested, "withdrawn": files.withdrawals, "writes": writes}
    for record in files.topic("decisions"):
        for verdict in record.data.get("verdicts", ()):
            for name, there in known.items():
                for one in verdict.get(name, ()):
                    result.judged += 1
                    if one not in there:
                        result.add_violation(
                            f"a decision names one of its {name} that was never published", one, record.id
                        )
    return result


def messages(files: RunFiles) -> CheckResult:
    """Every requested message was accepted, failed, dropped, withdrawn or is uncertain.

    Uncertain is an end only without more evidence: an accepted message has statuses, so it has to be resolved.
    """
    result = CheckResult("message without an end")
    for message_id, record in files.requested.items():
        result.judged += 1
        kinds = {outcome.kind for outcome in files.outcomes.get(message_id, ())}
        if not kinds & _ENDS and "uncertain" not in kinds:
            result.add_violation(f"was requested ({record.data['say']}) and has no end", message_id)
        elif not kinds & _ENDS and files.sends_of.get(message_id):
            result.add_violation("is uncertain although WhatsApp accepted it and sent statuses", message_id)
    return result


def withdrawals(files: RunFiles) -> CheckResult:
    """Every withdrawal has a result: the message was withdrawn, had ended before, or it was too late."""
    result = CheckResult("withdrawal without an end")
    for message_id, record in files.withdrawals.items():
        result.judged += 1
        kinds = {outcome.kind for outcome in files.outcomes.get(message_id, ())}
        if not kinds & (_CLOSED | {"too_late"}):
            result.add_violation(f"was to be withdrawn ({record.data['reason']}), and has no result", message_id)
    return result


def notices(files: RunFiles) -> CheckResult:
    """A notice reached each author of its work, by the messages that WhatsApp delivered.

    One that did not was dropped, failed, withdrawn or uncertain, or its author had sent STOP.
    """
    result = CheckResult("lost notice")
    delivered = {(sent.person, word) for sent in files.sends for word in _words(sent.row["text"])}
    phones_stopped = {files.phones.get(person): record for person, record in files.stops.items()}
    for event in _stage_changes(files):
        for phone in files.run["authors"][str(event["data"]["work"]["work_id"])]:
            result.judged += 1
            if (phone, event["data"]["to_stage"]) in delivered or _excused(files, event, phone, phones_stopped):
                continue
            result.add_violation("never reached an author, without a reason", event["id"], phone)
    return result


def _words(text: str) -> Iterator[str]:
    return (word.strip(".,") for word in text.split())


def _stage_changes(files: RunFiles) -> Iterator[DatabaseRow]:
    for push in files.rows["pushed"]:
        body = push["body"]
        for event in body if isinstance(body, list) else [body]:
            if push["state"] == "taken" and event["type"].endswith("stage_changed.v1"):
                yield event


def _excused(files: RunFiles, event: DatabaseRow, phone: str, stopped: dict[str | None, RecordedEvent]) -> bool:
    decision = files.decision(event["id"])
    if phone in stopped and (decision is None or _knew_of(stopped[phone], decision, "opted_out")):
        return True
    for record in files.topic("messages.requested"):
        about_it = record.event.get("causationid") == event["id"] and "body" in record.data
        if about_it and files.phones.get(record.data["person_id"], phone) == phone:
            kinds = {outcome.kind for outcome in files.outcomes.get(record.data["message_id"], ())}
            if kinds & (_CLOSED | {"uncertain"}):
                return True
    return False


def _knew_of(stop: RecordedEvent, decision: RecordedEvent, reason: str) -> bool:
    """Whether STOP came before a decision. The instant of a decision is of before it could be committed."""
    left_out = {why for verdict in decision.data.get("verdicts", ()) for why in verdict.get("left_out", {}).values()}
    return stop.time <= decision.time + 1e-3 or (reason in left_out and stop.seen_at <= decision.seen_at)


def unfinished(files: RunFiles) -> CheckResult:
    """Work that was not finished when the run was given up; its consequences show in the other checks too."""
    result = CheckResult(NEVER_FINISHED, judged=1)
    for name, number in files.run["left"].items():
        result.add_violation(f"{number} {name} when the run was given up")
    return result
