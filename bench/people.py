"""Invented people, works and events, as the records ingest would have published; the same on every run."""

from collections.abc import Iterator
from datetime import datetime

import orjson
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
from shared.contracts.vocabulary import PartyRef, Role, Stage, WorkRef

Record = tuple[str, bytes]
"""A key and a value."""

PEOPLE = 2_000
WORKS = 1_000
RULE_EVERY = 10
"""One event in so many is one that a rule speaks of."""

_TENANT = TenantId(TENANT)


def person_id(number: int) -> PersonId:
    return person_id_of_contact(_TENANT, ContactId(10_000 + number))


def people(count: int, now: datetime) -> Iterator[Record]:
    for number in range(count):
        contact = ContactId(10_000 + number)
        seen = PersonObserved(
            person_id=person_id(number), contact_id=contact, display_name=f"Reader {number}", country="GB",
            language="en", zone="Europe/London", addresses=Addresses(phone=Phone(f"+4479{number:08d}")),
            observed_at=now, version=1,
        )  # fmt: skip
        yield record(seen, f"contact-{number}", person_key(seen.person_id), now)


def works(now: datetime) -> Iterator[Record]:
    """Each has an author and an illustrator, who are the two recipients of a rule that speaks of it."""
    for number in range(WORKS):
        work = _work(number)
        told = tuple(_party(2 * number + place, role) for place, role in enumerate((Role.AUTHOR, Role.ILLUSTRATOR)))
        seen = WorkObserved(work=work, stage_key=Stage.UNMAPPED, people=told)
        yield record(seen, f"work-{number}", _work_key(work.work_id), now)


def stage_changes(first: int, count: int, rules: int, now: datetime) -> Iterator[Record]:
    """Events ``first`` and on: one in ten names a stage that exactly one of ``rules`` rules waits for."""
    sample = orjson.loads(record(_change(0, now), "change", "key", now)[1])
    for number in range(first, first + count):
        turn, rest = divmod(number, RULE_EVERY)
        work = _work(number // RULE_EVERY % WORKS if rest == 0 else number % WORKS)
        key = _work_key(work.work_id)
        stage = stage_of(turn % rules) if rest == 0 else f"elsewhere-{number % 97}"
        data = {**sample["data"], "work": to_builtins(work), "to_stage": stage}
        yield key, orjson.dumps({**sample, "id": f"change-{number}", "partitionkey": key, "data": data})


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


def record(data: EventData, event_id: str, key: str, now: datetime) -> Record:
    event = Event(
        id=EventId(event_id), source="bench", type=data.kind, time=now, recordedtime=now, tenantid=_TENANT,
        partitionkey=key, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", data=data,
    )  # fmt: skip
    return key, event.to_bytes()
