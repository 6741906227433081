"""The chain: one rule at work on one subject, as one value with named transitions. It is stored whole, as JSON.

``TRANSITIONS`` is the state machine of a chain and ``STEP_TRANSITIONS`` that of its steps.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from msgspec import Raw, field

from services.rules.rulebook.model import Verb
from shared.contracts.errors import StetError
from shared.contracts.ids import (
    ChainId,
    EventId,
    Line,
    MessageId,
    PersonId,
    Revision,
    RuleId,
    TenantId,
    Wamid,
    WorkId,
    WriteId,
)
from shared.contracts.messages import MessageForm, SentTemplate
from shared.contracts.values import Instant, Value
from shared.contracts.whatsapp import Media, MessageReceived
from shared.contracts.writes import SUCCESSFUL_OUTCOMES, WriteOperation, WriteOutcome


class DeliveryState(StrEnum):
    """How far a message is: held for working hours, requested from the dispatcher, or as far as WhatsApp reports."""

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
"""JSON null for no event, since msgspec cannot read a ``Raw`` that may be None."""

UNSENT = frozenset({DeliveryState.HELD, DeliveryState.FAILED, DeliveryState.DROPPED, DeliveryState.WITHDRAWN})
LOST = UNSENT - {DeliveryState.HELD}
"""Not sent, and not to be sent any more."""
IN_DISPATCHER = frozenset({DeliveryState.REQUESTED, DeliveryState.UNCERTAIN})
"""Requested, and not proved to be sent."""
MAY_GO = frozenset({DeliveryState.HELD, *IN_DISPATCHER})
"""Not sent, or not proved to be: the dispatcher sends an uncertain message again where nothing ever proves it."""

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


SEPARATED = "separated"
"""The ``unwanted`` of a message that is withdrawn because of an undone merge, and then sent to its own person."""

_KEPT_AS = {
    "messages": "outgoing",
    "answers": "given",
    "writes": "writings",
    "handovers": "handed_over",
    "assignment": "taken",
    "manual_reported": "told_manual",
}
"""The keys of these attributes in stored JSON, which older versions have written."""


class ChainMessage(Value):
    """One message to one person.

    - ``step``: the index of its step; ``answer``: the path of the answer that it follows, if any.
    - ``on_behalf_of``, ``also_for``: the first person, and the others, for whom the receiver stands in.
    - ``role``: the one in which the receiver was addressed.
    - ``reply``: it goes at any hour while it is awaited.
    - ``not_before``: it is held at least until then; ``waits_since``: when a cap first held it.
    - ``digest``: the message in which it was sent, together with others.
    - ``sent_to``: the marks of the receiver's addresses when it was requested.
    - ``unwanted``: why it is not to be sent again, should WhatsApp report that it did not arrive. After an undone merge
      (``separated``) it is sent to its person instead, under another id.
    - ``fallback``: Meta's name of the template that goes where Meta does not let its own go.
    - ``wording``, ``sent_template``: the form and the template in which it went, as the dispatcher reports.
    - ``rendered``: the text of a question; ``other_texts``: its texts in other templates in which it may have gone, by
      Meta's name. Both are for the evidence of its answer.
    - ``led_on``: its person's answer has led to another question, so that none is awaited of them any more; one still
      counts.
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
    also_for: tuple[PersonId, ...] = ()
    role: str | None = None
    waits_since: Instant | None = None
    digest: MessageId | None = None
    sent_to: tuple[int, ...] = ()
    unwanted: str | None = None
    fallback: str | None = None
    other_texts: dict[str, str] = field(default_factory=dict)
    wording: MessageForm | None = None
    sent_template: SentTemplate | None = None
    led_on: bool = False
    not_before: Instant | None = None

    @property
    def sent_as(self) -> MessageId:
        """The id under which the dispatcher knows it: its own, or that of its digest."""
        return self.digest or self.message_id

    @property
    def may_still_go(self) -> bool:
        """Whether the dispatcher may send it: it is requested or uncertain, and its withdrawal is not requested."""
        return self.delivery in IN_DISPATCHER and self.unwanted is None

    @property
    def sent_text(self) -> str | None:
        """The text of a question as it went, as far as is known."""
        sent = self.sent_template
        return self.rendered if sent is None else self.other_texts.get(sent.name, self.rendered)

    @property
    def holders(self) -> tuple[PersonId, ...]:
        """The people in whose name an answer counts: those the receiver stands in for, else the receiver."""
        return (self.on_behalf_of or self.person_id, *self.also_for)

    def stand_for(self, *others: PersonId) -> "ChainMessage":
        """The message with these people among those in whose name an answer counts."""
        holders = tuple(dict.fromkeys((*self.holders, *others)))
        if holders == self.holders:
            return self
        return self.replace(on_behalf_of=holders[0], also_for=holders[1:])

    @property
    def is_question(self) -> bool:
        return bool(self.buttons)

    @property
    def open(self) -> bool:
        return not self.closed and self.is_question and self.delivery not in UNSENT


MOST_JOINED = 500
"""Events that one chain gathers beside its first: the next one starts another chain."""


class JoinedEvent(Value):
    """An event that joined a chain before its first message went; ``data`` is that of the event ``name``."""

    event_id: EventId
    name: str
    data: Raw
    at: Instant


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"


class StepState(Value):
    """``unreached``: the step reached no person, so the next one does not wait."""

    status: StepStatus = StepStatus.PENDING
    occurrence: int = 0
    done_at: Instant | None = None
    unreached: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.status in {StepStatus.DONE, StepStatus.SKIPPED}


FREE_TEXT = "free_text"
"""The ``reply`` that stands for words, which are no button's answer."""


class GivenAnswer(Value):
    """An answer as given, by its path. ``final`` ones count for the quorum; an addendum came after the final one."""

    person_id: PersonId
    on_behalf_of: PersonId | None = None
    answer: str
    final: bool
    at: Instant
    message_id: MessageId
    wamid: Wamid
    reply: str
    also_for: tuple[PersonId, ...] = ()

    @classmethod
    def of(
        cls, question: ChainMessage, message: MessageReceived, reply: str, *, final: bool, path: str | None = None
    ) -> "GivenAnswer":
        """``reply`` is the name of a button, or ``free_text``; without a ``path`` it is the answer too."""
        return cls(
            person_id=message.person_id,
            on_behalf_of=question.on_behalf_of,
            also_for=question.also_for,
            answer=path or reply,
            final=final,
            at=message.at,
            message_id=question.message_id,
            wamid=message.message_id,
            reply=reply,
        )

    @property
    def holders(self) -> tuple[PersonId, ...]:
        """The people in whose name it was given."""
        return (self.on_behalf_of or self.person_id, *self.also_for)


class ChainWrite(Value, rename=_KEPT_AS):
    """A write asked for. ``step``/``answer`` say what asked; ``depth`` 0 is the record itself, 1 its ``then``.

    ``item`` is the joined event that it records, None for the event that started the chain. ``work_id`` is the work
    whose metadata it changes, None for other operations.
    """

    write_id: WriteId
    operation: WriteOperation
    step: int
    answer: str | None = None
    depth: int = 0
    answerers: tuple[PersonId, ...] = ()
    item: EventId | None = None
    outcome: WriteOutcome | None = None
    manual_reported: bool = False
    work_id: WorkId | None = None

    @property
    def pending(self) -> bool:
        return self.outcome not in SUCCESSFUL_OUTCOMES and self.outcome is not WriteOutcome.CONFLICT


class HandoverOffer(Value):
    """An offer that waits for a person to take it; ``declined`` are the people who tapped Not me."""

    step: int
    answer: str | None = None
    people: tuple[PersonId, ...]
    declined: tuple[PersonId, ...] = ()
    at: Instant
    reminded: bool = False

    @property
    def undecided(self) -> tuple[PersonId, ...]:
        """The people who may still take it."""
        return tuple(person for person in self.people if person not in self.declined)


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
    """A form being filled in chat: ``asking`` names the field the next message answers.

    ``stop_offered``: a stop word was taken for an answer, and a button offered to opt out instead.
    """

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
    stop_offered: bool = False

    @property
    def over(self) -> bool:
        return self.phase in {FormPhase.SENT, FormPhase.CANCELLED}


class FormerId(Value):
    """A person's id that was merged into another, which the chain has as ``current`` now.

    ``apart``: the chain did not know the other one before, so undoing the merge gives it back to the former id.
    """

    former: PersonId
    current: PersonId
    apart: bool


class Ending(StrEnum):
    DONE = "done"
    ANSWERED = "answered"
    HANDLED = "handled"
    GAVE_UP = "gave_up"
    UNTIL = "until"
    REPLACED = "replaced"
    LEFT_WITH_OWNER = "left_with_owner"
    CANCELLED = "cancelled"


class ChainState(StrEnum):
    """``assigned``: a person has taken the matter, and timed steps pause. ``closing``: only writes are pending."""

    RUNNING = "running"
    ASSIGNED = "assigned"
    CLOSING = "closing"
    ENDED = "ended"


class ChainTransition(StrEnum):
    """The name of each arrow in the state diagram of a chain."""

    REPLAN = "replan"  # a matching event came again
    JOIN = "join"  # a matching event joins it, before its first message has gone
    MIGRATE = "migrate"  # the rule was changed, and the chain goes on by the new steps
    ASSIGN = "assign"  # a person takes the matter
    GIVE_BACK = "give_back"  # that person gives it back
    CLOSE = "close"  # the last message is sent: questions are closed, and pending writes are awaited
    FINISH = "finish"  # nothing is pending any more


INITIAL_STATE = ChainState.RUNNING
TRANSITIONS: Mapping[tuple[ChainState, ChainTransition], ChainState] = {
    (ChainState.RUNNING, ChainTransition.REPLAN): ChainState.RUNNING,
    (ChainState.RUNNING, ChainTransition.JOIN): ChainState.RUNNING,
    (ChainState.RUNNING, ChainTransition.MIGRATE): ChainState.RUNNING,
    (ChainState.RUNNING, ChainTransition.ASSIGN): ChainState.ASSIGNED,
    (ChainState.RUNNING, ChainTransition.CLOSE): ChainState.CLOSING,
    (ChainState.ASSIGNED, ChainTransition.REPLAN): ChainState.ASSIGNED,
    (ChainState.ASSIGNED, ChainTransition.MIGRATE): ChainState.ASSIGNED,
    (ChainState.ASSIGNED, ChainTransition.ASSIGN): ChainState.ASSIGNED,
    (ChainState.ASSIGNED, ChainTransition.GIVE_BACK): ChainState.RUNNING,
    (ChainState.ASSIGNED, ChainTransition.CLOSE): ChainState.CLOSING,
    (ChainState.CLOSING, ChainTransition.FINISH): ChainState.ENDED,
}
"""The state each transition leads to, by the state it starts from."""


class StepTransition(StrEnum):
    """The name of each arrow in the state diagram of a step."""

    BEGIN = "begin"  # the step is due and does what its verb says
    COMPLETE = "complete"  # nothing of it is held or pending any more
    SKIP = "skip"  # its time had passed, a later step overtook it, or its ``unless`` holds
    REPEAT = "repeat"  # the event came again with other values


STEP_TRANSITIONS: Mapping[tuple[StepStatus, StepTransition], StepStatus] = {
    (StepStatus.PENDING, StepTransition.BEGIN): StepStatus.RUNNING,
    (StepStatus.PENDING, StepTransition.SKIP): StepStatus.SKIPPED,
    (StepStatus.PENDING, StepTransition.COMPLETE): StepStatus.DONE,  # a form begun before the step was repeated
    (StepStatus.RUNNING, StepTransition.COMPLETE): StepStatus.DONE,
    (StepStatus.RUNNING, StepTransition.REPEAT): StepStatus.PENDING,
    (StepStatus.DONE, StepTransition.COMPLETE): StepStatus.DONE,
    (StepStatus.DONE, StepTransition.REPEAT): StepStatus.PENDING,
    (StepStatus.SKIPPED, StepTransition.COMPLETE): StepStatus.DONE,  # the same, and the step was skipped since
    (StepStatus.SKIPPED, StepTransition.REPEAT): StepStatus.PENDING,
}
"""The status each transition leads to, by the status it starts from."""


class InvalidChainTransition(StetError):
    """There is no such transition from the state of the chain, or of its step: a fault in the code."""


class Chain(Value, rename=_KEPT_AS):
    """``start`` is the data of the first event, ``event`` of the newest if it is another, ``end`` of the ending one.

    ``event_name`` is that of the newest, where a rule with several events met another one than it started by.

    ``joins``: its rule gathers events; ``joined`` are those that came before its first message went. ``reviewed`` is
    the rulebook whose change of the rule was last considered.

    ``base_at`` is the instant that ``after`` steps count from. ``unclaimed``: there was no person to ask or to hand the
    matter to, and the owner team was told so. ``deferred_until`` is the ``until`` line that has ended the chain, and
    whose message goes once its writes are settled. ``former_ids`` are ids of its people that were merged since.
    ``depends_on`` are the tags of the facts by which the ``unless`` of a message that was requested is judged.
    Transitions raise InvalidChainTransition where the table has none.
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
    event_name: str | None = None
    joins: bool = False
    joined: tuple[JoinedEvent, ...] = ()
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
    reviewed: Revision | None = None
    former_ids: tuple[FormerId, ...] = ()
    depends_on: tuple[str, ...] = ()

    @property
    def newest(self) -> Raw:
        return self.start if self.event == NO_EVENT else self.event

    @property
    def newest_name(self) -> str:
        return self.event_name or self.start_name

    @property
    def event_names(self) -> tuple[str, ...]:
        """The names of the events that the chain is about: its first and its newest, and those that joined it."""
        return self.start_name, self.newest_name, *(joined.name for joined in self.joined)

    @property
    def state(self) -> ChainState:
        if self.ended is not None:
            return ChainState.ENDED
        if self.closing is not None:
            return ChainState.CLOSING
        return ChainState.RUNNING if self.assignment is None else ChainState.ASSIGNED

    @property
    def live(self) -> bool:
        return self.ended is None

    @property
    def active(self) -> bool:
        """Running or assigned: not yet waiting for its writes only, as one that an ``until`` line has ended."""
        return self.ended is None and self.closing is None and self.deferred_until is None

    @property
    def gathers(self) -> bool:
        """Whether a further event may join: no message of it has gone yet."""
        sent = any(message.requested_at is not None for message in self.messages)
        return self.joins and self.active and not sent and len(self.joined) < MOST_JOINED

    @property
    def admits_another(self) -> bool:
        """Whether another chain of its rule and subject may begin while it lives (the column ``beside``)."""
        return not self.active or (self.joins and not self.gathers)

    def message(self, message_id: MessageId) -> ChainMessage | None:
        return next((m for m in self.messages if m.message_id == message_id), None)

    def messages_sent_as(self, message_id: MessageId) -> tuple[ChainMessage, ...]:
        """The message of this id, or those that went within the digest of this id."""
        return tuple(m for m in self.messages if message_id in (m.message_id, m.digest))

    def with_message(self, changed: ChainMessage) -> "Chain":
        known = self.message(changed.message_id) is not None
        if not known:
            return self.replace(messages=(*self.messages, changed))
        kept = tuple(changed if m.message_id == changed.message_id else m for m in self.messages)
        return self.replace(messages=kept)

    def depend_on(self, tags: Collection[str]) -> "Chain":
        """Judge what has not gone again when these facts change."""
        return self if set(tags) <= set(self.depends_on) else self.replace(depends_on=(*{*self.depends_on, *tags},))

    def replan(self, name: str, event: Raw, tags: Collection[str]) -> "Chain":
        """A starting event came again: ``event`` is the newest now, and the chain is found by its values too."""
        changes = {"event": event, "event_name": None if name == self.start_name else name}
        return self._follow(ChainTransition.REPLAN, **changes, tags=tuple(sorted({*self.tags, *tags})))

    def join(self, joined: JoinedEvent, tags: Collection[str], earlier_one: EventId | None = None) -> "Chain":
        """A matching event joins, in place of an earlier one that it corrects."""
        others = tuple(each for each in self.joined if each.event_id != earlier_one)
        all_tags = tuple(sorted({*self.tags, *tags}))
        return self._follow(ChainTransition.JOIN, joined=(*others, joined), tags=all_tags)

    def migrate(self, revision: Revision, **changes: object) -> "Chain":
        """The rule was changed: ``changes`` place what there is under the steps of the new one."""
        return self._follow(ChainTransition.MIGRATE, revision=revision, **changes)

    def assign(self, person: PersonId, now: datetime) -> "Chain":
        """Give the matter to the person who takes it, at ``now`` (business time)."""
        return self._follow(ChainTransition.ASSIGN, assignment=Assignment(person_id=person, at=now))

    def give_back(self, now: datetime) -> "Chain":
        """Take the matter from the person who gives it back; timed steps count from ``now``."""
        return self._follow(ChainTransition.GIVE_BACK, assignment=None, base_at=now)

    def close(self, ending: Ending) -> "Chain":
        """Close all questions; only pending writes are awaited. A matter without a person stays with the owner team."""
        unusual = self.unclaimed and ending in {Ending.DONE, Ending.GAVE_UP}
        closing = Ending.LEFT_WITH_OWNER if unusual else ending
        return self._follow(ChainTransition.CLOSE, closing=closing, assignment=None).close_questions()

    def decline_offer(self, step: int, person: PersonId, *, but: int = 0) -> "Chain":
        """Decline the offers of a step for a person; the ``but`` newest of them stay undecided."""
        handed, left = list[HandoverOffer](), but
        for offer in reversed(self.handovers):
            is_meant = offer.step == step
            if is_meant and left and person in offer.undecided:
                left, is_meant = left - 1, False
            handed.insert(0, offer.replace(declined=(*offer.declined, person)) if is_meant else offer)
        return self.replace(handovers=tuple(handed))

    def withdraw_offer(self, message: ChainMessage) -> "Chain":
        """Remove the person of an offer that was never sent from the people who may take the matter."""
        place = message.step, message.answer
        offers = (
            offer.replace(people=tuple(one for one in offer.people if one != message.person_id))
            if (offer.step, offer.answer) == place
            else offer
            for offer in self.handovers
        )
        return self.replace(handovers=tuple(offer for offer in offers if offer.people))

    def finish(self) -> "Chain":
        """End a closing chain, of which nothing is pending any more."""
        return self._follow(ChainTransition.FINISH, ended=self.closing, next_due=None)

    def _follow(self, transition: ChainTransition, **changes: object) -> "Chain":
        target = TRANSITIONS.get((self.state, transition))
        changed = self.replace(**changes)
        if changed.state is not target:
            raise InvalidChainTransition(f"chain {self.chain_id} is {self.state}: it cannot {transition}")
        return changed

    def begin_step(self, index: int, now: datetime) -> "Chain":
        return self._follow_step(index, StepTransition.BEGIN, done_at=now, left_out={})

    def complete_step(self, index: int, **changes: object) -> "Chain":
        return self._follow_step(index, StepTransition.COMPLETE, **changes)

    def skip_step(self, index: int, **changes: object) -> "Chain":
        return self._follow_step(index, StepTransition.SKIP, **changes)

    def repeat_step(self, index: int) -> "Chain":
        """The step runs again, as its next occurrence."""
        occurrence = self.steps[index].occurrence + 1
        return self._follow_step(index, StepTransition.REPEAT, occurrence=occurrence, left_out={}, unreached=False)

    def _follow_step(self, index: int, transition: StepTransition, **changes: object) -> "Chain":
        status = self.steps[index].status
        target = STEP_TRANSITIONS.get((status, transition))
        if target is None:
            raise InvalidChainTransition(f"step {index} of chain {self.chain_id} is {status}: it cannot {transition}")
        return self._with_step(index, status=target, **changes)

    def exclude(self, index: int, reasons: Mapping[str, str]) -> "Chain":
        """Keep on a step who was left out of it, person or role, and why."""
        return self._with_step(index, left_out={**self.steps[index].left_out, **reasons})

    def end_wait(self) -> "Chain":
        """No person is left to wait for, so the step after the last one that is over begins at once."""
        last = self.last_step_done
        return self if last is None else self._with_step(last, unreached=True)

    @property
    def last_step_done(self) -> int | None:
        return max((index for index, state in enumerate(self.steps) if state.status is StepStatus.DONE), default=None)

    def _with_step(self, index: int, **changes: object) -> "Chain":
        steps = list(self.steps)
        steps[index] = steps[index].replace(**changes)
        return self.replace(steps=tuple(steps))

    def close_questions(self, is_meant: Callable[[ChainMessage], bool] = lambda _: True) -> "Chain":
        """These questions of this chain, or all, can be answered no more."""
        open_ones = {m.message_id for m in self.messages if m.is_question and not m.closed and is_meant(m)}
        return self.replace(
            messages=tuple(m.replace(closed=True) if m.message_id in open_ones else m for m in self.messages)
        )

    def reopen_answers(self, answers: Collection[GivenAnswer]) -> "Chain":
        """These answers are kept, and are final no more: a veto, or another question, overrules the one they answer."""
        return self.replace(answers=tuple(g.replace(final=False) if g in answers else g for g in self.answers))

    def with_write(self, changed: ChainWrite) -> "Chain":
        others = tuple(w for w in self.writes if w.write_id != changed.write_id)
        return self.replace(writes=(*others, changed))

    def people(self) -> frozenset[PersonId]:
        """All people this chain wrote to, or waits for."""
        people = {person for m in self.messages for person in (m.person_id, *m.holders)}
        if self.form:
            people.add(self.form.person_id)
        return frozenset(people)

    def known_ids(self) -> frozenset[PersonId]:
        """The ids under which events about its people may still arrive: the current ones, and those before a merge."""
        return self.people().union(one.former for one in self.former_ids)

    def with_current_id(self, former: PersonId, current: PersonId) -> "Chain":
        """Everything of one id under another, because both are one person; the subject stays as it is."""
        if former == current or not self._mentions(former):
            return self
        apart = not self._mentions(current)
        earlier_ones = tuple(
            FormerId(former=one.former, current=current, apart=one.apart and apart) if one.current == former else one
            for one in self.former_ids
        )
        known = FormerId(former=former, current=current, apart=apart)
        renamed = self._renamed({former: current})
        return renamed.replace(former_ids=(*earlier_ones, known), answers=_with_one_final_each(renamed.answers))

    def with_former_id(self, former: PersonId) -> "Chain":
        """A merge is undone: what came into the chain by this id alone is its own again."""
        found = next((one for one in self.former_ids if one.former == former and one.apart), None)
        if found is None:
            return self
        others = tuple(one for one in self.former_ids if one != found)
        return self._renamed({found.current: former}).replace(former_ids=others)

    def renamed(self, one: PersonId, other: PersonId) -> "Chain":
        """Everything of one id under another, of which the chain knows nothing yet."""
        return self._renamed({one: other})

    def _mentions(self, person: PersonId) -> bool:
        return person in self.people() or any(person in (given.person_id, *given.holders) for given in self.answers)

    def _renamed(self, ids: Mapping[PersonId, PersonId]) -> "Chain":
        form, assignment = self.form, self.assignment
        return self.replace(
            messages=tuple(_renamed_parties(message, ids) for message in self.messages),
            answers=tuple(_renamed_parties(answer, ids) for answer in self.answers),
            writes=tuple(write.replace(answerers=_renamed_ids(write.answerers, ids)) for write in self.writes),
            handovers=tuple(
                offer.replace(people=_renamed_ids(offer.people, ids), declined=_renamed_ids(offer.declined, ids))
                for offer in self.handovers
            ),
            form=form and form.replace(person_id=ids.get(form.person_id, form.person_id)),
            assignment=assignment and assignment.replace(person_id=ids.get(assignment.person_id, assignment.person_id)),
        )

    def wrote_to(self, person: PersonId) -> bool:
        return any(message.person_id == person for message in self.messages)

    def last_sent_to(self, person: PersonId) -> datetime | None:
        sent = (m.requested_at for m in self.messages if m.person_id == person and m.requested_at is not None)
        return max(sent, default=None)

    def asked_since(self) -> dict[PersonId, datetime]:
        """The people whose answer is awaited, and when each was first asked; a reminder is no other question."""
        found: dict[PersonId, datetime] = {}
        if not self.active:
            return found
        answered = {given.person_id for given in self.answers if given.final}
        for message in self.messages:
            person, at = message.person_id, message.requested_at
            if at is not None and message.open and not message.led_on and person not in answered:
                found[person] = min(found.get(person, at), at)
        return found

    def final_answer_of(self, person: PersonId) -> GivenAnswer | None:
        return next((g for g in self.answers if g.person_id == person and g.final), None)


_P = TypeVar("_P", ChainMessage, GivenAnswer)


def _renamed_parties(party: _P, ids: Mapping[PersonId, PersonId]) -> _P:
    if ids.keys().isdisjoint((party.person_id, *party.holders)):
        return party
    behalf = party.on_behalf_of
    return party.replace(
        person_id=ids.get(party.person_id, party.person_id),
        on_behalf_of=None if behalf is None else ids.get(behalf, behalf),
        also_for=_renamed_ids(party.also_for, ids),
    )


def _with_one_final_each(answers: tuple[GivenAnswer, ...]) -> tuple[GivenAnswer, ...]:
    """The answers of people of whom each has one final answer, the first: a later one changes nothing."""
    people, kept = set[PersonId](), list[GivenAnswer]()
    for given in answers:
        kept.append(given.replace(final=False) if given.final and given.person_id in people else given)
        people.update((given.person_id,) if given.final else ())
    return tuple(kept)


def _renamed_ids(people: tuple[PersonId, ...], ids: Mapping[PersonId, PersonId]) -> tuple[PersonId, ...]:
    return tuple(dict.fromkeys(ids.get(person, person) for person in people))


def earlier(first: datetime | None, second: datetime | None) -> datetime | None:
    """The earlier of two due instants, where None means never."""
    if first is None or second is None:
        return first or second
    return min(first, second)
