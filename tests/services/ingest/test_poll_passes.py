"""Passes over a fake Consonance, stored in a real database."""

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from services.ingest.erasure import ErasureRequests, erased_among
from services.ingest.identity_resolver import IdentityResolver
from services.ingest.poll import passes
from services.ingest.poll.passes import OVERLAP, ContactsPoll, WorksPoll, next_pass
from services.ingest.poll.vocabulary import TenantVocabulary
from services.ingest.settings import POLLED_KINDS
from services.ingest.store import ParkedInputStore, PersonStore, PollPass, write_transaction
from services.ingest.webhook_parser import parse_webhook
from shared.contracts.consonance import PubDateChanged, short_name
from shared.contracts.contacts import PersonObserved
from shared.contracts.errors import Unavailable
from shared.contracts.ids import ContactId, person_id_of_contact
from shared.runtime.postgres import Pool
from tests.services.ingest.outbox import clear_outbox, outbox_events
from tests.services.ingest.payloads import CONTEXT, NOW, PSEUDONYMS, messages, text, webhook

pytestmark = pytest.mark.integration


class FixedClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        return self.instant


@dataclass
class FakeConsonance:
    """Two works a page; ``hidden`` works are on no page. After ``fails_after`` pages it is unavailable."""

    nodes: dict[int, dict[str, Any]] = field(default_factory=dict)
    hidden: dict[int, dict[str, Any]] = field(default_factory=dict)
    people: list[dict[str, Any]] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[int, date | None]] = field(default_factory=list)
    fails_after: int | None = None
    clock_lead: timedelta = timedelta()

    async def works(self, after: int, changed_since: date | None) -> list[dict[str, Any]]:
        if self.fails_after is not None and len(self.requests) >= self.fails_after:
            raise Unavailable("gone")
        self.requests.append((after, changed_since))
        return [self.nodes[number] for number in sorted(self.nodes) if number > after][:2]

    async def work(self, work_id: int) -> list[dict[str, Any]]:
        return [self.hidden[work_id]]

    async def products(self, after: int, changed_since: date | None) -> list[dict[str, Any]]:
        assert changed_since is not None
        return [product for product in self.changed if product["id"] > after]

    async def contacts(self) -> list[dict[str, Any]]:
        return self.people


def work(number: int, stage: str = "Typesetting", **more: Any) -> dict[str, Any]:
    return {"id": number, "title": f"Work {number}", "projectStage": stage, "products": [{"id": number * 10}], **more}


def consonance_with(*numbers: int) -> FakeConsonance:
    return FakeConsonance({number: work(number) for number in numbers})


def works_poll(pool: Pool, source: FakeConsonance, clock: FixedClock | None = None) -> WorksPoll:
    at, tenant = clock or FixedClock(), CONTEXT.tenant
    return WorksPoll(
        source,
        pool,
        at,
        tenant,
        TenantVocabulary(),
        ParkedInputStore(pool, at, tenant),
        frozenset(POLLED_KINDS),
        "https://c.example",
    )


def contacts_poll(pool: Pool, source: FakeConsonance) -> ContactsPoll:
    return ContactsPoll(
        source,
        pool,
        FixedClock(),
        CONTEXT.tenant,
        TenantVocabulary(),
        ParkedInputStore(pool, FixedClock(), CONTEXT.tenant),
    )


async def published(pool: Pool) -> list[str]:
    kinds = [short_name(event.data.kind) for event in await outbox_events(pool)]
    await clear_outbox(pool)
    return kinds


async def test_the_first_pass_publishes_only_states(pool: Pool) -> None:
    assert await works_poll(pool, consonance_with(1, 2, 3)).run() == 3
    assert await published(pool) == ["work.observed"] * 3


async def test_a_change_is_published_once_after_its_state(pool: Pool) -> None:
    source = consonance_with(1, 2, 3)
    await works_poll(pool, source).run()
    await clear_outbox(pool)
    source.nodes[2]["projectStage"] = "Final proof approved"
    assert [await works_poll(pool, source).run() for _ in range(2)] == [2, 0]
    assert await published(pool) == ["work.observed", "work.stage_changed"]


async def test_a_change_forth_back_and_forth_gives_three_events(pool: Pool) -> None:
    source = consonance_with(1)
    await works_poll(pool, source).run()
    ids: set[str] = set()
    for stage in ("Published", "Typesetting", "Published"):
        source.nodes[1]["projectStage"] = stage
        await works_poll(pool, source).run()
        ids.update(event.id for event in await outbox_events(pool) if "stage_changed" in event.type)
    assert len(ids) == 3


async def test_a_poll_that_stood_still_changes_no_newer_pass(pool: Pool) -> None:
    """Else a pass interrupted after it would be continued beyond works that it has not read."""
    clock = FixedClock()
    frozen, newer = works_poll(pool, consonance_with(1, 2, 3), clock), works_poll(pool, consonance_with(1, 2, 3), clock)
    old = await frozen._begin()
    await newer.run()
    clock.instant += timedelta(minutes=1)
    begun = await newer._begin()
    await frozen._advance(old, 3)
    await frozen._complete(old)
    assert begun.started_at > old.started_at
    assert replace(await newer._begin(), term=begun.term) == begun


@dataclass
class FreezingConsonance(FakeConsonance):
    """The process stands still when it has an answer, and another replica polls meanwhile."""

    meanwhile: Callable[[], Awaitable[int]] | None = None

    async def works(self, after: int, changed_since: date | None) -> list[dict[str, Any]]:
        return await self._answer(await super().works(after, changed_since))

    async def contacts(self) -> list[dict[str, Any]]:
        return await self._answer(self.people)

    async def _answer(self, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        read, meanwhile, self.meanwhile = deepcopy(nodes), self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return read


async def test_a_page_that_was_read_before_the_process_stood_still_is_not_stored_over_a_newer_one(pool: Pool) -> None:
    source = consonance_with(1)
    await works_poll(pool, source).run()
    source.nodes[1]["projectStage"] = "Final proof approved"
    frozen = FreezingConsonance(deepcopy(source.nodes))
    source.nodes[1]["projectStage"] = "Published"
    frozen.meanwhile = works_poll(pool, source).run
    await clear_outbox(pool)
    with pytest.raises(Unavailable, match="another replica"):
        await works_poll(pool, frozen).run()
    assert await published(pool) == ["work.observed", "work.stage_changed"]
    assert await pool.fetchval("select view ->> 'stage' from snapshots") == "Published"


async def test_contacts_that_were_read_before_the_process_stood_still_are_not_stored_over_newer_ones(
    pool: Pool,
) -> None:
    frozen = FreezingConsonance(people=[contact(8, "+44 7700 900123")])
    source = FakeConsonance(people=[contact(8, "+44 7700 900999")])
    frozen.meanwhile = contacts_poll(pool, source).run
    with pytest.raises(Unavailable, match="another replica"):
        await contacts_poll(pool, frozen).run()
    assert await pool.fetchval("select view ->> 'phone' from snapshots") == "+447700900999"
    assert await pool.fetchval("select completed_at is not null from passes where entity = 'contacts'")


async def test_changes_before_the_baseline_is_complete_are_not_published(pool: Pool) -> None:
    source = consonance_with(1, 2, 3)
    source.fails_after = 1
    with pytest.raises(Unavailable):
        await works_poll(pool, source).run()
    source.fails_after, source.nodes[1]["projectStage"] = None, "Published"
    await works_poll(pool, source).run()
    await works_poll(pool, source).run()
    assert "work.stage_changed" in await published(pool)
    assert [after for after, _ in source.requests][:3] == [0, 2, 3]


async def test_a_later_pass_asks_from_the_day_before_the_last_pass_began(pool: Pool) -> None:
    source, clock = consonance_with(1), FixedClock()
    await works_poll(pool, source, clock).run()
    clock.instant += timedelta(days=3)
    await works_poll(pool, source, clock).run()
    await works_poll(pool, source, clock).run()
    assert sorted({since for _, since in source.requests if since}) == [date(2026, 11, 23), date(2026, 11, 26)]


async def test_a_work_whose_product_changed_is_read_although_it_is_on_no_page(pool: Pool) -> None:
    source = consonance_with(1)
    await works_poll(pool, source).run()
    await clear_outbox(pool)
    hidden = work(1, products=[{"id": 10, "publicationDate": "2027-01-01"}])
    source.changed = [{"id": 10, "work": {"id": 1}}]
    source.nodes, source.hidden = {}, {1: hidden}
    await works_poll(pool, source).run()
    assert await published(pool) == ["work.observed", "product.pub_date_changed"]


def test_a_new_field_begins_with_a_pass_over_all_records() -> None:
    done = PollPass(NOW, None, 9, NOW, frozenset({"stage"}))
    assert next_pass(done, NOW, ["stage"]).changed_since == date(2026, 11, 23)
    assert next_pass(done, NOW, ["stage", "people"]).changed_since is None


@pytest.mark.parametrize("completed_at", [NOW, None])
def test_a_pass_over_all_records_follows_where_the_clock_was_set_back(completed_at: datetime | None) -> None:
    """Passes of before asked for changes since a day that had not come: what changed meanwhile was on none of them."""
    fields = frozenset({"stage"})
    for ahead, is_over_all in ((timedelta(minutes=10), False), (timedelta(days=3), True)):
        last = PollPass(NOW + ahead, date(2026, 11, 23), completed_at=completed_at, fields=fields)
        assert (next_pass(last, NOW, fields).changed_since is None) is is_over_all


async def test_a_clock_that_stays_ahead_asks_for_no_changes_since_a_day_that_has_not_come(pool: Pool) -> None:
    """The lead is known from the first answer on, so one pass may begin by the clock of this machine."""
    ahead, clock, source = timedelta(days=3), FixedClock(), consonance_with(1)
    clock.instant = NOW + ahead
    await works_poll(pool, source, clock).run()
    source.clock_lead = ahead
    for day in (NOW, NOW + timedelta(hours=1)):
        clock.instant = day + ahead
        await works_poll(pool, source, clock).run()
    assert [since for after, since in source.requests if after == 0] == [None, None, NOW.date() - OVERLAP]


def test_a_new_field_does_not_wait_for_a_pass_that_was_interrupted() -> None:
    """That pass would end as the first one over the field, and has not read it in the works that did not change."""
    interrupted = PollPass(NOW - timedelta(hours=1), date(2026, 11, 23), 9, None, frozenset({"stage"}))
    assert next_pass(interrupted, NOW, ["stage"]) is interrupted
    over_all = PollPass(NOW, fields=frozenset({"stage"}))
    assert next_pass(interrupted, NOW, ["stage", "people"]) == over_all
    assert next_pass(over_all, NOW, ["stage", "people"]) is over_all


def contact(number: int, phone: str | None, *tags: str) -> dict[str, Any]:
    phones = [{"phoneNumber": phone, "phoneType": "Mobile"}] if phone else []
    return {
        "__typename": "Person",
        "id": number,
        "name": f"Person {number}",
        "phones": phones,
        "contactTags": list(tags),
    }


async def people(pool: Pool) -> dict[int | None, PersonObserved]:
    events = await outbox_events(pool)
    await clear_outbox(pool)
    return {event.data.contact_id: event.data for event in events if isinstance(event.data, PersonObserved)}


async def test_a_contact_that_differs_is_published_in_full(pool: Pool) -> None:
    source = FakeConsonance(people=[contact(8, "+447700900123", "role:agent"), contact(9, None)])
    assert [await contacts_poll(pool, source).run() for _ in range(2)] == [2, 0]
    states = await people(pool)
    assert states[ContactId(8)].person_id == person_id_of_contact(CONTEXT.tenant, ContactId(8))
    source.people[0]["name"] = "Another"
    assert await contacts_poll(pool, source).run() == 1
    assert (await people(pool))[ContactId(8)].version == 2


async def test_a_visitor_is_merged_into_the_contact_with_its_number(pool: Pool) -> None:
    identity = IdentityResolver(pool, FixedClock(), PersonStore(CONTEXT.tenant))
    body = webhook(messages(text(from_user_id="GB.1")))
    await identity.resolve(parse_webhook(body, CONTEXT).person_updates, CONTEXT)
    await clear_outbox(pool)
    await contacts_poll(pool, FakeConsonance(people=[contact(8, "+447700900123")])).run()
    states = await people(pool)
    assert states[None].merged_into == states[ContactId(8)].person_id
    assert states[ContactId(8)].addresses.bsuid == "GB.1"


async def test_a_number_from_whatsapp_stays_until_consonance_has_another(pool: Pool) -> None:
    source = FakeConsonance(people=[contact(8, "+447700900123")])
    await contacts_poll(pool, source).run()
    note = {"type": "user_changed_number", "wa_id": "12195555358"}
    moved = parse_webhook(webhook(messages(text(type="system", system=note))), CONTEXT).person_updates
    await IdentityResolver(pool, FixedClock(), PersonStore(CONTEXT.tenant)).resolve(moved, CONTEXT)
    source.people[0]["name"] = "Another"
    await contacts_poll(pool, source).run()
    assert (await people(pool))[ContactId(8)].addresses.phone == "+12195555358"
    source.people = [contact(8, "+447700900999")]
    await contacts_poll(pool, source).run()
    assert (await people(pool))[ContactId(8)].addresses.phone == "+447700900999"


async def test_a_contact_who_is_erased_while_the_poll_is_stored_is_not_taken_in_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FakeConsonance(people=[contact(8, "+447700900123")])
    await contacts_poll(pool, source).run()
    source.people = [contact(8, "+447700900777"), contact(9, "+447700900888")]
    requests = ErasureRequests(pool, FixedClock(), CONTEXT.tenant, PSEUDONYMS)
    person = person_id_of_contact(CONTEXT.tenant, ContactId(8))

    async def erased_meanwhile(connection: Any, tenant: Any, contacts: Any) -> frozenset[int]:
        found = await erased_among(connection, tenant, contacts)
        if connection is pool:
            async with write_transaction(pool, FixedClock()) as tx:
                await requests._begin_for_contact(tx, ContactId(8))
            await requests.publish_erased(person, 0)
        return found

    monkeypatch.setattr(passes, "erased_among", erased_meanwhile)
    await contacts_poll(pool, source).run()
    rows = await pool.fetch("select state ->> 'erased' as erased, contact_id from people order by contact_id")
    assert [(row["erased"], row["contact_id"]) for row in rows] == [(None, 9), ("true", None)]


async def parked(pool: Pool) -> list[tuple[str, str, str]]:
    rows = await pool.fetch("select topic, reason, sentence from parked order by id")
    return [tuple(row) for row in rows]


async def test_an_invalid_work_is_parked_once_and_the_others_are_published(pool: Pool) -> None:
    source = consonance_with(1, 2, 3)
    source.nodes[2]["id"] = "not a number"
    assert [await works_poll(pool, source).run() for _ in range(2)] == [2, 0]
    assert await published(pool) == ["work.observed"] * 2
    [(origin, reason, sentence)] = await parked(pool)
    assert (origin, reason) == ("polled works", "malformed")
    assert "not a number" not in sentence


async def test_a_work_too_large_for_its_topic_is_parked(pool: Pool) -> None:
    source = consonance_with(1, 2)
    source.nodes[1]["products"] = [{"id": number, "title": "x" * 19_000} for number in range(1, 40)]
    assert await works_poll(pool, source).run() == 1
    assert [reason for _, reason, _ in await parked(pool)] == ["too_large"]


async def test_an_invalid_contact_is_parked_and_the_others_are_published(pool: Pool) -> None:
    source = FakeConsonance(people=[contact(8, None), {"name": "Nobody's id"}, contact(9, None)])
    assert await contacts_poll(pool, source).run() == 2
    assert await parked(pool) == [("polled contacts", "malformed", "contact.id: it is missing")]


async def test_an_unreadable_field_is_reported_once_for_each_value_and_loses_its_old_value(pool: Pool) -> None:
    source = consonance_with(1)
    source.nodes[1]["products"][0]["publicationDate"] = "2027-03-12"
    await works_poll(pool, source).run()
    await clear_outbox(pool)
    for written in ("12/03/2027", "12/03/2027", "13/03/2027", "2027-03-13", "12/03/2027"):
        source.nodes[1]["products"][0]["publicationDate"] = written
        await works_poll(pool, source).run()
    changes = [event.data for event in await outbox_events(pool) if isinstance(event.data, PubDateChanged)]
    assert [(change.old, change.new) for change in changes] == [
        (date(2027, 3, 12), None), (None, date(2027, 3, 13)), (date(2027, 3, 13), None),
    ]  # fmt: skip
    assert (
        await parked(pool)
        == [("polled works", "unread_value", "work 1: products.10.publicationDate: it is no date")] * 3
    )


async def test_an_unknown_zone_is_reported_once_and_the_contact_has_none(pool: Pool) -> None:
    source = FakeConsonance(people=[contact(801, "020 7946 0012", "language:en", "zone:Paris"), contact(9, None)])
    source.people[0]["addresses"] = [{"country": {"code": "GB"}}]
    assert [await contacts_poll(pool, source).run() for _ in range(3)] == [2, 0, 0]
    state = (await people(pool))[ContactId(801)]
    assert (state.zone, state.language) == (None, "en")
    assert await parked(pool) == [
        ("polled contacts", "unread_value", "contact 801: contactTags: zone:Paris is no time zone")
    ]


async def test_a_phone_field_without_a_number_is_reported_without_its_value(pool: Pool) -> None:
    source = FakeConsonance(people=[contact(8, "555-1234"), contact(9, "07700 900123 / 07700 900456")])
    for person in source.people:
        person["addresses"] = [{"country": {"code": "UK"}}]
    assert [await contacts_poll(pool, source).run() for _ in range(2)] == [2, 0]
    states = await people(pool)
    assert (states[ContactId(8)].addresses.phone, states[ContactId(9)].addresses.phone) == (None, "+447700900123")
    assert await parked(pool) == [
        ("polled contacts", "unread_value", "contact 8: phones.0.phoneNumber: there is no usable number in it")
    ]
    assert b"555-1234" in await pool.fetchval("select value from parked")


async def test_a_record_that_the_database_refuses_is_parked_alone(pool: Pool) -> None:
    await pool.execute("ALTER TABLE snapshots ADD CHECK (id <> 2)")
    source = consonance_with(1, 2, 3)
    assert [await works_poll(pool, source).run() for _ in range(2)] == [2, 0]
    assert [reason for _, reason, _ in await parked(pool)] == ["database_refused"]


@pytest.mark.parametrize("nonsense", [None, 5, "x", [], {"id": None}, {"id": True}, {"id": 10**30}, {"id": -1}])
async def test_a_node_that_is_no_record_is_parked_once_and_the_others_are_published(pool: Pool, nonsense: Any) -> None:
    source = consonance_with(1, 2)
    nodes = [source.nodes[1], nonsense, source.nodes[2]]
    source.people = [contact(8, None), nonsense, contact(9, None)]

    async def pages(after: int, changed_since: date | None) -> list[Any]:  # noqa: ARG001 -- a page as Consonance has it
        return nodes if after == 0 else []

    source.works = pages  # type: ignore[method-assign]
    assert [await works_poll(pool, source).run() + await contacts_poll(pool, source).run() for _ in range(2)] == [4, 0]
    assert len(await parked(pool)) == 2


async def test_products_without_a_work_do_not_stop_the_pass(pool: Pool) -> None:
    source = consonance_with(1)
    await works_poll(pool, source).run()
    source.hidden[77] = work(77)
    source.changed = [
        {"id": 5, "work": "x"}, {"id": 6, "work": {}}, {"id": 7, "work": {"id": []}}, {"id": 8, "work": {"id": 77}},
    ]  # fmt: skip
    assert await works_poll(pool, source).run() == 1


async def test_a_page_without_a_greater_id_is_not_asked_for_again(pool: Pool) -> None:
    source = consonance_with(1)
    source.nodes[1]["id"] = "first"
    with pytest.raises(Unavailable, match="greater id"):
        await works_poll(pool, source).run()
