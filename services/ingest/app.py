"""Wires ingest: both endpoints on one port, the polls of Consonance, the heartbeat of the webhook's coverage."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import orjson
from aiohttp import web

from services.ingest.consonance import ConsonanceReader, connected
from services.ingest.coverage import CoverageTracker
from services.ingest.handlers import EVENTS_PATH, WEBHOOK_PATH, ConsonanceEvents, WhatsAppWebhook
from services.ingest.heartbeat import Heartbeat
from services.ingest.http.connections import DropReason
from services.ingest.http.router import Router
from services.ingest.http.server import HttpServer
from services.ingest.identity_resolver import IdentityResolver
from services.ingest.metrics import IngestMetrics
from services.ingest.poll.loop import PollLoop
from services.ingest.poll.passes import ContactsPoll, WorksPoll
from services.ingest.publisher import Publisher
from services.ingest.settings import Settings
from services.ingest.signatures import SignatureCounts
from services.ingest.store import ParkedInputStore, PersonStore, ReceivedEventStore
from shared.contracts.errors import Unavailable, Unprocessable
from shared.runtime.health import IdleCheck, IdleStatus, Route
from shared.runtime.service import Process, service_process
from shared.runtime.settings import load_settings

_DELETE_INTERVAL_SECONDS = 600.0


async def main() -> None:
    settings, metrics, coverage = load_settings(Settings), IngestMetrics(), CoverageTracker()
    key = settings.consonance_key.get_secret_value()
    async with (
        service_process(settings, "ingest") as process,
        connected(settings.consonance_endpoint, key) as client,
    ):
        publisher = Publisher(process.producer, settings.topic_prefix)
        _start_heartbeat(process, settings, coverage, metrics)
        loop = _start_polling(process, settings, client, metrics)
        router = _start_server(process, settings, publisher, coverage, metrics)
        process.add_readiness_check("broker", publisher.is_reachable)
        process.add_idle_check(idle_check(router, metrics, loop))
        process.routes["/development/poll"] = poll_route(loop)
        await process.run_until_stopped(settings.drain_seconds)


def _start_server(
    process: Process, settings: Settings, publisher: Publisher, coverage: CoverageTracker, metrics: IngestMetrics
) -> Router:
    received = ReceivedEventStore(process.pool, settings.tenant)
    webhook = _whatsapp_webhook(process, settings, publisher, coverage, metrics)
    events = ConsonanceEvents(
        publisher=publisher,
        received=received,
        parking=ParkedInputStore(process.pool, process.clock, settings.tenant),
        metrics=metrics,
        clock=process.clock,
        tenant=settings.tenant,
        settings=settings.push_settings,
        secrets=tuple(secret.get_secret_value() for secret in settings.consonance_webhook_secrets),
    )
    routes = {
        WEBHOOK_PATH: {"GET": webhook.verify, "POST": webhook.receive},
        EVENTS_PATH: {"POST": events.receive},
    }
    for counts in (webhook.signatures, events.signatures):
        process.health.details.append(partial(_signature_detail, counts))
    router = Router(routes, metrics.count_unread_rejection)
    on_dropped = _on_dropped(metrics, coverage)
    server = HttpServer(router, settings.limits, on_dropped, settings.listen_address, settings.listen_port)
    metrics.watch_connections(server.open_connections, server.body_bytes)
    process.task("listener", server.serve)
    process.add_readiness_check("listener", server.is_listening)
    process.task("received events", lambda: _delete_old(received))
    return router


def _whatsapp_webhook(
    process: Process, settings: Settings, publisher: Publisher, coverage: CoverageTracker, metrics: IngestMetrics
) -> WhatsAppWebhook:
    pool, clock, tenant = process.pool, process.clock, settings.tenant
    return WhatsAppWebhook(
        publisher=publisher,
        persons=IdentityResolver(pool, clock, PersonStore(tenant)),
        parking=ParkedInputStore(pool, clock, tenant),
        coverage=coverage,
        metrics=metrics,
        clock=clock,
        tenant=tenant,
        lines={number: line for line, number in settings.whatsapp_lines.items()},
        app_secrets=tuple(secret.get_secret_value().encode() for secret in settings.whatsapp_app_secrets),
        verify_token=settings.whatsapp_verify_token.get_secret_value(),
        pseudonyms=settings.pseudonyms,
    )


async def _signature_detail(counts: SignatureCounts) -> str:
    return counts.detail(time.monotonic())


def _on_dropped(metrics: IngestMetrics, coverage: CoverageTracker) -> Callable[[DropReason], None]:
    """A connection dropped for lack of room may have carried a webhook."""

    def record(reason: DropReason) -> None:
        metrics.count_dropped(reason)
        if reason in {DropReason.TOO_MANY_CONNECTIONS, DropReason.BODY_MEMORY_FULL}:
            coverage.record_miss("full")

    return record


def _start_polling(process: Process, settings: Settings, client: ConsonanceReader, metrics: IngestMetrics) -> PollLoop:
    pool, clock, tenant, vocabulary = process.pool, process.clock, settings.tenant, settings.vocabulary
    process.health.details.append(client.key)
    parking = ParkedInputStore(pool, clock, tenant)
    contacts = ContactsPoll(client, pool, clock, tenant, vocabulary, parking)
    works = WorksPoll(
        client, pool, clock, tenant, vocabulary, parking, settings.consonance_polled, settings.consonance_source
    )
    loop = PollLoop({"contacts": contacts.run, "works": works.run}, settings.consonance_poll_seconds, metrics)
    if settings.consonance_poll_seconds:
        process.task("polling", loop.run_forever)
    return loop


def _start_heartbeat(process: Process, settings: Settings, coverage: CoverageTracker, metrics: IngestMetrics) -> None:
    async def is_ready() -> bool:
        return not await process.health.waiting()

    heartbeat = Heartbeat(
        tracker=coverage,
        pool=process.pool,
        clock=process.clock,
        tenant=settings.tenant,
        account=settings.whatsapp_business_account,
        interval=timedelta(seconds=settings.whatsapp_heartbeat_seconds),
        redelivery_period=timedelta(seconds=settings.whatsapp_redelivery_seconds),
        metrics=metrics,
        is_ready=is_ready,
    )
    process.health.on_unready.append(coverage.record_unready)
    process.task("heartbeat", heartbeat.run_forever)


async def _delete_old(received: ReceivedEventStore) -> None:
    while True:
        await asyncio.sleep(_DELETE_INTERVAL_SECONDS)
        with suppress(Unavailable):  # the next round deletes them
            await received.delete_old()


# ------------------------------------------------------------------ for a stack on a driven clock


def idle_check(router: Router, metrics: IngestMetrics, loop: PollLoop) -> IdleCheck:
    """Whether requests are in flight, and a number that grows with everything received."""

    async def report() -> IdleStatus:
        busy = ("requests",) if router.in_flight else ()
        return IdleStatus(busy, None, metrics.updates_counted + loop.events_published)

    return report


def poll_route(loop: PollLoop) -> Route:
    """POST: a poll that begins now; the response has the number of its events and of all complete polls so far."""

    async def poll(_: web.Request) -> web.StreamResponse:
        try:
            events = await loop.run_once()
        except (Unavailable, Unprocessable) as fault:
            return web.Response(status=503, text=str(fault))
        answer = {"events": events, "completed": loop.completed}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    return poll
