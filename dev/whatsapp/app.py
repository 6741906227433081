"""The simulator as a process: its routes, and the server on loopback."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from dev.whatsapp.control_api import MessageQueries, SimulatorCommands, explain
from dev.whatsapp.graph_api import GraphApi
from dev.whatsapp.media import LINK_PATH
from dev.whatsapp.simulator import WhatsAppOptions, WhatsAppSimulator
from dev.whatsapp.template_api import TemplateApi

_MOST_BYTES = 101 * 1024 * 1024  # an upload of the largest file that Meta takes
_GRACE = 0.2  # seconds; held connections are cut after it


def application(simulator: WhatsAppSimulator) -> web.Application:
    graph, templates, queries = GraphApi(simulator), TemplateApi(simulator), MessageQueries(simulator)
    app = web.Application(client_max_size=_MOST_BYTES)
    app.add_routes(
        [
            web.post(r"/{version:v\d+\.0}/{phone_number_id}/messages", graph.messages),
            web.get(r"/{version:v\d+\.0}/{account}/message_templates", templates.list),
            web.post(r"/{version:v\d+\.0}/{account}/message_templates", templates.create),
            web.delete(r"/{version:v\d+\.0}/{account}/message_templates", templates.delete),
            web.post(r"/{version:v\d+\.0}/{template_id}/unpause", templates.unpause),
            web.post(r"/{version:v\d+\.0}/{app}/uploads", templates.begin_upload),
            web.post(r"/{version:v\d+\.0}/upload:{session}", templates.upload),
            web.get(r"/{version:v\d+\.0}/upload:{session}", templates.upload_progress),
            web.post(r"/{version:v\d+\.0}/{template_id}", templates.edit),
            web.post(r"/{version:v\d+\.0}/{phone_number_id}/media", graph.upload),
            web.get(r"/{version:v\d+\.0}/app", graph.app),
            *(
                web.route(method, r"/{version:v\d+\.0}/{account}/subscribed_apps", graph.subscribed_apps)
                for method in ("GET", "POST", "DELETE")
            ),
            web.get(r"/{version:v\d+\.0}/{phone_number_id}", graph.lookup),
            web.get(LINK_PATH + "/", graph.download),
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
            web.post("/template_changes", commands.template_changes),
            web.post("/reviews", commands.reviews),
            web.post("/scripts", commands.scripts),
            web.post("/inbound", commands.inbound),
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
    """Serve until SIGTERM, SIGINT or its own fault; one line on standard output says that it is ready, and where."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(options) as simulator:
        print(f'{{"event": "whatsapp_simulator.ready", "url": "{simulator.url}"}}', flush=True)
        asked_to = asyncio.create_task(stopped.wait())
        await asyncio.wait([asked_to, *simulator.background], return_when=asyncio.FIRST_COMPLETED)
        asked_to.cancel()
