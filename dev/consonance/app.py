"""The simulator as a process: its command line, its routes, and the server on loopback."""

import asyncio
import signal
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from dev.consonance.control_api import ControlCommands, ControlQueries, explain
from dev.consonance.graphql_endpoint import GraphqlEndpoint
from dev.consonance.schema import Profile, executable
from dev.consonance.simulator import ConsonanceOptions, ConsonanceSimulator


def parse(arguments: Sequence[str]) -> ConsonanceOptions:
    return ConsonanceOptions(**vars(_parser().parse_args(arguments)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser("dev.consonance", description="A stand-in for Consonance's GraphQL API, on loopback.")
    say = parser.add_argument
    say("--port", type=int, required=True, help="0 picks a free one; the ready line names it")
    say("--webhook-url", help="where events are pushed; without it every push counts as refused")
    say("--webhook-secret", required=True, metavar="whsec_…")
    say("--key", required=True, help="the bearer key of a client")
    say("--profile", type=Profile, choices=list(Profile), default=Profile.EXTENDED)
    say("--development-clock", type=Path, metavar="FILE", help="business time; the machine's where absent")
    say("--seed", type=int, default=7, help="of the list around the cast of the stories")
    say("--tenant", default="penrose", help="the last part of every event's source")
    say("--extra-records", type=Path, metavar="FILE", help="more contacts and works (dev/consonance/seed_data.py)")
    return parser


_LOOPBACK = "127.0.0.1"
_GRACE = 0.2  # seconds; held connections are cut after it


def application(simulator: ConsonanceSimulator) -> web.Application:
    endpoint = GraphqlEndpoint(simulator, executable(simulator.options.profile))
    inspection = ControlQueries(simulator)
    app = web.Application()
    app.add_routes(
        [
            web.post("/", endpoint.graphql),
            web.post("/graphql", endpoint.graphql),
            web.get("/healthz", inspection.healthz),
        ]
    )
    app.add_subapp("/_simulator", _controls(ControlCommands(simulator), inspection))
    return app


def _controls(control: ControlCommands, inspection: ControlQueries) -> web.Application:
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
async def running(options: ConsonanceOptions) -> AsyncIterator[str]:
    """The simulator at work until the block ends; its root URL is what the block gets."""
    simulator = ConsonanceSimulator(options)
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


async def serve(options: ConsonanceOptions) -> None:
    """Until SIGTERM or SIGINT; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as url:
        print(f'{{"event": "consonance_simulator.ready", "url": "{url}"}}', flush=True)
        await stopped.wait()
