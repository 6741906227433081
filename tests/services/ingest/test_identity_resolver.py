"""The person behind a message, resolved in a real database."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ingest.address_learning import AddressLearner
from services.ingest.erasure import ErasureRequests, begin_erasure
from services.ingest.identity_resolver import IdentityResolver
from services.ingest.metrics import IngestMetrics
from services.ingest.person_directory import FormerAddress
from services.ingest.records import KafkaRecord, WebhookContext
from services.ingest.store import PersonStore, write_transaction
from services.ingest.webhook_parser import parse_webhook
from shared.clients.phone_numbers import phone_key
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import parse_event
from shared.contracts.ids import ContactId, PersonId, Phone, person_id_of_contact
from shared.contracts.messages import format_callback
from shared.contracts.whatsapp import IdentityChanged, MessageReceived, Preference, PreferenceChanged
from shared.runtime.clock import SystemClock
from shared.runtime.erasure import known_words
from shared.runtime.postgres import Pool
from tests.services.ingest.outbox import clear_outbox, outbox_events
from tests.services.ingest.payloads import CONTEXT, PSEUDONYMS, messages, status, statuses, text, webhook

pytestmark = pytest.mark.integration


async def resolve(
    pool: Pool, *items: Any, contacts: list[Any] | None = None, context: WebhookContext = CONTEXT
) -> list[KafkaRecord]:
    resolver = IdentityResolver(pool, SystemClock(), PersonStore(CONTEXT.tenant))
    return await resolver.resolve(
        parse_webhook(webhook(messages(*items, contacts=contacts)), context).person_updates, context
    )


def persons(records: list[KafkaRecord]) -> list[str]:
    found: list[str] = []
    for record in records:
        data = parse_event(record.value, record.topic.kinds).data
        assert isinstance(data, MessageReceived | IdentityChanged)
        found.append(data.person_id)
        assert record.key.decode() == f"pelican/persons/{data.person_id}"
    return found


async def states(pool: Pool) -> list[PersonObserved]:
    return [event.data for event in await outbox_events(pool) if isinstance(event.data, PersonObserved)]


async def test_the_state_of_a_stranger_is_published_once(pool: Pool) -> None:
    first = persons(await resolve(pool, text("w1"), text("w2")))
    again = persons(await resolve(pool, text("w3")))
    assert len({*first, *again}) == 1
    (state,) = await states(pool)
    assert (state.person_id, state.version, state.addresses.phone) == (first[0], 1, "+447700900123")


async def test_a_message_names_the_version_of_the_state_by_which_its_writer_was_found(pool: Pool) -> None:
    """Also one that was written just now, and one that is known already."""
    records = [*await resolve(pool, text("w1")), *await resolve(pool, text("w2", from_user_id="GB.1"), text("w3"))]
    found = [parse_event(record.value, record.topic.kinds).data for record in records]
    assert [one.person_version for one in found if isinstance(one, MessageReceived)] == [1, 2, 2]
    assert await version_of_next(pool) == 2


async def version_of_next(pool: Pool) -> int | None:
    (record,) = await resolve(pool, text("w4"))
    data = parse_event(record.value, record.topic.kinds).data
    assert isinstance(data, MessageReceived)
    return data.person_version


async def test_a_bsuid_beside_a_known_number_is_added_to_its_person_and_published(pool: Pool) -> None:
    (before,) = persons(await resolve(pool, text()))
    (joined,) = persons(await resolve(pool, text("w2", from_user_id="GB.1")))
    (alone,) = persons(await resolve(pool, {**text("w3"), "from": "", "from_user_id": "GB.1"}))
    assert before == joined == alone
    assert [state.version for state in await states(pool)] == [1, 2]


async def test_a_person_whose_number_changed_stays_the_same_person(pool: Pool) -> None:
    (before,) = persons(await resolve(pool, text()))
    note = {"type": "user_changed_number", "wa_id": "12195555358"}
    (moved,) = persons(await resolve(pool, text("w2", type="system", system=note)))
    (after,) = persons(await resolve(pool, text("w3", sender="12195555358")))
    assert before == moved == after


async def test_the_contacts_who_share_a_number_follow_it_and_stand_beside_what_is_reported_of_it(pool: Pool) -> None:
    ids = [person_id_of_contact(CONTEXT.tenant, ContactId(number)) for number in (8, 9)]
    addresses = Addresses(phone=Phone("+447700900123"))
    contacts = [
        PersonObserved(
            person_id=one, contact_id=ContactId(8 + n), addresses=addresses, observed_at=CONTEXT.now, version=1
        )
        for n, one in enumerate(ids)
    ]
    async with pool.acquire() as connection:
        await PersonStore(CONTEXT.tenant).save(connection, contacts)
    note = {"type": "user_changed_number", "wa_id": "12195555358"}
    (record,) = await resolve(pool, text("w2", type="system", system=note))
    changed = parse_event(record.value, record.topic.kinds).data
    assert isinstance(changed, IdentityChanged)
    assert {changed.person_id, *changed.shared_with} == {*ids}
    assert {state.addresses.phone for state in await states(pool)} == {"+12195555358"}
    switch = {"wa_id": "12195555358", "category": "marketing_messages", "value": "stop", "timestamp": 1764000000}
    change = {"field": "user_preferences", "value": {"user_preferences": [switch]}}
    assert await stopped_offers(pool, change) == {*ids}
    refused = status(
        word="failed", recipient_id="12195555358", recipient_user_id="US.1", errors=[{"code": 131050}],
        biz_opaque_callback_data=format_callback("m1", 1, ids[0], 1),
    )  # fmt: skip
    assert await stopped_offers(pool, statuses(refused)) == {*ids}
    assert {state.addresses.bsuid for state in await states(pool)} == {None}


async def stopped_offers(pool: Pool, change: dict[str, Any]) -> set[PersonId]:
    updates = parse_webhook(webhook(change), CONTEXT).person_updates
    (record,) = await IdentityResolver(pool, SystemClock(), PersonStore(CONTEXT.tenant)).resolve(updates, CONTEXT)
    preference = parse_event(record.value, record.topic.kinds).data
    assert isinstance(preference, PreferenceChanged)
    assert preference.value is Preference.STOP
    return {preference.person_id, *preference.shared_with}


async def test_concurrent_updates_of_a_stranger_give_one_person(pool: Pool) -> None:
    resolved = await asyncio.gather(*(resolve(pool, text(f"w{n}", from_user_id="GB.1")) for n in range(8)))
    assert len({person for records in resolved for person in persons(records)}) == 1
    assert [state.version for state in await states(pool)] == [1]


async def test_a_redelivered_body_publishes_no_state_again(pool: Pool) -> None:
    await resolve(pool, text(from_user_id="GB.1"))
    await clear_outbox(pool)
    await resolve(pool, text(from_user_id="GB.1"))
    assert await outbox_events(pool) == []


async def test_a_status_teaches_the_number_and_the_bsuid_that_a_message_arrived_at(pool: Pool) -> None:
    """The address is learnt and published once; an answer from it is the person's."""
    (person,) = persons(await resolve(pool, text("w1")))
    callback = format_callback("m1", 1, person, 1)
    arrived = status(
        "wamid.1", recipient_id="447700900777", recipient_user_id="GB.7", biz_opaque_callback_data=callback
    )
    (reached,) = parse_webhook(webhook(statuses(arrived)), CONTEXT).reached
    metrics = IngestMetrics()
    learner = AddressLearner(pool, SystemClock(), CONTEXT.tenant, PersonStore(CONTEXT.tenant), metrics)
    learner.offer([reached, reached])
    running = asyncio.create_task(learner.run())
    async with asyncio.timeout(20):
        while learner.pending:
            await asyncio.sleep(0.01)
    running.cancel()
    learner.offer([reached])
    assert learner.pending == 0
    assert (await states(pool))[-1].addresses.bsuid == "GB.7"
    assert persons(await resolve(pool, {**text("w2"), "from": "447700900777"})) == [person]
    assert persons(await resolve(pool, {**text("w3"), "from": "", "from_user_id": "GB.7"})) == [person]


@pytest.mark.parametrize(("seconds", "is_taken_in"), [(-60, False), (0, True), (60, True)])
async def test_a_message_sent_before_an_erasure_and_received_after_it_is_dropped(
    pool: Pool, seconds: int, is_taken_in: bool,  # noqa: FBT001 -- a table
) -> None:  # fmt: skip
    """A webhook that was on its way, or is delivered again, would bring the person back."""
    sent = datetime.fromtimestamp(1764000000, UTC)
    (person,) = persons(await resolve(pool, text("w1", from_user_id="GB.1")))
    await clear_outbox(pool)
    requests = ErasureRequests(pool, SystemClock(), CONTEXT.tenant, PSEUDONYMS)
    async with write_transaction(pool, SystemClock()) as tx:
        await begin_erasure(tx.connection, tx, CONTEXT.tenant, person)
    await pool.execute("update erasures set requested_at = $1", sent - timedelta(seconds=seconds, microseconds=-400))
    await requests.publish_erased(PersonId(person), 0)
    stranger = text("w3", sender="447700900124")
    found = persons(await resolve(pool, text("w2", from_user_id="GB.1"), stranger))
    assert len(found) == 1 + is_taken_in
    newest = {state.person_id: state for state in await states(pool)}
    assert newest[PersonId(person)].erased is not is_taken_in
    assert newest[PersonId(found[-1])].addresses.phone == "+447700900124"


async def erase(pool: Pool, person: str) -> None:
    """As a request that came at 1764000060; the record of the erasure is that of a completed one."""
    async with write_transaction(pool, SystemClock()) as tx:
        await begin_erasure(tx.connection, tx, CONTEXT.tenant, person)
    await pool.execute("update erasures set requested_at = $1", datetime.fromtimestamp(1764000060, UTC))
    await ErasureRequests(pool, SystemClock(), CONTEXT.tenant, PSEUDONYMS).publish_erased(PersonId(person), 0)
    await pool.execute("update erasures set next_at = null, words = '{}', completed_at = $1", SystemClock().now())


BRAZILIAN, WITHOUT_NINTH_DIGIT = "5511987654321", "551187654321"


@pytest.mark.parametrize(
    "late",
    [
        text("w2", from_user_id="GB.1"),
        text("w2", sender=WITHOUT_NINTH_DIGIT),
        text("w2", sender="447700900123"),
        text("w2", sender=BRAZILIAN, type="system", system={"type": "user_changed_number", "wa_id": "12195555358"}),
    ],
    ids=["bsuid", "the other form of the number", "the former number", "a change of number"],
)
async def test_nothing_from_before_an_erasure_brings_the_person_back_days_after_it(
    pool: Pool, late: dict[str, Any]
) -> None:
    """WhatsApp delivers for up to seven days; the words that an erasure searches by are gone after one."""
    (person, _) = persons(
        await resolve(pool, text("w1", from_user_id="GB.1"), number_changed("w0", 1, number=BRAZILIAN))
    )
    await erase(pool, person)
    await clear_outbox(pool)
    assert await resolve(pool, late) == []
    assert await states(pool) == []
    assert await pool.fetchval("select count(*) from people where bsuid is not null or phone_key is not null") == 0
    (anew,) = persons(await resolve(pool, {**late, "id": "w3", "timestamp": at(60)}))
    assert anew in {state.person_id for state in await states(pool)}
    assert await resolve(pool, {**late, "id": "w4"}) == [], "the person is known again, and the message is from before"
    (again,) = persons(await resolve(pool, {**late, "id": "w5", "timestamp": at(61)}))
    assert again == anew


async def test_nothing_from_a_moment_before_an_erasure_is_taken_in_from_a_person_who_wrote_anew_since(
    pool: Pool,
) -> None:
    """WhatsApp delivered the newer message first."""
    (person,) = persons(await resolve(pool, text("w1", timestamp=at(0))))
    await erase(pool, person)
    anew = replace(CONTEXT, now=datetime.fromtimestamp(1764000062.5, UTC))
    (again,) = persons(await resolve(pool, text("w2", timestamp=at(62)), context=anew))
    soon = replace(CONTEXT, now=anew.now + timedelta(seconds=1))
    assert await resolve(pool, text("w3", timestamp=at(58)), context=soon) == []
    assert persons(await resolve(pool, text("w4", timestamp=at(61)), context=soon)) == [again]


async def test_a_number_that_an_erased_person_shared_is_the_others_still(pool: Pool) -> None:
    """A message from there that was sent before the request and shows something new about them is taken in."""
    ids = [person_id_of_contact(CONTEXT.tenant, ContactId(number)) for number in (8, 9)]
    contacts = [
        PersonObserved(
            person_id=one, contact_id=ContactId(8 + n), addresses=Addresses(phone=Phone("+447700900123")),
            observed_at=CONTEXT.now, version=1,
        )
        for n, one in enumerate(ids)
    ]  # fmt: skip
    async with pool.acquire() as connection:
        await PersonStore(CONTEXT.tenant).save(connection, contacts)
    await erase(pool, ids[0])
    assert persons(await resolve(pool, text("w2", from_user_id="GB.7"))) == [ids[1]]


def at(seconds: int) -> str:
    return str(1764000000 + seconds)


def number_changed(
    wamid: str, seconds: int, former: str = "447700900123", number: str = "12195555358"
) -> dict[str, Any]:
    note = {"type": "user_changed_number", "wa_id": number}
    return text(wamid, sender=former, type="system", system=note, timestamp=at(seconds))


async def test_loading_a_person_waits_for_a_change_and_reads_the_addresses_it_left(pool: Pool) -> None:
    """Otherwise a message from before the change would count as that of the number's new owner."""
    people, number = PersonStore(CONTEXT.tenant), Phone("+447700900123")
    known = PersonObserved(
        person_id=PersonId("p1"), addresses=Addresses(phone=number), observed_at=CONTEXT.now, version=1
    )
    moved = known.replace(addresses=Addresses(phone=Phone("+447700900777")), version=2)
    left = FormerAddress(address=number, until=CONTEXT.now)
    async with pool.acquire() as changing, pool.acquire() as reading, reading.transaction():
        await people.save(changing, [known])
        async with changing.transaction():
            await people.save(changing, [moved], {known.person_id: [left]})
            loading = asyncio.create_task(people.load_for_update(reading, [phone_key(number)], []))
            while not await pool.fetchval("select exists(select from pg_locks where not granted)"):
                await asyncio.sleep(0.02)
        directory = await loading
    assert directory.get(known.person_id) == moved
    assert directory.former(known.person_id) == {left}


async def test_a_stop_from_the_former_number_that_comes_after_the_change_is_the_person_s(pool: Pool) -> None:
    """Also in one webhook with the change, and for a visitor who turns out to be a contact afterwards."""
    (person, moved) = persons(await resolve(pool, text("w1"), number_changed("w2", 20)))
    late = text("w3", body="STOP", timestamp=at(10))
    records = await resolve(pool, late, text("w4", timestamp=at(30)))
    former, next_holder = persons(records)
    assert person == moved == former != next_holder
    stop = parse_event(records[0].value, records[0].topic.kinds).data
    assert isinstance(stop, MessageReceived)
    assert (stop.text, stop.shared_with) == ("STOP", ())
    contact = person_id_of_contact(CONTEXT.tenant, ContactId(8))
    known = PersonObserved(
        person_id=contact, contact_id=ContactId(8), addresses=Addresses(phone=Phone("+447700900777")),
        observed_at=CONTEXT.now, version=1,
    )  # fmt: skip
    async with pool.acquire() as connection:
        await PersonStore(CONTEXT.tenant).save(connection, [known])
    (merged,) = persons(await resolve(pool, number_changed("w5", 40, former="12195555358", number="447700900777")))
    assert merged == contact
    assert persons(await resolve(pool, {**late, "id": "w6"})) == [contact]
    assert await pool.fetchval("select count(distinct person_id) from former_addresses") == 1


async def test_addresses_that_were_left_are_searched_by_an_erasure_and_forgotten(pool: Pool) -> None:
    (person, _) = persons(await resolve(pool, text("w1"), number_changed("w2", 20)))
    words = await known_words(pool, "ingest", CONTEXT.tenant, person)
    assert {"+447700900123", "+12195555358"} <= set(words)
    (other,) = persons(await resolve(pool, text("w3", timestamp=at(30))))
    assert other != person
    assert "+447700900123" not in await known_words(pool, "ingest", CONTEXT.tenant, person), "it is another's by now"
    await resolve(pool, number_changed("w4", 40, former="12195555358", number="447700900777"))
    async with write_transaction(pool, SystemClock()) as tx:
        await begin_erasure(tx.connection, tx, CONTEXT.tenant, person)
    await ErasureRequests(pool, SystemClock(), CONTEXT.tenant, PSEUDONYMS).publish_erased(PersonId(person), 0)
    assert await pool.fetchval("select count(*) from former_addresses") == 0
