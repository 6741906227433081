"""The files of a run in the order that checks need: records by topic, each event once, with indexes.

A topic may have the same event twice, since a killed relay repeats what was not acknowledged: the first counts.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

DatabaseRow = Mapping[str, Any]
_LISTS = (
    *("topics", "journal", "attempts", "messages", "chains", "waiting", "writes", "tasks", "parked"),
    *("sent", "replies", "counts", "pushed", "written", "acquisitions"),
)


def epoch(instant: str) -> float:
    """Seconds since 1970 of an ISO instant."""
    return datetime.fromisoformat(instant).timestamp()


@dataclass(frozen=True)
class Violation:
    """``ids`` name the events, messages, chains or writes it is about."""

    check: str
    sentence: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.check}: {self.sentence} [{' '.join(self.ids)}]"


@dataclass
class CheckResult:
    """The result of one check: the number of things it judged, and its violations."""

    check: str
    judged: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add_violation(self, sentence: str, *ids: object) -> None:
        self.violations.append(Violation(self.check, sentence, tuple(map(str, ids))))


@dataclass(frozen=True)
class RecordedEvent:
    """One event of a topic; ``seen_at`` is when the recorder, which is never killed, read it."""

    topic: str
    partition: int
    offset: int
    seen_at: float
    event: DatabaseRow

    @property
    def id(self) -> str:
        return str(self.event["id"])

    @property
    def data(self) -> DatabaseRow:
        found: DatabaseRow = self.event["data"]
        return found

    @property
    def time(self) -> float:
        return epoch(self.event["recordedtime"])

    @property
    def kind(self) -> str:
        """``messages.message.accepted.v1`` → ``accepted``."""
        return str(self.event["type"]).removesuffix(".v1").rpartition(".")[2]


@dataclass(frozen=True)
class RecordedSend:
    """One message that WhatsApp accepted; ``begun_at`` is when its attempt was committed, before the request left."""

    message_id: str
    attempt: int
    person: str
    line: str
    at: float
    begun_at: float
    failed: bool
    row: DatabaseRow


@dataclass(frozen=True)
class ButtonTap:
    """One of our buttons, tapped."""

    record: RecordedEvent
    message_id: str
    answer: str


@dataclass(frozen=True)
class RunFiles:
    """All that is judged. ``run`` describes the run; ``rows`` are those of its files."""

    run: DatabaseRow
    rows: Mapping[str, list[Any]]

    @classmethod
    def load(cls, folder: Path) -> "RunFiles":
        """Raises OSError or ValueError where a file is missing or broken."""
        rows = {name: _lines(folder / f"{name}.jsonl") for name in _LISTS}
        return cls(json.loads((folder / "run.json").read_text()), rows)

    # ------------------------------------------------------------------ topics

    @cached_property
    def by_topic(self) -> Mapping[str, list[RecordedEvent]]:
        """In the order of partition and offset, each event once."""
        found: dict[str, dict[tuple[str, str], RecordedEvent]] = defaultdict(dict)
        for row in sorted(self.rows["topics"], key=lambda row: (row["topic"], row["partition"], row["offset"])):
            if "id" in row["event"]:
                record = RecordedEvent(row["topic"], row["partition"], row["offset"], row["seen_at"], row["event"])
                found[record.topic].setdefault((record.event["source"], record.id), record)
        return {topic: list(records.values()) for topic, records in found.items()}

    def topic(self, name: str) -> list[RecordedEvent]:
        return self.by_topic.get(name, [])

    @cached_property
    def requested(self) -> Mapping[str, RecordedEvent]:
        """Requested messages by message id."""
        asked = (record for record in self.topic("messages.requested") if "body" in record.data)
        return {record.data["message_id"]: record for record in asked}

    @cached_property
    def withdrawals(self) -> Mapping[str, RecordedEvent]:
        withdrawn = (record for record in self.topic("messages.requested") if "reason" in record.data)
        return {record.data["message_id"]: record for record in withdrawn}

    @cached_property
    def hours(self) -> Mapping[str, list[list[Any]]]:
        """By message id, the hours that its request and each amendment name; without any it may leave at any."""
        found = {one: [asked.data.get("open_hours") or []] for one, asked in self.requested.items()}
        for record in self.topic("messages.requested"):
            amended = record.data.get("open_hours")
            if "body" not in record.data and amended is not None:
                found.setdefault(record.data["message_id"], []).append(amended)
        return found

    @cached_property
    def outcomes(self) -> Mapping[str, list[RecordedEvent]]:
        """``messages.events`` by message id."""
        return _grouped(self.topic("messages.events"), "message_id")

    @cached_property
    def written(self) -> Mapping[str, list[RecordedEvent]]:
        """``writes.events`` by write id."""
        return _grouped(self.topic("writes.events"), "write_id")

    @cached_property
    def inbound(self) -> Mapping[str, RecordedEvent]:
        """Inbound messages by event id."""
        return {record.id: record for record in self.topic("whatsapp.messages") if record.kind == "received"}

    @cached_property
    def replies(self) -> Mapping[str, str]:
        """The event id of each inbound message, by its wamid."""
        return {record.data["message_id"]: record.id for record in self.inbound.values()}

    @cached_property
    def taps(self) -> list[ButtonTap]:
        """Taps on our buttons, in the order of arrival for each person."""
        found = []
        for record in self.inbound.values():
            parts = str(record.data.get("button_id") or "").split(".")
            if len(parts) == 4 and parts[0] == "s1":
                found.append(ButtonTap(record, parts[1], parts[2]))
        return found

    # ------------------------------------------------------------------ decisions

    @cached_property
    def decided(self) -> Mapping[str, list[RecordedEvent]]:
        """Decisions by the event they are about; one without effects for many events counts for each of them."""
        found: dict[str, list[RecordedEvent]] = defaultdict(list)
        for record in self.topic("decisions"):
            for about in record.data.get("events") or [record.data["about"]]:
                found[about].append(record)
        return found

    def decision(self, about: str) -> RecordedEvent | None:
        return next(iter(self.decided.get(about, ())), None)

    def decision_on(self, wamid: str) -> RecordedEvent | None:
        """The decision about an inbound message, by its wamid."""
        return self.decision(self.replies.get(wamid, wamid))

    @cached_property
    def verdicts(self) -> Mapping[str, list[tuple[RecordedEvent, DatabaseRow]]]:
        """The verdicts on each chain, in time order."""
        found: dict[str, list[tuple[RecordedEvent, DatabaseRow]]] = defaultdict(list)
        for record in sorted(self.topic("decisions"), key=lambda record: record.time):
            for verdict in record.data.get("verdicts", ()):
                if verdict.get("chain_id"):
                    found[verdict["chain_id"]].append((record, verdict))
        return found

    # ------------------------------------------------------------------ messages and chains

    @cached_property
    def sends(self) -> list[RecordedSend]:
        """Accepted sends, in the order in which WhatsApp took them."""
        begun = {(row["message_id"], row["attempt"]): epoch(row["begun_at"]) for row in self.rows["attempts"]}
        found = [_sent(row, begun) for row in self.rows["sent"] if row["biz_opaque_callback_data"]]
        return sorted(found, key=lambda sent: sent.at)

    @cached_property
    def sends_of(self) -> Mapping[str, list[RecordedSend]]:
        found: dict[str, list[RecordedSend]] = defaultdict(list)
        for sent in self.sends:
            found[sent.message_id].append(sent)
        return found

    @cached_property
    def chains(self) -> Mapping[str, DatabaseRow]:
        return {row["chain_id"]: row["document"] for row in self.rows["chains"]}

    @cached_property
    def messages_of(self) -> Mapping[str, list[RecordedEvent]]:
        """Requested messages by chain, in time order."""
        found: dict[str, list[RecordedEvent]] = defaultdict(list)
        for record in sorted(self.requested.values(), key=lambda record: record.time):
            if record.data.get("chain_id"):
                found[record.data["chain_id"]].append(record)
        return found

    @cached_property
    def stops(self) -> Mapping[str, RecordedEvent]:
        """By person, the decision that accepted their STOP; without people who have started again."""
        found: dict[str, RecordedEvent] = {}
        for record in sorted(self.topic("decisions"), key=lambda record: record.time):
            about = self.inbound.get(record.data.get("about", ""))
            reasons = {verdict["reason"] for verdict in record.data.get("verdicts", ())}
            if about is not None and "opted_out" in reasons:
                found.setdefault(about.data["person_id"], record)
            elif about is not None and "opted_in" in reasons:
                found.pop(about.data["person_id"], None)
        return found

    @cached_property
    def phones(self) -> Mapping[str, str]:
        """By person, the digits of their number at WhatsApp."""
        return {
            self.requested[sent.message_id].data["person_id"]: sent.person
            for sent in self.sends
            if sent.message_id in self.requested
        }


def _sent(row: DatabaseRow, begun: Mapping[tuple[str, int], float]) -> RecordedSend:
    sent = str(row["biz_opaque_callback_data"]).partition("@")[0]
    message_id, _, attempt = sent.rpartition(".")
    number, at = int(attempt), epoch(row["at"])
    failed = "failed" in row["statuses"]
    return RecordedSend(
        message_id, number, row["person"], row["line"], at, begun.get((message_id, number), at), failed, row
    )


def _grouped(records: Iterable[RecordedEvent], name: str) -> Mapping[str, list[RecordedEvent]]:
    found: dict[str, list[RecordedEvent]] = defaultdict(list)
    for record in records:
        found[record.data[name]].append(record)
    return found


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]
