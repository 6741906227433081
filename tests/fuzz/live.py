"""Sends the same inputs to a real ingest process, and counts the results in Kafka and in the parked table.

The expected results are those of the pure modules, which ``targets.py`` checks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import asyncpg
import orjson
from standardwebhooks import Webhook

from services.ingest.cloudevents import POLLED_KIND, PushSettings, decode_request, validate_event
from services.ingest.fields import to_invalid_inputs
from services.ingest.records import InvalidInput, to_parkable_json
from services.ingest.settings import POLLED_KINDS
from services.ingest.webhook_parser import parse_webhook
from shared.contracts.consonance import ErasureRequested
from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Unprocessable
from shared.contracts.topics import CONSONANCE_EVENTS, WHATSAPP_ACCOUNT, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.contracts.whatsapp import WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import machine_now
from tests.fuzz.corpus import frame, pushed, webhooks
from tests.fuzz.mutations import Mutator
from tests.infrastructure import declare_topics
from tests.services.ingest.payloads import CONTEXT
from tests.services.ingest.service import WEBHOOK_SECRET, IngestProcess, ingest_process, signed

_AT_ONCE = 8
_TOPICS = (WHATSAPP_MESSAGES, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT, CONSONANCE_EVENTS)
_PUSH_SETTINGS = PushSettings(frozenset(POLLED_KINDS), 5, ZoneInfo("Europe/London"), "GB")

Name = tuple[str, str]
"""The source and id of an event."""


def webhook_bodies(seed: int, count: int) -> list[bytes]:
    """Messages and statuses have ids of their own: a repetition would be the same event."""
    mutator = Mutator(f"{seed}/live webhooks", webhooks())
    return [mutator.body(_renamed(mutator.choose(webhooks()), f"{seed}-{number}")) for number in range(count)]


def _renamed(webhook: Any, suffix: str) -> Any:
    copy = orjson.loads(orjson.dumps(webhook))
    for entry in copy.get("entry", ()):
        for change in entry["changes"]:
            for item in (*change["value"].get("messages", ()), *change["value"].get("statuses", ())):
                item["id"] = f"{item.get('id')}-{suffix}"
    return copy


def pushed_bodies(seed: int, count: int) -> list[bytes]:
    """Each with an id of its own, where it still has one: a repetition would count as a duplicate.

    None demands an erasure: from then on names of the contact are replaced, and the requests run side by side.
    """
    documents = [document for document in pushed() if document["type"] != ErasureRequested.kind]
    mutator = Mutator(f"{seed}/live events", documents)
    bodies = []
    for number in range(count):
        document = mutator.choose(documents)
        bodies.append(mutator.body({**document, "id": f"{seed}/{number}"}))
    return bodies


@dataclass
class Live:
    """Collects the expected events, by name, and the expected parked rows, by their bytes."""

    service: IngestProcess
    dsn: str
    session: aiohttp.ClientSession
    sent: int = 0
    events: set[Name] = field(default_factory=set)
    parked: set[bytes] = field(default_factory=set)

    @property
    def counts(self) -> str:
        return f"{self.sent:,} requests to a real ingest: {len(self.events):,} events, {len(self.parked):,} parked rows"

    async def send_webhooks(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            parsed = parse_webhook(body, frame())
            self.events |= {_name(record.value) for record in parsed.records}
            self.events |= {("stet/ingest", update.id) for update in parsed.person_updates}
            self._expect(parsed.invalid)
        await self._send(bodies, "/whatsapp/webhook", signed, frozenset({200}))

    async def send_events(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            self._expect_of_push(body)
        readable = [body for body in bodies if _is_text(body)]
        await self._send(readable, "/consonance/events", _signed_event, frozenset({200, 202, 400}))

    def _expect_of_push(self, body: bytes) -> None:
        try:
            documents = decode_request(body, {}).documents if _is_text(body) else ()
        except Unprocessable:
            return
        for document in documents:
            try:
                accepted = validate_event(document, CONTEXT, _PUSH_SETTINGS)
            except Unprocessable as fault:
                self._expect(
                    [InvalidInput(to_parkable_json(document), fault.reason, str(fault))] if _is_parked(fault) else []
                )
                continue
            if (accepted.event.source, accepted.event.id) not in self.events:
                self.events.add((accepted.event.source, accepted.event.id))
                self._expect(list(to_invalid_inputs(accepted.label, accepted.fields.unreadable, ())))

    def _expect(self, inputs: Sequence[InvalidInput]) -> None:
        self.parked |= {one.raw for one in inputs}

    async def _send(
        self, bodies: Sequence[bytes], path: str, headers: Callable[[bytes], dict[str, str]], right: frozenset[int]
    ) -> None:
        """A 503 is sent again, as the senders would."""
        waiting = list(reversed(bodies))

        async def send() -> None:
            while waiting:
                body = waiting.pop()
                status = 503
                while status == 503:
                    async with self.session.post(self.service.url + path, data=body, headers=headers(body)) as answer:
                        status = answer.status
                assert status in right, (status, body[:2_000])
                self.sent += 1

        await asyncio.gather(*(send() for _ in range(_AT_ONCE)))

    async def missing_and_unforeseen(self) -> tuple[list[str], list[str]]:
        """Events and parked rows that should be there and are not, and the other way round."""
        there = {name for topic in _TOPICS for raw in await self.service.read_raw(topic) if (name := _event_name(raw))}
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = {row["value"] for row in await connection.fetch("SELECT value FROM ingest.parked")}
        finally:
            await connection.close()
        missing = [*map(repr, self.events - there), *map(repr, self.parked - rows)]
        unforeseen = [*map(repr, there - self.events), *map(repr, rows - self.parked)]
        return missing, unforeseen


@asynccontextmanager
async def running(bootstrap: str, dsn: str, folder: Path) -> AsyncIterator[Live]:
    lines = {line: number for number, line in frame().lines.items()}
    service = ingest_process(bootstrap, dsn, folder, STET_WHATSAPP_LINES=orjson.dumps(lines).decode())
    await declare_topics(service.bootstrap, service.prefix)
    await service.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield Live(service, dsn, session)
    finally:
        await service.child.stop()


def _name(raw: bytes) -> Name:
    document = orjson.loads(raw)
    return document["source"], document["id"]


def _event_name(raw: bytes) -> Name | None:
    """None for heartbeats, which no input causes."""
    event: Event = parse_event(raw, {kind: model for topic in _TOPICS for kind, model in topic.kinds.items()})
    return None if isinstance(event.data, WebhookConfirmed | WebhookGapOpened) else (event.source, event.id)


def _signed_event(body: bytes) -> dict[str, str]:
    now = machine_now().replace(microsecond=0)
    signature = Webhook(WEBHOOK_SECRET).sign("m1", now, body.decode())
    stamped = {"webhook-id": "m1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return {**stamped, "Content-Type": "application/cloudevents+json"}


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_parked(fault: Unprocessable) -> bool:
    return fault.reason != POLLED_KIND
