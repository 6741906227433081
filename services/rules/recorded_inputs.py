"""Keeps the inputs of decisions for a number of days, so that each decision can be explained, repeated and compared."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision
from services.rules.conversation.decision_inputs import DecisionInputs, record_inputs
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.values import encode
from shared.contracts.whatsapp import MediaRefused, MediaStored, MessageReceived
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.retention import Expiry, deletion

QUERIES = load_queries(__file__, "recorded_inputs.sql")
_OF_A_PERSON = (MessageReceived, PersonObserved, MediaStored, MediaRefused)
"""Events that are deleted with their person."""


@dataclass(slots=True)
class InputsRecorder:
    """Collects the inputs of the decisions of one transaction, and saves them with it.

    Where recording is not ``enabled``, only what was kept of erased people is deleted.
    """

    tenant: TenantId
    enabled: bool = True
    documents: dict[str, bytes] = field(default_factory=dict)
    _inputs: list[tuple[DecisionInputs, PersonId | None]] = field(default_factory=list)
    _owners: dict[str, PersonId] = field(default_factory=dict)
    _erased: set[PersonId] = field(default_factory=set)

    def add(self, decision: Decision, cause: Event | Chain, now: datetime) -> None:
        """Before the changes of the decision are applied. One that says nothing is not kept."""
        data = cause.data if isinstance(cause, Event) else None
        if isinstance(data, PersonObserved) and data.erased:
            self._erased.add(data.person_id)
        if decision.record is None or not self.enabled:
            return
        inputs = record_inputs(decision, cause, self.tenant, now, self.documents)
        self._inputs.append((inputs, data.person_id if isinstance(data, _OF_A_PERSON) else None))
        for table in ("people", "consent", "unsolicited", "absences", "counted"):
            self._owners.update((digest, PersonId(key)) for key, digest in inputs.documents.get(table, {}).items())

    async def save(self, connection: Connection) -> None:
        now = machine_now()
        if self._inputs:
            digests = sorted(self.documents)  # in one order, so that two transactions cannot deadlock
            owners = [self._owners.get(digest) for digest in digests]
            documents = [self.documents[digest] for digest in digests]
            await connection.execute(QUERIES.save_facts, digests, documents, owners, now.date())
            rows = zip(*_rows(self._inputs), strict=True)
            await connection.execute(QUERIES.save_inputs, self.tenant, *map(list, rows), now)
        if self._erased:
            await connection.execute(QUERIES.erase_facts, sorted(self._erased))
            await connection.execute(QUERIES.erase_inputs, sorted(self._erased))


def _rows(inputs: Iterable[tuple[DecisionInputs, PersonId | None]]) -> Iterator[tuple[Any, ...]]:
    for one, person in inputs:
        yield one.about, one.now, person, encode(one)


def input_expiries(pool: Pool, days: int) -> tuple[Expiry, ...]:
    """When recorded inputs, and facts that none of them has read, expire; by machine time."""
    return tuple(Expiry(deletion(pool, query), days) for query in (QUERIES.delete_old_inputs, QUERIES.delete_old_facts))
