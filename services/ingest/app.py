"""Wires ingest: both endpoints on one port, the polls of Consonance, the heartbeat of the webhook's coverage."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from services.ingest.address_learning import AddressLearner
from services.ingest.audit import audit_hops
from services.ingest.coverage import CoverageTracker
from services.ingest.erasure import CompletedErasures, ErasureRequests, FilesAndTopics, TopicEraser
from services.ingest.handlers import EVENTS_PATH, WEBHOOK_PATH, ConsonanceEvents, WhatsAppWebhook
from services.ingest.heartbeat import Heartbeat
from services.ingest.identity_resolver import IdentityResolver
from services.ingest.media.file_rows import StoredFiles
from services.ingest.metrics import IngestMetrics
from services.ingest.publisher import KafkaPublisher
from services.ingest.settings import IngestSettings
from services.ingest.signatures import SignatureCounts
from services.ingest.store import ParkedInputStore, PersonStore, ReceivedEventStore
from shared.runtime.clock import SystemClock
from shared.runtime.erasure import ErasureWorker
from shared.runtime.health import IdleCheck, IdleStatus
from shared.runtime.http.connections import DropReason
from shared.runtime.http.router import Router
from shared.runtime.http.server import HttpServer, allow_open_files
from shared.runtime.retention import Expiry, delete_expired
from shared.runtime.service import Process, service_process
from shared.runtime.settings import load_settings

if TYPE_CHECKING:
    from services.ingest.media.file_store import FileStore


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts that all of the wiring needs."""

    process: Process
    settings: IngestSettings
    metrics: IngestMetrics
    coverage: CoverageTracker

    @property
    def parking(self) -> ParkedInputStore:
        return ParkedInputStore(self.process.pool, self.process.clock, self.settings.tenant)

    @property
    def erasures(self) -> ErasureRequests:
        settings = self.settings
        return ErasureRequests(self.process.pool, self.process.clock, settings.tenant, settings.pseudonyms)


async def main() -> None:
    settings = load_settings(IngestSettings)
    async with service_process(settings, "ingest") as process, AsyncExitStack() as stack:
        parts = _Parts(process, settings, IngestMetrics(), CoverageTracker())
        await start_by_role(parts, stack)
        process.audit(*audit_hops(settings))
        await process.run_until_stopped(settings.drain_seconds if settings.ingest_role.receives else 0)


async def start_by_role(parts: _Parts, stack: AsyncExitStack) -> None:
    """Receive, poll, or both; what is opened for it closes with ``stack``."""
    settings = parts.settings
    if settings.ingest_role.receives:
        _start_receiving(parts)
    if settings.keeps_files:
        from services.ingest.media.fetcher import fetch_files  # noqa: PLC0415 -- an HTTP client and the stores, for files alone

        await stack.enter_async_context(fetch_files(parts.process, settings, parts.metrics))
    if settings.ingest_role.polls:
        from services.ingest.poll.loop import poll  # noqa: PLC0415 -- an HTTP client, which receiving needs not

        await stack.enter_async_context(poll(parts.process, settings, parts.parking, parts.metrics))


def _start_receiving(parts: _Parts) -> None:
    process = parts.process
    publisher = KafkaPublisher(process.producer, parts.settings.topic_prefix)
    _start_heartbeat(parts)
    _start_erasing(parts, publisher)
    router = _start_server(parts, publisher)
    process.add_readiness_check("broker", publisher.is_reachable)
    process.add_idle_check(request_idle_check(router, parts.metrics))


def _start_erasing(parts: _Parts, publisher: KafkaPublisher) -> None:
    """Start erasing in the process that also receives files, since it deletes them in the same file store."""
    process, settings = parts.process, parts.settings
    files = StoredFiles(process.pool, settings.tenant, _file_store(settings), settings.media_types)
    others = FilesAndTopics(parts.erasures, files, TopicEraser(settings))
    process.task("erasure", ErasureWorker(process.pool, process.clock, "ingest", others).run)
    expiries = (
        Expiry(files.delete_expired, settings.keep_media_days),
        Expiry(parts.erasures.expire_visitors, settings.keep_visitors_days),
        CompletedErasures(process.pool, process.clock, publisher).expiry(settings.keep_inbox_days),
        parts.erasures.old_addresses(settings.keep_inbox_days),
    )
    process.task("retention", lambda: delete_expired(process.clock, expiries))


def _file_store(settings: IngestSettings) -> "FileStore | None":
    if not settings.keeps_files:
        return None
    from services.ingest.media.file_store import FileStore  # noqa: PLC0415 -- the stores, for files alone

    return FileStore(settings.media_store, settings.media_link)


def _start_server(parts: _Parts, publisher: KafkaPublisher) -> Router:
    process, settings = parts.process, parts.settings
    received = ReceivedEventStore(process.pool, settings.tenant)
    learner = AddressLearner(process.pool, process.clock, settings.tenant, PersonStore(settings.tenant), parts.metrics)
    process.task("addresses", learner.run)
    process.add_idle_check(address_idle_check(learner))
    webhook, events = _whatsapp_webhook(parts, publisher, learner), _consonance_events(parts, publisher, received)
    routes = {
        WEBHOOK_PATH: {"GET": webhook.verify, "POST": webhook.receive},
        EVENTS_PATH: {"POST": events.receive},
    }
    for counts in (webhook.signatures, events.signatures):
        process.health.details.append(partial(_signature_detail, counts))
        parts.metrics.watch_signatures(counts.setting, counts.are_refused)
    router = Router(routes, parts.metrics.count_unread_rejection)
    on_dropped = partial(_record_dropped, parts)
    allow_open_files(settings.limits.connections, "STET_LISTEN_CONNECTIONS")
    server = HttpServer(
        router,
        settings.limits,
        on_dropped,
        address=settings.listen_address,
        port=settings.listen_port,
        setting="STET_LISTEN_PORT",
    )
    parts.metrics.watch_connections(server.open_connections, server.body_bytes)
    process.task("listener", server.serve)
    process.on_drain.append(server.drain)
    process.add_readiness_check("listener", server.is_listening)
    process.task("received events", lambda: delete_expired(SystemClock(), [received.expiry()]))
    return router


def _whatsapp_webhook(parts: _Parts, publisher: KafkaPublisher, learner: AddressLearner) -> WhatsAppWebhook:
    process, settings = parts.process, parts.settings
    return WhatsAppWebhook(
        publisher=publisher,
        persons=IdentityResolver(process.pool, process.clock, PersonStore(settings.tenant)),
        parking=parts.parking,
        coverage=parts.coverage,
        metrics=parts.metrics,
        clock=process.clock,
        tenant=settings.tenant,
        lines={number: line for line, number in settings.whatsapp_lines.items()},
        app_secrets=tuple(secret.get_secret_value().encode() for secret in settings.whatsapp_app_secrets),
        verify_token=settings.whatsapp_verify_token.get_secret_value(),
        pseudonyms=settings.pseudonyms,
        learn=learner.offer,
        keeps_files=settings.keeps_files,
    )


def _consonance_events(parts: _Parts, publisher: KafkaPublisher, received: ReceivedEventStore) -> ConsonanceEvents:
    settings = parts.settings
    return ConsonanceEvents(
        publisher=publisher,
        received=received,
        erasures=parts.erasures,
        parking=parts.parking,
        metrics=parts.metrics,
        clock=parts.process.clock,
        tenant=settings.tenant,
        settings=settings.push_settings,
        secrets=tuple(secret.get_secret_value() for secret in settings.consonance_webhook_secrets),
    )


async def _signature_detail(counts: SignatureCounts) -> str:
    return counts.detail(time.monotonic())


def _record_dropped(parts: _Parts, reason: DropReason) -> None:
    """A connection that is dropped for lack of room may have carried a webhook."""
    parts.metrics.count_dropped(reason)
    if reason in {DropReason.TOO_MANY_CONNECTIONS, DropReason.BODY_MEMORY_FULL}:
        parts.coverage.record_miss("full")


def _start_heartbeat(parts: _Parts) -> None:
    process, settings = parts.process, parts.settings

    async def is_ready() -> bool:
        return not await process.health.failing_checks()

    heartbeat = Heartbeat(
        tracker=parts.coverage,
        pool=process.pool,
        clock=process.clock,
        tenant=settings.tenant,
        account=settings.whatsapp_business_account,
        interval=timedelta(seconds=settings.whatsapp_heartbeat_seconds),
        redelivery_period=timedelta(seconds=settings.whatsapp_redelivery_seconds),
        metrics=parts.metrics,
        is_ready=is_ready,
    )
    process.health.on_unready.append(parts.coverage.record_unready)
    process.task("heartbeat", heartbeat.run_forever)


# ------------------------------------------------------------------ for a stack on a virtual clock


def request_idle_check(router: Router, metrics: IngestMetrics) -> IdleCheck:
    """Whether requests are in flight, and a number that grows with everything received."""

    async def report() -> IdleStatus:
        return IdleStatus(("requests",) if router.in_flight else (), None, metrics.updates_counted)

    return report


def address_idle_check(learner: AddressLearner) -> IdleCheck:
    """Whether addresses that messages arrived at are still to be learnt."""

    async def report() -> IdleStatus:
        return IdleStatus(("addresses",) if learner.pending else ())

    return report
