"""Requests that share a call of the database: each has its own result and its own fault."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.ingest.batched_calls import BatchedCalls
from services.ingest.identity_resolver import IdentityResolver
from services.ingest.person_directory import FormerAddress
from services.ingest.store import PersonStore
from services.ingest.webhook_parser import parse_webhook
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import parse_event
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Bsuid, PersonId, Phone
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool
from tests.services.ingest.outbox import outbox_events
from tests.services.ingest.payloads import CONTEXT, NOW, messages, text, webhook


class Database:
    """Keeps what is committed while it ``is_free``; refuses each transaction with one of the ``refused``."""

    def __init__(self, *refused: int) -> None:
        self.is_free = asyncio.Event()
        self.begun: list[list[int]] = []
        self._refused = refused

    async def commit(self, changes: Sequence[int]) -> list[str]:
        self.begun.append([*changes])
        await self.is_free.wait()
        if found := [change for change in changes if change in self._refused]:
            raise ValueError(f"refused: {found[0]}")
        return [f"kept {change}" for change in changes]

    def calls(self, most: int = 100, seconds: float = 5) -> BatchedCalls[int, str]:
        return BatchedCalls(self.commit, size=lambda _: 1, most=most, seconds=seconds)


async def store(calls: BatchedCalls[int, str], *changes: int) -> list[asyncio.Task[str]]:
    """Each is asked for after the one before."""
    tasks = []
    for change in changes:
        tasks.append(asyncio.create_task(calls.result(change)))
        await asyncio.sleep(0.01)
    return tasks


async def test_calls_that_arrive_during_transactions_share_the_next_one() -> None:
    database = Database()
    tasks = await store(database.calls(), *range(6))
    database.is_free.set()
    assert await asyncio.gather(*tasks) == [f"kept {change}" for change in range(6)]
    assert database.begun == [[0], [1], [2, 3, 4, 5]]


async def test_a_transaction_takes_no_more_than_its_size() -> None:
    database = Database()
    tasks = await store(database.calls(most=3), *range(7))
    database.is_free.set()
    await asyncio.gather(*tasks)
    assert database.begun == [[0], [1], [2, 3, 4], [5, 6]]


async def test_a_change_that_is_refused_fails_alone() -> None:
    database = Database(3)
    tasks = await store(database.calls(), *range(5))
    database.is_free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["kept 0", "kept 1", "kept 2", "refused: 3", "kept 4"]
    assert database.begun == [[0], [1], [2, 3, 4], [2], [3], [4]]


async def test_a_caller_that_has_gone_is_not_stored_and_takes_none_of_the_others_along() -> None:
    database = Database()
    tasks = await store(database.calls(), *range(5))
    tasks[0].cancel()
    tasks[3].cancel()
    await asyncio.sleep(0.01)
    database.is_free.set()
    assert await asyncio.gather(*tasks[1:3], tasks[4]) == ["kept 1", "kept 2", "kept 4"]
    assert database.begun == [[0], [1], [2, 4]]


async def test_a_transaction_that_hangs_is_given_up() -> None:
    with pytest.raises(Unavailable):
        await Database().calls(seconds=0.05).result(1)


@pytest.mark.integration
async def test_a_part_of_the_people_is_what_the_database_gives_for_its_addresses(pool: Pool) -> None:
    chance, store = random.Random(7), PersonStore(CONTEXT.tenant)
    numbers = [Phone(f"+44770090010{digit}") for digit in range(8)]
    bsuids = [Bsuid(f"GB.{digit}") for digit in range(60)]
    people = [
        observed(PersonId(f"p{place}"), chance.choice([None, *numbers]), bsuid, chance.choice([None, None, *numbers]))
        for place, bsuid in enumerate(bsuids)
    ]
    left = {
        person.person_id: [FormerAddress(address=chance.choice([*numbers, "GB.0"]), until=NOW)]
        for person in people[::9]
    }
    async with pool.acquire() as connection:
        await store.save(connection, people, left)
    everyone = await store.load(pool, [], [person.person_id for person in people])
    for _ in range(100):
        addresses = chance.sample([*numbers, *bsuids], chance.randrange(3))
        persons = [person.person_id for person in chance.sample(people, chance.randrange(3))]
        loaded, part = await store.load(pool, addresses, persons), everyone.part(addresses, persons)
        assert [part.get(person.person_id) for person in people] == [loaded.get(person.person_id) for person in people]
        assert [part.former(person) for person in left] == [loaded.former(person) for person in left]


def observed(person: PersonId, phone: Phone | None, bsuid: Bsuid, wa_id: Phone | None) -> PersonObserved:
    addresses = Addresses(phone=phone, bsuid=bsuid, wa_id=wa_id)
    return PersonObserved(person_id=person, addresses=addresses, observed_at=NOW, version=1)


@pytest.mark.integration
async def test_each_unknown_person_is_stored_once_and_published_in_the_trace_of_their_message(pool: Pool) -> None:
    """Twenty people at once, each of whom writes two messages, in two webhooks."""
    resolver = IdentityResolver(pool, SystemClock(), PersonStore(CONTEXT.tenant))
    messages_of = await asyncio.gather(*(resolve(resolver, number) for number in range(20) for _ in range(2)))
    states = [event for event in await outbox_events(pool) if isinstance(event.data, PersonObserved)]
    persons = dict(messages_of)
    assert len(persons) == len(states) == 20
    for event in states:
        assert isinstance(event.data, PersonObserved)
        number = persons[event.data.person_id]
        assert (event.data.version, event.data.addresses.phone) == (1, f"+{phone_of(number)}")
        assert event.traceparent == trace_of(number)
    assert await pool.fetchval("select count(*) from people") == 20


async def resolve(resolver: IdentityResolver, number: int) -> tuple[PersonId, int]:
    context = replace(CONTEXT, traceparent=trace_of(number))
    body = webhook(messages(text(f"w{number}", sender=phone_of(number))))
    (record,) = await resolver.resolve(parse_webhook(body, context).person_updates, context)
    message = parse_event(record.value, record.topic.kinds).data
    assert isinstance(message, MessageReceived)
    return message.person_id, number


def phone_of(number: int) -> str:
    return f"4477009001{number:02}"


def trace_of(number: int) -> str:
    return f"00-{number + 1:032x}-00f067aa0ba902b7-01"
