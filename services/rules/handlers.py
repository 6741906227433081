"""From a decision to the events that leave: messages, withdrawals, writes, and the record of the decision itself.

Read, decide, act: batches of events, chains that fall due, and events that waited.
"""

import time
from collections import defaultdict
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
from services.rules.metrics import RulesMetrics
from services.rules.rulebook.registry import RulebookRegistry
from shared.contracts.contacts import PersonObserved
from shared.contracts.decisions import SilenceRecorded
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ChainId, EventId, Revision, TenantId, derive_id, partition_key
from shared.contracts.topics import DECISIONS, MESSAGES_REQUESTED, WRITES_REQUESTED, Topic
from shared.runtime.batch import ReceivedEvent
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.telemetry import past_span
from shared.runtime.transaction import LocksBusy, Transaction, try_acquire_locks

SOURCE = "stet/rules"


class Cause(Struct, frozen=True):
    """The event, or the due instant, a decision follows from."""

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
        leaving = _leaving(cause, effect)
        if leaving is not None:
            yield leaving
    if decision.record is not None:
        record_id = derive_id("decision", cause.event_id)
        yield DECISIONS, _event(cause, record_id, cause.event_id, decision.record)


def silence_event(cause: Cause, events: Sequence[str], revision: Revision, reason: str) -> tuple[Topic, Event]:
    """One record for all events of a batch that were judged and stayed for the same reason."""
    ids = tuple(EventId(event) for event in events)
    record = SilenceRecorded(events=ids, revision=revision, reason=reason, decided_at=cause.now)
    record_id = derive_id("silence", *ids)
    return DECISIONS, _event(cause, record_id, record_id, record)


def _leaving(cause: Cause, effect: Effect) -> tuple[Topic, Event] | None:
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
    """``registry`` holds the current rulebook and those that live chains started under."""

    tenant: TenantId
    registry: RulebookRegistry
    decider: Decider
    metrics: RulesMetrics
    _crowded: dict[EventId, frozenset[str]] = field(default_factory=dict)

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """The keys of a batch, whoever it changes, and whom it met in somebody else's hands when it was tried before.

        Two ids that become one person take turns with what is said to, or by, either.
        """
        events = [received.event for received in batch]
        keys = {event.partitionkey for event in events}
        states = (event.data for event in events if isinstance(event.data, PersonObserved))
        keys.update(partition_key(self.tenant, "persons", one.merged_into) for one in states if one.merged_into)
        met = [self._crowded.pop(event.id) for event in events if event.id in self._crowded] if self._crowded else ()
        return {*keys, *store.exclusive_locks(events), *(name for names in met for name in names)}

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Judge every event of a batch in order; those that lack a fact wait in their key's queue."""
        events = [received.event for received in batch]
        wanted = find_required_facts(events, self.registry.current, self.tenant, tx.now)
        try:
            facts = await self._world(tx, wanted)
        except LocksBusy as crowded:
            self._crowded[events[0].id] = crowded.names
            raise
        keys = {event.partitionkey for event in events if event.id not in wanted.idle}
        queued = await waiting_events.queued_keys(tx.connection, keys) if keys else set()
        kept: list[tuple[Event, waiting_events.MissingFacts]] = []
        silent: dict[str, list[str]] = defaultdict(list)
        for event in events:
            if (idle := wanted.idle.get(event.id)) is not None:
                self.decider.shadow_evaluate(*idle)
                silent[Reason.NOTHING_MATCHED].append(event.id)
                continue
            lacks = waiting_events.find_missing(event, facts)
            if lacks or (event.partitionkey in queued and waiting_events.may_queue(event)):
                queued.add(event.partitionkey)
                kept.append((event, lacks))
            else:
                self._judge(tx, event, facts, silent)
        self._silences(tx, events, silent)
        await self._keep_waiting(tx, kept)
        await self._save(tx, facts)

    async def due(self, tx: Transaction, chains: Iterable[ChainId]) -> None:
        """Run what is due of these chains, each judged against the facts of now."""
        wanted = RequiredFacts(chains=set(chains), people=set(staff_ids(self.registry.current, self.tenant)))
        facts = await self._world(tx, wanted)
        for chain in list(facts.chains.values()):
            if not _is_due(chain, facts, tx.now):
                continue
            began = time.time_ns()
            decision = self.decider.due(chain, facts, tx.now)
            cause = Cause(
                self.tenant,
                decision.about,
                chain.key,
                chain.correlation or chain.chain_id,
                chain.traceparent,
                tx.now,
            )
            self._emit(tx, _traced(cause, decision, began), decision)
            if _is_due(facts.chains[chain.chain_id], facts, tx.now):
                raise RuntimeError("the chain stays due")
        await self._save(tx, facts)

    async def released(self, tx: Transaction, key: str, most: int) -> int:
        """Judge what waited under one key, in order, up to the first event that must wait on; how many left the queue.

        An error is that of one of the first ``most``.
        """
        ready = await waiting_events.ready_events(tx.connection, key, tx.now, most)
        events = [row.event for row in ready if isinstance(row.event, Event)]
        await try_acquire_locks(tx.connection, tx.service, store.exclusive_locks(events))
        facts = await self._world(tx, find_required_facts(events, self.registry.current, self.tenant, tx.now))
        silent: dict[str, list[str]] = defaultdict(list)
        for row in ready:
            if isinstance(row.event, Event):
                self._judge(tx, row.event, facts, silent)
            else:
                await waiting_events.park_event(tx, key, row, row.event.reason, str(row.event))
        self._silences(tx, events, silent)
        await waiting_events.dequeue(tx.connection, (row.place for row in ready))
        await self._save(tx, facts)
        return len(ready)

    async def park_first(self, tx: Transaction, key: str, error: Exception) -> None:
        """The first event waiting under a key cannot be judged: it is parked, and the others go on."""
        for row in await waiting_events.ready_events(tx.connection, key, tx.now, 1):
            await waiting_events.park_event(tx, key, row, parking_reason(error), describe_failure(error))

    async def _keep_waiting(self, tx: Transaction, kept: Sequence[tuple[Event, waiting_events.MissingFacts]]) -> None:
        await waiting_events.enqueue(tx.connection, self.tenant, kept, tx.now)
        stopping = {event.partitionkey for event, _ in kept if is_opt_out(event.data)}
        if stopping:
            await waiting_events.expire_waits(tx.connection, stopping, tx.now)

    async def _world(self, tx: Transaction, wanted: RequiredFacts) -> Facts:
        facts = await store.load(tx.connection, self.tenant, wanted)
        await self.registry.load_earlier(tx.connection, (chain.revision for chain in facts.chains.values()))
        return facts

    async def _save(self, tx: Transaction, facts: Facts) -> None:
        await store.save(tx.connection, facts, tx.now)
        self.metrics.publish()

    def _judge(self, tx: Transaction, event: Event, facts: Facts, silent: dict[str, list[str]]) -> None:
        began = time.time_ns()
        decision = self.decider.decide(event, facts, tx.now)
        self._emit(tx, _traced(Cause.of(event, tx.now), decision, began), decision)
        if decision.record is None:
            silent[decision.reasons[0]].append(event.id)

    def _emit(self, tx: Transaction, cause: Cause, decision: Decision) -> None:
        if decision.record is not None:
            self.metrics.count(decision)
        for topic, event in outgoing_events(cause, decision):
            tx.publish(topic, event)

    def _silences(self, tx: Transaction, events: Sequence[Event], silent: dict[str, list[str]]) -> None:
        for reason, ids in silent.items():
            self.metrics.count_silent(reason, len(ids))
            topic, event = silence_event(Cause.of(events[0], tx.now), ids, self.registry.current.revision, reason)
            tx.publish(topic, event)


def _traced(cause: Cause, decision: Decision, began_ns: int) -> Cause:
    """A span for a decision that has effects; what follows from them goes on from it."""
    if not decision.effects:
        return cause
    return structs.replace(cause, traceparent=past_span("rules.decide", cause.traceparent, began_ns))


def _is_due(chain: Chain, facts: Facts, now: datetime) -> bool:
    return chain.next_due is not None and chain.next_due <= min(now, facts.read_to(chain))
