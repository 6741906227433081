"""Web servers of a test's own."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from dev.ports import LOOPBACK


@asynccontextmanager
async def serving(routes: Iterable[web.RouteDef], port: int = 0, *, largest_body: int = 1 << 20) -> AsyncIterator[str]:
    """The root URL of a server with these routes, until the end of the block; 0 for any port."""
    app = web.Application(client_max_size=largest_body)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
