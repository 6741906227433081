"""A collector of traces that answers and forgets: the cost of tracing is measured, not what becomes of the spans."""

from typing import Annotated

import typer
from aiohttp import web

from dev.ports import LOOPBACK


def main(port: Annotated[int, typer.Option()]) -> None:
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", _take)
    app.router.add_get("/readyz", _answer)
    web.run_app(app, host=LOOPBACK, port=port, access_log=None, print=None)


async def _take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response()


async def _answer(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    typer.run(main)
