"""The desk a decision is made at: what is known, the time, the effects so far. It touches only the world it holds.

The one place that decides whether the time of something has come: what only time brings about happens nowhere else.

Its instant must lie behind us, and all that was said before it must have been read: an answer that stood in Kafka, or
stands in a queue, before a reminder was due, comes before the reminder.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from msgspec import Raw, Struct

from services.rules.conversation.button_ids import Keys
from services.rules.conversation.chain import Chain, Ending
from services.rules.conversation.document import Document, document_of, ended_document
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import Field as FieldRef
from services.rules.rulebook.model import Rule, Rulebook, Verb
from shared.contracts.consonance import Severity
from shared.contracts.ids import ChainId, MessageId, PersonId, Revision, TenantId
from shared.contracts.messages import SendMessage, WithdrawMessage
from shared.contracts.writes import RequestWrite


class Reason(StrEnum):
    """Why a rule spoke or stayed, and why somebody was left out. The same word stands in log, metric and row."""

    STARTED = "started"
    REPLANNED = "replanned"
    ALREADY_LIVE = "already_live"
    STEP_DUE = "step_due"
    ANSWERED = "answered"
    WAITS_FOR_QUORUM = "waits_for_quorum"
    ADDENDUM = "addendum"
    CLOSED_QUESTION = "closed_question"
    FREE_TEXT = "free_text"
    FORM = "form"
    ASKED_WHICH = "asked_which"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    ASKED_WHY = "asked_why"
    RELAYED = "relayed"
    ACKNOWLEDGEMENT = "acknowledgement"
    BRAKED = "braked"
    DELIVERY = "delivery"
    WRITE_SETTLED = "write_settled"
    UNTIL = "until"
    OWN_WRITE = "own_write"
    NOTHING_MATCHED = "nothing_matched"
    FACTS_KEPT = "facts_kept"
    STALE = "stale"
    NO_CONSENT = "no_consent"
    NO_ADDRESS = "no_address"
    UNREACHABLE = "unreachable"
    UNKNOWN_ROLE = "unknown_role"
    UNKNOWN_PERSON = "unknown_person"
    ERASED = "erased"


class RequestedMessage(Struct, frozen=True):
    """A message leaves. ``verb`` is the step's word for it."""

    send: SendMessage
    verb: Verb
    on_behalf_of: PersonId | None


class RequestedWithdrawal(Struct, frozen=True):
    withdrawal: WithdrawMessage


class RequestedWrite(Struct, frozen=True):
    request: RequestWrite


class ExcludedPerson(Struct, frozen=True):
    """``who`` is a person, or the role nobody fills."""

    chain_id: ChainId
    who: PersonId | str
    reason: Reason


class EndedChain(Struct, frozen=True):
    chain_id: ChainId
    ending: Ending


Effect = RequestedMessage | RequestedWithdrawal | RequestedWrite | ExcludedPerson | EndedChain


class _CachedDocument(Struct):
    """The document made last, and what it was made of."""

    start: Raw
    event: Raw
    version: int
    document: Document


@dataclass(slots=True)
class DecisionContext:
    """``books`` gives the rulebook of a revision: a chain keeps the steps it started with.

    ``spoken`` are the messages made here, held ones too.
    """

    facts: Facts
    book: Rulebook
    books: Callable[[Revision], Rulebook]
    now: datetime
    signing_keys: Keys
    cause: str = ""
    traceparent: str | None = None
    effects: list[Effect] = field(default_factory=list)
    reasons: list[tuple[Chain | None, str | None, Reason]] = field(default_factory=list)
    spoken: set[MessageId] = field(default_factory=set)
    _kept: _CachedDocument | None = None

    @property
    def tenant(self) -> TenantId:
        return self.facts.tenant

    def rule_of(self, chain: Chain) -> Rule:
        return self.rulebook_of(chain).rules[chain.rule]

    def rulebook_of(self, chain: Chain) -> Rulebook:
        return self.book if chain.revision == self.book.revision else self.books(chain.revision)

    def document(self, chain: Chain) -> Document:
        """The facts of a chain: the same document until another event, or a fact beside it, becomes known."""
        kept, version = self._kept, self.facts.version
        if kept is None or kept.event is not chain.event or kept.start is not chain.start or kept.version != version:
            document = document_of(chain, self.facts, self.book.calendar, self.now)
            kept = self._kept = _CachedDocument(chain.start, chain.event, version, document)
        return kept.document

    def ending(self, chain: Chain) -> Document:
        """The facts of a chain and what the event that ended it said; the newer word counts."""
        return ended_document(chain, self.facts, self.book.calendar, self.now)

    def severity(self, chain: Chain) -> Severity:
        declared = self.rule_of(chain).severity
        if isinstance(declared, FieldRef):
            return Severity(self.document(chain).get(declared.name, Severity.INFO))
        return declared

    def add_reason(self, reason: Reason, chain: Chain | None = None, step: str | None = None) -> None:
        self.reasons.append((chain, step, reason))

    def cancel_request(self, message: MessageId) -> bool:
        """Whether a message was to leave by this very decision: then it does not."""
        others = [
            effect
            for effect in self.effects
            if not (isinstance(effect, RequestedMessage) and effect.send.message_id == message)
        ]
        unsaid = len(others) < len(self.effects)
        self.effects[:] = others
        return unsaid

    def withdraw(self, withdrawal: WithdrawMessage) -> None:
        """Once for a message, however many reasons there are."""
        if all(
            not isinstance(e, RequestedWithdrawal) or e.withdrawal.message_id != withdrawal.message_id
            for e in self.effects
        ):
            self.effects.append(RequestedWithdrawal(withdrawal))

    def keep(self, chain: Chain) -> Chain:
        self.facts.set_chain(chain)
        return chain


def is_due(context: DecisionContext, chain: Chain, due: datetime | None) -> bool:
    """Whether something of this chain that is due then may happen now."""
    return due is not None and due <= context.now and due <= context.facts.read_to(chain)
