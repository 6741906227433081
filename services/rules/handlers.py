"""Read, decide, act: batches of events, chains that fall due, and events that waited."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import structs

from services.rules import locks, store, waiting
from services.rules.books import Shelf
from services.rules.chain import Chain
from services.rules.decide import Decision
from services.rules.desk import Reason
from services.rules.emit import Cause, events_of, silence
from services.rules.verdicts import Verdicts
from services.rules.want import Wanted, is_stop, staff, want
from services.rules.world import World
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, EventId, TenantId, partition_key
from shared.runtime.batch import ReceivedEvent
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.telemetry import past_span
from shared.runtime.transaction import LocksBusy, Transaction, try_acquire_locks


@dataclass(slots=True)
class Rules:
    """``shelf`` holds the rulebook in force and those that live chains started under."""

    tenant: TenantId
    shelf: Shelf
    verdicts: Verdicts
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
        return {*keys, *locks.alone(events), *(name for names in met for name in names)}

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Judge every event of a batch in order; those that lack a fact wait in their key's queue."""
        events = [received.event for received in batch]
        wanted = want(events, self.shelf.book, self.tenant, tx.now)
        try:
            world = await self._world(tx, wanted)
        except LocksBusy as crowded:
            self._crowded[events[0].id] = crowded.names
            raise
        keys = {event.partitionkey for event in events if event.id not in wanted.idle}
        queued = await waiting.queued_keys(tx.connection, keys) if keys else set()
        kept: list[tuple[Event, waiting.Missing]] = []
        silent: dict[str, list[str]] = defaultdict(list)
        for event in events:
            if (idle := wanted.idle.get(event.id)) is not None:
                self.shelf.decider.pass_by(*idle)
                silent[Reason.NOTHING_MATCHED].append(event.id)
                continue
            lacks = waiting.missing(event, world)
            if lacks or (event.partitionkey in queued and waiting.may_queue(event)):
                queued.add(event.partitionkey)
                kept.append((event, lacks))
            else:
                self._judge(tx, event, world, silent)
        self._silences(tx, events, silent)
        await self._keep_waiting(tx, kept)
        await self._save(tx, world)

    async def due(self, tx: Transaction, chains: Iterable[ChainId]) -> None:
        """Run what is due of these chains, each judged against the facts of now."""
        wanted = Wanted(chains=set(chains), people=set(staff(self.shelf.book, self.tenant)))
        world = await self._world(tx, wanted)
        for chain in list(world.chains.values()):
            if not _is_due(chain, world, tx.now):
                continue
            began = time.time_ns()
            decision = self.shelf.decider.due(chain, world, tx.now)
            cause = Cause(
                self.tenant, decision.about, chain.key, chain.correlation or chain.chain_id,
                chain.traceparent, tx.now,
            )  # fmt: skip
            self._emit(tx, _traced(cause, decision, began), decision)
            if _is_due(world.chains[chain.chain_id], world, tx.now):
                raise RuntimeError("the chain stays due")
        await self._save(tx, world)

    async def released(self, tx: Transaction, key: str, most: int) -> int:
        """Judge what waited under one key, in order, up to the first event that must wait on; how many left the queue.

        An error is that of one of the first ``most``.
        """
        ready = await waiting.ready_of(tx.connection, key, tx.now, most)
        events = [row.event for row in ready if isinstance(row.event, Event)]
        await try_acquire_locks(tx.connection, tx.service, locks.alone(events))
        world = await self._world(tx, want(events, self.shelf.book, self.tenant, tx.now))
        silent: dict[str, list[str]] = defaultdict(list)
        for row in ready:
            if isinstance(row.event, Event):
                self._judge(tx, row.event, world, silent)
            else:
                await waiting.park(tx, key, row, row.event.reason, str(row.event))
        self._silences(tx, events, silent)
        await waiting.leave_queue(tx.connection, (row.place for row in ready))
        await self._save(tx, world)
        return len(ready)

    async def park_first(self, tx: Transaction, key: str, error: Exception) -> None:
        """The first event waiting under a key cannot be judged: it is parked, and the others go on."""
        for row in await waiting.ready_of(tx.connection, key, tx.now, 1):
            await waiting.park(tx, key, row, parking_reason(error), describe_failure(error))

    async def _keep_waiting(self, tx: Transaction, kept: Sequence[tuple[Event, waiting.Missing]]) -> None:
        await waiting.queue(tx.connection, self.tenant, kept, tx.now)
        stopping = {event.partitionkey for event, _ in kept if is_stop(event.data)}
        if stopping:
            await waiting.hurry(tx.connection, stopping, tx.now)

    async def _world(self, tx: Transaction, wanted: Wanted) -> World:
        world = await store.load(tx.connection, self.tenant, wanted)
        await self.shelf.fetch(tx.connection, (chain.revision for chain in world.chains.values()))
        return world

    async def _save(self, tx: Transaction, world: World) -> None:
        await store.save(tx.connection, world, tx.now)
        self.verdicts.tell()

    def _judge(self, tx: Transaction, event: Event, world: World, silent: dict[str, list[str]]) -> None:
        began = time.time_ns()
        decision = self.shelf.decider.decide(event, world, tx.now)
        self._emit(tx, _traced(Cause.of(event, tx.now), decision, began), decision)
        if decision.record is None:
            silent[decision.reasons[0]].append(event.id)

    def _emit(self, tx: Transaction, cause: Cause, decision: Decision) -> None:
        if decision.record is not None:
            self.verdicts.count(decision)
        for topic, event in events_of(cause, decision):
            tx.publish(topic, event)

    def _silences(self, tx: Transaction, events: Sequence[Event], silent: dict[str, list[str]]) -> None:
        for reason, ids in silent.items():
            self.verdicts.stayed(reason, len(ids))
            topic, event = silence(Cause.of(events[0], tx.now), ids, self.shelf.book.revision, reason)
            tx.publish(topic, event)


def _traced(cause: Cause, decision: Decision, began_ns: int) -> Cause:
    """A span for a decision that has effects; what follows from them goes on from it."""
    if not decision.effects:
        return cause
    return structs.replace(cause, traceparent=past_span("rules.decide", cause.traceparent, began_ns))


def _is_due(chain: Chain, world: World, now: datetime) -> bool:
    return chain.next_due is not None and chain.next_due <= min(now, world.read_to(chain))
