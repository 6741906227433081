"""PostgreSQL: named queries from ``.sql`` files, a pool per service on its own schema and role, lock numbers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import asyncpg

from shared.settings import ServiceSettings
from shared.telemetry import get_logger

Connection = Any
"""An asyncpg connection, pooled or not."""

Pool = Any

log = get_logger()
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_RETRY_SECONDS = 1.0
_COMMAND_SECONDS = 30.0

CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server killed between two messages of one query shows so
    asyncpg.CannotConnectNowError,
    OSError,
)
"""The database is away or going: the same work may succeed later."""

REPEAT = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Nobody's fault: repeat the transaction."""


class Queries:
    """The queries of one file, as attributes; a name the file lacks raises AttributeError."""

    def __init__(self, texts: dict[str, str], source: str) -> None:
        self._texts = texts
        self._source = source

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(f"{self._source} has no query named {name}") from None


@cache
def load_queries(module_file: str, name: str) -> Queries:
    """The file ``name`` beside a module: blocks that begin with ``-- name: fetch_due``."""
    path = Path(module_file).with_name(name)
    parts = _NAME.split(path.read_text())
    return Queries(dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True)), name)


def lock_number(name: str) -> int:
    """The signed 64-bit number an advisory lock of this name has."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def role_of(service: str) -> str:
    return f"stet_{service}"


async def open_pool(settings: ServiceSettings, service: str) -> Pool:
    """A pool that sees only this service's schema; a database that is down, or not migrated yet, is waited for."""
    told = ""
    while True:
        try:
            return await _connect(settings, service)
        except (*CONNECTION_LOST, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.PostgresError) as error:
            if type(error).__name__ != told:
                told = type(error).__name__
                log.warning("neighbour.waited_for", neighbour="postgresql", setting="STET_POSTGRES_DSN", error=told)
            await asyncio.sleep(_RETRY_SECONDS)


async def _connect(settings: ServiceSettings, service: str) -> Pool:
    pool = await asyncpg.create_pool(
        settings.postgres_dsn.get_secret_value(),
        min_size=1,
        max_size=settings.postgres_pool,
        command_timeout=_COMMAND_SECONDS,
        server_settings={"search_path": service, "role": role_of(service), "application_name": f"stet-{service}"},
    )
    try:
        await pool.fetchval("select count(*) from migrations")
    except BaseException:
        await pool.close()
        raise
    return pool


@asynccontextmanager
async def pool_of(settings: ServiceSettings, service: str) -> AsyncIterator[Pool]:
    pool = await open_pool(settings, service)
    try:
        yield pool
    finally:
        pool.terminate()
