"""Composition root: the routes, the background work, and the server on loopback."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from dev.whatsapp.control import Control, explain
from dev.whatsapp.graph import Graph
from dev.whatsapp.inspection import Inspection
from dev.whatsapp.options import Options
from dev.whatsapp.simulator import Simulator

_LOOPBACK = "127.0.0.1"
_GRACE = 0.2  # seconds; held connections are cut after it


def application(simulator: Simulator) -> web.Application:
    graph, inspection = Graph(simulator), Inspection(simulator)
    app = web.Application()
    app.add_routes(
        [
            web.post(r"/{version:v\d+\.0}/{phone_number_id}/messages", graph.messages),
            web.get("/healthz", inspection.healthz),
        ]
    )
    app.add_subapp("/_simulator", _controls(Control(simulator), inspection))
    return app


def _controls(control: Control, inspection: Inspection) -> web.Application:
    app = web.Application(middlewares=[explain])
    for command in ("people", "templates", "scripts", "say", "faults", "settings", "verify", "reset"):
        app.router.add_post(f"/{command}", getattr(control, command))
    for question in ("messages", "replies", "counts", "idle"):
        app.router.add_get(f"/{question}", getattr(inspection, question))
    return app


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    background: tuple[asyncio.Task[None], ...]


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[Running]:
    """The simulator at work until the block ends; what broke in the background is raised then."""
    simulator = Simulator(options)
    runner = web.AppRunner(application(simulator), access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    site = web.TCPSite(runner, _LOOPBACK, options.port)
    await site.start()
    background = asyncio.create_task(simulator.webhooks.run()), asyncio.create_task(simulator.schedule.pump())
    try:
        yield Running(f"http://{_LOOPBACK}:{runner.addresses[0][1]}", background)
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await runner.cleanup()
        for broken in (task for task in background if not task.cancelled()):
            broken.result()


async def serve(options: Options) -> None:
    """Until SIGTERM, SIGINT or a fault of its own; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as simulator:
        print(f'{{"event": "whatsapp_simulator.ready", "url": "{simulator.url}"}}', flush=True)
        asked_to = asyncio.create_task(stopped.wait())
        await asyncio.wait([asked_to, *simulator.background], return_when=asyncio.FIRST_COMPLETED)
        asked_to.cancel()
