"""A stage on which a rulebook is played in virtual time: events and replies in, effects out, no broker and no database.

Every message that leaves is at once reported as accepted: a question is open from the first evidence that it was sent.
"""

from dataclasses import dataclass, field
from datetime import datetime

from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import Effect, RequestedMessage, RequestedWrite
from services.rules.conversation.decider import Decider, Decision
from services.rules.conversation.facts import Facts
from services.rules.story.model import Unplayable
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import EventId, Line, MessageId, PersonId, Wamid, derive_id, partition_key
from shared.contracts.messages import MessageAccepted, MessageFailed, MessageForm, MessageRead
from shared.contracts.whatsapp import Media, MessageKind, MessageReceived
from shared.contracts.writes import EVENT_KINDS, RequestWrite, WriteEventData, WriteOperation, WriteOutcome

_BY_OUTCOME = {model.outcome: model for model in EVENT_KINDS.values() if issubclass(model, WriteEventData)}


@dataclass(slots=True)
class Stage:
    """``effects`` are those since they were last looked at."""

    decider: Decider
    facts: Facts
    now: datetime
    effects: list[Effect] = field(default_factory=list)
    writes: list[RequestWrite] = field(default_factory=list)
    _lines: dict[PersonId, Line] = field(default_factory=dict)
    _count: int = 0

    def happens(self, data: EventData, key: str) -> None:
        self._count += 1
        event = Event(
            id=EventId(derive_id("story", self._count)), source="story", type=data.kind, time=self.now,
            recordedtime=self.now, tenantid=self.facts.tenant, partitionkey=key, data=data,
        )  # fmt: skip
        self._take(self.decider.decide(event, self.facts, self.now))

    def says(
        self, person: PersonId, *, text: str | None = None, button: str | None = None, media: Media | None = None,
        line: str = "main", quoted: Wamid | None = None,
    ) -> None:  # fmt: skip
        """A person writes, taps or sends a file, on this line."""
        kind = MessageKind.BUTTON if button else MessageKind.MEDIA if media else MessageKind.TEXT
        self._receives(
            MessageReceived(
                line=Line(line), person_id=person, message_id=self._wamid(), message_kind=kind, text=text, media=media,
                button_id=button, quoted_id=quoted, at=self.now,
            )
        )  # fmt: skip

    def reacts(self, person: PersonId, emoji: str, *, line: str, quoted: Wamid) -> None:
        self._receives(
            MessageReceived(
                line=Line(line), person_id=person, message_id=self._wamid(), message_kind=MessageKind.REACTION,
                text=emoji, quoted_id=quoted, at=self.now,
            )
        )  # fmt: skip

    def _receives(self, message: MessageReceived) -> None:
        self._lines[message.person_id] = message.line
        self.happens(message, partition_key(self.facts.tenant, "persons", message.person_id))

    def _wamid(self) -> Wamid:
        self._count += 1
        return Wamid(f"wamid.in.{self._count}")

    def reads(self, sent: ChainMessage) -> None:
        if sent.wamid is None:
            return
        self._report(MessageRead(message_id=sent.message_id, person_id=sent.person_id, at=self.now, wamid=sent.wamid))

    def fails(self, sent: ChainMessage, code: int | None) -> None:
        self._report(
            MessageFailed(
                message_id=sent.message_id, person_id=sent.person_id, at=self.now, wamid=sent.wamid, code=code,
                reason="undeliverable",
            )
        )  # fmt: skip

    def written(self, operation: WriteOperation, outcome: WriteOutcome) -> bool:
        """Settle the oldest write of this operation that has not come to rest; False where there is none."""
        waiting = next((w for w in self.writes if w.input.operation is operation), None)
        if waiting is None:
            return False
        if outcome not in {WriteOutcome.MANUAL, WriteOutcome.UNKNOWN}:
            self.writes.remove(waiting)
        settled = _BY_OUTCOME[outcome](
            write_id=waiting.write_id, operation=operation, record=waiting.record, work_id=waiting.work_id, at=self.now
        )
        self.happens(settled, waiting.record)
        return True

    def wait(self, until: datetime) -> None:
        """Let time pass, inclusive: everything that falls due on the way happens at its own instant.

        Raises Unplayable for a chain that stays due, which would hold time up for good.
        """
        while (due := self._next_due()) is not None and due <= until:
            self.now = max(due, self.now)
            for chain in [c for c in self.facts.chains.values() if c.next_due is not None and c.next_due <= self.now]:
                self._run(chain)
        self.now = until

    def _run(self, chain: Chain) -> None:
        self._take(self.decider.decide_due(chain, self.facts, self.now))
        after = self.facts.chains[chain.chain_id].next_due
        if after is not None and after <= self.now:
            raise Unplayable(f"“{chain.rule}” stays due at {self.now:%Y-%m-%dT%H:%M:%SZ} and never comes to rest")

    def last_to(self, person: PersonId, answer: str | None = None, say: str | None = None) -> ChainMessage | None:
        """The newest message this person got; the newest with this button, or of this template."""
        theirs = [
            m for c in self.facts.chains.values() for m in c.messages
            if m.person_id == person and m.requested_at is not None
            and (answer is None or answer in m.buttons) and say in {None, m.say}
        ]  # fmt: skip
        return max(theirs, key=lambda m: (m.requested_at or self.now, m.wamid or ""), default=None)

    def line_of(self, person: PersonId) -> Line | None:
        """The line this person and the house last wrote on."""
        return self._lines.get(person)

    def _next_due(self) -> datetime | None:
        return min((c.next_due for c in self.facts.chains.values() if c.next_due is not None), default=None)

    def _take(self, decision: Decision) -> None:
        effects = decision.effects
        self.facts.apply_changes(decision.changes)
        self.effects.extend(effects)
        self.writes.extend(e.request for e in effects if isinstance(e, RequestedWrite))
        for effect in effects:
            if isinstance(effect, RequestedMessage):
                self._lines[effect.send.person_id] = effect.send.line
            if isinstance(effect, RequestedMessage) and effect.send.chain_id is not None:
                self._accept(effect.send.message_id, effect.send.person_id)

    def _accept(self, message: MessageId, person: PersonId) -> None:
        self._count += 1
        wamid = Wamid(f"wamid.out.{self._count:06}")
        self._report(
            MessageAccepted(
                message_id=message, person_id=person, at=self.now, wamid=wamid, wording=MessageForm.FREE_TEXT
            )
        )  # fmt: skip

    def _report(self, data: EventData) -> None:
        person = getattr(data, "person_id", "")
        self.happens(data, partition_key(self.facts.tenant, "persons", person))
