"""The state of a chain: one rule at work on one subject, from its starting event to its end. Saved whole, as JSON."""

from datetime import datetime
from enum import StrEnum

from msgspec import Raw, field

from services.rules.rulebook.model import Verb
from shared.contracts.ids import ChainId, Line, MessageId, PersonId, Revision, RuleId, TenantId, Wamid, WriteId
from shared.contracts.values import Instant, Value
from shared.contracts.whatsapp import Media
from shared.contracts.writes import SUCCESSFUL_OUTCOMES, WriteOperation, WriteOutcome


class DeliveryState(StrEnum):
    """Where a message of ours is: decided but held, given to the dispatcher, or as far as WhatsApp said."""

    HELD = "held"
    REQUESTED = "requested"
    UNCERTAIN = "uncertain"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    DROPPED = "dropped"
    WITHDRAWN = "withdrawn"


NO_EVENT = Raw(b"null")
"""No event: msgspec cannot read a ``Raw`` that may be None."""

UNSENT = frozenset({DeliveryState.HELD, DeliveryState.FAILED, DeliveryState.DROPPED, DeliveryState.WITHDRAWN})
DELIVERY_RANK = {
    d: rank
    for rank, d in enumerate(
        (
            DeliveryState.HELD,
            DeliveryState.REQUESTED,
            DeliveryState.UNCERTAIN,
            DeliveryState.ACCEPTED,
            DeliveryState.DELIVERED,
            DeliveryState.READ,
        )
    )
}


_KEPT_AS = {
    "messages": "outgoing",
    "answers": "given",
    "writes": "writings",
    "handovers": "handed_over",
    "assignment": "taken",
    "manual_reported": "told_manual",
}
"""Attribute to key in the JSON of kept chains, which older versions have written."""


class ChainMessage(Value):
    """One message to one person. ``step`` is the step's index, ``answer`` the answer it follows, if any.

    ``reply`` frees it of quiet hours; ``rendered`` are the words of a question, which the evidence of its answer shows.
    """

    message_id: MessageId
    person_id: PersonId
    on_behalf_of: PersonId | None = None
    verb: Verb
    say: str
    step: int
    answer: str | None = None
    occurrence: int = 0
    words: dict[str, str] = field(default_factory=dict)
    reply: bool = False
    delivery: DeliveryState = DeliveryState.HELD
    held_until: Instant | None = None
    requested_at: Instant | None = None
    closed: bool = False
    language: str | None = None
    wamid: Wamid | None = None
    rendered: str | None = None
    buttons: tuple[str, ...] = ()

    @property
    def is_question(self) -> bool:
        return bool(self.buttons)

    @property
    def open(self) -> bool:
        return not self.closed and self.is_question and self.delivery not in UNSENT


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"


class StepState(Value):
    """``unreached``: done, but nobody could be told, so the next step does not wait."""

    status: StepStatus = StepStatus.PENDING
    occurrence: int = 0
    done_at: Instant | None = None
    unreached: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.status in {StepStatus.DONE, StepStatus.SKIPPED}


class GivenAnswer(Value):
    """An answer as given. ``final`` ones count for the quorum; an addendum came after the final one."""

    person_id: PersonId
    on_behalf_of: PersonId | None = None
    answer: str
    final: bool
    at: Instant
    message_id: MessageId
    wamid: Wamid
    reply: str


class ChainWrite(Value, rename=_KEPT_AS):
    """A write asked for. ``step``/``answer`` say what asked; ``depth`` 0 is the record itself, 1 its ``then``."""

    write_id: WriteId
    operation: WriteOperation
    step: int
    answer: str | None = None
    depth: int = 0
    answerers: tuple[PersonId, ...] = ()
    outcome: WriteOutcome | None = None
    manual_reported: bool = False

    @property
    def pending(self) -> bool:
        return self.outcome not in SUCCESSFUL_OUTCOMES and self.outcome is not WriteOutcome.CONFLICT


class HandoverOffer(Value):
    """A hand-over waiting for a taker; ``declined`` are those who said not me."""

    step: int
    answer: str | None = None
    people: tuple[PersonId, ...]
    declined: tuple[PersonId, ...] = ()
    at: Instant
    reminded: bool = False


class Assignment(Value):
    person_id: PersonId
    at: Instant
    reminded: bool = False


class FormPhase(StrEnum):
    ASKING = "asking"
    SUMMARY = "summary"
    CHANGING = "changing"
    SENT = "sent"
    CANCELLED = "cancelled"


class FormState(Value):
    """A form being filled in chat: ``asking`` names the field the next message answers."""

    form: str
    person_id: PersonId
    step: int
    phase: FormPhase = FormPhase.ASKING
    asking: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    attachments: tuple[Media, ...] = ()
    sources: tuple[Wamid, ...] = ()
    prompts: int = 0
    reference: str
    last_at: Instant

    @property
    def over(self) -> bool:
        return self.phase in {FormPhase.SENT, FormPhase.CANCELLED}


class Ending(StrEnum):
    DONE = "done"
    ANSWERED = "answered"
    HANDLED = "handled"
    GAVE_UP = "gave_up"
    UNTIL = "until"
    REPLACED = "replaced"
    LEFT_WITH_OWNER = "left_with_owner"


class Chain(Value, rename=_KEPT_AS):
    """``start`` is the data of the first event, ``event`` of the newest if it is another, ``end`` of the last: JSON.

    ``closing`` waits only for its writes. ``unclaimed``: somebody was to be asked or given it, nobody could be, and the
    owner team was told so.
    """

    chain_id: ChainId
    tenant: TenantId
    rule: RuleId
    revision: Revision
    subject: str
    tags: tuple[str, ...] = ()
    key: str
    started_at: Instant
    base_at: Instant
    start_name: str
    start: Raw
    event: Raw = NO_EVENT
    end_name: str | None = None
    end: Raw = NO_EVENT
    correlation: str | None = None
    traceparent: str | None = None
    line: Line | None = None
    steps: tuple[StepState, ...]
    messages: tuple[ChainMessage, ...] = ()
    answers: tuple[GivenAnswer, ...] = ()
    writes: tuple[ChainWrite, ...] = ()
    handovers: tuple[HandoverOffer, ...] = ()
    assignment: Assignment | None = None
    unclaimed: bool = False
    form: FormState | None = None
    closing: Ending | None = None
    ended: Ending | None = None
    deferred_until: int | None = None
    next_due: Instant | None = None

    @property
    def newest(self) -> Raw:
        return self.start if self.event == NO_EVENT else self.event

    @property
    def live(self) -> bool:
        return self.ended is None

    @property
    def active(self) -> bool:
        """Live, and not merely waiting for its writes."""
        return self.ended is None and self.closing is None

    def message(self, message_id: MessageId) -> ChainMessage | None:
        return next((m for m in self.messages if m.message_id == message_id), None)

    def with_message(self, changed: ChainMessage) -> "Chain":
        known = self.message(changed.message_id) is not None
        if not known:
            return self.replace(messages=(*self.messages, changed))
        kept = tuple(changed if m.message_id == changed.message_id else m for m in self.messages)
        return self.replace(messages=kept)

    def with_step(self, index: int, **changes: object) -> "Chain":
        steps = list(self.steps)
        steps[index] = steps[index].replace(**changes)
        return self.replace(steps=tuple(steps))

    def with_write(self, changed: ChainWrite) -> "Chain":
        others = tuple(w for w in self.writes if w.write_id != changed.write_id)
        return self.replace(writes=(*others, changed))

    def people(self) -> frozenset[PersonId]:
        """Everybody this chain wrote to, or waits for."""
        people = {m.person_id for m in self.messages} | {m.on_behalf_of for m in self.messages if m.on_behalf_of}
        if self.form:
            people.add(self.form.person_id)
        return frozenset(people)

    def final_answer_of(self, person: PersonId) -> GivenAnswer | None:
        return next((g for g in self.answers if g.person_id == person and g.final), None)


def earlier(first: datetime | None, second: datetime | None) -> datetime | None:
    """The earlier of two due times, where None is never."""
    if first is None or second is None:
        return first or second
    return min(first, second)
