"""Polls Consonance: the connection, the passes over contacts and works, and the task of the replica that leads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

from services.ingest.metrics import IngestMetrics
from services.ingest.poll.consonance_reader import connect
from services.ingest.poll.loop import LEADER_SESSION, PollLoop
from services.ingest.poll.passes import ContactsPoll, WorksPoll
from services.ingest.settings import IngestSettings
from services.ingest.store import ParkedInputStore
from shared.contracts.errors import Unavailable, Unprocessable
from shared.runtime.health import IdleCheck, IdleStatus
from shared.runtime.http.router import HttpRequest, HttpResponse, RequestHandler, json_response, text_response
from shared.runtime.leader import LeaderLease
from shared.runtime.postgres import connect as connect_database
from shared.runtime.service import Process


@asynccontextmanager
async def poll(
    process: Process, settings: IngestSettings, parking: ParkedInputStore, metrics: IngestMetrics
) -> AsyncIterator[None]:
    """Within the context a task of the process polls, unless a setting stops it."""
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
