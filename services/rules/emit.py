"""From a decision to the events that leave: messages, withdrawals, writes, and the record of the decision itself."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from services.rules.decide import Decision
from services.rules.desk import Effect, Said, Withdrew, Wrote
from shared.contracts.decisions import SilenceRecorded
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import EventId, Revision, TenantId, derive_id, partition_key
from shared.contracts.topics import DECISIONS, MESSAGES_REQUESTED, WRITES_REQUESTED, Topic

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


def events_of(cause: Cause, decision: Decision) -> Iterator[tuple[Topic, Event]]:
    for effect in decision.effects:
        leaving = _leaving(cause, effect)
        if leaving is not None:
            yield leaving
    if decision.record is not None:
        record_id = derive_id("decision", cause.event_id)
        yield DECISIONS, _event(cause, record_id, cause.event_id, decision.record)


def silence(cause: Cause, events: Sequence[str], revision: Revision, reason: str) -> tuple[Topic, Event]:
    """One record for all events of a batch that were judged and stayed for the same reason."""
    ids = tuple(EventId(event) for event in events)
    record = SilenceRecorded(events=ids, revision=revision, reason=reason, decided_at=cause.now)
    record_id = derive_id("silence", *ids)
    return DECISIONS, _event(cause, record_id, record_id, record)


def _leaving(cause: Cause, effect: Effect) -> tuple[Topic, Event] | None:
    if isinstance(effect, Said):
        key = partition_key(cause.tenant, "persons", effect.send.person_id)
        return MESSAGES_REQUESTED, _event(cause, effect.send.message_id, key, effect.send)
    if isinstance(effect, Withdrew):
        withdrawal = effect.withdrawal
        key = partition_key(cause.tenant, "persons", withdrawal.person_id)
        return MESSAGES_REQUESTED, _event(cause, derive_id("withdraw", withdrawal.message_id), key, withdrawal)
    if isinstance(effect, Wrote):
        request = effect.request
        work = partition_key(cause.tenant, "works", request.work_id)
        key = work if request.work_id is not None else partition_key(cause.tenant, request.record)
        return WRITES_REQUESTED, _event(cause, request.write_id, key, request)
    return None


def _event(cause: Cause, event_id: str, key: str, data: EventData) -> Event:
    return Event(
        id=EventId(event_id), source=SOURCE, type=data.kind, time=cause.now, recordedtime=cause.now,
        tenantid=cause.tenant, partitionkey=key, correlationid=cause.correlation, causationid=cause.event_id,
        traceparent=cause.traceparent, data=data,
    )  # fmt: skip
