"""Handles batches of events, due chains and waiting events: load the facts, decide, publish, save.

A decision becomes events here: the messages, withdrawals and writes it requests, and the record of itself.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from msgspec import Struct, structs

from services.rules import store, waiting_events
from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision, Effect, HeldStrangers, Reason, RequestedMessage
from services.rules.conversation.facts import Facts
from services.rules.conversation.people import staff_ids
from services.rules.conversation.recurrence import Occurrence, latest_occurrence, people_of_list, period_events
from services.rules.conversation.required_facts import RequiredFacts, find_required_facts, is_opt_out
from services.rules.metrics import DecisionTally, RulesMetrics
from services.rules.recorded_inputs import InputsRecorder
from services.rules.rollout.revisions import Engine, RevisionsInForce, Rollout, TrialDecider
from services.rules.rulebook.model import Rule, Rulebook
from shared.contracts.contacts import PersonObserved
from shared.contracts.decisions import NoEffectRecorded
from shared.contracts.envelope import Event, EventData
from shared.contracts.evidence import RecordEvidence
from shared.contracts.ids import ChainId, EventId, MessageId, Revision, RuleId, TenantId, derive_id, partition_key
from shared.contracts.messages import AmendMessage, WithdrawMessage
from shared.contracts.topics import DECISIONS, EVIDENCE_REQUESTED, MESSAGES_REQUESTED, WRITES_REQUESTED, Topic
from shared.contracts.writes import RequestWrite
from shared.runtime.batch import ReceivedEvent
from shared.runtime.clock import machine_now
from shared.runtime.failures import LocksBusy, describe_failure, parking_reason
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import try_acquire_locks
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import is_recorded, past_span

SOURCE = "stet/rules"
_STRANGERS_HINT = "docs/operations/runbooks/StetStrangersBraked.md"
log = get_logger()


class Cause(Struct, frozen=True):
    """The event, or the due instant, that a decision is about."""

    tenant: TenantId
    event_id: str
    key: str
    correlation: str
    traceparent: str | None
    now: datetime

    @classmethod
    def of(cls, event: Event, now: datetime) -> "Cause":
        correlation = event.correlationid or event.id
        return cls(event.tenantid, event.id, event.partitionkey, correlation, event.traceparent, now)

    @classmethod
    def of_chain(cls, chain: Chain, about: str, now: datetime) -> "Cause":
        """``about`` names the due instant, or the changed rulebook."""
        return cls(chain.tenant, about, chain.key, chain.correlation or chain.chain_id, chain.traceparent, now)


def outgoing_events(cause: Cause, decision: Decision, commit: str | None) -> Iterator[tuple[Topic, Event]]:
    """The events of a decision, evidence before the writes it proves; its record names the commit of the rules."""
    for recorded in decision.evidence:
        yield EVIDENCE_REQUESTED, _event(cause, recorded.entry_id, _record_key(cause, recorded), recorded)
    for effect in decision.effects:
        command = _command_event(cause, effect)
        if command is not None:
            yield command
    if decision.record is not None:
        record_id = derive_id("decision", cause.event_id)
        yield DECISIONS, _event(cause, record_id, cause.event_id, decision.record.replace(commit=commit))


def no_effect_event(
    cause: Cause, events: Sequence[str], revision: Revision, reason: str, commit: str | None
) -> tuple[Topic, Event]:
    """One record for all events of a batch from which nothing follows, for the same reason."""
    ids = tuple(EventId(event) for event in events)
    record = NoEffectRecorded(events=ids, revision=revision, commit=commit, reason=reason, decided_at=cause.now)
    record_id = derive_id("silence", *ids)
    return DECISIONS, _event(cause, record_id, record_id, record)


def _command_event(cause: Cause, effect: Effect) -> tuple[Topic, Event] | None:
    if isinstance(effect, RequestedMessage):
        key = partition_key(cause.tenant, "persons", effect.send.person_id)
        return MESSAGES_REQUESTED, _event(cause, effect.send.message_id, key, effect.send)
    if isinstance(effect, AmendMessage):
        key = partition_key(cause.tenant, "persons", effect.person_id)
        return MESSAGES_REQUESTED, _event(cause, derive_id("amend", effect.message_id, cause.event_id), key, effect)
    if isinstance(effect, WithdrawMessage):
        key = partition_key(cause.tenant, "persons", effect.person_id)
        return MESSAGES_REQUESTED, _event(cause, derive_id("withdraw", effect.message_id), key, effect)
    if isinstance(effect, RequestWrite):
        return WRITES_REQUESTED, _event(cause, effect.write_id, _record_key(cause, effect), effect)
    return None


def _record_key(cause: Cause, request: RequestWrite | RecordEvidence) -> str:
    """The partition key of a write, and of evidence about the same record."""
    if request.work_id is not None:
        return partition_key(cause.tenant, "works", request.work_id)
    return partition_key(cause.tenant, request.record)


def _event(cause: Cause, event_id: str, key: str, data: EventData) -> Event:
    return Event(
        id=EventId(event_id),
        source=SOURCE,
        type=data.kind,
        time=cause.now,
        recordedtime=cause.now,
        tenantid=cause.tenant,
        partitionkey=key,
        correlationid=cause.correlation,
        causationid=cause.event_id,
        traceparent=cause.traceparent,
        data=data,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """One transaction: the revisions that decide in it, and what it has counted and must keep."""

    in_force: RevisionsInForce
    recorder: InputsRecorder
    trials: TrialDecider
    tally: DecisionTally = field(default_factory=DecisionTally)


@dataclass(slots=True)
class RulesHandlers:
    """``rollout`` says in each transaction which revision of the rules decides.

    ``keep_inputs``: what decisions are made from is kept. ``_busy_locks`` are, by the first event of a batch, the locks
    to take when it is tried again.
    """

    tenant: TenantId
    rollout: Rollout
    metrics: RulesMetrics
    keep_inputs: bool = False
    _busy_locks: dict[EventId, frozenset[str]] = field(default_factory=dict)

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """The locks of a batch: its keys, the people it changes, and the locks that were busy when it was tried before.

        A person that is merged into another locks both ids.
        """
        events = [received.event for received in batch]
        keys = {event.partitionkey for event in events}
        states = (event.data for event in events if isinstance(event.data, PersonObserved))
        keys.update(partition_key(self.tenant, "persons", one.merged_into) for one in states if one.merged_into)
        met = (
            [self._busy_locks.pop(event.id) for event in events if event.id in self._busy_locks]
            if self._busy_locks
            else ()
        )
        return {*keys, *store.exclusive_locks(events), *(name for names in met for name in names)}

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Decide every event of a batch in order; those that miss a fact wait in the queue of their key.

        Raises LocksBusy where another transaction is changing a person of the batch.
        """
        events = [received.event for received in batch]
        in_force = await self.rollout.in_force(tx.connection)
        await self._record_points(tx, batch, in_force)
        required = self._required_facts(events, in_force, tx.now)
        try:
            facts = await self._load_facts(tx, required)
        except LocksBusy as busy:
            self._busy_locks[events[0].id] = busy.names
            raise
        keys = {event.partitionkey for event in events if event.id not in required.idle}
        queued = await waiting_events.queued_keys(tx.connection, keys) if keys else set()
        waiting: list[tuple[Event, waiting_events.MissingFacts]] = []
        work = self._begin(in_force)
        for event in events:
            if (idle := required.idle.get(event.id)) is not None:
                in_force.active.decider.evaluate_idle(*idle)
                work.tally.silent[Reason.NOTHING_MATCHED, in_force.active.revision].append(event.id)
                work.tally.delays.append((tx.now - event.recordedtime).total_seconds())
                continue
            missing = waiting_events.find_missing(event, facts)
            if missing or (event.partitionkey in queued and waiting_events.may_queue(event)):
                queued.add(event.partitionkey)
                waiting.append((event, missing))
            else:
                await self._decide(tx, event, facts, work)
        self._publish_no_effects(tx, events, work)
        await self._enqueue(tx, waiting)
        await self._save(tx, facts, work)

    async def run_due(self, tx: Transaction, chains: Iterable[ChainId]) -> None:
        """Run the due steps of these chains, each by the current facts.

        Other chains that hold messages for the same people are loaded beside them. They are run when they are given,
        with the chains of all of their people. Raises RuntimeError for a chain that is due again at once.
        """
        due = frozenset(chains)
        in_force = await self.rollout.in_force(tx.connection)
        staff = {person for book in in_force.rulebooks for person in staff_ids(book, self.tenant)}
        facts = await self._load_facts(tx, RequiredFacts(chains=set(due), people=staff))
        work = self._begin(in_force)
        for chain_id in [one for one in facts.chains if one in due]:
            chain = facts.chains[chain_id]  # an earlier one may have released its messages
            if not _is_due(chain, facts, tx.now):
                continue
            began = time.time_ns()
            engine, decision = work.trials.decide_due(chain, facts, tx.now)
            work.recorder.add(decision, chain, tx.now)
            _apply(decision, facts, work)
            cause = Cause.of_chain(chain, decision.about, tx.now)
            await self._publish(tx, _with_span(cause, decision, began), decision, engine)
            if _is_due(facts.chains[chain.chain_id], facts, tx.now):
                raise RuntimeError(f"chain {chain.chain_id} stays due at {tx.now}")
        await self._save(tx, facts, work)

    async def review_changed(self, tx: Transaction, chains: Iterable[ChainId]) -> None:
        """Apply the change of the rulebook to these chains of earlier ones."""
        in_force = await self.rollout.in_force(tx.connection)
        required = RequiredFacts(chains=set(chains), people=set(staff_ids(in_force.active.rulebook, self.tenant)))
        facts = await self._load_facts(tx, required)
        work = self._begin(in_force)
        for chain_id in sorted(required.chains & facts.chains.keys()):
            chain = facts.chains[chain_id]
            decision = in_force.active.decider.decide_change(chain, facts, tx.now)
            _apply(decision, facts, work)
            await self._publish(tx, Cause.of_chain(chain, decision.about, tx.now), decision, in_force.active)
        await self._save(tx, facts, work)

    async def start_period(self, tx: Transaction, name: RuleId, occurrence: Occurrence) -> bool:
        """Start one period of a recurring rule; False where another replica has, or the rule is another now."""
        in_force = await self.rollout.in_force(tx.connection)
        book = in_force.active.rulebook
        rule = book.rules.get(name)
        if rule is None or rule.every is None:
            return False
        if latest_occurrence(rule.every, book.calendar.office, tx.now) != occurrence:
            return False
        started = store.StartedPeriod(name, occurrence.period, occurrence.at)
        if not await store.start_period(tx.connection, self.tenant, started):
            return False
        chains = await self._listed_chains(tx, rule, book)
        people = set(people_of_list(chains))
        staff = {person for tried in in_force.rulebooks for person in staff_ids(tried, self.tenant)}
        live = await store.active_chains(tx.connection, self.tenant, name) if rule.about else set()
        facts = await self._load_facts(tx, RequiredFacts(people=people | staff, chains=live))
        events, work = period_events(book, rule, occurrence, facts, chains, tx.now), self._begin(in_force)
        for event in events:
            await self._decide(tx, event, facts, work)
        self._publish_no_effects(tx, events, work)
        await self._save(tx, facts, work)
        return True

    async def _listed_chains(self, tx: Transaction, rule: Rule, book: Rulebook) -> list[Chain]:
        if rule.listing is None:
            return []
        return await store.open_chains(tx.connection, self.tenant, rule.listing.rules or book.rules)

    async def release_waiting(self, tx: Transaction, key: str, most: int) -> int:
        """Decide the first waiting events of a key, up to the first that must wait longer; returns how many.

        An error comes from one of the first ``most``.
        """
        ready = await waiting_events.ready_events(tx.connection, key, tx.now, most)
        events = [row.event for row in ready if isinstance(row.event, Event)]
        await try_acquire_locks(tx.connection, tx.service, store.exclusive_locks(events))
        in_force = await self.rollout.in_force(tx.connection)
        facts = await self._load_facts(tx, self._required_facts(events, in_force, tx.now))
        work = self._begin(in_force)
        for row in ready:
            if isinstance(row.event, Event):
                await self._decide(tx, row.event, facts, work)
            else:
                await waiting_events.park_event(tx, key, row, row.event.reason, str(row.event))
        self._publish_no_effects(tx, events, work)
        await waiting_events.dequeue(tx.connection, (row.place for row in ready))
        await self._save(tx, facts, work)
        return len(ready)

    async def park_first_waiting(self, tx: Transaction, key: str, error: Exception) -> None:
        """Park the first waiting event of a key, which cannot be decided."""
        for row in await waiting_events.ready_events(tx.connection, key, tx.now, 1):
            await waiting_events.park_event(tx, key, row, parking_reason(error), describe_failure(error))

    async def _enqueue(self, tx: Transaction, waiting: Sequence[tuple[Event, waiting_events.MissingFacts]]) -> None:
        await waiting_events.enqueue(tx.connection, self.tenant, waiting, tx.now)
        opting_out = {event.partitionkey for event, _ in waiting if is_opt_out(event.data)}
        if opting_out:
            await waiting_events.expire_waits(tx.connection, opting_out, tx.now)

    async def _load_facts(self, tx: Transaction, required: RequiredFacts) -> Facts:
        """Load the facts and lock the chains; decisions take the time after that as ``now``."""
        facts = await store.load(tx.connection, self.tenant, required)
        tx.read_clock()
        await self.rollout.engines.registry.load_earlier(
            tx.connection, {one for c in facts.chains.values() for one in (c.revision, c.reviewed) if one is not None}
        )
        return facts

    def _begin(self, in_force: RevisionsInForce) -> _Work:
        return _Work(in_force, InputsRecorder(self.tenant, enabled=self.keep_inputs), TrialDecider(in_force))

    async def _save(self, tx: Transaction, facts: Facts, work: _Work) -> None:
        await store.save(tx.connection, facts, tx.now)
        await work.recorder.save(tx.connection)
        await work.trials.save(tx.connection, self.tenant, machine_now())
        tx.on_commit(work.tally.publish)

    async def _record_points(self, tx: Transaction, batch: Sequence[ReceivedEvent], in_force: RevisionsInForce) -> None:
        """Write down where in each partition the revision in force begins, where that is here."""
        points, number = self.rollout.points, in_force.activation.number
        await points.record(tx.connection, batch, number)
        tx.on_commit(lambda: points.committed(batch, number))

    async def _decide(self, tx: Transaction, event: Event, facts: Facts, work: _Work) -> None:
        began = time.time_ns()
        engine, decision = work.trials.decide(event, facts, tx.now)
        work.recorder.add(decision, event, tx.now)
        _apply(decision, facts, work)
        work.tally.delays.append((tx.now - event.recordedtime).total_seconds())
        _log_held_strangers(tx, decision)
        await self._publish(tx, _with_span(Cause.of(event, tx.now), decision, began), decision, engine)
        if decision.record is None:
            work.tally.silent[decision.reasons[0], engine.revision].append(event.id)

    def _required_facts(self, events: Sequence[Event], in_force: RevisionsInForce, now: datetime) -> RequiredFacts:
        """The facts that all revisions together need that decide on these events."""
        ends = in_force.earlier_ends
        first, *tried = (find_required_facts(events, book, self.tenant, now, ends) for book in in_force.rulebooks)
        for other in tried:
            first.merge(other)
        return first

    async def _publish(self, tx: Transaction, cause: Cause, decision: Decision, engine: Engine) -> None:
        """Amendments take their numbers here, after the locks of the people and chains that they depend on."""
        outgoing = list(outgoing_events(cause, decision, engine.commit))
        amendments = sum(isinstance(event.data, AmendMessage) for _, event in outgoing)
        numbers = iter(await store.next_amendments(tx.connection, amendments) if amendments else ())
        for topic, event in outgoing:
            if isinstance(event.data, AmendMessage):
                event = event.replace(data=event.data.replace(number=next(numbers)))  # noqa: PLW2901 -- the same, numbered
            tx.publish(topic, event)

    def _publish_no_effects(self, tx: Transaction, events: Sequence[Event], work: _Work) -> None:
        for (reason, revision), ids in work.tally.silent.items():
            cause, commit = Cause.of(events[0], tx.now), work.in_force.commit_of(revision)
            tx.publish(*no_effect_event(cause, ids, revision, reason, commit))


def _apply(decision: Decision, facts: Facts, work: _Work) -> None:
    """Take over what a decision changes, for those that follow it in the same transaction."""
    facts.apply_changes(decision.changes)
    facts.message_expiries.update(_message_expiries(decision))
    work.tally.add(decision)


def _log_held_strangers(tx: Transaction, decision: Decision) -> None:
    for each in decision.observations:
        if isinstance(each, HeldStrangers):
            tx.on_commit(partial(_log_strangers, each.most, round(each.within.total_seconds())))


def _log_strangers(chains: int, seconds: int) -> None:
    log.warning("strangers.held", chains=chains, seconds=seconds, hint=_STRANGERS_HINT)


def _with_span(cause: Cause, decision: Decision, began_ns: int) -> Cause:
    """Make a span for a decision with effects, so that the trace of what follows continues it.

    A reply begins a trace of its own: its decision is linked to the trace of the question, by the chain of both.
    """
    if not decision.effects or not is_recorded(cause.traceparent):
        return cause
    rules = {verdict.rule for verdict in decision.record.verdicts if verdict.rule} if decision.record else set()
    attributes = {"stet.effects": len(decision.effects)} | ({"stet.rule": min(rules)} if len(rules) == 1 else {})
    chains = (decision.changes.chains[ChainId(str(key))] for kind, key in decision.changes.changed if kind == "chain")
    traces = [chain.traceparent for chain in chains if chain.traceparent != cause.traceparent]
    span = past_span("rules.decide", cause.traceparent, began_ns, attributes, traces)
    return structs.replace(cause, traceparent=span)


def _message_expiries(decision: Decision) -> Iterator[tuple[MessageId, datetime]]:
    sends = (effect.send for effect in decision.effects if isinstance(effect, RequestedMessage))
    return ((send.message_id, send.expires_at) for send in sends)


def _is_due(chain: Chain, facts: Facts, now: datetime) -> bool:
    if chain.next_due is None or facts.is_paused(chain.rule):
        return False
    return chain.next_due <= min(now, facts.read_to(chain))
