"""A running WhatsApp simulator, the webhook it posts to, and short functions to send, query and wait."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from dev.whatsapp.app import running
from dev.whatsapp.simulator import WhatsAppOptions
from tests.web_servers import serving

MAIN, ACQUISITIONS = "106540352242922", "106540352242923"
TOKEN, SECRET, VERIFY, ACCOUNT = "EAAG" + "x" * 60, "5f" * 16, "verify-me", "102290129340398"
WAIT_SECONDS = 20.0  # seconds


@dataclass
class RecordingWebhook:
    """Records every request; answers with ``answers`` in order, then 200."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.signatures.append(request.headers["X-Hub-Signature-256"])
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def prove(self, request: web.Request) -> web.Response:
        if request.query["hub.verify_token"] != VERIFY:
            return web.Response(status=403)
        return web.Response(text=request.query["hub.challenge"])

    def values(self) -> Iterator[dict[str, Any]]:
        for body in self.bodies:
            for entry in json.loads(body)["entry"]:
                yield from (change["value"] for change in entry["changes"])

    def statuses(self, wamid: str | None = None) -> list[dict[str, Any]]:
        found = [status for value in self.values() for status in value.get("statuses", [])]
        return [status for status in found if wamid in {None, status["id"]}]

    def words(self, wamid: str) -> list[str]:
        return [status["status"] for status in self.statuses(wamid)]

    def messages(self) -> list[dict[str, Any]]:
        return [message for value in self.values() for message in value.get("messages", [])]


@dataclass
class Answer:
    status: int
    body: Any

    @property
    def code(self) -> int | None:
        return self.body["error"]["code"] if "error" in self.body else None

    @property
    def wamid(self) -> str:
        return str(self.body["messages"][0]["id"])


@dataclass
class SimulatorUnderTest:
    url: str
    session: aiohttp.ClientSession

    async def send(
        self, body: object, *, line: str = MAIN, bearer: str = TOKEN, within: float = WAIT_SECONDS
    ) -> Answer:
        headers = {"Authorization": f"Bearer {bearer}"}
        timeout = aiohttp.ClientTimeout(total=within)
        url = f"{self.url}/v25.0/{line}/messages"
        async with self.session.post(url, json=body, headers=headers, timeout=timeout) as answer:
            return Answer(answer.status, await answer.json())

    async def tell(self, command: str, body: object = None) -> Any:
        async with self.session.post(f"{self.url}/_simulator/{command}", json=body) as answer:
            return await answer.json()

    async def ask(self, question: str, **query: str) -> Any:
        async with self.session.get(f"{self.url}/_simulator/{question}", params=query) as answer:
            return await answer.json()

    async def rest(self) -> dict[str, Any]:
        """Wait until nothing is undelivered."""
        async with asyncio.timeout(WAIT_SECONDS):
            while (idle := await self.ask("idle"))["busy"]:
                await asyncio.sleep(0.01)
        return dict(idle)


@asynccontextmanager
async def recording_webhook() -> AsyncIterator[RecordingWebhook]:
    webhook = RecordingWebhook()
    routes = [web.post("/whatsapp/webhook", webhook.take), web.get("/whatsapp/webhook", webhook.prove)]
    async with serving(routes, largest_body=4 << 20) as root:
        webhook.url = f"{root}/whatsapp/webhook"
        yield webhook


@asynccontextmanager
async def running_simulator(
    webhook: RecordingWebhook | None, clock: Path | None = None, **changes: Any
) -> AsyncIterator[SimulatorUnderTest]:
    """A simulator without disorder unless ``changes`` say otherwise."""
    options: dict[str, Any] = {
        "app_secret": SECRET,
        "token": TOKEN,
        "verify_token": VERIFY,
        "business_account": ACCOUNT,
        "lines": {"main": MAIN, "acquisitions": ACQUISITIONS},
        "webhook_url": webhook.url if webhook else None,
        "development_clock": clock,
        "disorder": 0.0,
    }
    async with running(WhatsAppOptions(**{**options, **changes})) as simulator, aiohttp.ClientSession() as session:
        yield SimulatorUnderTest(simulator.url, session)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def envelope(to: str, **content: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "to": to, **content}


def text(to: str, body: str = "Hello", **more: Any) -> dict[str, Any]:
    return envelope(to, type="text", text={"body": body}, **more)


def asking(to: str, *titles: str, body: str = "Well?", **more: Any) -> dict[str, Any]:
    buttons = [{"type": "reply", "reply": {"id": f"id-{title}", "title": title}} for title in titles]
    said = {"type": "button", "body": {"text": body}, "action": {"buttons": buttons}}
    return envelope(to, type="interactive", interactive=said, **more)


def listing(to: str, *titles: str) -> dict[str, Any]:
    rows = [{"id": f"row-{title}", "title": title, "description": "more"} for title in titles]
    action = {"button": "Choose", "sections": [{"title": "All", "rows": rows}]}
    return envelope(to, type="interactive", interactive={"type": "list", "body": {"text": "Which?"}, "action": action})


def templated(to: str, name: str = "rights_request_v3", *components: object, **more: Any) -> dict[str, Any]:
    said = {"name": name, "language": {"code": "en"}, "components": list(components)}
    return envelope(to, type="template", template=said, **more)


def filled(**values: str) -> dict[str, Any]:
    parameters = [{"type": "text", "parameter_name": name, "text": value} for name, value in values.items()]
    return {"type": "body", "parameters": parameters}


def payload(index: int, value: str) -> dict[str, Any]:
    parameters = [{"type": "payload", "payload": value}]
    return {"type": "button", "sub_type": "quick_reply", "index": str(index), "parameters": parameters}


RIGHTS_REQUEST = {
    "name": "rights_request_v3",
    "language": "en",
    "body": "Hello {{person}}, may we use {{title}}? Thank you.",
    "buttons": ["Approve", "Decline"],
}
