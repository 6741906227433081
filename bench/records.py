"""Invented people, works and events, as the records that ingest would publish; the same on every run."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import orjson
from aiokafka import AIOKafkaProducer
from msgspec import to_builtins

from dev.layout import TENANT
from shared.contracts.consonance import StageChanged, WorkObserved
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import (
    ContactId,
    EventId,
    PersonId,
    Phone,
    TenantId,
    WorkId,
    partition_key,
    person_id_of_contact,
)
from shared.contracts.topics import Topic
from shared.contracts.vocabulary import PartyRef, Role, Stage, WorkRef

KeyedRecord = tuple[str, bytes]
"""A key and a value."""

PEOPLE = 2_000
WORKS = 1_000
MATCHING_EVERY = 10
"""One event in so many matches a rule."""

SAMPLED_EVERY = 100
"""One event in so many belongs to a trace that is recorded: what one ingest lets through of 5,000 a second."""

_TENANT = TenantId(TENANT)
_COPRIME = 7919  # to SAMPLED_EVERY


def person_id(number: int) -> PersonId:
    return person_id_of_contact(_TENANT, ContactId(10_000 + number))


def people_records(count: int, now: datetime) -> Iterator[KeyedRecord]:
    return person_records(people(count, now), now)


def people(count: int, now: datetime) -> Iterator[PersonObserved]:
    for number in range(count):
        yield PersonObserved(
            person_id=person_id(number),
            contact_id=ContactId(10_000 + number),
            display_name=f"Reader {number}",
            country="GB",
            language="en",
            zone="Europe/London",
            addresses=Addresses(phone=Phone(f"+4479{number:08d}")),
            observed_at=now,
            version=1,
        )


def person_records(observed: Iterable[PersonObserved], now: datetime) -> Iterator[KeyedRecord]:
    for person in observed:
        yield keyed_record(person, f"contact-{person.contact_id}", person_key(person.person_id), now)


def work_records(now: datetime) -> Iterator[KeyedRecord]:
    """Each work has an author and an illustrator, the two recipients of a rule about it."""
    for number in range(WORKS):
        work = _work(number)
        people = tuple(_party(2 * number + place, role) for place, role in enumerate((Role.AUTHOR, Role.ILLUSTRATOR)))
        observed = WorkObserved(work=work, stage_key=Stage.UNMAPPED, people=people)
        yield keyed_record(observed, f"work-{number}", _work_key(work.work_id), now)


def stage_change_records(first: int, count: int, rules: int, now: datetime) -> Iterator[KeyedRecord]:
    """Events ``first`` and on: one in ten names a stage that exactly one of ``rules`` rules matches."""
    sample = orjson.loads(keyed_record(_change(0, now), "change", "key", now)[1])
    for number in range(first, first + count):
        match, rest = divmod(number, MATCHING_EVERY)
        work = _work(number // MATCHING_EVERY % WORKS if rest == 0 else number % WORKS)
        key = _work_key(work.work_id)
        stage = stage_of(match % rules) if rest == 0 else f"elsewhere-{number % 97}"
        own = {"id": f"change-{number}", "partitionkey": key, "traceparent": _traceparent(number)}
        data = {**sample["data"], "work": to_builtins(work), "to_stage": stage}
        yield key, orjson.dumps({**sample, **own, "data": data})


def _traceparent(number: int) -> str:
    """Of a trace of its own; one in so many is recorded, among the matching events as well."""
    is_sampled = number * _COPRIME % SAMPLED_EVERY == 0
    return f"00-{number + 1:032x}-{number + 1:016x}-{is_sampled:02x}"


def stage_of(rule: int) -> str:
    return f"bench-{rule:04d}"


def _change(number: int, now: datetime) -> StageChanged:
    return StageChanged(
        work=_work(number), from_stage="before", to_stage="after", to_stage_key=Stage.UNMAPPED, changed_at=now
    )


def _work(number: int) -> WorkRef:
    return WorkRef(work_id=WorkId(50_000 + number), title=f"The Book of Number {number}", stage="before")


def person_key(person: PersonId) -> str:
    return partition_key(_TENANT, "persons", person)


def _party(number: int, role: Role) -> PartyRef:
    contact = ContactId(10_000 + number)
    return PartyRef(person_id=person_id(number), contact_id=contact, display_name=f"Reader {number}", role=role)


def _work_key(work: WorkId) -> str:
    return partition_key(_TENANT, "works", work)


def keyed_record(data: EventData, event_id: str, key: str, now: datetime) -> KeyedRecord:
    event = Event(
        id=EventId(event_id),
        source="bench",
        type=data.kind,
        time=now,
        recordedtime=now,
        tenantid=_TENANT,
        partitionkey=key,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        data=data,
    )
    return key, event.to_bytes()


async def fill_topic(kafka: str, topic: Topic, records: Iterable[KeyedRecord]) -> int:
    """Writes the records and returns their number once all are acknowledged."""
    count = 0
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=256 * 1024, linger_ms=5)
    async with producer:
        for key, value in records:
            await producer.send(topic.name, value, key.encode())
            count += 1
        await producer.flush()
    return count
