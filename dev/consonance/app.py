"""Composition root: the routes, the pushing, and the server on loopback."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from dev.consonance.control import Control, explain
from dev.consonance.endpoint import Endpoint
from dev.consonance.inspection import Inspection
from dev.consonance.options import Options
from dev.consonance.schema import executable
from dev.consonance.simulator import Simulator

_LOOPBACK = "127.0.0.1"
_GRACE = 0.2  # seconds; held connections are cut after it


def application(simulator: Simulator) -> web.Application:
    endpoint = Endpoint(simulator, executable(simulator.options.profile))
    inspection = Inspection(simulator)
    app = web.Application()
    app.add_routes(
        [
            web.post("/", endpoint.graphql),
            web.post("/graphql", endpoint.graphql),
            web.get("/healthz", inspection.healthz),
        ]
    )
    app.add_subapp("/_simulator", _controls(Control(simulator), inspection))
    return app


def _controls(control: Control, inspection: Inspection) -> web.Application:
    app = web.Application(middlewares=[explain])
    for record in ("work", "product", "contact"):
        path = rf"/{record}s/{{id:\d+}}"
        app.router.add_get(path, getattr(inspection, record))
        app.router.add_patch(path, getattr(control, record))
    app.router.add_patch(r"/works/{id:\d+}/components", control.components)
    app.router.add_patch("/rights_requests/{id}", control.rights_request)
    app.router.add_patch("/milestones/{id}", control.milestone)
    for command in ("rights_requests", "milestones", "push", "push_batch", "faults", "reset"):
        app.router.add_post(f"/{command}", getattr(control, command))
    app.router.add_delete("/faults", control.no_faults)
    app.router.add_get("/state/{kind}", inspection.state)
    for question in ("log", "pushes", "faults", "idle"):
        app.router.add_get(f"/{question}", getattr(inspection, question))
    return app


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[str]:
    """The simulator at work until the block ends; its root URL is what the block gets."""
    simulator = Simulator(options)
    runner = web.AppRunner(application(simulator), access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    await web.TCPSite(runner, _LOOPBACK, options.port).start()
    pushing = asyncio.create_task(simulator.pushes.run())
    try:
        yield f"http://{_LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        pushing.cancel()
        with suppress(asyncio.CancelledError):
            await pushing
        await runner.cleanup()


async def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as url:
        print(f'{{"event": "consonance_simulator.ready", "url": "{url}"}}', flush=True)
        await stopped.wait()
