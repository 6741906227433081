"""The dispatcher beside a bare client loop: messages a second from Kafka through queue and planner to a provider."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp

from bench import people
from bench.ground import Ground, ground, held, once, until
from bench.rounds import take_turns
from bench.stream import fill
from bench.table import Row, against_floor
from dev.processes import Child
from shared.contracts.ids import Line, MessageId, derive_id
from shared.contracts.messages import Resend, SendMessage, TemplateCall
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED
from shared.runtime.clock import machine_now

_WANTED = 0.4
_AT_ONCE = 256
_PATH = "/v25.0/123456789012345/messages"
_MESSAGES_A_SECOND = 2_000
_KNOWN = "select count(*) from dispatcher.people"
_OPEN = "select not exists (select from dispatcher.messages where state in ('waiting', 'intent'))"


@dataclass
class _Sends:
    footing: Ground
    dispatcher: Child
    session: aiohttp.ClientSession
    messages: int
    asked: int = 0

    async def ours(self) -> float:
        """Messages a second, from the first record read to the last message at the provider."""
        with held(self.dispatcher):
            requests = _requests(self.asked, self.messages, machine_now())
            self.asked += await fill(self.footing.kafka, MESSAGES_REQUESTED, requests)
        wanted = await self._sent() + self.messages
        began = time.monotonic()
        await until(self._sent, wanted, self.dispatcher)
        took = time.monotonic() - began
        await until(self._settled, 1, self.dispatcher)
        return self.messages / took

    async def floor(self) -> float:
        found = await once(
            "floor_dispatcher", "--origin", self.footing.layout.whatsapp_url, "--path", _PATH,
            "--messages", str(self.messages), "--at-once", str(_AT_ONCE),
        )  # fmt: skip
        return float(found["messages"] / found["seconds"])

    async def _sent(self) -> int:
        async with self.session.get(self.footing.layout.whatsapp_url + "/count") as answer:
            return int((await answer.json())["count"])

    async def _settled(self) -> int:
        return int(await self.footing.database.fetchval(_OPEN))


async def measure(seconds: float) -> AsyncIterator[Row]:
    async with ground() as footing, aiohttp.ClientSession() as session:
        await footing.tool("provider", port=urlsplit(footing.layout.whatsapp_url).port)
        dispatcher = await footing.service(
            "dispatcher", STET_LIMITS_LIFTED="1", STET_ALLOW_DEVELOPMENT_CLOCK="1", STET_SENDS_IN_FLIGHT=str(_AT_ONCE)
        )
        await fill(footing.kafka, CONTACTS, people.people(people.PEOPLE, machine_now()))
        await until(lambda: _known(footing), people.PEOPLE, dispatcher)
        sends = _Sends(footing, dispatcher, session, int(_MESSAGES_A_SECOND * seconds))
        yield against_floor("dispatcher: messages to the provider", await take_turns(sends.ours, sends.floor), _WANTED)


async def _known(footing: Ground) -> int:
    return int(await footing.database.fetchval(_KNOWN))


def _requests(first: int, count: int, now: datetime) -> Iterator[people.Record]:
    for number in range(first, first + count):
        person = people.person_id(number % people.PEOPLE)
        words = f"Good news about “The Book of Number {number}”, Reader: it is now at “proofs”. There is nothing to do."
        template = TemplateCall(
            name="bench_told_v1", language="en", parameters={"title": f"Number {number}", "stage": "proofs"}
        )
        request = SendMessage(
            message_id=MessageId(derive_id("bench", number)), person_id=person, line=Line("main"), say="bench_told",
            language="en", body=words, template=template, resend=Resend.IF_UNPROVEN,
            expires_at=now + timedelta(days=2),
        )  # fmt: skip
        yield people.record(request, request.message_id, people.person_key(person), now)
