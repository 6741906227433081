"""A real ingest process on a real broker and database, and a sender of webhooks and events."""

import base64
import hashlib
import hmac
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from standardwebhooks import Webhook

from dev.ports import LOOPBACK, free_ports
from dev.postgres import login_of
from dev.processes import Child, Command
from shared.contracts.envelope import Event, parse_event
from shared.contracts.topics import PARTITIONS, Topic
from shared.runtime.clock import machine_now
from tests.services.ingest.payloads import PSEUDONYMS

ROOT = Path(__file__).parents[3]
APP_SECRET, NEXT_APP_SECRET, VERIFY_TOKEN = "5f" * 16, "a7" * 16, "verify-me"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"secret" * 4).decode()
_READY_SECONDS = 90


@dataclass(frozen=True)
class IngestProcess:
    """``prefix`` stands before the names of its topics."""

    bootstrap: str
    prefix: str
    port: int
    health_port: int
    child: Child

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def health_url(self) -> str:
        return f"http://{LOOPBACK}:{self.health_port}"

    async def start(self) -> None:
        """Returns when it is ready."""
        await self.child.start()
        await self.child.wait_until(self.ready, _READY_SECONDS)

    async def ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.health_url}/readyz") as answer:
                return answer.ok
        except aiohttp.ClientError:
            return False

    def beside(self, folder: Path, **settings: str) -> "IngestProcess":
        """Another replica with ports of its own, not started yet."""
        port, health_port = free_ports(2)
        ports = {"STET_LISTEN_PORT": str(port), "STET_HEALTH_PORT": str(health_port)}
        command = replace(self.child.command, environment={**self.child.command.environment, **ports, **settings})
        return replace(self, port=port, health_port=health_port, child=Child(command, folder))

    async def read(self, topic: Topic) -> list[Event]:
        """Everything on a topic so far."""
        return [parse_event(value, topic.kinds) for value in await self.read_raw(topic)]

    async def read_raw(self, topic: Topic) -> list[bytes]:
        name = self.prefix + topic.name
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            places = [TopicPartition(name, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            values: list[bytes] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                fetched = await consumer.getmany(timeout_ms=200)
                values += [record.value for records in fetched.values() for record in records]
            return values
        finally:
            await consumer.stop()


def ingest_process(
    bootstrap: str, dsn: str, folder: Path, consonance_url: str = f"http://{LOOPBACK}:9/graphql", **settings: str
) -> IngestProcess:
    """Not started yet. Without a Consonance it does not poll."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    port, health_port = free_ports(2)
    environment = {
        "PYTHONPATH": str(ROOT), "STET_TENANT": "pelican", "STET_KAFKA_BOOTSTRAP": bootstrap,
        "STET_POSTGRES_DSN": login_of(dsn, "ingest"),
        "STET_TOPIC_PREFIX": prefix, "STET_LISTEN_PORT": str(port), "STET_HEALTH_PORT": str(health_port),
        "STET_WHATSAPP_APP_SECRETS": orjson.dumps([APP_SECRET, NEXT_APP_SECRET]).decode(),
        "STET_WHATSAPP_VERIFY_TOKEN": VERIFY_TOKEN, "STET_WHATSAPP_LINES": '{"house":"106540352242922"}',
        "STET_WHATSAPP_BUSINESS_ACCOUNT": "102290129340398", "STET_WHATSAPP_HEARTBEAT_SECONDS": "0.2",
        "STET_PSEUDONYM_KEY": PSEUDONYMS.key.decode(), "STET_DRAIN_SECONDS": "0",
        "STET_CONSONANCE_URL": consonance_url, "STET_CONSONANCE_KEY": "k" * 32, "STET_CONSONANCE_POLL_SECONDS": "0",
        "STET_CONSONANCE_WEBHOOK_SECRETS": orjson.dumps([WEBHOOK_SECRET]).decode(),
    }  # fmt: skip
    command = Command("ingest", (sys.executable, "-m", "services.ingest"), environment | settings)
    return IngestProcess(bootstrap, prefix, port, health_port, Child(command, folder))


def signed(body: bytes, secret: str = APP_SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}


def signed_event(
    body: bytes, media: str = "application/cloudevents+json", secret: str = WEBHOOK_SECRET
) -> dict[str, str]:
    seconds = int(machine_now().timestamp())
    signature = Webhook(secret).sign("m1", datetime.fromtimestamp(seconds, UTC), body.decode())
    stamped = {"webhook-id": "m1", "webhook-timestamp": str(seconds), "webhook-signature": signature}
    return {**stamped, "Content-Type": media}


@dataclass(frozen=True)
class WebhookClient:
    """Posts to the endpoints; returns status and body."""

    session: aiohttp.ClientSession
    url: str

    async def webhook(self, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        headers = signed(body) if headers is None else headers
        async with self.session.post(f"{self.url}/whatsapp/webhook", data=BytesIO(body), headers=headers) as answer:
            return answer.status

    async def events(self, document: Any, media: str = "application/cloudevents+json") -> tuple[int, Any]:
        body = orjson.dumps(document)
        headers = signed_event(body, media)
        async with self.session.post(f"{self.url}/consonance/events", data=body, headers=headers) as answer:
            return answer.status, orjson.loads(await answer.read())


@asynccontextmanager
async def sender(service: IngestProcess) -> AsyncIterator[WebhookClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
        yield WebhookClient(session, service.url)
