"""Serves ``/healthz``, ``/readyz``, ``/metrics`` on a port of their own; with a virtual clock also ``/development/…``.

It answers from the moment the process begins to wait for its dependencies. ``/healthz`` asks no dependency: it answers
as long as the event loop runs. ``/readyz`` asks all of them at once and answers before a probe gives up;
docs/decisions/0065-probes.md says what follows from each.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from shared.contracts.values import format_instant
from shared.runtime.metrics import OTHER, count_request, exposition
from shared.runtime.telemetry import get_logger

PROBE_SECONDS = 3.0
"""A probe that gets no answer in that time has failed for its sender; the manifests say the same."""

_CHECK_SECONDS = 2.5
"""The time that a check may take. It is not cancelled then: the cancellation of a query waits for a database that
stands still."""

_TICK_SECONDS = 0.5

log = get_logger()

ReadinessCheck = Callable[[], Awaitable[bool]]
Detail = Callable[[], Awaitable[str]]
Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class IdleStatus:
    """``busy``: why work is left. ``next_due``: business time of the next timer. ``counter`` rises with all work."""

    busy: tuple[str, ...] = ()
    next_due: datetime | None = None
    counter: int = 0


class IdleCheck(Protocol):
    async def __call__(self) -> IdleStatus: ...


def merge_idle_statuses(parts: list[IdleStatus]) -> IdleStatus:
    dues = [part.next_due for part in parts if part.next_due is not None]
    busy = tuple(reason for part in parts for reason in part.busy)
    return IdleStatus(busy, min(dues, default=None), sum(part.counter for part in parts))


@dataclass(slots=True)
class Health:
    """``service`` is the label of the metrics.

    ``driven``: with a development clock ``/development/idle`` exists, and ``routes`` (POST, by path).
    ``details`` add lines to ``/readyz`` for an operator (such as a refused secret) and do not make the process unready:
    out of service it could do even less. A detail without a problem returns an empty line.
    """

    driven: bool
    service: str = ""
    checks: dict[str, ReadinessCheck] = field(default_factory=dict)
    details: list[Detail] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)
    idle: IdleCheck | None = None
    on_unready: list[Callable[[], None]] = field(default_factory=list)
    _running: dict[str, asyncio.Future[bool]] = field(default_factory=dict)

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[None]:
        runner = web.AppRunner(self._application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        watch = asyncio.ensure_future(self._watch_loop())
        try:
            yield
        finally:
            watch.cancel()
            for check in self._running.values():
                check.cancel()
            await runner.cleanup()

    async def _watch_loop(self) -> None:
        """While the event loop stands still, probes fail that no handler ever sees."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            delay = time.monotonic() - began - _TICK_SECONDS
            if delay > PROBE_SECONDS:
                log.warning("loop.delayed", seconds=round(delay, 1))
                self._report_unready()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_measured])
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        if self.driven:
            app.router.add_get("/development/idle", self._report)
            app.router.add_post("/development/{name}", self._route)
        return app

    async def failing_checks(self) -> list[str]:
        """The checks that fail now, or do not answer; calls ``on_unready`` if any does: nothing is sent here then."""
        running = {name: self._begin(name, check) for name, check in self.checks.items()}
        if running:
            await asyncio.wait(running.values(), timeout=_CHECK_SECONDS)
        failing = [name for name, check in running.items() if not (check.done() and check.result())]
        if failing:
            self._report_unready()
        return failing

    def _begin(self, name: str, check: ReadinessCheck) -> asyncio.Future[bool]:
        """One at a time: a check that has not answered yet is asked no second time."""
        if name not in self._running or self._running[name].done():
            self._running[name] = asyncio.ensure_future(check())
        return self._running[name]

    def _report_unready(self) -> None:
        for callback in self.on_unready:
            callback()

    async def _ready(self, _: web.Request) -> web.Response:
        failing = await self.failing_checks()
        details = [line for detail in self.details if (line := await detail())]
        return web.Response(status=503 if failing else 200, text="\n".join([*(failing or ["ready"]), *details]) + "\n")

    async def _report(self, _: web.Request) -> web.Response:
        state = await self.idle() if self.idle is not None else IdleStatus(("starting",))
        due = format_instant(state.next_due) if state.next_due else None
        body = {"busy": state.busy, "next_due": due, "counter": state.counter}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = exposition(self.service, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _route(self, request: web.Request) -> web.StreamResponse:
        route = self.routes.get(request.path)
        return web.Response(status=404) if route is None else await route(request)


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@web.middleware
async def _measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else OTHER
    began, status = time.perf_counter(), HTTPStatus.INTERNAL_SERVER_ERROR.value
    try:
        response = await handler(request)
        status = response.status
    except web.HTTPException as error:
        status = error.status
        raise
    finally:
        count_request(route, status, time.perf_counter() - began)
    return response
