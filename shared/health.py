"""The port beside the public one: ``/healthz``, ``/readyz``, ``/metrics``; on a driven clock ``/development/idle``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import orjson
from aiohttp import web

from shared.events.envelope import spell_instant
from shared.telemetry import exposition

Check = Callable[[], Awaitable[bool]]
Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Idle:
    """What still moves here, and when something is due next (business time); ``counter`` rises with all work done."""

    busy: tuple[str, ...] = ()
    next_due: datetime | None = None
    counter: int = 0


class IdleReport(Protocol):
    async def __call__(self) -> Idle: ...


def merge(parts: list[Idle]) -> Idle:
    dues = [part.next_due for part in parts if part.next_due is not None]
    busy = tuple(reason for part in parts for reason in part.busy)
    return Idle(busy, min(dues, default=None), sum(part.counter for part in parts))


def application(checks: Mapping[str, Check], idle: IdleReport | None, extra: Mapping[str, Route]) -> web.Application:
    """``extra`` are development routes, by path."""
    app = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        waiting = [name for name, check in checks.items() if not await check()]
        return web.Response(status=503 if waiting else 200, text="\n".join(waiting or ["ready"]) + "\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), content_type="text/plain", charset="utf-8")

    async def report(_: web.Request) -> web.Response:
        state = await idle() if idle else Idle()
        due = spell_instant(state.next_due) if state.next_due else None
        body = {"busy": state.busy, "next_due": due, "counter": state.counter}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    if idle is not None:
        app.router.add_get("/development/idle", report)
        for path, route in extra.items():
            app.router.add_post(path, route)
    return app
