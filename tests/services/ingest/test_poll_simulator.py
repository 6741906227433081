"""Ingest polls the simulator of Consonance; both are processes of their own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from dev.ports import LOOPBACK, free_ports
from dev.processes import Child, Command
from shared.contracts.consonance import (
    ApprovalRequested,
    ComponentChanged,
    MetadataChanged,
    PubDateChanged,
    StageChanged,
    WorkObserved,
)
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import ContactId, TenantId, person_id_of_contact
from shared.contracts.topics import CONSONANCE_EVENTS, CONTACTS, Topic
from shared.contracts.vocabulary import Role, Stage
from tests.infrastructure import declare_topics
from tests.services.ingest.service import ROOT, WEBHOOK_SECRET, IngestProcess, ingest_process

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
WORK = 61417


@dataclass(frozen=True)
class PolledSimulator:
    """``database`` is a connection of the superuser."""

    service: IngestProcess
    session: aiohttp.ClientSession
    simulator: str
    database: Any

    async def edit(self, path: str, method: str = "PATCH", **fields: Any) -> None:
        async with self.session.request(method, f"{self.simulator}/_simulator/{path}", json=fields) as answer:
            assert answer.ok, await answer.text()

    async def wait_for(self, topic: Topic, wanted: Callable[[Event], bool]) -> list[Event]:
        """All events of the topic, once a wanted event is among them."""
        async with asyncio.timeout(20):
            while not any(map(wanted, events := await self.service.read(topic))):
                await asyncio.sleep(0.1)
        return events

    async def passes(self, count: int) -> None:
        """Wait until so many more polls are complete, and Kafka has what they found."""
        wanted = await self._completed() + count
        async with asyncio.timeout(20):
            while await self._completed() < wanted or not await self._is_relayed():
                await asyncio.sleep(0.05)

    async def _is_relayed(self) -> bool:
        return bool(await self.database.fetchval("select not exists (select from ingest.outbox)"))

    async def _completed(self) -> float:
        async with self.session.get(f"{self.service.health_url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith('stet_polls_total{outcome="completed"'))


@asynccontextmanager
async def opened(
    bootstrap: str, dsn: str, folder: Path, profile: str, **settings: str
) -> AsyncIterator[PolledSimulator]:
    (port,) = free_ports(1)
    simulator = f"http://{LOOPBACK}:{port}"
    settings = {"STET_CONSONANCE_POLL_SECONDS": "0.1", **settings}
    service = ingest_process(bootstrap, dsn, folder, f"{simulator}/graphql", **settings)
    options = ("--port", str(port), "--key", "k" * 32, "--webhook-secret", WEBHOOK_SECRET, "--profile", profile)
    where = ("--webhook-url", f"{service.url}/consonance/events", "--tenant", "pelican")
    command = Command(
        "consonance", (sys.executable, "-m", "dev.consonance", *options, *where), {"PYTHONPATH": str(ROOT)}
    )
    child = Child(command, folder)
    await declare_topics(service.bootstrap, service.prefix)
    try:
        await asyncio.gather(child.start(), service.start())
        database = await asyncpg.connect(dsn)
        async with aiohttp.ClientSession() as session:
            simulated = PolledSimulator(service, session, simulator, database)
            await simulated.passes(2)
            yield simulated
        await database.close()
    finally:
        await asyncio.gather(child.stop(), service.child.stop())
        print(service.child.tail(40))  # noqa: T201 -- shown where a test fails


@pytest.fixture
async def extended(kafka_bootstrap: str, postgres_database: str, run_folder: Path) -> AsyncIterator[PolledSimulator]:
    async with opened(kafka_bootstrap, postgres_database, run_folder, "extended") as simulated:
        yield simulated


@pytest.fixture
async def documented(kafka_bootstrap: str, postgres_database: str, run_folder: Path) -> AsyncIterator[PolledSimulator]:
    async with opened(kafka_bootstrap, postgres_database, run_folder, "documented") as simulated:
        yield simulated


def of(kind: type) -> Callable[[Event], bool]:
    return lambda event: isinstance(event.data, kind)


async def test_the_first_poll_publishes_the_states_of_all_works_and_nothing_else(extended: PolledSimulator) -> None:
    events = await extended.service.read(CONSONANCE_EVENTS)
    assert {type(event.data) for event in events} == {WorkObserved}
    work = next(event.data for event in events if event.partitionkey == f"pelican/works/{WORK}")
    assert isinstance(work, WorkObserved)
    assert {(party.contact_id, party.role) for party in work.people} >= {(801, Role.AUTHOR), (11, Role.EDITOR)}
    assert work.components
    await extended.passes(2)
    assert len(await extended.service.read(CONSONANCE_EVENTS)) == len(events)


async def test_people_have_their_country_roles_and_number(extended: PolledSimulator) -> None:
    states = {
        event.data.contact_id: event.data
        for event in await extended.service.read(CONTACTS)
        if isinstance(event.data, PersonObserved)
    }
    author, holder = states[ContactId(801)], states[ContactId(812)]
    assert (author.country, Role.AUTHOR in author.roles) == ("GB", True)
    assert (author.addresses.phone or "").startswith("+44")
    assert (holder.country, Role.RIGHTS_HOLDER in holder.roles) == ("FR", True)
    assert author.person_id == person_id_of_contact(TenantId("pelican"), ContactId(801))


async def test_each_edit_gives_its_own_event(extended: PolledSimulator) -> None:
    await extended.edit(f"works/{WORK}", stage="Final proof approved", subtitle="Walking further")
    await extended.edit(f"works/{WORK}/components", jacket_copy="final")
    events = await extended.wait_for(CONSONANCE_EVENTS, of(ComponentChanged))
    (stage,) = [event.data for event in events if isinstance(event.data, StageChanged)]
    (metadata,) = [event.data for event in events if isinstance(event.data, MetadataChanged)]
    assert stage.to_stage_key is Stage.FINAL_PROOF_APPROVED
    assert [change.new for change in metadata.changes] == ["Walking further"]


async def test_a_consonance_with_only_documented_fields_is_polled(documented: PolledSimulator) -> None:
    await documented.edit(f"works/{WORK}", stage="Final proof approved")
    await documented.wait_for(CONSONANCE_EVENTS, of(StageChanged))
    events = await documented.service.read(CONSONANCE_EVENTS)
    product = next(event.data.products[0] for event in events if isinstance(event.data, WorkObserved))
    await documented.edit(f"products/{product.product_id}", publication_date="2028-02-03")
    events = await documented.wait_for(CONSONANCE_EVENTS, of(PubDateChanged))
    assert [str(event.data.new) for event in events if isinstance(event.data, PubDateChanged)] == ["2028-02-03"]


async def test_a_pushed_request_is_published_once(extended: PolledSimulator) -> None:
    await extended.edit("rights_requests", "POST", work_id=61418, rights_holder=812, respond_by="2027-01-15")
    events = await extended.wait_for(CONSONANCE_EVENTS, of(ApprovalRequested))
    (asked,) = [event.data for event in events if isinstance(event.data, ApprovalRequested)]
    assert asked.rights_holder.person_id == person_id_of_contact(TenantId("pelican"), ContactId(812))


@pytest.mark.parametrize("fault", [{"kind": "ok_with_errors"}, {"kind": "http_503"}, {"kind": "revoked_key"}])
async def test_a_failed_poll_is_repeated(extended: PolledSimulator, fault: dict[str, str]) -> None:
    await extended.edit("faults", "POST", **fault, count=2)
    await extended.edit(f"works/{WORK}", stage="Final proof approved")
    events = await extended.wait_for(CONSONANCE_EVENTS, of(StageChanged))
    assert len([event for event in events if isinstance(event.data, StageChanged)]) == 1
