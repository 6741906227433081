"""A stack that a real Prometheus scrapes while stories of the demo are played on it, and failures are caused in it."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.story import STARTS_AT, DemoStory
from dev.layout import SERVICES
from dev.observability.durations import TimeScale
from dev.observability.prometheus import Prometheus
from dev.observability.rule_files import RULES_FOLDER
from dev.ports import LOOPBACK, free_ports
from dev.stack import RUN, Stack, StackOptions

TIME_SCALE = TimeScale(1 / 60, 1 / 1440)
"""Ages and ranges are a sixtieth of those deployed, and what has to hold for a day holds for a minute: a test waits for
them. Nothing else of the alerts is changed.
"""

_SCRAPES = 2
_SCRAPES_SECONDS = 3.0
_POLL_SECONDS = 0.2
_PROBE_SECONDS = 1.0


@dataclass
class AlertReceiver:
    """Receives alerts as an Alertmanager does.

    ``received_at`` is when each alert came last (machine time), ``alerts`` its last document, both by name.
    """

    address: str = ""
    received_at: dict[str, float] = field(default_factory=dict)
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator["AlertReceiver"]:
        receiver = AlertReceiver()
        app = web.Application()
        app.add_routes([web.post("/api/v2/alerts", receiver._receive)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, 0).start()
            host, port = runner.addresses[0][:2]
            receiver.address = f"{host}:{port}"
            yield receiver
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        for alert in await request.json():
            name = alert["labels"]["alertname"]
            self.received_at[name], self.alerts[name] = time.monotonic(), alert
        return web.json_response({})

    def seconds_since(self, name: str) -> float:
        """Seconds since the alert came last; infinite where it never came."""
        return time.monotonic() - self.received_at.get(name, float("-inf"))


@dataclass
class ObservedStack:
    """``began`` and ``elapsed`` are machine time in seconds, for queries over the whole run.

    ``receiver`` gets the alerts, as an Alertmanager would. ``rules`` is the folder that the stack's rules follow, a
    copy that may be changed. ``spare_port`` is scraped too: a second replica may serve its metrics there.
    """

    stack: Stack
    prometheus: Prometheus
    receiver: AlertReceiver
    rules: Path
    spare_port: int
    began: float

    @staticmethod
    @asynccontextmanager
    async def open(name: str, options: StackOptions = POLLED_ON_REQUEST) -> AsyncIterator["ObservedStack"]:
        rules = RUN / f"{name}-rules"
        shutil.rmtree(rules, ignore_errors=True)
        shutil.copytree(RULES_FOLDER, rules)
        options = options.with_settings("rules", {"STET_RULES_DIR": str(rules)})
        try:
            async with (
                Stack.open(name, STARTS_AT, options) as stack,
                _probed(stack),
                AlertReceiver.open() as receiver,
            ):
                (spare,) = free_ports(1)
                targets = {service: stack.layout.health_url(service) for service in SERVICES}
                targets |= {"spare": f"http://{LOOPBACK}:{spare}"}
                folder = stack.layout.folder / "data" / "prometheus"
                async with Prometheus.open(folder, targets, TIME_SCALE, receiver.address) as prometheus:
                    began = time.time()
                    while await prometheus.scraped() < _SCRAPES * len(SERVICES):  # a rate needs a value from before
                        await asyncio.sleep(_POLL_SECONDS)
                    yield ObservedStack(stack, prometheus, receiver, rules, spare, began)
        finally:
            shutil.rmtree(rules, ignore_errors=True)

    async def play(self, stories: Sequence[DemoStory]) -> DemoResult:
        """Return once Prometheus has scraped what the stories left."""
        result = await play_stories(self.stack, stories)
        await asyncio.sleep(_SCRAPES_SECONDS)
        return result

    @property
    def elapsed(self) -> int:
        return int(time.time() - self.began) + 1


@asynccontextmanager
async def _probed(stack: Stack) -> AsyncIterator[None]:
    """Ask each service whether it is ready, as a kubelet does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS)) as session:
        probes = [asyncio.create_task(_probe(session, stack.layout.ready_url(service))) for service in SERVICES]
        try:
            yield
        finally:
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)


async def _probe(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(address) as answer:
                await answer.read()
        await asyncio.sleep(_PROBE_SECONDS)
