"""The simulator as a process: its command line, its routes, and the server on loopback."""

import asyncio
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from dev.whatsapp.control_api import MessageQueries, SimulatorCommands, explain
from dev.whatsapp.graph_api import GraphApi
from dev.whatsapp.simulator import WhatsAppOptions, WhatsAppSimulator
from dev.whatsapp.templates import RegisteredTemplate

_KEPT_WHEN_FAST = 10_000


def parse(arguments: Sequence[str]) -> WhatsAppOptions:
    given = _parser().parse_args(arguments)
    values = vars(given)
    if (rules := values.pop("rules")) is not None:
        values["templates"] = _templates_of(rules)
    if given.fast:
        values["disorder"] = 0.0
        values["keep"] = _KEPT_WHEN_FAST if given.keep is None else given.keep
    return WhatsAppOptions(**values)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "dev.whatsapp", description="A stand-in for the WhatsApp Cloud API, on loopback unless told otherwise."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on; loopback where absent")
    add("--port", type=int, required=True, help="0 picks a free one; the ready line names it")
    add("--webhook-url", help="where updates are posted; without it none are")
    add("--app-secret", required=True)
    add("--verify-token", required=True)
    add("--token", required=True, help="the bearer token of a sender")
    add("--business-account", required=True, metavar="WABA")
    add("--lines", type=_lines, required=True, metavar="NAME=ID,…")
    add("--development-clock", type=Path, metavar="FILE", help="business time; the machine's where absent")
    add("--seed", type=int, default=7)
    add("--disorder", type=_share, default=0.3, help="0 to 1: how much webhooks are mixed, repeated and skipped")
    add("--fast", action="store_true", help="no disorder, limits lifted, few messages kept; for benches")
    add("--keep", type=int, help="messages held for inspection")
    add("--per-second", type=int, default=80, help="sends a second and number")
    add("--accept-any-template", action="store_true")
    add("--rules", type=Path, metavar="FOLDER", help="a rule folder whose templates are registered from the start")
    return parser


def _templates_of(rules: Path) -> tuple[RegisteredTemplate, ...]:
    from dev.templates import template_documents  # noqa: PLC0415 -- the rule language; most runs need none of it

    return tuple(RegisteredTemplate.model_validate(document) for document in template_documents(rules))


def _lines(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and number_id.isdecimal() for name, _, number_id in pairs):
        raise ArgumentTypeError("expected name=phone_number_id, separated by commas")
    return {name: number_id for name, _, number_id in pairs}


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ArgumentTypeError("expected a number from 0 to 1")
    return share


_GRACE = 0.2  # seconds; held connections are cut after it


def application(simulator: WhatsAppSimulator) -> web.Application:
    graph, queries = GraphApi(simulator), MessageQueries(simulator)
    app = web.Application()
    app.add_routes(
        [
            web.post(r"/{version:v\d+\.0}/{phone_number_id}/messages", graph.messages),
            web.get(r"/{version:v\d+\.0}/{phone_number_id}", graph.number),
            web.get("/healthz", queries.healthz),
        ]
    )
    app.add_subapp("/_simulator", _control_api(SimulatorCommands(simulator), queries))
    return app


def _control_api(commands: SimulatorCommands, queries: MessageQueries) -> web.Application:
    app = web.Application(middlewares=[explain])
    app.add_routes(
        [
            web.post("/people", commands.people),
            web.post("/templates", commands.templates),
            web.post("/scripts", commands.scripts),
            web.post("/say", commands.say),
            web.post("/faults", commands.faults),
            web.post("/settings", commands.settings),
            web.post("/verify", commands.verify),
            web.post("/reset", commands.reset),
            web.get("/messages", queries.messages),
            web.get("/replies", queries.replies),
            web.get("/counts", queries.counts),
            web.get("/idle", queries.idle),
        ]
    )
    return app


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    background: tuple[asyncio.Task[None], ...]


@asynccontextmanager
async def running(options: WhatsAppOptions) -> AsyncIterator[Running]:
    """The simulator at work until the block ends; what broke in the background is raised then."""
    simulator = WhatsAppSimulator(options)
    runner = web.AppRunner(application(simulator), access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    background = asyncio.create_task(simulator.webhooks.run()), asyncio.create_task(simulator.schedule.run())
    try:
        yield Running(f"http://{options.host}:{runner.addresses[0][1]}", background)
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await runner.cleanup()
        for broken in (task for task in background if not task.cancelled()):
            broken.result()


async def serve(options: WhatsAppOptions) -> None:
    """Until SIGTERM, SIGINT or a fault of its own; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as simulator:
        print(f'{{"event": "whatsapp_simulator.ready", "url": "{simulator.url}"}}', flush=True)
        asked_to = asyncio.create_task(stopped.wait())
        await asyncio.wait([asked_to, *simulator.background], return_when=asyncio.FIRST_COMPLETED)
        asked_to.cancel()
