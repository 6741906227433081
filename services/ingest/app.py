"""Puts ingest together: two doors on one port, the polls of Consonance, and the heartbeat of the webhook."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from services.ingest.connections import Cut
from services.ingest.consonance import ConsonanceReader, connected
from services.ingest.consonance_intake import PATH as EVENTS_PATH
from services.ingest.consonance_intake import Consonance
from services.ingest.development import idle_report, poll_route
from services.ingest.door import Door
from services.ingest.handlers import PATH as WEBHOOK_PATH
from services.ingest.handlers import WhatsApp
from services.ingest.identity import Identity
from services.ingest.listener import Listener
from services.ingest.measures import Measures
from services.ingest.parking import Parking
from services.ingest.people import People
from services.ingest.poll_contacts import ContactsPoll
from services.ingest.poll_works import WorksPoll
from services.ingest.polling import Polling
from services.ingest.publisher import Publisher
from services.ingest.seen import SeenBefore
from services.ingest.settings import Settings
from services.ingest.signatures import SignatureCounts
from services.ingest.watch import Stream, Watch
from shared.contracts.errors import Unavailable
from shared.runtime.service import Process, service_process
from shared.runtime.settings import load_settings

_FORGET_SECONDS = 600.0


async def main() -> None:
    settings, measures, stream = load_settings(Settings), Measures(), Stream()
    key = settings.consonance_key.get_secret_value()
    async with (
        service_process(settings, "ingest") as process,
        connected(settings.consonance_endpoint, key) as source,
    ):
        publisher = Publisher(process.producer, settings.topic_prefix)
        _watch(process, settings, stream, measures)
        polling = _poll(process, settings, source, measures)
        door = _listen(process, settings, publisher, stream, measures)
        process.add_readiness_check("broker", publisher.reachable)
        process.add_idle_check(idle_report(door, measures, polling))
        process.routes["/development/poll"] = poll_route(polling)
        await process.run_until_stopped(settings.drain_seconds)


def _listen(process: Process, settings: Settings, publisher: Publisher, stream: Stream, measures: Measures) -> Door:
    pool, clock, tenant = process.pool, process.clock, settings.tenant
    parking, seen = Parking(pool, clock, tenant), SeenBefore(pool, tenant)
    whatsapp = WhatsApp(
        records=publisher,
        persons=Identity(pool, clock, People(tenant)),
        parking=parking,
        stream=stream,
        measures=measures,
        clock=clock,
        tenant=tenant,
        lines={number: line for line, number in settings.whatsapp_lines.items()},
        app_secrets=tuple(secret.get_secret_value().encode() for secret in settings.whatsapp_app_secrets),
        verify_token=settings.whatsapp_verify_token.get_secret_value(),
        pseudonyms=settings.pseudonyms,
    )
    secrets = tuple(secret.get_secret_value() for secret in settings.consonance_webhook_secrets)
    consonance = Consonance(publisher, seen, parking, measures, clock, tenant, settings.house, secrets)
    routes = {
        WEBHOOK_PATH: {"GET": whatsapp.verify, "POST": whatsapp.receive},
        EVENTS_PATH: {"POST": consonance.receive},
    }
    for counts in (whatsapp.signatures, consonance.signatures):
        process.health.details.append(partial(_detail, counts))
    door = Door(routes, measures.cut_off)
    listener = Listener(door, settings.limits, _cut(measures, stream), settings.listen_address, settings.listen_port)
    measures.watch_connections(listener.open_connections, listener.body_bytes)
    process.task("listener", listener.serve)
    process.add_readiness_check("listener", listener.takes)
    process.task("forget", lambda: _forget(seen))
    return door


async def _detail(counts: SignatureCounts) -> str:
    return counts.detail(time.monotonic())


def _cut(measures: Measures, stream: Stream) -> Callable[[Cut], None]:
    """A connection given up for want of room may have carried a webhook."""

    def cut(why: Cut) -> None:
        measures.cut(why)
        if why in {Cut.FULL, Cut.BYTES}:
            stream.tear("full")

    return cut


def _poll(process: Process, settings: Settings, source: ConsonanceReader, measures: Measures) -> Polling:
    pool, clock, tenant, words = process.pool, process.clock, settings.tenant, settings.words
    process.health.details.append(source.key)
    parking = Parking(pool, clock, tenant)
    contacts = ContactsPoll(source, pool, clock, tenant, words, parking)
    works = WorksPoll(
        source, pool, clock, tenant, words, parking, settings.consonance_polled, settings.consonance_source
    )
    polling = Polling({"contacts": contacts.run, "works": works.run}, settings.consonance_poll_seconds, measures)
    if settings.consonance_poll_seconds:
        process.task("polling", polling.forever)
    return polling


def _watch(process: Process, settings: Settings, stream: Stream, measures: Measures) -> None:
    every, redelivery = settings.whatsapp_heartbeat_seconds, settings.whatsapp_redelivery_seconds

    async def ready() -> bool:
        return not await process.health.waiting()

    watch = Watch(
        stream=stream,
        pool=process.pool,
        clock=process.clock,
        tenant=settings.tenant,
        account=settings.whatsapp_business_account,
        every=timedelta(seconds=every),
        redelivery=timedelta(seconds=redelivery),
        measures=measures,
        ready=ready,
    )
    process.health.on_unready.append(stream.miss)
    process.task("heartbeat", watch.forever)


async def _forget(seen: SeenBefore) -> None:
    while True:
        await asyncio.sleep(_FORGET_SECONDS)
        with suppress(Unavailable):  # the next round will find them
            await seen.forget_old()
