"""The files of a small run in which everything is as it should be, as rows one can doctor."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dev.chaos.checks.files import Files

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
class Ledgers:
    """Each method adds what one happening leaves behind; ``files`` is what the checks judge."""

    rows: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    _offsets: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def files(self) -> Files:
        run = {
            "seed": 1, "per_second": 30, "lines": {MAIN: "main"}, "kinds": ["kill rules"], "faults": ["whatsapp hang"],
            "opens": instant(60), "sleepers": [], "authors": {"7": [_DIGITS[ANNA]]}, "left": {}, "ended": [],
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
            "said", "counts", "pushed", "written", "acquisitions",
        )  # fmt: skip
        return Files(run, {name: self.rows[name] for name in names})

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
        """Rules asks for a message."""
        asked = {"message_id": id_, "person_id": ANNA, "line": "main", "body": f"words of {id_}", "say": "x", **data}
        self.record("messages.requested", "messages.message.requested", id_, at, asked, cause)

    def send(self, id_: str, at: float, person: str = ANNA, attempt: int = 1, text: str = "") -> None:
        """WhatsApp takes it, and rules hears of that."""
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
        self.hear(id_, "accepted", at)

    def hear(self, id_: str, kind: str, at: float, **more: Any) -> None:
        """What became of a message, said and taken note of."""
        event = f"{kind}-{id_}-{at}"
        self.record("messages.events", f"messages.message.{kind}", event, at, {"message_id": id_, **more})
        self.silent(event, at=at + 0.1)

    def withdraw(self, id_: str, at: float, reason: str = "until") -> None:
        self.record(
            "messages.requested", "messages.withdrawal.requested", f"t-{id_}", at,
            {"message_id": id_, "person_id": ANNA, "reason": reason},
        )  # fmt: skip

    def say(self, id_: str, at: float, person: str = ANNA, **more: Any) -> None:
        """A person writes, or taps; the event's id is not WhatsApp's."""
        self.rows["said"].append({"wamid": id_, "person": _DIGITS[person], "line": MAIN, "at": iso(at)})
        data = {"message_id": id_, "person_id": person, "at": iso(at), **more}
        self.record("whatsapp.messages", "whatsapp.message.received", f"k-{id_}", at, data)

    def tap(self, id_: str, at: float, message: str, answer: str, person: str = ANNA) -> None:
        self.say(id_, at, person, button_id=f"s1.{message}.{answer}.mac")

    # ------------------------------------------------------------------ chains and writes

    def chain(self, id_: str, rule: str, **document: Any) -> None:
        known = {"rule": rule, "steps": [{}, {}], "outgoing": [], "given": [], **document}
        self.rows["chains"].append(
            {"chain_id": id_, "rule": rule, "subject": id_, "live": False, "document": known}
        )  # fmt: skip

    def write(self, id_: str, at: float, chain: str, **given: Any) -> None:
        """Rules asks for a write, Consonance takes it, writeback says so."""
        data = {"write_id": id_, "input": given, "evidence": {"chain_id": chain}}
        self.record("writes.requested", "writes.write.requested", id_, at, data)
        self.rows["written"].append(
            {
                "operation": "recordRightsDecision", "fate": "applied", "at": iso(at + 1), "count": 1,
                "input": {"request_id": given["request_id"], "decision": given["decision"]},
            }
        )  # fmt: skip
        event = {"write_id": id_, "operation": given["operation"]}
        self.record("writes.events", "writes.write.verified", f"v-{id_}", at + 1, event)
        self.silent(f"v-{id_}", at=at + 1.1)


def clean() -> Ledgers:
    """A notice; a question asked, reminded of and answered, its answer written; a withdrawal; a STOP."""
    told = Ledgers()
    told.rows["counts"].append({"errors": {"answer": {}, "webhook": {}}})
    _notice(told)
    _question(told)
    _withdrawal(told)
    _stop(told)
    told.rows["topics"].sort(key=lambda row: row["seen_at"])
    return told


def _notice(told: Ledgers) -> None:
    told.push("e-notice", "work.stage_changed", 1, work={"work_id": 7}, to_stage="N-1")
    told.ask("m-notice", 1.2, "e-notice", say="chaos_notice", rule="chaos-notice", chain_id="c-notice")
    told.decide("e-notice", 1.2, {"chain_id": "c-notice", "reason": "started", "messages": ["m-notice"]})
    told.send("m-notice", 1.5, text="Dear Anna, “Work” has reached the stage N-1 today.")
    told.chain("c-notice", "chaos-notice", steps=[{}], closing="done")


def _question(told: Ledgers) -> None:
    rights = {"rule": "chaos-rights", "chain_id": "c-rights", "buttons": [{"button_id": "b"}]}
    told.push("e-rights", "rights.approval_requested", 2)
    told.ask("m-question", 2.2, "e-rights", say="chaos_question", **rights)
    told.decide("e-rights", 2.2, {"chain_id": "c-rights", "reason": "started", "messages": ["m-question"]})
    told.send("m-question", 2.5)
    told.ask("m-reminder", 8.3, "c-rights@8.2", say="chaos_reminder", **rights)
    told.decide("c-rights@8.2", 8.3, {"chain_id": "c-rights", "reason": "step_due", "step": "1"})
    told.send("m-reminder", 8.5)
    told.tap("w-answer", 9, "m-question", "approve")
    told.decide(
        "k-w-answer", 9.2, {"chain_id": "c-rights", "reason": "answered", "step": "0", "writes": ["x-approve"]}
    )  # fmt: skip
    told.write("x-approve", 9.2, "c-rights", operation="rights.record_decision", request_id="R-1", decision="approved")
    given = {"person_id": ANNA, "answer": "approve", "final": True, "wamid": "w-answer"}
    told.chain("c-rights", "chaos-rights", given=[given], closing="answered", ended="answered")


def _withdrawal(told: Ledgers) -> None:
    told.push("e-block", "work.blocked", 20)
    told.ask("m-offer", 20.2, "e-block", say="chaos_blocked", rule="chaos-blocked", chain_id="c-block", buttons=[{}])
    told.decide("e-block", 20.2, {"chain_id": "c-block", "reason": "started", "messages": ["m-offer"]})
    told.push("e-unblock", "work.unblocked", 21)
    told.withdraw("m-offer", 21.2)
    told.decide("e-unblock", 21.2, {"chain_id": "c-block", "reason": "until", "withdrawn": ["m-offer"]})
    told.hear("m-offer", "withdrawn", 21.5)
    told.chain("c-block", "chaos-blocked", closing="until", ended="until")


def _stop(told: Ledgers) -> None:
    told.say("w-stop", 30, BEN, text="STOP")
    told.ask("m-stopped", 30.2, "k-w-stop", say="stopped", person_id=BEN)
    told.decide("k-w-stop", 30.2, {"reason": "opted_out", "messages": []})
    told.send("m-stopped", 30.5, BEN)
