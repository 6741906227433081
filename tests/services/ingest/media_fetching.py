"""A fetcher of files that a test starts in a process of its own, to kill it; it is told database, host and folder."""

import asyncio
import sys

import asyncpg

from services.ingest.media.fetcher import FileLimits, MediaFetcher
from services.ingest.media.file_rows import MediaQueue
from services.ingest.media.file_store import FileStore
from services.ingest.media.provider import MediaClient, MediaEndpoint
from services.ingest.media.scanner import NoScanner
from services.ingest.metrics import IngestMetrics
from shared.clients.file_types import ACCEPTED_TYPES
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool, role_name
from tests.services.ingest.payloads import CONTEXT


def fetcher_of(pool: Pool, client: MediaClient, folder: str, metrics: IngestMetrics) -> MediaFetcher:
    queue, limits = MediaQueue(pool, SystemClock(), CONTEXT.tenant), FileLimits(20_000_000, ACCEPTED_TYPES, 1)
    return MediaFetcher(queue, client, FileStore(folder), NoScanner(), limits, metrics)


def client_of(origin: str) -> MediaClient:
    return MediaClient(MediaEndpoint(origin, "v25.0", "token", (origin,), {}))


async def main(dsn: str, origin: str, folder: str) -> None:
    settings = {"search_path": "ingest", "role": role_name("ingest")}
    async with (
        asyncpg.create_pool(dsn, min_size=1, max_size=2, server_settings=settings) as pool,
        client_of(origin) as client,
    ):
        await fetcher_of(pool, client, folder, IngestMetrics()).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
