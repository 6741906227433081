"""Puts the dispatcher together: handler, sender, leader, reconciliation and monitor of one process."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from services.dispatcher.account_reader import LineReader, TemplateReader
from services.dispatcher.account_store import AccountStore, TemplateCache
from services.dispatcher.audit import audit_hops
from services.dispatcher.budget import Budget, BudgetTerms, ChargeCounter, ChargeStore
from services.dispatcher.delivery_evidence import DeliveryEvidence
from services.dispatcher.document_store import DocumentStore
from services.dispatcher.documents import DocumentOpener, DocumentPreparer, MediaUploads, NoDocuments
from services.dispatcher.handlers import TOPICS, DispatcherHandler
from services.dispatcher.leader import LEADER_SESSION, Leader, TopicBacklog
from services.dispatcher.message_updates import SERVICE, MessageUpdater
from services.dispatcher.monitor import Monitor
from services.dispatcher.people_store import PeopleStore
from services.dispatcher.reconciliation import EVERY_SECONDS, EVERY_SECONDS_ON_VIRTUAL_CLOCK, Reconciler
from services.dispatcher.sender import ResultRecorder, Sender
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.store import MessageStore
from services.dispatcher.throttle_store import ThrottleStore
from services.dispatcher.throttles import Throttles
from services.dispatcher.unread_partitions import FetchEndOffsets, UnreadPartitions
from services.dispatcher.whatsapp_client import WhatsAppClient
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED, WHATSAPP_MESSAGES
from shared.runtime.clock import Clock
from shared.runtime.erasure import erasure_deletion
from shared.runtime.leader import LeaderLease
from shared.runtime.postgres import Pool, connect, load_queries
from shared.runtime.progress import Partition
from shared.runtime.retention import Expiry, delete_expired, deletion
from shared.runtime.service import Process, service_process
from shared.runtime.settings import load_settings

RETENTION = load_queries(__file__, "retention.sql")


@dataclass(frozen=True, slots=True)
class DispatcherParts:
    """``handler`` handles the batches of Kafka; the others run for as long as the process does."""

    handler: DispatcherHandler
    sender: Sender
    leader: Leader
    reconciler: Reconciler
    monitor: Monitor
    charges: ChargeCounter


def compose(
    settings: DispatcherSettings,
    pool: Pool,
    clock: Clock,
    whatsapp: WhatsAppClient,
    fetch_ends: FetchEndOffsets | None,
) -> DispatcherParts:
    """Without ``fetch_ends`` there is no broker, and nothing to read before sending."""
    tenant, lines = settings.tenant, tuple(settings.whatsapp_lines)
    people, store, account = PeopleStore(tenant), MessageStore(tenant), AccountStore(tenant)
    throttle_store, documents = ThrottleStore(tenant, settings.accounts_of_lines), DocumentStore(tenant)
    updater = MessageUpdater(tenant, store, people, throttle_store)
    charges = ChargeStore(tenant, settings.zone)
    evidence = DeliveryEvidence(tenant, updater, charges)
    recorder = ResultRecorder(pool, clock, updater, evidence, throttle_store)
    sender = Sender(clock, recorder, whatsapp, Throttles(settings.accounts_of_lines), settings.sends_in_flight)
    backlog = TopicBacklog([topic.name for topic in TOPICS], fetch_ends)
    unread = UnreadPartitions(tenant, (MESSAGES_REQUESTED, CONTACTS, WHATSAPP_MESSAGES), pool, fetch_ends)
    templates = TemplateCache(account, sender.throttles, settings.accounts_of_lines)
    session = partial(connect, settings.dsn, SERVICE, **LEADER_SESSION)
    lease = LeaderLease(f"stet/dispatcher/portfolio/{tenant}", session, task="sender")
    return DispatcherParts(
        handler=DispatcherHandler(people, store, updater, evidence, account, documents, settings.own_accounts),
        sender=sender,
        leader=Leader(
            lease,
            backlog,
            unread,
            throttle_store,
            store,
            sender,
            account,
            settings.limits(),
            lines,
            settings.lease,
            templates,
            documents,
            settings.accounts_of_lines,
            settings.own_accounts,
            whatsapp.display_number,
            partial(Budget, charges, settings.card, settings.monthly_budget),
        ),
        reconciler=Reconciler(
            sender,
            recorder,
            store,
            account,
            lines,
            settings.unproven_after,
            every=EVERY_SECONDS if settings.development_clock is None else EVERY_SECONDS_ON_VIRTUAL_CLOCK,
        ),
        monitor=Monitor(pool, store, account, evidence, sender, lines, settings.unproven_after),
        charges=ChargeCounter(
            pool, clock, charges, BudgetTerms(settings.card, settings.monthly_budget, settings.budget_warning_percent)
        ),
    )


async def main() -> None:
    settings = load_settings(DispatcherSettings)
    async with (
        service_process(settings, SERVICE) as process,
        WhatsAppClient(settings.endpoint(), settings.sends_in_flight) as whatsapp,
        open_document_clients(settings) as (source, uploads),
    ):
        parts = compose(settings, process.pool, process.clock, whatsapp, partial(_fetch_ends, process))
        process.consume(TOPICS, parts.handler)
        process.task("leader", parts.leader.run)
        process.task("deliver", parts.sender.deliver)
        process.task("record", parts.sender.record)
        process.task("reconcile", parts.reconciler.run)
        if settings.reads_templates:
            reader = TemplateReader(
                process.pool,
                process.clock,
                AccountStore(settings.tenant),
                parts.sender,
                settings.template_endpoints(),
                timedelta(seconds=settings.whatsapp_templates_seconds),
            )
            process.task("templates", reader.run)
        account = AccountStore(settings.tenant)
        lines = LineReader(
            process.pool,
            process.clock,
            account,
            parts.sender,
            whatsapp.number_report,
            tuple(settings.whatsapp_lines),
            settings.accounts_of_lines,
        )
        process.task("lines", lines.run)
        process.task("charges", parts.charges.run)
        documents = DocumentPreparer(
            process.pool,
            process.clock,
            parts.handler.documents,
            source,
            uploads,
            settings.most_document_bytes,
        )
        process.task("documents", documents.run)
        process.add_idle_check(documents.idle)
        process.task("gauges", parts.monitor.update_gauges)
        old = (RETENTION.delete_old_messages, RETENTION.delete_old_withdrawals, RETENTION.delete_old_windows)
        expiries = [Expiry(deletion(process.pool, query), settings.keep_messages_days) for query in old]
        expiries.append(Expiry(deletion(process.pool, RETENTION.delete_old_charge_totals), settings.keep_cost_days))
        expiries.append(Expiry(erasure_deletion(process.pool, RETENTION.forget_visitors), settings.keep_inbox_days))
        process.task("retention", lambda: delete_expired(process.clock, expiries))
        process.audit(*audit_hops())
        process.add_idle_check(parts.monitor.idle)
        process.health.details.append(parts.monitor.token_problem)
        await process.run_until_stopped()


@asynccontextmanager
async def open_document_clients(settings: DispatcherSettings) -> AsyncIterator[tuple[DocumentOpener, MediaUploads]]:
    """Where documents come from and go to. Raises Misconfigured for a store that cannot be opened."""
    if not settings.sends_documents:
        yield NoDocuments(), NoDocuments()
        return
    from services.dispatcher.document_transfer import DocumentSource, WhatsAppUploads  # noqa: PLC0415 -- an HTTP client, for documents alone
    from shared.clients.public_hosts import AllowedHosts  # noqa: PLC0415 -- the same

    async with (
        DocumentSource(AllowedHosts(settings.document_hosts), settings.document_store) as source,
        WhatsAppUploads(settings.endpoint()) as uploads,
    ):
        yield source, uploads


async def _fetch_ends(process: Process, places: Iterable[Partition]) -> Mapping[Partition, int]:
    """Over the connection on which the consumer's own progress is watched."""
    _, lag = process.consumers[0]
    return await lag.end_offsets(places)
