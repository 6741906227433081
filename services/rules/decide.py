"""The heart: one occurrence in, one decision out. It reads and changes only the world it is given, and reads no clock.

Facts come first (a work is observed before what changed in it is judged), then ``until``, then ``on``.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from services.rules import consent, listen, settle
from services.rules.advance import advance
from services.rules.buttons import Keys
from services.rules.chain import Chain
from services.rules.conditions import holds
from services.rules.desk import Desk, Effect, Reason, Said, Withdrew, Wrote
from services.rules.facts import MESSAGE_RECEIVED, Document, items_asked
from services.rules.fold import fold_facts
from services.rules.rulebook import Rule, Rulebook, until_id
from services.rules.start import Occasion, begin_chains, end_chains
from services.rules.world import Person, Unasked, World
from shared.contracts import consonance
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import MetadataChanged, WorkObserved
from shared.contracts.contacts import PersonObserved
from shared.contracts.decisions import DecisionRecorded, RuleVerdict, Verdict
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import Revision, RuleId
from shared.contracts.messages import MessageEventData
from shared.contracts.whatsapp import IdentityChanged, MessageReceived
from shared.contracts.writes import Operation, WriteEventData


class Engine(Protocol):
    """Which conditions hold, by the rulebook in force: the joint answer of the rule engine and its reference."""

    def judge(self, event: str, document: Document) -> Collection[RuleId]:
        """The rules this event starts."""

    def judge_until(self, event: str, document: Document) -> Collection[RuleId]:
        """The ``until`` lines that hold, as ``until_id`` names them; the document has the chain they would end."""


ZoneOf = Callable[[PersonObserved], str | None]


class Decision(Struct, frozen=True):
    """What follows from one event or one due chain (``about``), and why. ``record`` None: nothing, for one reason."""

    about: str
    effects: tuple[Effect, ...]
    reasons: tuple[Reason, ...]
    record: DecisionRecorded | None


@dataclass(frozen=True, slots=True)
class Decider:
    """The rulebook in force, and who judges its conditions. ``books`` gives the rulebook a chain started under."""

    book: Rulebook
    books: Callable[[Revision], Rulebook]
    engine: Engine
    zone_of: ZoneOf
    signing_keys: Keys

    def decide(self, event: Event, world: World, now: datetime) -> Decision:
        desk = self._desk(world, now, event.id, event.traceparent)
        data = event.data
        if isinstance(data, PersonObserved):
            self._person(desk, data)
        elif isinstance(data, MessageReceived):
            listen.heard(desk, data, self._heard(desk, event, data), self._matched)
        elif isinstance(data, MessageEventData):
            settle.delivery(desk, data)
        elif isinstance(data, WriteEventData):
            settle.write(desk, data)
        elif isinstance(data, IdentityChanged):
            consent.identity_changed(desk, data)
        elif event.type in consonance.KINDS:
            self._happened(desk, event)
        return _decision(desk, event.id)

    def pass_by(self, name: str, document: Document) -> None:
        """An event of which nothing can come (``want``): both engines look at it all the same, and would say so."""
        self.engine.judge(name, document)

    def due(self, chain: Chain, world: World, now: datetime) -> Decision:
        """A chain's next instant has come: everything of it that is due by now, judged against today's facts."""
        occurrence = f"{chain.chain_id}@{chain.next_due.isoformat() if chain.next_due else ''}"
        desk = self._desk(world, now, occurrence, chain.traceparent)
        desk.judged(Reason.STEP_DUE, chain)
        advance(desk, chain)
        return _decision(desk, occurrence)

    def _desk(self, world: World, now: datetime, cause: str, traceparent: str | None) -> Desk:
        return Desk(world, self.book, self.books, now, self.signing_keys, cause=cause, traceparent=traceparent)

    def _matched(self, occasion: Occasion) -> list[Rule]:
        return [self.book.rules[name] for name in self.engine.judge(occasion.name, occasion.document)]

    def _ends(self, chain: Chain, index: int, name: str, document: Document) -> bool:
        """A chain of an earlier rulebook is judged by the reference alone: its engine is gone."""
        if chain.revision == self.book.revision:
            return until_id(chain.rule, index) in self.engine.judge_until(name, document)
        return holds(self.books(chain.revision).rules[chain.rule].until[index].condition, document)

    def _person(self, desk: Desk, seen: PersonObserved) -> None:
        known = desk.world.people.get(seen.person_id)
        if known is not None and known.version >= seen.version:
            desk.judged(Reason.STALE)
            return
        desk.judged(Reason.FACTS_KEPT)
        consent.before_known(desk, known)
        desk.world.keep_person(Person.of(seen, self.zone_of(seen)))
        consent.merged(desk, seen.person_id)
        if seen.erased:
            desk.world.keep_unasked(seen.person_id, Unasked())

    def _heard(self, desk: Desk, event: Event, message: MessageReceived) -> Occasion:
        extra = {"answers_a_question": False}
        document = Document(message, desk.world, self.book.calendar, desk.now, sender=message.person_id, extra=extra)
        return Occasion(event, MESSAGE_RECEIVED, document, line=message.line)

    def _happened(self, desk: Desk, event: Event) -> None:
        fold_facts(desk.world, event)
        document = Document(event.data, desk.world, self.book.calendar, desk.now)
        occasion = Occasion(event, consonance.short_name(event.type), document)
        if isinstance(event.data, WorkObserved):
            desk.judged(Reason.FACTS_KEPT)
            return
        if _own_write(desk.world, event.data):
            desk.judged(Reason.OWN_WRITE)
            return
        end_chains(desk, occasion, self._ends)
        matched = self._matched(occasion)
        if matched:
            begin_chains(desk, occasion, matched)
        if not desk.reasons:
            desk.judged(Reason.NOTHING_MATCHED)


def _own_write(world: World, data: EventData) -> bool:
    """Metadata that changed to exactly what a confirmed answer wrote: our own doing, and no news to anybody."""
    if not isinstance(data, MetadataChanged):
        return False
    ours = {
        (item.field, item.level, target, canonical_hash(item.field, item.proposed_value))
        for chain in world.chains.values()
        if any(w.operation is Operation.APPLY_METADATA for w in chain.writings)
        for item in items_asked(chain)
        for target in item.target_ids
    }
    return all((c.field, c.level, c.target_id, canonical_hash(c.field, c.new)) in ours for c in data.changes)


# ------------------------------------------------------------------ the record of it


def _decision(desk: Desk, about: str) -> Decision:
    if not desk.reasons:
        desk.judged(Reason.NOTHING_MATCHED)
    reasons = tuple(reason for _, _, reason in desk.reasons)
    if not desk.effects and len(reasons) == 1 and reasons[0] in _SILENT:
        return Decision(about, (), reasons, None)
    verdicts = tuple(_verdict(desk, chain, step, reason) for chain, step, reason in desk.reasons)
    record = DecisionRecorded(about=about, revision=desk.book.revision, verdicts=verdicts, decided_at=desk.now)
    return Decision(about, tuple(desk.effects), reasons, record)


_SILENT = frozenset(
    {
        Reason.NOTHING_MATCHED, Reason.FACTS_KEPT, Reason.STALE, Reason.DELIVERY, Reason.ACKNOWLEDGEMENT,
        Reason.BRAKED,
    }
)  # fmt: skip


def _verdict(desk: Desk, chain: Chain | None, step: str | None, reason: Reason) -> RuleVerdict:
    mine = chain.chain_id if chain else None
    messages, withdrawn, writes = [], [], []
    for effect in desk.effects:
        if isinstance(effect, Said) and effect.send.chain_id == mine:
            messages.append(effect.send.message_id)
        elif isinstance(effect, Withdrew) and chain is not None:
            withdrawn.append(effect.withdrawal.message_id)
        elif isinstance(effect, Wrote) and effect.request.evidence.chain_id == mine:
            writes.append(effect.request.write_id)
    state = desk.world.chains.get(chain.chain_id) if chain else None
    left_out = {who: why for s in (state.steps if state else ()) for who, why in s.left_out.items()}
    return RuleVerdict(
        rule=chain.rule if chain else None, chain_id=chain.chain_id if chain else None, step=step,
        verdict=Verdict.SPOKE if messages or writes else Verdict.STAYED, reason=reason,
        messages=tuple(messages), withdrawn=tuple(withdrawn), writes=tuple(writes), left_out=left_out,
    )  # fmt: skip
