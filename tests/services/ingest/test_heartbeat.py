"""The time that a heartbeat confirms, and the causes of a gap; in a real database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from services.ingest import app
from services.ingest.coverage import CoverageTracker
from services.ingest.handlers import WhatsAppWebhook
from services.ingest.heartbeat import Heartbeat
from services.ingest.metrics import IngestMetrics
from services.ingest.poll import loop
from services.ingest.records import InvalidInput, KafkaRecord, WebhookContext
from services.ingest.settings import IngestRole, IngestSettings
from services.ingest.webhook_parser import PersonUpdate
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Line, TenantId
from shared.contracts.whatsapp import WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import MachineInstant, SystemClock, machine_now
from shared.runtime.http.router import HttpRequest
from shared.runtime.postgres import Pool
from tests.services.ingest.outbox import clear_outbox, outbox_events
from tests.services.ingest.payloads import PSEUDONYMS, status, statuses, webhook
from tests.services.ingest.service import APP_SECRET, VERIFY_TOKEN, signed

pytestmark = pytest.mark.integration
BODY = webhook(statuses(status()))
_TOLERANCE = timedelta(milliseconds=1)


@dataclass
class HeartbeatUnderTest:
    """A heartbeat whose readiness the test decides; ``beat`` returns what was published."""

    pool: Pool
    metrics: IngestMetrics
    tracker: CoverageTracker = field(default_factory=CoverageTracker)
    ready: bool = True

    def __post_init__(self) -> None:
        hour = timedelta(hours=1)
        self.heartbeat = Heartbeat(
            self.tracker, self.pool, SystemClock(), TenantId("pelican"), "1", hour, hour, self.metrics, self.is_ready
        )

    async def is_ready(self) -> bool:
        return self.ready

    async def beat(self) -> tuple[list[str], bool]:
        """The reasons of gaps opened, and whether the time since the last beat is confirmed."""
        before = machine_now()
        await clear_outbox(self.pool)
        await self.heartbeat.beat()
        events = [event.data for event in await outbox_events(self.pool)]
        spans = [one for one in events if isinstance(one, WebhookConfirmed)]
        assert all(span.since <= span.until for span in spans)
        confirmed = any(span.since < before - _TOLERANCE and span.since < span.until for span in spans)
        await asyncio.sleep(10 * _TOLERANCE.total_seconds())  # the next beat is further away than what is tolerated
        return [one.reason for one in events if isinstance(one, WebhookGapOpened)], confirmed


@pytest.fixture
async def tested(pool: Pool, metrics: IngestMetrics) -> HeartbeatUnderTest:
    """It has started, and has confirmed its first interval."""
    tested = HeartbeatUnderTest(pool, metrics)
    await tested.beat()
    assert await tested.beat() == ([], True)
    return tested


async def test_coverage_starts_when_the_service_is_ready_for_two_heartbeats(pool: Pool, metrics: IngestMetrics) -> None:
    tested = HeartbeatUnderTest(pool, metrics, ready=False)
    tested.tracker.record_miss("restarted")
    assert [await tested.beat() for _ in range(2)] == [([], False)] * 2
    assert await outbox_events(pool) == []
    tested.ready = True
    assert await tested.beat() == ([], False)
    assert await outbox_events(pool) == []
    assert [await tested.beat() for _ in range(2)] == [([], False), ([], True)]


async def test_an_unready_service_has_a_gap_until_it_is_ready_for_two_heartbeats(tested: HeartbeatUnderTest) -> None:
    tested.ready = False
    assert [await tested.beat() for _ in range(2)] == [(["unready"], False), ([], False)]
    tested.ready = True
    assert [await tested.beat() for _ in range(2)] == [([], False), ([], True)]


async def test_a_failed_readiness_probe_between_two_heartbeats_opens_a_gap(tested: HeartbeatUnderTest) -> None:
    tested.tracker.record_unready()
    assert await tested.beat() == (["unready"], False)


async def test_a_connection_dropped_for_lack_of_room_opens_a_gap(tested: HeartbeatUnderTest) -> None:
    tested.tracker.record_miss("full")
    assert await tested.beat() == (["full"], False)


async def test_a_suspect_signature_opens_a_gap_unless_a_valid_one_follows(tested: HeartbeatUnderTest) -> None:
    tested.tracker.record_suspect_signature()
    tested.tracker.record_valid_signature()
    assert await tested.beat() == ([], True)
    tested.tracker.record_valid_signature()
    tested.tracker.record_suspect_signature()
    assert await tested.beat() == (["signature"], False)


async def test_a_rejection_during_the_readiness_check_opens_a_gap(tested: HeartbeatUnderTest) -> None:
    async def rejects_meanwhile() -> bool:
        tested.tracker.record_miss("refused")
        return True

    tested.heartbeat = Heartbeat(
        **{name: getattr(tested.heartbeat, name) for name in Heartbeat.__slots__} | {"is_ready": rejects_meanwhile}
    )
    assert await tested.beat() == (["refused"], False)


@pytest.mark.parametrize("is_set_back", [False, True])
async def test_a_replica_that_stood_still_opens_a_gap_although_another_one_went_on(
    tested: HeartbeatUnderTest, pool: Pool, metrics: IngestMetrics, *, is_set_back: bool
) -> None:
    """Webhooks that came to it meanwhile were not answered: WhatsApp has to send them again.

    So it is where the clock was set back meanwhile, and shows no pause.
    """
    other = HeartbeatUnderTest(pool, metrics)
    await other.beat()
    assert await tested.beat() == ([], True)
    assert tested.tracker.asked_at is not None
    wall, monotonic = tested.tracker.asked_at
    pause = 4 * tested.heartbeat.interval
    clocks = MachineInstant(wall - pause, monotonic), MachineInstant(wall, monotonic - pause.total_seconds())
    tested.tracker.asked_at = clocks[is_set_back]
    assert await other.beat() == ([], True)
    assert await tested.beat() == (["away"], False)


async def test_a_clock_that_was_set_back_opens_a_gap_and_the_heartbeat_goes_on(tested: HeartbeatUnderTest) -> None:
    """It would confirm nothing, and say nothing, for as long as the step."""
    ahead = "update webhook_coverage set until = until + interval '{}'"
    await tested.pool.execute(ahead.format("10 minutes"))  # as by another replica
    assert await tested.beat() == ([], False)
    await tested.pool.execute(ahead.format("1 day"))
    assert await tested.beat() == (["clock"], False)
    (until,) = [row["until"] for row in await tested.pool.fetch("select until from webhook_coverage")]
    assert until <= machine_now()
    assert await tested.beat() == ([], True)


async def test_a_replica_that_died_opens_a_gap_although_another_one_goes_on(
    tested: HeartbeatUnderTest, pool: Pool, metrics: IngestMetrics
) -> None:
    """WhatsApp has no answer to what it sent to the dead one, and sends it again."""
    dead = HeartbeatUnderTest(pool, metrics)
    await dead.beat()
    assert await tested.beat() == ([], True)
    await pool.execute(
        "update webhook_replicas set beaten_at = now() - interval '4 hours' where replica = $1", dead.heartbeat.replica
    )
    assert await tested.beat() == (["replica_lost"], False)
    assert await tested.beat() == ([], True)


@pytest.mark.usefixtures("tested")
@pytest.mark.parametrize(("in_flight", "left"), [(False, 1), (True, 2)])
async def test_a_replica_that_has_answered_all_webhooks_leaves_no_gap_when_it_ends(
    pool: Pool, metrics: IngestMetrics, *, in_flight: bool, left: int
) -> None:
    ending = HeartbeatUnderTest(pool, metrics)
    if in_flight:
        ending.tracker.begin_request()
    running = asyncio.create_task(ending.heartbeat.run_forever())
    while await pool.fetchval("select count(*) from webhook_replicas") < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await pool.fetchval("select count(*) from webhook_replicas") == left


class FakePublisher:
    """A broker that may fail; the database is not needed for statuses."""

    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault

    async def publish(self, records: Sequence[KafkaRecord]) -> None:
        assert len(records) == 1
        if self.fault is not None:
            raise self.fault

    async def resolve(self, updates: Sequence[PersonUpdate], context: WebhookContext) -> list[KafkaRecord]:
        raise NotImplementedError

    async def park(self, inputs: Sequence[InvalidInput], origin: str) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fault", "missed"), [(None, False), (Unavailable("gone"), True), (RuntimeError(), True), (TimeoutError(), True)]
)
async def test_every_signed_webhook_without_a_200_is_recorded_as_missed(
    metrics: IngestMetrics, fault: Exception | None, *, missed: bool
) -> None:
    tracker, publisher = CoverageTracker(), FakePublisher(fault)
    whatsapp = WhatsAppWebhook(
        publisher=publisher, persons=publisher, parking=publisher, coverage=tracker, metrics=metrics,
        clock=SystemClock(), tenant=TenantId("pelican"), lines={"106540352242922": Line("house")},
        app_secrets=(APP_SECRET.encode(),), verify_token=VERIFY_TOKEN, pseudonyms=PSEUDONYMS,
    )  # fmt: skip
    headers = {name.lower().encode(): value.encode() for name, value in signed(BODY).items()}
    try:
        answer = (await whatsapp.receive(HttpRequest("POST", "/whatsapp/webhook", headers, b"", BODY))).status
    except RuntimeError:
        answer = HTTPStatus.INTERNAL_SERVER_ERROR
    assert (answer == HTTPStatus.OK, tracker.missed_at is not None) == (not missed, missed)
    assert tracker.in_flight == {}


@pytest.mark.parametrize(("role", "started"), [("web", ["receiving"]), ("poll", ["polling"])])
async def test_a_process_that_gets_no_webhooks_confirms_nothing(
    role: str, started: list[str], metrics: IngestMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat is part of receiving."""
    found: list[str] = []
    monkeypatch.setattr(app, "_start_receiving", lambda _: found.append("receiving"))

    @asynccontextmanager
    async def poll(*_: object) -> AsyncIterator[None]:
        found.append("polling")
        yield

    monkeypatch.setattr(loop, "poll", poll)
    settings = IngestSettings.model_construct(
        tenant=TenantId("pelican"),
        ingest_role=IngestRole(role),
        consonance_url="http://127.0.0.1:9",
        consonance_key=SecretStr("k"),
    )
    process: Any = SimpleNamespace(pool=None, clock=SystemClock())
    async with AsyncExitStack() as stack:
        await app.start_by_role(app._Parts(process, settings, metrics, CoverageTracker()), stack)
    assert found == started
