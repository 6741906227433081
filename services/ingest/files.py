"""Fetches the files of messages into the store that a setting names: the client, the queue and the task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.ingest.media.fetcher import FileLimits, MediaFetcher
from services.ingest.media.file_store import FileStore
from services.ingest.media.provider import MediaClient, MediaEndpoint
from services.ingest.media.queue import MediaQueue
from services.ingest.media.scanner import ClamdScanner, NoScanner
from services.ingest.metrics import IngestMetrics
from services.ingest.settings import IngestSettings
from shared.runtime.service import Process

_MEGABYTE = 1_000_000


@asynccontextmanager
async def fetch_files(process: Process, settings: IngestSettings, metrics: IngestMetrics) -> AsyncIterator[None]:
    """Within the context a task of the process fetches them. Raises Misconfigured for a store that cannot be opened."""
    async with MediaClient(_endpoint(settings)) as client:
        fetcher = MediaFetcher(
            queue=MediaQueue(process.pool, process.clock, settings.tenant),
            client=client,
            store=FileStore(settings.media_store, settings.media_link),
            scanner=ClamdScanner(settings.media_scanner) if settings.media_scanner else NoScanner(),
            limits=FileLimits(settings.media_max_mb * _MEGABYTE, settings.media_types, settings.media_at_once),
            metrics=metrics,
        )
        process.task("media", fetcher.run)
        process.add_idle_check(fetcher.idle)
        yield


def _endpoint(settings: IngestSettings) -> MediaEndpoint:
    return MediaEndpoint(
        graph_url=settings.whatsapp_graph_url,
        version=settings.whatsapp_graph_version,
        token=settings.whatsapp_token.get_secret_value() if settings.whatsapp_token is not None else "",
        hosts=settings.media_hosts,
        numbers={str(line): number for line, number in settings.whatsapp_lines.items()},
    )
