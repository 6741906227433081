"""The context of one decision (facts, rulebook and time), and its result (effects and reasons)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Raw, Struct

from services.rules.conversation.button_ids import Keys
from services.rules.conversation.chain import Chain, Ending
from services.rules.conversation.document import Document, document_of, ended_document, joined_documents
from services.rules.conversation.facts import Facts
from services.rules.matching.conditions import FieldValues, holds
from services.rules.rulebook.model import Condition, Rule, Rulebook, Severity, Verb
from services.rules.rulebook.model import Field as FieldRef
from shared.contracts.decisions import DecisionRecorded
from shared.contracts.evidence import RecordEvidence
from shared.contracts.ids import ChainId, MessageId, PersonId, Revision, RuleId, TenantId
from shared.contracts.messages import AmendMessage, SendMessage, WithdrawMessage
from shared.contracts.writes import RequestWrite


class Reason(StrEnum):
    """Why something was done or not. The same word is in logs, metrics and decisions, and stays as it was published."""

    STARTED = "started"
    REPLANNED = "replanned"
    JOINED = "joined"
    ALREADY_LIVE = "already_live"
    TOO_MANY_STARTS = "too_many_starts"
    STEP_DUE = "step_due"
    PAUSED = "paused"
    ANSWERED = "answered"
    WAITS_FOR_QUORUM = "waits_for_quorum"
    ADDENDUM = "addendum"
    CLOSED_QUESTION = "closed_question"
    FREE_TEXT = "free_text"
    FORM = "form"
    FILE_REFUSED = "file_refused"
    ASKED_WHICH = "asked_which"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    AWAY = "away"
    RETURNED = "returned"
    WRONG_PERSON = "wrong_person"
    MERGED = "merged"
    SEPARATED = "separated"
    ASKED_WHY = "asked_why"
    SHOWN = "shown"
    RELAYED = "relayed"
    ACKNOWLEDGEMENT = "acknowledgement"
    BRAKED = "braked"
    STRANGERS_BRAKED = "strangers_braked"
    DELIVERY = "delivery"
    WRITE_SETTLED = "write_settled"
    UNTIL = "until"
    UNLESS = "unless"
    PINNED = "pinned"
    MIGRATED = "migrated"
    CANCELLED = "cancelled"
    AMENDED = "amended"
    OWN_WRITE = "own_write"
    NOTHING_MATCHED = "nothing_matched"
    FACTS_KEPT = "facts_cached"  # the facts were taken in, and nothing followed
    STALE = "stale"
    OUTDATED = "outdated"


class ExclusionReason(StrEnum):
    """Why a step of a rule left a person out, or a role that no person fills."""

    OPTED_OUT = "opted_out"
    NO_CONSENT = "no_consent"
    NO_ADDRESS = "no_address"
    UNREACHABLE = "unreachable"
    UNKNOWN_ROLE = "unknown_role"
    UNKNOWN_PERSON = "unknown_person"
    ERASED = "erased"
    ABSENT = "absent"
    WRONG_PERSON = "wrong_person"
    CAPPED = "capped"  # their cap leaves no room within ``send_within``
    WAITING = "waiting"  # their cap leaves no room now: the message is held
    NOT_STAFF = "not_staff"
    NO_DOCUMENT = "no_document"  # the event names no address of the document that goes with the message
    UNLESS = "unless"  # the ``unless`` of the step holds for this person


class RequestedMessage(Struct, frozen=True):
    """A message that the dispatcher is asked to send. ``verb`` is the verb of its step.

    ``on_behalf_of`` are the people whom the receiver stands in for, perhaps with the receiver.
    """

    send: SendMessage
    verb: Verb
    on_behalf_of: tuple[PersonId, ...] = ()


class ExcludedPerson(Struct, frozen=True):
    """``who`` is a person, or a role without a person."""

    chain_id: ChainId
    who: PersonId | str
    reason: ExclusionReason


class EndedChain(Struct, frozen=True):
    chain_id: ChainId
    ending: Ending


Effect = RequestedMessage | AmendMessage | WithdrawMessage | RequestWrite | ExcludedPerson | EndedChain


class _CachedDocument(Struct):
    """The newest document with what it was made of."""

    start: Raw
    event: Raw
    version: int
    document: Document


class GivenReply(Struct, frozen=True):
    """For the metrics: ``path`` says how the question was found (``ReplyPath``), or why not (``UnclearQuestion``)."""

    path: str


class AnsweredQuestion(Struct, frozen=True):
    """For the metrics: a final answer, and the time since the person was first asked."""

    rule: RuleId
    waited: timedelta


class HeldStrangers(Struct, frozen=True):
    """For the log, once in each ``within``: strangers have started ``most`` chains, and are not answered any more."""

    most: int
    within: timedelta


Observation = GivenReply | AnsweredQuestion | HeldStrangers


class GivenReason(NamedTuple):
    """A reason with what it is about; ``rule`` where no chain of it began."""

    chain: Chain | None
    step: str | None
    reason: Reason
    rule: RuleId | None


@dataclass(slots=True)
class DecisionContext:
    """The input of one decision, and its results so far. Its facts are a draft of its own.

    ``rulebook_at`` gives the rulebook of a revision: a chain keeps the steps it started with. ``drafted`` are the
    messages this decision made, held ones included. ``written_at`` is when the person has written whose message this
    is about. ``due_chain`` is the chain that is due, where no event is decided.
    """

    facts: Facts
    rulebook: Rulebook
    rulebook_at: Callable[[Revision], Rulebook]
    now: datetime
    signing_keys: Keys
    cause: str = ""
    traceparent: str | None = None
    written_at: datetime | None = None
    due_chain: ChainId | None = None
    effects: list[Effect] = field(default_factory=list)
    reasons: list[GivenReason] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    drafted: set[MessageId] = field(default_factory=set)
    observe_condition: Callable[[Condition, FieldValues], None] | None = None
    _cached: _CachedDocument | None = None

    @property
    def tenant(self) -> TenantId:
        return self.facts.tenant

    @property
    def today(self) -> date:
        """The current date where the publisher's office is."""
        return self.rulebook.calendar.office.local_date(self.now)

    def rule_of(self, chain: Chain) -> Rule:
        return self.rulebook_of(chain).rules[chain.rule]

    def rulebook_of(self, chain: Chain) -> Rulebook:
        return self.rulebook if chain.revision == self.rulebook.revision else self.rulebook_at(chain.revision)

    def holds(self, condition: Condition | None, chain: Chain, recipient: Mapping[str, Any] | None = None) -> bool:
        """Whether the ``unless`` of a step holds now, for every event that the chain gathered. Without one it does not.

        ``recipient`` has the values of the person for whom it is judged, where it is judged for each.
        """
        if condition is None:
            return False
        documents = self.documents(chain)
        if recipient is not None:
            documents = tuple(one.for_recipient(recipient) for one in documents)
        return all(self.holds_for(condition, one) for one in documents)

    def holds_for(self, condition: Condition | None, document: FieldValues) -> bool:
        """Whether the ``unless`` of a write holds for one event."""
        if condition is None:
            return False
        if self.observe_condition is not None:
            self.observe_condition(condition, document)
        return holds(condition, document)

    def document(self, chain: Chain) -> Document:
        """The document of a chain's newest event; made once until the event or a fact changes."""
        cached, version = self._cached, self.facts.version
        if (
            cached is None
            or cached.event is not chain.event
            or cached.start is not chain.start
            or cached.version != version
        ):
            document = document_of(chain, self.facts, self.rulebook.calendar, self.now)
            cached = self._cached = _CachedDocument(chain.start, chain.event, version, document)
        return cached.document

    def documents(self, chain: Chain) -> tuple[Document, ...]:
        """A document of each event that the chain gathered; all but a chain that joins events have one."""
        first = self.document(chain)
        return (first, *joined_documents(chain, self.facts, self.rulebook.calendar, self.now))

    def ended_document(self, chain: Chain) -> Document:
        """The document of a chain and of the event that ended it, whose fields come first."""
        return ended_document(chain, self.facts, self.rulebook.calendar, self.now)

    def severity(self, chain: Chain) -> Severity:
        declared = self.rule_of(chain).severity
        if isinstance(declared, FieldRef):
            return Severity(self.document(chain).get(declared.name, Severity.INFO))
        return declared

    def add_reason(
        self, reason: Reason, chain: Chain | None = None, step: str | None = None, *, rule: RuleId | None = None
    ) -> None:
        self.reasons.append(GivenReason(chain, step, reason, rule if chain is None else chain.rule))

    def cancel_request(self, message: MessageId) -> bool:
        """Take back a message that this decision itself requested; False where it did not."""
        others = [
            effect
            for effect in self.effects
            if not (isinstance(effect, RequestedMessage) and effect.send.message_id == message)
        ]
        cancelled = len(others) < len(self.effects)
        self.effects[:] = others
        return cancelled

    def request_withdrawal(self, withdrawal: WithdrawMessage) -> None:
        """Request the withdrawal of a message once, however many reasons there are."""
        known = (effect.message_id for effect in self.effects if isinstance(effect, WithdrawMessage))
        if withdrawal.message_id not in known:
            self.effects.append(withdrawal)

    def save_chain(self, chain: Chain) -> Chain:
        self.facts.set_chain(chain)
        return chain


def is_due(context: DecisionContext, chain: Chain, due: datetime | None) -> bool:
    """Whether something of this chain may happen by time alone.

    Its due instant must have passed, and every event from before it must have been applied: an answer that is still in
    Kafka, or in the queue of waiting events, comes before the reminder it makes needless. Nothing of a rule that an
    operator has paused happens by time.
    """
    if due is None or due > context.now or context.facts.is_paused(chain.rule):
        return False
    return due <= context.facts.read_to(chain)


class Decision(Struct, frozen=True):
    """The result for one event or one due chain (``about``), with its reasons and the changed facts.

    ``changes`` is a draft of the facts that were given, which stay as they are. ``record`` is None where nothing
    follows, for one reason that is counted rather than recorded. ``observations`` are for the metrics alone,
    ``evidence`` for the chains that writeback keeps.
    """

    about: str
    effects: tuple[Effect, ...]
    reasons: tuple[Reason, ...]
    record: DecisionRecorded | None
    changes: Facts
    observations: tuple[Observation, ...] = ()
    evidence: tuple[RecordEvidence, ...] = ()
