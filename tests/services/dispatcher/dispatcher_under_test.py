"""A dispatcher that runs in the test's process: a real database, the simulator over real sockets, no broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from dev.postgres import login_of
from services.dispatcher.app import DispatcherParts, compose
from services.dispatcher.message_updates import SERVICE
from services.dispatcher.provider_responses import SendOutcome
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.unread_partitions import FetchEndOffsets
from services.dispatcher.whatsapp_client import WhatsAppClient
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import Bsuid, EventId, Line, MessageId, PersonId, Phone, TenantId, Wamid
from shared.contracts.messages import Button, Resend, SendMessage, TemplateCall, WithdrawMessage
from shared.contracts.topics import MESSAGES_REQUESTED
from shared.contracts.whatsapp import AccountReported, DeliveryStatus, MessageKind, MessageReceived, StatusReported
from shared.runtime.batch import ReceivedEvent
from shared.runtime.clock import DevelopmentClock
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Pool, open_pool
from tests.dev.whatsapp.simulator_under_test import (
    ACCOUNT,
    ACQUISITIONS,
    MAIN,
    TOKEN,
    RecordingWebhook,
    SimulatorUnderTest,
)

TENANT = TenantId("penrose")
TIMEOUT = 20.0  # seconds
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_FAR = datetime(2026, 12, 24, tzinfo=UTC)
_CALL = TemplateCall(name="rights_request_v3", language="en", parameters={"person": "Ada", "title": "The Long Way"})
BUTTONS = (Button(button_id="yes.m1", title="Approve"), Button(button_id="no.m1", title="Decline"))


@dataclass
class DispatcherUnderTest:
    settings: DispatcherSettings
    pool: Pool
    clock: DevelopmentClock
    parts: DispatcherParts
    simulator: SimulatorUnderTest
    webhook: RecordingWebhook
    read_after: timedelta = timedelta()
    """The business time for which events lay in Kafka."""
    _handled: int = 0
    _statuses: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def handle(self, *payloads: EventData) -> None:
        """Hand events to the handler as Kafka would: one batch, one transaction."""
        async with self.handling(*payloads):
            pass

    @asynccontextmanager
    async def handling(self, *payloads: EventData) -> AsyncIterator[None]:
        """Handled, and not committed before the block ends."""
        batch = [
            ReceivedEvent(self._event(data), MESSAGES_REQUESTED, 0, place, b"") for place, data in enumerate(payloads)
        ]
        async with transaction(self.pool, self.clock, SERVICE) as tx:
            await self.parts.handler.handle(tx, batch)
            yield

    async def handle_statuses(self) -> None:
        """Handle the statuses that the simulator has posted since, as ingest would publish them."""
        await self.simulator.rest()
        fresh = self.webhook.statuses()[self._statuses :]
        self._statuses += len(fresh)
        await self.handle(*map(status_of, fresh))

    async def published(self, message_id: str = "") -> list[str]:
        """The middle words of the events published so far: accepted, delivered, failed …"""
        events = await self.events()
        return [e["type"].split(".")[2] for e in events if message_id in {"", e["data"]["message_id"]}]

    async def events(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("select value from outbox where topic = 'messages.events' order by id")
        return [orjson.loads(row["value"]) for row in rows]

    async def state(self, message_id: str = "m1") -> str:
        return str(await self.pool.fetchval("select state from messages where message_id = $1", message_id))

    async def sent(self) -> list[dict[str, Any]]:
        """The messages that reached people, from the simulator."""
        found: list[dict[str, Any]] = await self.simulator.ask("messages")
        return found

    async def wait_until_idle(self) -> None:
        """Until nothing is in flight and nothing is due; as long as outcomes are recorded, it may take its time."""
        async with asyncio.timeout(TIMEOUT) as limit:
            recorded = self.parts.sender.recorded
            while not await self._is_idle():
                await asyncio.sleep(0.02)
                if self.parts.sender.recorded != recorded:
                    recorded = self.parts.sender.recorded
                    limit.reschedule(asyncio.get_running_loop().time() + TIMEOUT)

    async def wait_for_state(self, state: str, message_id: str = "m1") -> None:
        async def has_state() -> bool:
            return await self.state(message_id) == state

        await wait_until(has_state)

    async def wait_for_reason(self, reason: str, message_id: str = "m1") -> None:
        async def has_reason() -> bool:
            query = "select reason from messages where message_id = $1 and state = 'waiting'"
            return bool(await self.pool.fetchval(query, message_id) == reason)

        await wait_until(has_reason)

    async def wait_until_leader(self) -> None:
        """Until it has the lease and has read what the leader before it has left."""

        async def is_leader() -> bool:
            return self.parts.sender.claimer is not None

        await wait_until(is_leader)

    def advance_clock(self, by: timedelta) -> datetime:
        self.clock.set(self.clock.now() + by)
        return self.clock.now()

    async def start(self) -> None:
        parts = self.parts
        loops = (parts.leader.run, parts.sender.deliver, parts.sender.record, parts.reconciler.run)
        self._tasks = [asyncio.ensure_future(loop()) for loop in loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _is_idle(self) -> bool:
        return not (await self.parts.monitor.idle()).busy

    def _event(self, data: EventData) -> Event:
        self._handled += 1
        now, number = self.clock.now() - self.read_after, self._handled
        return Event(
            id=EventId(f"event-{number}"), source="test", type=data.kind, time=now, recordedtime=now, tenantid=TENANT,
            partitionkey="penrose/persons/p1", correlationid="story", data=data,
        )  # fmt: skip


class SlowConnection:
    """The request waits for a connection: it is claimed, and not begun."""

    def __init__(self, whatsapp: WhatsAppClient) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self._whatsapp = whatsapp

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> SendOutcome:
        self.waiting += 1
        await self.open.wait()
        return await self._whatsapp.send(line, body, may_write)


class SlowResponse(SlowConnection):
    """The request has been written, and its response does not come."""

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> SendOutcome:
        outcome = await self._whatsapp.send(line, body, may_write)
        self.waiting += 1
        await self.open.wait()
        return outcome


@asynccontextmanager
async def running_dispatcher(
    database: str,
    clock_file: Path,
    simulator: SimulatorUnderTest,
    webhook: RecordingWebhook,
    *,
    fetch_ends: FetchEndOffsets | None = None,
    **changes: Any,
) -> AsyncIterator[DispatcherUnderTest]:
    settings = settings_for(database, clock_file, simulator, **changes)
    async with AsyncExitStack() as stack:
        pool = await open_pool(settings, SERVICE)
        stack.callback(pool.terminate)
        whatsapp = await stack.enter_async_context(WhatsAppClient(settings.endpoint(), settings.sends_in_flight))
        clock = DevelopmentClock(clock_file)
        dispatcher = DispatcherUnderTest(
            settings, pool, clock, compose(settings, pool, clock, whatsapp, fetch_ends), simulator, webhook
        )
        await dispatcher.start()
        try:
            yield dispatcher
        finally:
            await dispatcher.stop()


def settings_for(database: str, clock_file: Path, simulator: SimulatorUnderTest, **changes: Any) -> DispatcherSettings:
    given: dict[str, Any] = {
        "tenant": TENANT,
        "kafka_bootstrap": "127.0.0.1:1",
        "postgres_dsn": login_of(database, "dispatcher"),
        "development_clock": clock_file,
        "allow_development_clock": True,
        "whatsapp_graph_url": simulator.url,
        "whatsapp_graph_version": "v25.0",
        "whatsapp_token": TOKEN,
        "whatsapp_lines": {"main": MAIN, "acquisitions": ACQUISITIONS},
        "sends_in_flight": 16,
        "send_timeout_seconds": 8,  # on a busy machine; a test of lost responses sets less
    }
    return DispatcherSettings(**(given | changes))


async def wait_until(condition: Callable[[], Any], seconds: float = TIMEOUT) -> None:
    """At most half of the time is spent on asking."""
    async with asyncio.timeout(seconds):
        asked = time.monotonic()
        while not await condition():
            await asyncio.sleep(max(0.02, time.monotonic() - asked))
            asked = time.monotonic()


def person_observed(
    person_id: str = "p1", phone: str | None = "+441632960001", bsuid: str | None = None
) -> PersonObserved:
    addresses = Addresses(phone=Phone(phone) if phone else None, bsuid=Bsuid(bsuid) if bsuid else None)
    return PersonObserved(
        person_id=PersonId(person_id), display_name="Ada", addresses=addresses, observed_at=_LONG_AGO, version=1
    )


def send_request(message_id: str = "m1", person_id: str = "p1", **changes: Any) -> SendMessage:
    message = SendMessage(
        message_id=MessageId(message_id), person_id=PersonId(person_id), line=Line("main"), say="stage_told",
        language="en", body="The proofs are ready.", template=_CALL, resend=Resend.NEVER, expires_at=_FAR,
    )  # fmt: skip
    return message.replace(**changes)


def withdrawal(message_id: str = "m1", person_id: str = "p1") -> WithdrawMessage:
    return WithdrawMessage(message_id=MessageId(message_id), person_id=PersonId(person_id), reason="no_longer_needed")


def template_update(at: datetime, event: str) -> AccountReported:
    value = {"event": event, "message_template_name": "rights_request_v3", "message_template_language": "en"}
    return AccountReported(account=ACCOUNT, field="message_template_status_update", value=value, at=at)


def message_received(at: datetime, person_id: str = "p1", **changes: Any) -> MessageReceived:
    received = MessageReceived(
        line=Line("main"), person_id=PersonId(person_id), message_id=Wamid("wamid.theirs"),
        message_kind=MessageKind.TEXT, text="Hello", at=at,
    )  # fmt: skip
    return received.replace(**changes)


def status_of(status: dict[str, Any]) -> StatusReported:
    errors, pricing = status.get("errors") or [{}], status.get("pricing") or {}
    at = datetime.fromtimestamp(int(status["timestamp"]), UTC)
    return StatusReported(
        wamid=Wamid(status["id"]), status=DeliveryStatus(status["status"]), at=at,
        callback=status.get("biz_opaque_callback_data"), code=errors[0].get("code"),
        pricing_category=pricing.get("category"), pricing_type=pricing.get("type"), country="GB" if pricing else None,
    )  # fmt: skip
