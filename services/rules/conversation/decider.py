"""Decides what follows from one event or one due chain: a pure function to a decision with the changed facts.

Facts are brought up to date first, then ``until`` lines end chains, then rules start them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.rules.conversation import amendments, consent, inbound, merges, outcomes, release, separations
from services.rules.conversation.button_ids import Keys
from services.rules.conversation.chain import Chain
from services.rules.conversation.context import (
    Decision,
    DecisionContext,
    ExcludedPerson,
    ExclusionReason,
    GivenReason,
    Reason,
    RequestedMessage,
)
from services.rules.conversation.document import MESSAGE_RECEIVED, Document, items_asked
from services.rules.conversation.evidence import evidence_of
from services.rules.conversation.fact_updates import apply_event
from services.rules.conversation.fact_values import PersonFacts, UnsolicitedMessages
from services.rules.conversation.facts import Facts, fact_tags
from services.rules.conversation.outbound import reschedule_held
from services.rules.conversation.release import release_together
from services.rules.conversation.required_facts import refuses_marketing
from services.rules.conversation.steps import advance
from services.rules.conversation.triggers import RuleTrigger, end_chains, review_chain, start_chains
from services.rules.matching.conditions import FieldValues, holds
from services.rules.matching.matcher import Matcher, RuleMatcher
from services.rules.rulebook.model import Condition, Rule, Rulebook, until_id
from services.rules.rulebook.periods import PeriodStarted
from shared.clients.working_calendar import resolve_zone
from shared.contracts import consonance
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import (
    ConfirmationItem,
    Level,
    MetadataChange,
    MetadataChanged,
    MetadataField,
    WorkObserved,
)
from shared.contracts.contacts import PersonObserved
from shared.contracts.decisions import DecisionRecorded, RuleVerdict, VerdictKind
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import PersonId, Revision
from shared.contracts.messages import AmendMessage, MessageEventData, MessageFailed, WithdrawMessage
from shared.contracts.whatsapp import IdentityChanged, MediaRefused, MediaStored, MessageReceived, PreferenceChanged
from shared.contracts.writes import RequestWrite, WriteEventData, WriteOperation, WriteOutcome

ZoneOf = Callable[[PersonObserved], str | None]


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides on events and due chains by the rulebook in force. It changes none of its arguments and reads no clock.

    ``rulebook_at`` gives the rulebook a chain started under; ``zone_of`` the time zone of a person.
    ``observe_condition`` is told of each condition of a step or write, with the values it is evaluated on; only
    stories, whose coverage is counted, have one.
    """

    rulebook: Rulebook
    rulebook_at: Callable[[Revision], Rulebook]
    matcher: Matcher
    zone_of: ZoneOf
    signing_keys: Keys
    observe_condition: Callable[[Condition, FieldValues], None] | None = None

    def decide(self, event: Event, facts: Facts, now: datetime) -> Decision:
        """The decision on one event; ``now`` is business time. ``facts`` hold all that the event requires, and stay."""
        context = self._context(facts, now, event.id, event.traceparent)
        data = event.data
        if isinstance(data, PersonObserved):
            self._apply_person(context, data)
        elif isinstance(data, MessageReceived):
            context.written_at = data.at
            current = merges.with_current_ids(context.facts, data)
            trigger = self._message_trigger(context, event, current)
            inbound.handle_inbound(context, current, trigger, self._match_rules, as_sent=data)
        elif isinstance(data, MessageEventData):
            _apply_delivery(context, data)
        elif isinstance(data, WriteEventData):
            outcomes.apply_write_outcome(context, data)
        elif isinstance(data, (IdentityChanged, PreferenceChanged, MediaStored, MediaRefused)):
            _apply_report_on_person(context, data)
        elif isinstance(data, PeriodStarted):
            self._start_period(context, event, data)
        elif event.type in consonance.KINDS:
            self._apply_business_event(context, event)
        return _build_decision(context, event.id, data)

    def evaluate_idle(self, name: str, document: Document) -> None:
        """Match rules against an idle event, from which nothing can follow: the second engine sees every event."""
        self.matcher.match_rules(name, document)

    def decide_due(self, chain: Chain, facts: Facts, now: datetime) -> Decision:
        """Run everything of a chain that is due by ``now``, by the current facts.

        Messages that other chains hold for the same people leave together with its own. Messages that those chains hold
        for further people leave when those chains are due themselves, gathered from all chains of these people.
        """
        occurrence = f"{chain.chain_id}@{chain.next_due.isoformat() if chain.next_due else ''}"
        context = self._context(facts, now, occurrence, chain.traceparent)
        context.due_chain = chain.chain_id
        context.add_reason(Reason.STEP_DUE, chain)
        context.facts.chains.setdefault(chain.chain_id, chain)
        others = [one for one in release_together(context, chain) if one != chain.chain_id]
        advance(context, release.withdraw_excepted(context, context.facts.chains[chain.chain_id]))
        for other in others:
            context.add_reason(Reason.STEP_DUE, context.facts.chains[other])
            advance(context, context.facts.chains[other])
        return _build_decision(context, occurrence)

    def decide_change(self, chain: Chain, facts: Facts, now: datetime) -> Decision:
        """Apply the change of a rule to a chain of an earlier rulebook, by the rule's ``on_change``."""
        about = f"{chain.chain_id}@{self.rulebook.revision}"
        context = self._context(facts, now, about, chain.traceparent)
        review_chain(context, chain)
        return _build_decision(context, about)

    def _context(self, facts: Facts, now: datetime, cause: str, traceparent: str | None) -> DecisionContext:
        return DecisionContext(
            facts.draft(),
            self.rulebook,
            self.rulebook_at,
            now,
            self.signing_keys,
            cause=cause,
            traceparent=traceparent,
            observe_condition=self.observe_condition,
        )

    def _match_rules(self, trigger: RuleTrigger) -> list[Rule]:
        """The rules that an event starts, by name, so that every process starts their chains in the same order."""
        return [self.rulebook.rules[name] for name in sorted(self.matcher.match_rules(trigger.name, trigger.document))]

    def _until_holds(self, chain: Chain, index: int, name: str, document: Document) -> bool:
        """The second engine knows the rulebook in force only: a chain of an earlier one is evaluated without it."""
        if chain.revision == self.rulebook.revision:
            return until_id(chain.rule, index) in self.matcher.match_until(name, document)
        return holds(self.rulebook_at(chain.revision).rules[chain.rule].until[index].condition, document)

    def _apply_person(self, context: DecisionContext, seen: PersonObserved) -> None:
        known = context.facts.people.get(seen.person_id)
        if known is not None and known.version >= seen.version:
            context.add_reason(Reason.STALE)
            return
        context.add_reason(Reason.FACTS_KEPT)
        merged = (seen.merged_into, known.merged_into if known is not None else None)
        before = amendments.known_before(context, (seen.person_id, *merged))
        person = PersonFacts.of(seen, self.zone_of(seen))
        if known is not None and known.merged_into == person.merged_into:
            person = person.replace(moved_submission=known.moved_submission)
        consent.apply_separation(context, known, person)
        consent.apply_changed_address(context, known, person)
        consent.apply_changed_user(context, known, person, seen.user_since or seen.observed_at)
        separation = separations.undo_merge(context, known, person)
        context.facts.set_person(person)
        merges.follow_merge(context, known, seen.person_id)
        consent.apply_merge(context, seen.person_id)
        consent.apply_erasure(context, known, seen.person_id)
        separations.ask_again(context, separation)
        consent.apply_revived_stop(context, before)
        amendments.amend_waiting(context, before)
        _reschedule_held(context, before)
        if seen.erased and seen.person_id in context.facts.unsolicited:
            context.facts.set_unsolicited(seen.person_id, UnsolicitedMessages())

    def _message_trigger(self, context: DecisionContext, event: Event, message: MessageReceived) -> RuleTrigger:
        extra = {"answers_a_question": False}
        document = Document(
            message, context.facts, self.rulebook.calendar, context.now, sender=message.person_id, extra=extra
        )
        return RuleTrigger(event, MESSAGE_RECEIVED, document, line=message.line)

    def _apply_business_event(self, context: DecisionContext, event: Event) -> None:
        if not apply_event(context.facts, event):
            context.add_reason(Reason.OUTDATED)
            return
        if isinstance(event.data, WorkObserved):
            context.add_reason(Reason.FACTS_KEPT)
        elif _is_own_write(context.facts, event.data):
            context.add_reason(Reason.OWN_WRITE)
        else:
            document = Document(event.data, context.facts, self.rulebook.calendar, context.now)
            trigger = RuleTrigger(event, consonance.short_name(event.type), document)
            end_chains(context, trigger, self._until_holds)
            if matched := self._match_rules(trigger):
                start_chains(context, trigger, matched)
        release.withdraw_by_facts(context, fact_tags(event.data))

    def _start_period(self, context: DecisionContext, event: Event, data: PeriodStarted) -> None:
        """A recurring rule is due: start it, and no other rule, where its condition holds.

        A revision that is tried may have no such rule, or one that is not recurring.
        """
        rule = self.rulebook.rules.get(data.rule)
        if rule is None or rule.every is None:
            context.add_reason(Reason.NOTHING_MATCHED)
            return
        document = Document(data, context.facts, self.rulebook.calendar, context.now)
        trigger = RuleTrigger(event, rule.events[0], document)
        start_chains(context, trigger, [each for each in self._match_rules(trigger) if each is rule])


def decider_of(
    book: Rulebook,
    rulebook_at: Callable[[Revision], Rulebook],
    signing_keys: Keys,
    *,
    has_second_engine: bool = True,
) -> Decider:
    """The decider of a rulebook: people without a zone of their own get that of their country or phone number."""

    def zone_of(seen: PersonObserved) -> str | None:
        return resolve_zone(seen.zone, seen.country, seen.addresses.phone, book.calendar.office.zone)

    matcher = RuleMatcher(book.rules.values(), has_second_engine=has_second_engine)
    return Decider(book, rulebook_at, matcher, zone_of, signing_keys)


def _apply_delivery(context: DecisionContext, data: MessageEventData) -> None:
    outcomes.apply_delivery(context, data)
    if isinstance(data, MessageFailed) and refuses_marketing(data):
        before = amendments.known_before(context, (data.person_id,))
        consent.apply_marketing_refusal(context, data)
        amendments.amend_waiting(context, before)


def _reschedule_held(context: DecisionContext, before: Mapping[PersonId, amendments.KnownBefore]) -> None:
    """Give the held messages of these people a new hour of release, where the event has changed their hours."""
    for known in before.values():
        now = context.facts.current_person(known.person.person_id)
        if now is None or now.erased or not amendments.has_other_hours(context, known.person, now):
            continue
        for person in sorted(context.facts.ids_of_person(now.person_id)):
            for chain in context.facts.chains_of(person):
                held = reschedule_held(context, chain, now)
                if held is not chain:
                    context.save_chain(advance(context, held))


def _apply_report_on_person(
    context: DecisionContext, data: IdentityChanged | PreferenceChanged | MediaStored | MediaRefused
) -> None:
    """Apply what WhatsApp says of a person, or ingest of a file of theirs."""
    if isinstance(data, (MediaStored, MediaRefused)):
        outcomes.apply_file_report(context, data)
        return
    before = amendments.known_before(context, (data.person_id, *data.shared_with))
    if isinstance(data, IdentityChanged):
        consent.apply_identity_change(context, data)
    else:
        consent.apply_preference(context, data)
    consent.apply_revived_stop(context, before)
    amendments.amend_waiting(context, before)


def _is_own_write(facts: Facts, data: EventData) -> bool:
    """Whether metadata changed from the earlier value to exactly the one that a confirmed answer asked to write.

    A change back to that value, after others have written another one, is no own write, and starts rules. A write in
    conflict changed nothing.
    """
    if not isinstance(data, MetadataChanged):
        return False
    written: dict[tuple[MetadataField, Level, int], list[ConfirmationItem]] = {}
    for chain in facts.chains_that_wrote(data.work.work_id):
        if any(
            write.operation is WriteOperation.APPLY_METADATA and write.outcome is not WriteOutcome.CONFLICT
            for write in chain.writes
        ):
            for item in items_asked(chain):
                for target in item.target_ids:
                    written.setdefault((item.field, item.level, target), []).append(item)
    return all(
        any(_is_written(change, item) for item in written.get((change.field, change.level, change.target_id), ()))
        for change in data.changes
    )


def _is_written(change: MetadataChange, item: ConfirmationItem) -> bool:
    if canonical_hash(change.field, change.new) != canonical_hash(item.field, item.proposed_value):
        return False
    before = {item.current_hash, canonical_hash(item.field, item.current_value)}
    return change.old is None or canonical_hash(change.field, change.old) in before


def _build_decision(context: DecisionContext, about: str, cause: EventData | None = None) -> Decision:
    if not context.reasons:
        context.add_reason(Reason.NOTHING_MATCHED)
    reasons = tuple(given.reason for given in context.reasons)
    observations, evidence = tuple(context.observations), evidence_of(context, cause)
    if not context.effects and len(reasons) == 1 and reasons[0] in _SILENT_REASONS:
        return Decision(about, (), reasons, None, context.facts, observations, evidence)
    verdicts = tuple(_verdict(context, given) for given in context.reasons)
    record = DecisionRecorded(
        about=about, revision=context.rulebook.revision, verdicts=verdicts, decided_at=context.now
    )
    return Decision(about, tuple(context.effects), reasons, record, context.facts, observations, evidence)


_SILENT_REASONS = frozenset(
    {
        Reason.NOTHING_MATCHED,
        Reason.FACTS_KEPT,
        Reason.STALE,
        Reason.DELIVERY,
        Reason.ACKNOWLEDGEMENT,
        Reason.BRAKED,
        Reason.STRANGERS_BRAKED,
    }
)


def _verdict(context: DecisionContext, given: GivenReason) -> RuleVerdict:
    chain = given.chain
    mine = chain.chain_id if chain else None
    messages, withdrawn, writes = [], [], []
    state = context.facts.chains.get(chain.chain_id) if chain else None
    digests = {message.digest for message in state.messages if message.digest} if state else set()
    for effect in context.effects:
        if isinstance(effect, RequestedMessage) and (effect.send.chain_id == mine or effect.send.message_id in digests):
            messages.append(effect.send.message_id)
        elif isinstance(effect, AmendMessage) and given.reason is Reason.AMENDED:
            if state is None or state.messages_sent_as(effect.message_id):
                messages.append(effect.message_id)
        elif isinstance(effect, WithdrawMessage) and chain is not None:
            withdrawn.append(effect.message_id)
        elif isinstance(effect, RequestWrite) and effect.evidence.chain_id == mine:
            writes.append(effect.write_id)
    left_out = {who: why for s in (state.steps if state else ()) for who, why in s.left_out.items()}
    waiting = (e for e in context.effects if isinstance(e, ExcludedPerson) and e.chain_id == mine)
    left_out |= {str(e.who): e.reason for e in waiting if e.reason is ExclusionReason.WAITING}
    return RuleVerdict(
        rule=given.rule,
        chain_id=chain.chain_id if chain else None,
        step=given.step,
        verdict=VerdictKind.ACTED if messages or writes else VerdictKind.NOT_ACTED,
        reason=given.reason,
        messages=tuple(messages),
        withdrawn=tuple(withdrawn),
        writes=tuple(writes),
        left_out=left_out,
    )
