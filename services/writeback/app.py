"""Wires writeback together."""

from datetime import timedelta
from functools import partial

from services.writeback.audit import audit_hops
from services.writeback.capabilities import Capabilities
from services.writeback.circuit_breaker import CircuitBreaker
from services.writeback.evidence_store import move_older_forever
from services.writeback.executor import WriteExecutor
from services.writeback.handlers import WritebackHandler
from services.writeback.metrics import BacklogReporter
from services.writeback.operation_mapping import load_mapping
from services.writeback.settings import WritebackSettings
from services.writeback.store import SERVICE, WriteStore
from services.writeback.worker import LOCK_SESSION, WriteWorker
from shared.clients.consonance_graphql import ConsonanceClient
from shared.contracts import topics
from shared.runtime.erasure import erasure_deletion
from shared.runtime.postgres import connect, load_queries
from shared.runtime.retention import Expiry, delete_expired, deletion
from shared.runtime.service import service_process
from shared.runtime.settings import load_settings

RETENTION = load_queries(__file__, "retention.sql")


async def main() -> None:
    settings = load_settings(WritebackSettings)
    mapping = load_mapping(settings.consonance_mapping)
    async with service_process(settings, SERVICE) as process, _client(settings) as client:
        store = WriteStore(process.pool, process.clock)
        executor = WriteExecutor(store, client, Capabilities(mapping), settings.effect_window)
        connect_locks = partial(connect, settings.dsn, SERVICE, **LOCK_SESSION)
        worker = WriteWorker(connect_locks, executor, CircuitBreaker(settings.writes_at_once))
        process.consume(topics.CONSUMED["writeback"], WritebackHandler())
        process.task("worker", worker.run)
        process.task("backlog", BacklogReporter(store, process.clock).run)
        process.task("older_evidence", partial(move_older_forever, process.pool, process.clock))
        expiries = (
            Expiry(deletion(process.pool, RETENTION.delete_old_writes), settings.keep_chains_days),
            Expiry(deletion(process.pool, RETENTION.delete_old_files), settings.keep_media_days),
            Expiry(erasure_deletion(process.pool, RETENTION.forget_visitors), settings.keep_inbox_days),
        )
        process.task("retention", lambda: delete_expired(process.clock, expiries))
        process.audit(*audit_hops())
        process.add_idle_check(worker.idle)
        process.health.details.append(client.key_detail)
        await process.run_until_stopped()


def _client(settings: WritebackSettings) -> ConsonanceClient:
    return ConsonanceClient(
        settings.consonance_endpoint,
        settings.consonance_key.get_secret_value(),
        timedelta(seconds=settings.consonance_timeout),
        service=SERVICE,
        meanwhile="the queue is kept",
    )
