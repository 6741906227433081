"""Composition root: the routes, the background work, and the server on loopback."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[str]:
    """The simulator at work until the block ends; its root URL is what the block gets."""
    simulator = Simulator(options)
    runner = web.AppRunner(application(simulator), access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    site = web.TCPSite(runner, _LOOPBACK, options.port)
    await site.start()
    background = [asyncio.create_task(simulator.webhooks.run()), asyncio.create_task(simulator.schedule.pump())]
    try:
        yield f"http://{_LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await runner.cleanup()


async def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as url:
        print(f'{{"event": "whatsapp_simulator.ready", "url": "{url}"}}', flush=True)
        await stopped.wait()
