"""Rules on a real database: a test gives it batches as Kafka would, and lets its loops run once."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from dev.layout import ROOT
from dev.postgres import login_of
from services.rules.conversation import button_ids
from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.handlers import RulesHandlers
from services.rules.metrics import RulesMetrics
from services.rules.polling import PollingLoops
from services.rules.rollout.revisions import Engines, Rollout, RulebookRegistry
from services.rules.rollout.sources import FolderSource
from services.rules.rollout.watcher import SourceWatcher
from services.rules.rulebook.validation import validate_folder
from services.rules.waiting_events import TOPICS
from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event, EventData, parse_event
from shared.contracts.golden import golden
from shared.contracts.ids import (
    ContactId,
    EventId,
    Line,
    MessageId,
    PersonId,
    Phone,
    TenantId,
    Wamid,
    partition_key,
    person_id_of_contact,
)
from shared.contracts.messages import MessageAccepted, MessageForm
from shared.contracts.topics import PARTITIONS
from shared.contracts.values import decode
from shared.contracts.vocabulary import PartyRef, Role
from shared.contracts.whatsapp import MessageKind, MessageReceived
from shared.runtime.batch import ReceivedEvent
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Pool, open_pool
from shared.runtime.settings import ServiceSettings

TENANT = TenantId("penrose")
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
"""The morning of a Wednesday, in London."""

STAFF = (11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71)
"""The contacts whom people.yaml of the shipped rules names."""

KEYS = (b"what the buttons of these tests are signed with",)
_KINDS = {kind: model for topic in TOPICS for kind, model in topic.kinds.items()}


@dataclass
class ManualClock:
    """A clock that stands where it is put."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass
class RulesUnderTest:
    pool: Pool
    clock: ManualClock
    rules: RulesHandlers
    loops: PollingLoops
    watcher: SourceWatcher
    _heard: int = field(default=0)

    async def receive(self, *said: EventData | Event) -> list[Event]:
        """One batch, in one transaction."""
        events = [one if isinstance(one, Event) else self.event(one) for one in said]
        await self.receive_batch(
            [ReceivedEvent(event, TOPICS[0], 0, place, None) for place, event in enumerate(events)]
        )
        return events

    async def receive_batch(self, batch: Sequence[ReceivedEvent]) -> None:
        async with transaction(self.pool, self.clock, "rules", locks=self.rules.locks(batch)) as tx:
            await self.rules.handle(tx, batch)

    def event(self, data: EventData, key: str = "") -> Event:
        self._heard += 1
        now = self.clock.now()
        return Event(
            id=EventId(f"event-{self._heard}"), source="test", type=data.kind, time=now, recordedtime=now,
            tenantid=TENANT, partitionkey=key or _key_of(data), data=data,
        )  # fmt: skip

    async def poll_once(self) -> None:
        """Everything that is due, and everything that has waited long enough, once."""
        await self.loops._release_once()
        await self.loops._run_due_once()

    async def catch_up(self, instant: datetime | None) -> None:
        """Every partition is caught up to this business time."""
        await self.pool.execute(
            "insert into progress (topic, partition, next_offset, caught_up_to) "
            "select t, p, 0, $2 from unnest($1::text[]) as t, generate_series(0, $3) as p "
            "on conflict (topic, partition) do update set caught_up_to = excluded.caught_up_to",
            [topic.name for topic in TOPICS], instant, PARTITIONS - 1,
        )  # fmt: skip

    async def pass_time(self, by: timedelta) -> None:
        """So much time has passed, all was read, and what is due has run."""
        self.clock.at += by
        await self.catch_up(self.clock.at)
        await self.poll_once()

    # -------------------------------------------------------------- what came of it

    async def published(self, topic: str) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("select value from outbox where topic = $1 order by id", topic)
        return [orjson.loads(row["value"]) for row in rows]

    async def messages(self) -> list[dict[str, Any]]:
        """The data of what was requested so far: messages and withdrawals, in order."""
        return [event["data"] for event in await self.published("messages.requested")]

    async def requested(self) -> list[tuple[str, str]]:
        """(person, template) of every message requested so far."""
        return [(one["person_id"], one["say"]) for one in await self.messages() if "say" in one]

    async def withdrawn(self) -> list[str]:
        return [one["message_id"] for one in await self.messages() if "say" not in one]

    async def waiting(self) -> int:
        return int(await self.pool.fetchval("select count(*) from waiting"))

    async def parked(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("select topic, reason from parked where state = 'parked' order by id")
        return [(row["topic"], row["reason"]) for row in rows]

    async def chains(self) -> list[Chain]:
        rows = await self.pool.fetch("select document::text as document from chains order by changed_at, chain_id")
        return [decode(Chain, row["document"]) for row in rows]

    async def last_to(self, person: PersonId) -> ChainMessage:
        found = [m for chain in await self.chains() for m in chain.messages if m.person_id == person and m.requested_at]
        return max(found, key=lambda m: m.requested_at or self.clock.at)


@asynccontextmanager
async def rules_under_test(
    database: str, at: datetime, folder: Path = ROOT / "rules", *, replica: str = "rules-0"
) -> AsyncIterator[RulesUnderTest]:
    """One replica; several with names of their own may share a database, each with its own engines."""
    settings = ServiceSettings(tenant=TENANT, kafka_bootstrap="127.0.0.1:1", postgres_dsn=login_of(database, "rules"))
    pool = await open_pool(settings, "rules")
    try:
        engines = engines_of(folder) if folder == ROOT / "rules" else Engines(RulebookRegistry(), KEYS)
        rollout, metrics = Rollout(TENANT, engines), RulesMetrics()
        watcher = SourceWatcher(FolderSource(folder), rollout, pool, replica, metrics)
        await watcher.begin()
        rules, clock = RulesHandlers(TENANT, rollout, metrics), ManualClock(at)
        service = RulesUnderTest(pool, clock, rules, PollingLoops(rules, pool, clock, tick=0.01), watcher)
        await service.catch_up(at)
        yield service
    finally:
        pool.terminate()


@cache
def engines_of(folder: Path) -> Engines:
    validation, _ = validate_folder(folder)
    assert validation.faults == ()
    return Engines(RulebookRegistry(validation.rulebook), KEYS)


# ------------------------------------------------------------------ what is told


def person_of(contact: int) -> PersonId:
    return person_id_of_contact(TENANT, ContactId(contact))


def person_observed(contact: int, *, roles: Iterable[str] = (), version: int = 1, phone: str | None = "+441632960001",
             **changes: Any) -> PersonObserved:  # fmt: skip
    seen = PersonObserved(
        person_id=person_of(contact), contact_id=ContactId(contact), display_name=f"Person {contact}", country="GB",
        roles=tuple(map(Role, roles)), addresses=Addresses(phone=Phone(phone) if phone else None),
        observed_at=datetime.fromisoformat("2027-01-01T00:00:00Z"), version=version,
    )  # fmt: skip
    return seen.replace(**changes)


def golden_event(kind: str, **changes: Any) -> Event:
    """A golden event of a kind, with other data where ``changes`` say so."""
    read = orjson.loads(golden(kind))
    return parse_event(orjson.dumps({**read, "data": {**read["data"], **changes}}), _KINDS)


def work_observed(*people: tuple[int, str]) -> Event:
    """The golden work, with these people by their roles."""
    event = golden_event("consonance.work.observed.v1")
    assert isinstance(event.data, WorkObserved)
    return event.replace(data=event.data.replace(people=tuple(party_ref(contact, role) for contact, role in people)))


def party_ref(contact: int, role: str) -> PartyRef:
    return PartyRef(
        person_id=person_of(contact), contact_id=ContactId(contact), display_name=f"Person {contact}", role=Role(role)
    )


def text_message(contact: int, text: str, at: datetime, **changes: Any) -> MessageReceived:
    message = MessageReceived(
        line=Line("main"), person_id=person_of(contact), message_id=Wamid(f"wamid.{contact}.{text}"),
        message_kind=MessageKind.TEXT, text=text, at=at,
    )  # fmt: skip
    return message.replace(**changes)


def button_tap(asked: ChainMessage, answer: str, at: datetime) -> MessageReceived:
    return MessageReceived(
        line=Line("main"), person_id=asked.person_id, message_id=Wamid(f"wamid.tap.{asked.message_id}.{answer}"),
        message_kind=MessageKind.BUTTON, text=answer, at=at,
        button_id=button_ids.sign_button_id(KEYS, asked.message_id, answer),
    )  # fmt: skip


def message_accepted(message: MessageId, person: PersonId, at: datetime, wamid: str = "") -> MessageAccepted:
    return MessageAccepted(
        message_id=message, person_id=person, at=at, wamid=Wamid(wamid or f"wamid.of.{message}"),
        wording=MessageForm.TEMPLATE,
    )  # fmt: skip


def _key_of(data: EventData) -> str:
    if (person := getattr(data, "person_id", None)) is not None:
        return partition_key(TENANT, "persons", person)
    named = getattr(data, "work", None)
    return partition_key(TENANT, "works", named.work_id if named else getattr(data, "work_id", None))
