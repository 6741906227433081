"""A running Consonance simulator, the webhook it pushes to, and short functions to use both."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from dev.consonance.app import running
from dev.consonance.schema import Profile
from dev.consonance.simulator import ConsonanceOptions
from tests.web_servers import serving

KEY = "k" * 32
SECRET = "whsec_" + base64.b64encode(b"a secret for a test, of 32 bytes").decode()


@dataclass
class RecordingWebhook:
    """Records every request; answers with ``statuses`` in order, then 202."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 202)


@asynccontextmanager
async def recording_webhook() -> AsyncIterator[RecordingWebhook]:
    webhook = RecordingWebhook()
    async with serving([web.post("/consonance/events", webhook.receive)]) as root:
        webhook.url = f"{root}/consonance/events"
        yield webhook


@dataclass
class SimulatorUnderTest:
    session: aiohttp.ClientSession
    url: str

    async def post(self, query: str, key: str = KEY, **variables: Any) -> tuple[int, dict[str, Any]]:
        body = {"query": query, "variables": variables}
        headers = {"Authorization": f"Bearer {key}"}
        async with self.session.post(f"{self.url}/graphql", json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data; a GraphQL error fails the test."""
        _, answer = await self.post(query, **variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    async def control(self, method: str, path: str, said: object = None) -> tuple[int, Any]:
        async with self.session.request(method, f"{self.url}/_simulator/{path}", json=said) as answer:
            return answer.status, await answer.json()

    async def tell(self, method: str, path: str, said: object = None) -> Any:
        """The answer; a command that is refused fails the test."""
        status, answer = await self.control(method, path, said)
        assert status < 400, answer
        return answer


@asynccontextmanager
async def running_simulator(
    hook_url: str | None = None, clock: Path | None = None, profile: Profile = Profile.EXTENDED
) -> AsyncIterator[SimulatorUnderTest]:
    options = ConsonanceOptions(
        key=KEY, webhook_secret=SECRET, webhook_url=hook_url, development_clock=clock, profile=profile
    )
    async with running(options) as url, aiohttp.ClientSession() as session:
        yield SimulatorUnderTest(session, url)


async def until(true: Callable[[], bool]) -> None:
    """The test's own time limit ends a wait in vain."""
    while not true():
        await asyncio.sleep(0.01)
