"""Handles batches of events, due chains and waiting events: load the facts, decide, publish, save.

A decision becomes events here: the messages, withdrawals and writes it requests, and the record of itself.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct, structs

from services.rules import store, waiting_events
from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Effect, Reason, RequestedMessage, RequestedWithdrawal, RequestedWrite
from services.rules.conversation.decider import Decider, Decision
from services.rules.conversation.facts import Facts
from services.rules.conversation.required_facts import RequiredFacts, find_required_facts, is_opt_out, staff_ids
from services.rules.metrics import DecisionTally, RulesMetrics
from services.rules.recorded_inputs import InputsRecorder
from services.rules.rulebook.registry import RulebookRegistry
from shared.contracts.contacts import PersonObserved
from shared.contracts.decisions import SilenceRecorded
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ChainId, EventId, MessageId, Revision, TenantId, derive_id, partition_key
from shared.contracts.topics import DECISIONS, MESSAGES_REQUESTED, WRITES_REQUESTED, Topic
from shared.runtime.batch import ReceivedEvent
from shared.runtime.failures import LocksBusy, describe_failure, parking_reason
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import try_acquire_locks
from shared.runtime.tracing import is_recording, past_span

SOURCE = "stet/rules"


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


def outgoing_events(cause: Cause, decision: Decision) -> Iterator[tuple[Topic, Event]]:
    for effect in decision.effects:
        command = _command_event(cause, effect)
        if command is not None:
            yield command
    if decision.record is not None:
        record_id = derive_id("decision", cause.event_id)
        yield DECISIONS, _event(cause, record_id, cause.event_id, decision.record)


def silence_event(cause: Cause, events: Sequence[str], revision: Revision, reason: str) -> tuple[Topic, Event]:
    """One record for all events of a batch from which nothing follows, for the same reason."""
    ids = tuple(EventId(event) for event in events)
    record = SilenceRecorded(events=ids, revision=revision, reason=reason, decided_at=cause.now)
    record_id = derive_id("silence", *ids)
    return DECISIONS, _event(cause, record_id, record_id, record)


def _command_event(cause: Cause, effect: Effect) -> tuple[Topic, Event] | None:
    if isinstance(effect, RequestedMessage):
        key = partition_key(cause.tenant, "persons", effect.send.person_id)
        return MESSAGES_REQUESTED, _event(cause, effect.send.message_id, key, effect.send)
    if isinstance(effect, RequestedWithdrawal):
        withdrawal = effect.withdrawal
        key = partition_key(cause.tenant, "persons", withdrawal.person_id)
        return MESSAGES_REQUESTED, _event(cause, derive_id("withdraw", withdrawal.message_id), key, withdrawal)
    if isinstance(effect, RequestedWrite):
        request = effect.request
        work = partition_key(cause.tenant, "works", request.work_id)
        key = work if request.work_id is not None else partition_key(cause.tenant, request.record)
        return WRITES_REQUESTED, _event(cause, request.write_id, key, request)
    return None


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


@dataclass(slots=True)
class RulesHandlers:
    """``registry`` holds the current rulebook and those that live chains started under.

    ``keep_inputs``: what decisions are made from is kept. ``_busy_locks`` are, by the first event of a batch, the locks
    to take when it is tried again.
    """

    tenant: TenantId
    registry: RulebookRegistry
    decider: Decider
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
        required = find_required_facts(events, self.registry.current, self.tenant, tx.now)
        try:
            facts = await self._load_facts(tx, required)
        except LocksBusy as busy:
            self._busy_locks[events[0].id] = busy.names
            raise
        keys = {event.partitionkey for event in events if event.id not in required.idle}
        queued = await waiting_events.queued_keys(tx.connection, keys) if keys else set()
        waiting: list[tuple[Event, waiting_events.MissingFacts]] = []
        tally, recorder = DecisionTally(), self._recorder()
        for event in events:
            if (idle := required.idle.get(event.id)) is not None:
                self.decider.shadow_evaluate(*idle)
                tally.silent[Reason.NOTHING_MATCHED].append(event.id)
                tally.delays.append((tx.now - event.recordedtime).total_seconds())
                continue
            missing = waiting_events.find_missing(event, facts)
            if missing or (event.partitionkey in queued and waiting_events.may_queue(event)):
                queued.add(event.partitionkey)
                waiting.append((event, missing))
            else:
                self._decide(tx, event, facts, tally, recorder)
        self._publish_silences(tx, events, tally)
        await self._enqueue(tx, waiting)
        await self._save(tx, facts, tally, recorder)

    async def run_due(self, tx: Transaction, chains: Iterable[ChainId]) -> None:
        """Run what is due of these chains, each by the facts of now."""
        required = RequiredFacts(chains=set(chains), people=set(staff_ids(self.registry.current, self.tenant)))
        facts = await self._load_facts(tx, required)
        tally, recorder = DecisionTally(), self._recorder()
        for chain in list(facts.chains.values()):
            if not _is_due(chain, facts, tx.now):
                continue
            began = time.time_ns()
            decision = self.decider.decide_due(chain, facts, tx.now)
            recorder.add(decision, chain, tx.now)
            facts.apply_changes(decision.changes)
            facts.message_expiries.update(_message_expiries(decision))
            cause = Cause(
                self.tenant,
                decision.about,
                chain.key,
                chain.correlation or chain.chain_id,
                chain.traceparent,
                tx.now,
            )
            tally.add(decision)
            self._publish(tx, _with_span(cause, decision, began), decision)
            if _is_due(facts.chains[chain.chain_id], facts, tx.now):
                raise RuntimeError(f"chain {chain.chain_id} stays due at {tx.now}")
        await self._save(tx, facts, tally, recorder)

    async def release_waiting(self, tx: Transaction, key: str, most: int) -> int:
        """Decide the first waiting events of a key, up to the first that must wait longer; returns how many.

        An error comes from one of the first ``most``.
        """
        ready = await waiting_events.ready_events(tx.connection, key, tx.now, most)
        events = [row.event for row in ready if isinstance(row.event, Event)]
        await try_acquire_locks(tx.connection, tx.service, store.exclusive_locks(events))
        facts = await self._load_facts(tx, find_required_facts(events, self.registry.current, self.tenant, tx.now))
        tally, recorder = DecisionTally(), self._recorder()
        for row in ready:
            if isinstance(row.event, Event):
                self._decide(tx, row.event, facts, tally, recorder)
            else:
                await waiting_events.park_event(tx, key, row, row.event.reason, str(row.event))
        self._publish_silences(tx, events, tally)
        await waiting_events.dequeue(tx.connection, (row.place for row in ready))
        await self._save(tx, facts, tally, recorder)
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
        facts = await store.load(tx.connection, self.tenant, required)
        await self.registry.load_earlier(tx.connection, (chain.revision for chain in facts.chains.values()))
        return facts

    def _recorder(self) -> InputsRecorder:
        return InputsRecorder(self.tenant, enabled=self.keep_inputs)

    async def _save(self, tx: Transaction, facts: Facts, tally: DecisionTally, recorder: InputsRecorder) -> None:
        await store.save(tx.connection, facts, tx.now)
        await recorder.save(tx.connection)
        tx.on_commit(tally.publish)

    def _decide(
        self, tx: Transaction, event: Event, facts: Facts, tally: DecisionTally, recorder: InputsRecorder
    ) -> None:
        began = time.time_ns()
        decision = self.decider.decide(event, facts, tx.now)
        recorder.add(decision, event, tx.now)
        facts.apply_changes(decision.changes)
        tally.add(decision)
        tally.delays.append((tx.now - event.recordedtime).total_seconds())
        facts.message_expiries.update(_message_expiries(decision))
        self._publish(tx, _with_span(Cause.of(event, tx.now), decision, began), decision)
        if decision.record is None:
            tally.silent[decision.reasons[0]].append(event.id)

    def _publish(self, tx: Transaction, cause: Cause, decision: Decision) -> None:
        for topic, event in outgoing_events(cause, decision):
            tx.publish(topic, event)

    def _publish_silences(self, tx: Transaction, events: Sequence[Event], tally: DecisionTally) -> None:
        for reason, ids in tally.silent.items():
            topic, event = silence_event(Cause.of(events[0], tx.now), ids, self.registry.current.revision, reason)
            tx.publish(topic, event)


def _with_span(cause: Cause, decision: Decision, began_ns: int) -> Cause:
    """Make a span for a decision with effects, so that the trace of what follows continues it.

    A reply begins a trace of its own: its decision is linked to the trace of the question, by the chain of both.
    """
    if not decision.effects or not is_recording():
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
