"""Learns the addresses that messages of ours arrived at: the number and the BSUID that WhatsApp's statuses name.

It runs beside the requests of the webhook, which never wait for it: statuses are accepted without the database. An
address that is lost with a process is learnt again from the person's next status.
"""

import asyncio
from collections.abc import Iterable
from itertools import islice

from services.ingest.identity import ReachedAddress, address_locks, learn_address, lookup_keys, person_event
from services.ingest.metrics import IngestMetrics
from services.ingest.records import EventContext
from services.ingest.store import PersonStore, write_transaction
from shared.contracts.errors import Unavailable
from shared.contracts.ids import TenantId
from shared.contracts.topics import CONTACTS
from shared.runtime.clock import Clock
from shared.runtime.failures import record_loop_error
from shared.runtime.postgres import Pool

_MOST_AT_ONCE = 200
_MOST_PENDING = 10_000
_MOST_KNOWN = 50_000
_RETRY_SECONDS = 5.0


class AddressLearner:
    """Call ``offer`` in the event loop of ``run``. A process looks up an address only once for each version of a
    person's state.
    """

    def __init__(self, pool: Pool, clock: Clock, tenant: TenantId, people: PersonStore, metrics: IngestMetrics) -> None:
        self._pool = pool
        self._clock = clock
        self._tenant = tenant
        self._people = people
        self._metrics = metrics
        self._known: dict[ReachedAddress, None] = {}
        self._pending: dict[ReachedAddress, None] = {}
        self._wake = asyncio.Event()

    @property
    def pending(self) -> int:
        return len(self._pending)

    def offer(self, reached: Iterable[ReachedAddress]) -> None:
        """Queue addresses that are not known yet. Those beyond a limit are left to a later status, so that memory stays
        flat while the database is away.
        """
        for one in reached:
            if one in self._known or one in self._pending or len(self._pending) >= _MOST_PENDING:
                continue
            self._pending[one] = None
            self._wake.set()

    async def run(self) -> None:
        """Learn queued addresses for ever; what cannot be learnt now is tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = [*islice(self._pending, _MOST_AT_ONCE)]
                try:
                    await self.learn(batch)
                except Unavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no address may end it
                    record_loop_error("addresses", error)
                for one in batch:
                    del self._pending[one]
                    self._known[one] = None
                while len(self._known) > _MOST_KNOWN:
                    del self._known[next(iter(self._known))]

    async def learn(self, batch: list[ReachedAddress]) -> None:
        """Most people are known with these addresses: only changes take locks. Raises Unavailable."""
        addresses = sorted({address for one in batch for address in lookup_keys(one.identity)})
        persons = sorted({one.person for one in batch})
        directory = await self._people.load(self._pool, addresses, persons)
        now = self._clock.now()
        for one in batch:
            learn_address(directory, one, now)
        if not directory.changed(now):
            return
        async with write_transaction(
            self._pool, self._clock, address_locks(self._tenant, [*addresses, *persons])
        ) as tx:
            directory = await self._people.load_for_update(tx.connection, addresses, persons)
            for one in batch:
                learn_address(directory, one, now)
            changed = directory.changed(now)
            await self._people.save(tx.connection, changed, directory.former_of(one.person_id for one in changed))
            context = EventContext(self._tenant, now, {})
            for person in changed:
                tx.publish(CONTACTS, person_event(person, context))
        self._metrics.count_updates(["address"] * len(changed))
