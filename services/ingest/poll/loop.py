"""Polls Consonance: opens the connection and runs the passes one after another, with a pause of machine time between.

The pause is longer while Consonance is unavailable.

Of the replicas that may poll, only the leader polls; another takes over when the leader ends or hangs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

import asyncpg

from services.ingest.metrics import IngestMetrics
from services.ingest.poll.consonance_reader import connect
from services.ingest.poll.passes import ContactsPoll, WorksPoll
from services.ingest.settings import IngestSettings
from services.ingest.store import ParkedInputStore
from shared.contracts.errors import Throttled, Unavailable, Unprocessable
from shared.runtime.failures import TRANSIENT_ERRORS, FailureLog, describe_failure
from shared.runtime.health import IdleCheck, IdleStatus
from shared.runtime.http.router import HttpRequest, HttpResponse, RequestHandler, json_response, text_response
from shared.runtime.leader import LeaderLease
from shared.runtime.postgres import Connection
from shared.runtime.postgres import connect as connect_database
from shared.runtime.retry import Backoff
from shared.runtime.service import Process
from shared.runtime.telemetry import get_logger

_SHORTEST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds between attempts while Consonance cannot be read."""

LEADER_SESSION = {"idle_session_timeout": "30s"}
"""Settings of the session that holds the lease: the database ends it where the process stands still."""

_RENEW_SECONDS = 5.0
_RETRY_SECONDS = 1.0

_log = get_logger()

RunPass = Callable[[], Awaitable[int]]


class PollLoop:
    """``passes``: name → one pass, run in this order. Only one poll runs at a time."""

    def __init__(self, passes: dict[str, RunPass], pause: float, metrics: IngestMetrics) -> None:
        self._passes = passes
        self._pause = pause
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._is_leader = False
        self._completed_at = time.monotonic()
        self.completed = 0
        self.events_published = 0
        self._failures = FailureLog("leadership.lost")

    def snapshot_age(self) -> float:
        """Seconds of machine time since the last complete poll, or since this process leads; 0 where another leads."""
        return time.monotonic() - self._completed_at if self._is_leader else 0.0

    async def run_once(self) -> int:
        """A pass over everything that begins now; returns the number of events published.

        All passes run, also after one has failed; then this raises Unavailable. Where Consonance asked for a pause,
        the others are left to the next poll, and this raises Throttled.
        """
        async with self._lock:
            published, faults = 0, list[str]()
            for name, run in self._passes.items():
                try:
                    count = await run()
                except Throttled:
                    raise
                except Exception as fault:  # noqa: BLE001 -- the boundary of one pass: its surprise must not stop the others
                    faults.append(_describe(name, fault))
                    continue
                published += count
                if count:
                    _log.info("poll.completed", entity=name, events=count)
            self.events_published += published
            if faults:
                raise Unavailable("; ".join(faults))
            self.completed += 1
            self._completed_at = time.monotonic()
            self._metrics.count_poll(published)
            return published

    async def run_as_leader(self, lease: LeaderLease) -> None:
        """Wait until this process leads, and poll for as long as it does; for ever."""
        while True:
            try:
                async with lease.held() as connection:
                    await self._lead(connection)
            except (asyncpg.PostgresError, *TRANSIENT_ERRORS) as error:
                self._failures.warn(error, task="poll")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _lead(self, connection: Connection) -> None:
        """Poll until the lease is lost, then raise the error. A page is one transaction, so a poll may end anywhere.

        A process that lost the lease while it stood still is stopped by the term of its pass (``passes``).
        """
        _log.info("leadership.acquired", task="poll")
        self._is_leader, self._completed_at = True, time.monotonic()
        polling = asyncio.ensure_future(self.run_forever())
        try:
            while not polling.done():
                await connection.execute("select", timeout=_RENEW_SECONDS)
                await asyncio.wait({polling}, timeout=_RENEW_SECONDS)
            await polling
        finally:
            self._is_leader = False
            polling.cancel()
            await asyncio.wait({polling})

    async def run_forever(self) -> None:
        backoff, failures = Backoff(first=max(self._pause * 2, _SHORTEST_WAIT), longest=_LONGEST_WAIT), 0
        while True:
            try:
                await self.run_once()
            except Unavailable as fault:
                failures += 1
                asked = fault.wait.total_seconds() if isinstance(fault, Throttled) else 0.0
                pause = max(backoff.longest_wait(failures), asked)
                self._metrics.count_failed_poll()
                _log.warning("poll.failed", fault=str(fault), next_in=pause)
            else:
                failures, pause = 0, self._pause
            await asyncio.sleep(pause)


def _describe(name: str, fault: Exception) -> str:
    """A sentence for the log. An unexpected error gives only its type and place, because its text may quote data."""
    if isinstance(fault, Unavailable | Unprocessable):
        return f"{name}: {fault}"
    return f"{name}: {describe_failure(fault)}"


@asynccontextmanager
async def poll(
    process: Process, settings: IngestSettings, parking: ParkedInputStore, metrics: IngestMetrics
) -> AsyncIterator[None]:
    """Start the task that polls, unless a setting turns polling off; the connection is open until the context ends."""
    async with connect(settings.consonance_endpoint, settings.consonance_key.get_secret_value()) as reader:
        process.health.details.append(reader.key_detail)
        pass_settings = (process.pool, process.clock, settings.tenant, settings.vocabulary, parking)
        contacts = ContactsPoll(reader, *pass_settings)
        works = WorksPoll(reader, *pass_settings, settings.consonance_polled, settings.consonance_source)
        loop = PollLoop({"contacts": contacts.run, "works": works.run}, settings.consonance_poll_seconds, metrics)
        if settings.consonance_poll_seconds:
            metrics.watch_snapshot_age(loop.snapshot_age)
            session = partial(connect_database, settings.dsn, "ingest", **LEADER_SESSION)
            lease = LeaderLease(f"stet/ingest/poll/{settings.tenant}", session, task="poll")
            process.task("polling", lambda: loop.run_as_leader(lease))
        process.add_idle_check(_idle_check(loop))
        process.health.add_development_route("/development/poll", _route(loop))
        yield


def _idle_check(loop: PollLoop) -> IdleCheck:
    """A number that grows with everything polled."""

    async def report() -> IdleStatus:
        return IdleStatus((), None, loop.events_published)

    return report


def _route(loop: PollLoop) -> RequestHandler:
    """POST: a poll that begins now; the response has the number of its events and of all complete polls so far."""

    async def poll_now(_: HttpRequest) -> HttpResponse:
        try:
            events = await loop.run_once()
        except (Unavailable, Unprocessable) as fault:
            return text_response(HTTPStatus.SERVICE_UNAVAILABLE, str(fault))
        return json_response(HTTPStatus.OK, events=events, completed=loop.completed)

    return poll_now
