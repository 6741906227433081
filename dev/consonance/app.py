"""The simulator as a process: its routes, and the server on loopback."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from dev.consonance.control_api import ControlCommands, ControlQueries, explain
from dev.consonance.graphql_endpoint import GraphqlEndpoint
from dev.consonance.schema import executable
from dev.consonance.simulator import ConsonanceOptions, ConsonanceSimulator

_GRACE = 0.2  # seconds; held connections are cut after it


def application(simulator: ConsonanceSimulator) -> web.Application:
    endpoint = GraphqlEndpoint(simulator, executable(simulator.options.profile))
    queries = ControlQueries(simulator)
    app = web.Application()
    app.add_routes(
        [
            web.post("/", endpoint.graphql),
            web.post("/graphql", endpoint.graphql),
            web.get("/healthz", queries.healthz),
        ]
    )
    app.add_subapp("/_simulator", _control_api(ControlCommands(simulator), queries))
    return app


def _control_api(commands: ControlCommands, queries: ControlQueries) -> web.Application:
    app = web.Application(middlewares=[explain])
    app.add_routes(
        [
            web.get(r"/works/{id:\d+}", queries.work),
            web.patch(r"/works/{id:\d+}", commands.work),
            web.patch(r"/works/{id:\d+}/components", commands.components),
            web.get(r"/products/{id:\d+}", queries.product),
            web.patch(r"/products/{id:\d+}", commands.product),
            web.get(r"/contacts/{id:\d+}", queries.contact),
            web.patch(r"/contacts/{id:\d+}", commands.contact),
            web.post("/rights_requests", commands.rights_requests),
            web.patch("/rights_requests/{id}", commands.rights_request),
            web.post("/milestones", commands.milestones),
            web.patch("/milestones/{id}", commands.milestone),
            web.post("/push", commands.push),
            web.post("/push_batch", commands.push_batch),
            web.get("/pushes", queries.pushes),
            web.get("/faults", queries.faults),
            web.post("/faults", commands.faults),
            web.delete("/faults", commands.no_faults),
            web.get("/state/{kind}", queries.state),
            web.get("/log", queries.log),
            web.get("/idle", queries.idle),
            web.post("/reset", commands.reset),
        ]
    )
    return app


@asynccontextmanager
async def running(options: ConsonanceOptions) -> AsyncIterator[str]:
    """The simulator at work until the block ends; its root URL is what the block gets."""
    simulator = ConsonanceSimulator(options)
    runner = web.AppRunner(application(simulator), access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    await web.TCPSite(runner, options.host, options.port).start()
    pushing = asyncio.create_task(simulator.pushes.run())
    try:
        yield f"http://{options.host}:{runner.addresses[0][1]}"
    finally:
        pushing.cancel()
        with suppress(asyncio.CancelledError):
            await pushing
        await runner.cleanup()


async def serve(options: ConsonanceOptions) -> None:
    """Serve until SIGTERM or SIGINT; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as url:
        print(f'{{"event": "consonance_simulator.ready", "url": "{url}"}}', flush=True)
        await stopped.wait()
