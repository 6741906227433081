"""The files of a small run without a fault, as rows that a test can falsify."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dev.chaos.checks.files import RunFiles

_BEGAN = datetime(2027, 3, 3, 10, tzinfo=UTC).timestamp()
MAIN = "100000000000001"
ANNA, BEN = "p-anna", "p-ben"
_DIGITS = {ANNA: "33199005001", BEN: "33199005002"}


def iso(second: float) -> str:
    """So many seconds into the run."""
    return datetime.fromtimestamp(_BEGAN + second, UTC).isoformat()


def instant(second: float) -> float:
    return _BEGAN + second


@dataclass
class SmallRun:
    """Each method adds the rows of one event; ``files`` returns what the checks judge."""

    rows: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    _offsets: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def files(self) -> RunFiles:
        run = {
            "seed": 1, "per_second": 30, "lines": {MAIN: "main"}, "kinds": ["kill rules"], "faults": ["whatsapp hang"],
            "opens": instant(60), "sleepers": [], "left": {}, "ended": [],
            "authors": {"7": [_DIGITS[ANNA]], "8": [_DIGITS[BEN]]},
            "steps": {
                "chaos-notice": [{"verb": "tell", "say": "chaos_notice", "after": 0.0}],
                "chaos-rights": [
                    {"verb": "ask", "say": "chaos_question", "after": 0.0},
                    {"verb": "remind", "say": "chaos_reminder", "after": 6.0},
                ],
            },
        }  # fmt: skip
        names = (
            "topics", "journal", "attempts", "messages", "chains", "waiting", "writes", "tasks", "parked", "sent",
            "replies", "counts", "pushed", "written", "acquisitions",
        )  # fmt: skip
        return RunFiles(run, {name: self.rows[name] for name in names})

    # ------------------------------------------------------------------ topics

    def record(self, topic: str, kind: str, id_: str, at: float, data: dict[str, Any], cause: str = "") -> None:
        event = {"id": id_, "source": "s", "type": f"{kind}.v1", "recordedtime": iso(at), "time": iso(at), "data": data}
        event |= {"causationid": cause} if cause else {}
        self._offsets[topic] += 1
        where = {"topic": topic, "partition": 0, "offset": self._offsets[topic]}
        self.rows["topics"].append({**where, "seen_at": instant(at + 0.1), "event": event})

    def decide(self, about: str, at: float, *verdicts: dict[str, Any]) -> None:
        self.record(
            "decisions",
            "rules.decision.recorded",
            f"d-{about}",
            at,
            {"about": about, "decided_at": iso(at), "verdicts": list(verdicts)},
        )

    def silent(self, *events: str, at: float) -> None:
        self.record("decisions", "rules.silence.recorded", f"q-{events[0]}", at, {"events": list(events)})

    def push(self, id_: str, kind: str, at: float, **data: Any) -> None:
        body = {"id": id_, "type": f"consonance.{kind}.v1", "time": iso(at), "data": data}
        self.rows["pushed"].append({"id": id_, "state": "taken", "statuses": [202], "body": body})
        self.record("consonance.events", f"consonance.{kind}", id_, at, data)

    # ------------------------------------------------------------------ messages

    def ask(self, id_: str, at: float, cause: str, **data: Any) -> None:
        """Rules requests a message."""
        asked = {"message_id": id_, "person_id": ANNA, "line": "main", "body": f"words of {id_}", "say": "x", **data}
        self.record("messages.requested", "messages.message.requested", id_, at, asked, cause)

    def send(self, id_: str, at: float, person: str = ANNA, attempt: int = 1, text: str = "") -> None:
        """WhatsApp accepts a message, and rules reads the event."""
        self.rows["attempts"].append(
            {"message_id": id_, "attempt": attempt, "begun_at": iso(at - 0.05), "ending": "accepted"}
        )  # fmt: skip
        self.rows["sent"].append(
            {
                "wamid": f"w-{id_}-{attempt}", "person": _DIGITS[person], "line": MAIN, "at": iso(at),
                "text": text or id_, "statuses": ["sent", "delivered"],
                "biz_opaque_callback_data": f"{id_}.{attempt}",
            }
        )  # fmt: skip
        self.message_event(id_, "accepted", at)

    def message_event(self, id_: str, kind: str, at: float, **more: Any) -> None:
        """An event about a message, with its decision."""
        event = f"{kind}-{id_}-{at}"
        self.record("messages.events", f"messages.message.{kind}", event, at, {"message_id": id_, **more})
        self.silent(event, at=at + 0.1)

    def withdraw(self, id_: str, at: float, reason: str = "until") -> None:
        self.record(
            "messages.requested", "messages.withdrawal.requested", f"t-{id_}", at,
            {"message_id": id_, "person_id": ANNA, "reason": reason},
        )  # fmt: skip

    def send_reply(self, id_: str, at: float, person: str = ANNA, **more: Any) -> None:
        """A person writes or taps; the event's id is not WhatsApp's."""
        self.rows["replies"].append({"wamid": id_, "person": _DIGITS[person], "line": MAIN, "at": iso(at)})
        data = {"message_id": id_, "person_id": person, "at": iso(at), **more}
        self.record("whatsapp.messages", "whatsapp.message.received", f"k-{id_}", at, data)

    def tap(self, id_: str, at: float, message: str, answer: str, person: str = ANNA) -> None:
        self.send_reply(id_, at, person, button_id=f"s1.{message}.{answer}.mac")

    # ------------------------------------------------------------------ chains and writes

    def chain(self, id_: str, rule: str, **document: Any) -> None:
        known = {"rule": rule, "steps": [{}, {}], "outgoing": [], "given": [], **document}
        self.rows["chains"].append(
            {"chain_id": id_, "rule": rule, "subject": id_, "live": False, "document": known}
        )  # fmt: skip

    def write(self, id_: str, at: float, chain: str, **given: Any) -> None:
        """Rules asks for a write, Consonance applies it, writeback reports it."""
        data = {"write_id": id_, "input": given, "evidence": {"chain_id": chain}}
        self.record("writes.requested", "writes.write.requested", id_, at, data)
        self.rows["written"].append(
            {
                "operation": "recordRightsDecision", "outcome": "applied", "at": iso(at + 1), "count": 1,
                "input": {"request_id": given["request_id"], "decision": given["decision"]},
            }
        )  # fmt: skip
        event = {"write_id": id_, "operation": given["operation"]}
        self.record("writes.events", "writes.write.verified", f"v-{id_}", at + 1, event)
        self.silent(f"v-{id_}", at=at + 1.1)


def clean() -> SmallRun:
    """A notice; a question asked, reminded of and answered, its answer written; a withdrawal; a STOP."""
    run = SmallRun()
    run.rows["counts"].append({"errors": {"answer": {}, "webhook": {}}})
    _notice(run)
    _question(run)
    _withdrawal(run)
    _stop(run)
    run.rows["topics"].sort(key=lambda row: row["seen_at"])
    return run


def _notice(run: SmallRun) -> None:
    run.push("e-notice", "work.stage_changed", 1, work={"work_id": 7}, to_stage="N-1")
    notice = {"say": "chaos_notice", "rule": "chaos-notice", "chain_id": "c-notice"}
    run.ask("m-notice", 1.2, "e-notice", **notice, open_hours=[{"opens": iso(1.2), "closes": iso(20)}])
    run.decide("e-notice", 1.2, {"chain_id": "c-notice", "reason": "started", "messages": ["m-notice"]})
    run.send("m-notice", 1.5, text="Dear Anna, “Work” has reached the stage N-1 today.")
    run.chain("c-notice", "chaos-notice", steps=[{}], closing="done")


def _question(run: SmallRun) -> None:
    rights = {"rule": "chaos-rights", "chain_id": "c-rights", "buttons": [{"button_id": "b"}]}
    run.push("e-rights", "rights.approval_requested", 2)
    run.ask("m-question", 2.2, "e-rights", say="chaos_question", **rights)
    run.decide("e-rights", 2.2, {"chain_id": "c-rights", "reason": "started", "messages": ["m-question"]})
    run.send("m-question", 2.5)
    run.ask("m-reminder", 8.3, "c-rights@8.2", say="chaos_reminder", **rights)
    run.decide("c-rights@8.2", 8.3, {"chain_id": "c-rights", "reason": "step_due", "step": "1"})
    run.send("m-reminder", 8.5)
    run.tap("w-answer", 9, "m-question", "approve")
    run.decide(
        "k-w-answer", 9.2, {"chain_id": "c-rights", "reason": "answered", "step": "0", "writes": ["x-approve"]}
    )  # fmt: skip
    run.write("x-approve", 9.2, "c-rights", operation="rights.record_decision", request_id="R-1", decision="approved")
    given = {"person_id": ANNA, "answer": "approve", "final": True, "wamid": "w-answer"}
    run.chain("c-rights", "chaos-rights", given=[given], closing="answered", ended="answered")


def _withdrawal(run: SmallRun) -> None:
    run.push("e-block", "work.blocked", 20)
    run.ask("m-offer", 20.2, "e-block", say="chaos_blocked", rule="chaos-blocked", chain_id="c-block", buttons=[{}])
    run.decide("e-block", 20.2, {"chain_id": "c-block", "reason": "started", "messages": ["m-offer"]})
    run.push("e-unblock", "work.unblocked", 21)
    run.withdraw("m-offer", 21.2)
    run.decide("e-unblock", 21.2, {"chain_id": "c-block", "reason": "until", "withdrawn": ["m-offer"]})
    run.message_event("m-offer", "withdrawn", 21.5)
    run.chain("c-block", "chaos-blocked", closing="until", ended="until")


def _stop(run: SmallRun) -> None:
    run.send_reply("w-stop", 30, BEN, text="STOP")
    run.ask("m-stopped", 30.2, "k-w-stop", say="stopped", person_id=BEN)
    run.decide("k-w-stop", 30.2, {"reason": "opted_out", "messages": []})
    run.send("m-stopped", 30.5, BEN)
