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

from shared.contracts.values import format_instant
from shared.runtime.http.connections import ConnectionLimits, DropReason
from shared.runtime.http.router import HttpRequest, HttpResponse, RequestHandler, Router, json_response, text_response
from shared.runtime.http.server import HttpServer
from shared.runtime.metrics import exposition
from shared.runtime.telemetry import get_logger

PROBE_SECONDS = 3.0
"""A probe that gets no answer in that time has failed for its sender; the manifests say the same."""

UNNOTICED_SECONDS = 10.0
"""After so long the probe of readiness has failed twice, and nothing is sent to this process any more, as the manifests
have it."""

_CHECK_SECONDS = 2.5
"""The time that a check may take. It is not cancelled then: the cancellation of a query waits for a database that
stands still."""

_TICK_SECONDS = 0.5

log = get_logger()

ReadinessCheck = Callable[[], Awaitable[bool]]
Detail = Callable[[], Awaitable[str]]

_LIMITS = ConnectionLimits(
    connections=64, body_bytes=1024 * 1024, header_seconds=5.0, body_seconds=5.0, idle_seconds=90.0
)
"""For probes, Prometheus, whose scrapes keep their connection, and operators."""


@dataclass(frozen=True, slots=True)
class IdleStatus:
    """``busy``: why work is left. ``next_due``: business time of the next timer. ``counter`` rises with all work."""

    busy: tuple[str, ...] = ()
    next_due: datetime | None = None
    counter: int = 0


IdleCheck = Callable[[], Awaitable[IdleStatus]]


def merge_idle_statuses(parts: list[IdleStatus]) -> IdleStatus:
    dues = [part.next_due for part in parts if part.next_due is not None]
    busy = tuple(reason for part in parts for reason in part.busy)
    return IdleStatus(busy, min(dues, default=None), sum(part.counter for part in parts))


@dataclass(slots=True)
class Health:
    """``service`` is the label of the metrics.

    Only where ``has_development_clock`` is true do ``/development/idle`` and the routes of ``add_development_route``
    exist. ``details`` add lines to ``/readyz`` for an operator (such as a refused secret) and do not make the process
    unready: out of service it could do even less. A detail without a problem returns an empty line.
    """

    has_development_clock: bool
    service: str = ""
    checks: dict[str, ReadinessCheck] = field(default_factory=dict)
    details: list[Detail] = field(default_factory=list)
    idle: IdleCheck | None = None
    on_unready: list[Callable[[], None]] = field(default_factory=list)
    _running: dict[str, asyncio.Future[bool]] = field(default_factory=dict)
    _routes: dict[str, dict[str, RequestHandler]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._routes |= {
            "/healthz": {"GET": _alive},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
        }
        if self.has_development_clock:
            self._routes["/development/idle"] = {"GET": self._report}

    def add_development_route(self, path: str, handler: RequestHandler) -> None:
        """Answer POST at this path; without a development clock it does not exist."""
        if self.has_development_clock:
            self._routes[path] = {"POST": handler}

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[None]:
        """Raises Misconfigured where the port cannot be opened."""
        router = Router(self._routes, _ignore_rejected)
        server = HttpServer(router, _LIMITS, _ignore_dropped, address=host, port=port, setting="STET_HEALTH_PORT")
        watch = asyncio.ensure_future(self._watch_loop())
        try:
            async with server.listening():
                yield
        finally:
            watch.cancel()
            for check in self._running.values():
                check.cancel()

    async def _watch_loop(self) -> None:
        """While the event loop stands still, probes fail that no handler ever sees."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            delay = time.monotonic() - began - _TICK_SECONDS
            if delay > PROBE_SECONDS:
                log.warning("loop.delayed", seconds=round(delay, 1))
                self._report_unready()

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

    async def _ready(self, _: HttpRequest) -> HttpResponse:
        failing = await self.failing_checks()
        details = [line for detail in self.details if (line := await detail())]
        status = HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK
        return text_response(status, "\n".join([*(failing or ["ready"]), *details]) + "\n")

    async def _report(self, _: HttpRequest) -> HttpResponse:
        state = await self.idle() if self.idle is not None else IdleStatus(("starting",))
        due = format_instant(state.next_due) if state.next_due else None
        return json_response(HTTPStatus.OK, busy=state.busy, next_due=due, counter=state.counter)

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        body, content_type = exposition(self.service, request.headers.get(b"accept", b"").decode("latin-1"))
        return HttpResponse(HTTPStatus.OK, body, content_type.encode())


async def _alive(_: HttpRequest) -> HttpResponse:
    return text_response(HTTPStatus.OK, "ok\n")


def _ignore_rejected(path: str, status: HTTPStatus) -> None:
    """The router counts it; nothing that a prober sends is lost by it."""


def _ignore_dropped(reason: DropReason) -> None:
    """A scrape or a probe that is dropped is repeated by its sender."""
