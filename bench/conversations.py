"""Conversations with contacts: each writes, gets a question, taps, and gets an answer.

Ingest, rules and dispatcher are the real ones, with their real limits and clock; the provider runs in this process.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from bench import records, webhooks
from bench.environment import BenchEnvironment
from bench.rule_folders import write_question_rule
from dev.layout import TENANT
from dev.processes import Child, ProcessFailed
from services.ingest.store import PersonStore
from shared.contracts.ids import TenantId
from shared.contracts.topics import CONTACTS
from shared.runtime.clock import machine_now

SERVICES = ("ingest", "rules", "dispatcher")


@dataclass
class Conversations:
    """``questions``: phone → button id and wamid; ``tapped`` and ``answered``: phone → monotonic seconds."""

    environment: BenchEnvironment
    session: aiohttp.ClientSession
    questions: dict[str, tuple[str, str]] = field(default_factory=dict)
    tapped: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)

    def record_message(self, body: bytes, wamid: str) -> None:
        message = orjson.loads(body)
        phone = message["to"].removeprefix("+")
        if message["type"] == "interactive":
            self.questions[phone] = (message["interactive"]["action"]["buttons"][0]["reply"]["id"], wamid)
        elif phone in self.tapped:
            self.answered.setdefault(phone, time.monotonic())

    async def send_text(self, phone: str) -> None:
        number, at = self.environment.layout.lines["main"], int(machine_now().timestamp())
        await self.post(webhooks.text(number, phone, f"wamid.WRITE{phone}", "Hello, is this the publisher", at))

    async def send_tap(self, phone: str) -> None:
        number, at = self.environment.layout.lines["main"], int(machine_now().timestamp())
        button, quoted = self.questions[phone]
        body = webhooks.button_reply(number, phone, f"wamid.TAP{phone}", (button, "Go on"), quoted, at)
        self.tapped[phone] = time.monotonic()
        await self.post(body)

    async def post(self, body: bytes) -> None:
        layout = self.environment.layout
        headers = {"X-Hub-Signature-256": webhooks.signature(body, layout.secrets.whatsapp_app_secret)}
        async with self.session.post(layout.ingest_url + webhooks.PATH, data=body, headers=headers) as answer:
            if answer.status != 200:
                raise ProcessFailed("ingest", f"answered {answer.status}", layout.folder / "logs" / "ingest.log", "")


async def write_contacts(environment: BenchEnvironment, count: int) -> list[str]:
    """Make so many contacts known to ingest and rules; returns their numbers as WhatsApp has them."""
    now = machine_now()
    people = list(records.people(count, now))
    await environment.database.execute("set search_path = ingest")
    await PersonStore(TenantId(TENANT)).save(environment.database, people)
    await records.fill_topic(environment.kafka, CONTACTS, records.person_records(people, now))
    return [str(person.addresses.phone).removeprefix("+") for person in people]


async def start_services(environment: BenchEnvironment) -> dict[str, Child]:
    """The processes of the services, by name."""
    folder = str(write_question_rule(environment.layout.folder / "data" / "question"))
    return {name: await environment.start_service(name, STET_RULES_DIR=folder) for name in SERVICES}


async def run_at_pace(
    act: Callable[[str], Coroutine[Any, Any, None]], phones: Sequence[str], per_second: float
) -> None:
    """Starts so many calls a second, at a steady pace, whether or not the earlier ones have ended."""
    loop = asyncio.get_running_loop()
    began, in_flight = loop.time(), set()
    for place, phone in enumerate(phones):
        await asyncio.sleep(max(0.0, began + place / per_second - loop.time()))
        in_flight.add(asyncio.ensure_future(act(phone)))
    await asyncio.gather(*in_flight)
