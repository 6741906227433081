"""PostgreSQL: named queries from ``.sql`` files, a pool per service on its own schema and role, lock numbers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from shared.contracts.errors import Misconfigured
from shared.runtime.schema import SchemaOutdated, require_migrations
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

Connection = Any
"""An asyncpg connection, pooled or not; asyncpg ships no types."""

Pool = Any

log = get_logger()
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_RETRY_SECONDS = 1.0
_COMMAND_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_NEXT_SERVER_SECONDS = 3.0  # ingest answers its sender within five

CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server killed between two messages of one query shows so
    asyncpg.CannotConnectNowError,
    OSError,
)
"""The database is away or going: the same work may succeed later."""

SERIALIZATION_FAILURES = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Nobody's fault: repeat the transaction."""

MIN_VERSION = 17
"""The first PostgreSQL with ``transaction_timeout``."""

_FROZEN_SECONDS = 10
_SESSION = {
    # a process frozen in the middle of a transaction, or whose machine is gone, must not hold its locks for ever
    "idle_in_transaction_session_timeout": f"{_FROZEN_SECONDS}s",
    "transaction_timeout": f"{3 * _FROZEN_SECONDS}s",  # frozen in the middle of a statement, which is not idle
    "plan_cache_mode": "force_custom_plan",  # a plan made while a table was empty would scan it for ever
    # What a service asks for is found by an index. A table too young for statistics, or one whose past outgrows what
    # still lives of it, looks to the planner as if reading it whole were as good; the price it then puts on the few
    # small tables that have no index to read must not make it compile their statements.
    "enable_seqscan": "off",
    "jit": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


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


@lru_cache(maxsize=16_384)
def advisory_lock_key(name: str) -> int:
    """The signed 64-bit number an advisory lock of this name has."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def role_name(service: str) -> str:
    return f"stet_{service}"


def session_settings(service: str, **more: str) -> dict[str, str]:
    """Server settings of a session that sees and may touch this service's schema alone."""
    role = {"search_path": service, "role": role_name(service), "application_name": f"stet-{service}"}
    return {**_SESSION, **role, **more}


async def connect(dsn: str, service: str, **more: str) -> Connection:
    """A connection of its own, outside any pool, to a server that takes writes."""
    return await connect_writable(
        dsn, command_timeout=_COMMAND_SECONDS, server_settings=session_settings(service, **more)
    )


async def connect_writable(dsn: str, **options: Any) -> Connection:
    """To the first server of ``dsn`` that answers in time and takes writes; a standby is passed over.

    asyncpg would wait for a server that hangs without trying the next, so each is an address of its own here.
    Raises the last server's error where none will do.
    """
    servers = _servers_of(dsn)
    seconds = _CONNECT_SECONDS if len(servers) == 1 else _NEXT_SERVER_SECONDS
    for place, server in enumerate(servers, 1):
        try:
            return await asyncpg.connect(server, timeout=seconds, target_session_attrs="read-write", **options)
        except (*CONNECTION_LOST, TimeoutError):
            if place == len(servers):
                raise
    raise AssertionError("an address names a server")


def _servers_of(dsn: str) -> list[str]:
    """``postgresql://user@one,two/db`` as one address for each; a list in the query is left to asyncpg."""
    address = urlsplit(dsn)
    login, at, hosts = address.netloc.rpartition("@")
    return [urlunsplit(address._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


def is_read_only(connection: Connection) -> bool:
    """Whether the server became a standby, or was told to take no writes: it reports both by itself, with an answer."""
    reported = connection.get_settings()
    return "on" in (
        getattr(reported, "in_hot_standby", "off"),
        getattr(reported, "default_transaction_read_only", "off"),
    )


def raise_if_read_only(connection: Connection) -> None:
    """Raises ReadOnlySQLTransactionError for a connection that must be given up. Asks the server nothing."""
    if is_read_only(connection):
        raise asyncpg.ReadOnlySQLTransactionError("the server takes no writes any more")


async def open_pool(settings: ServiceSettings, service: str) -> Pool:
    """A pool that sees only this service's schema; one that is down, or older than we are, is waited for.

    Raises Misconfigured when the database refuses who we are, or is too old.
    """
    told = ""
    while True:
        try:
            return await _open(settings, service)
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise Misconfigured("STET_POSTGRES_DSN", f"PostgreSQL refuses it: {type(error).__name__}") from None
        except asyncpg.UndefinedObjectError:  # a setting of the session that it does not know
            raise Misconfigured("STET_POSTGRES_DSN", f"it must be PostgreSQL {MIN_VERSION} or newer") from None
        except (*CONNECTION_LOST, asyncpg.PostgresError, TimeoutError, SchemaOutdated) as error:
            if type(error).__name__ != told:
                told = type(error).__name__
                lacks = error.lacking if isinstance(error, SchemaOutdated) else []
                log.warning("dependency.awaited", neighbour="postgresql", setting="STET_POSTGRES_DSN", error=told,
                            hint=_HINTS.get(type(error), ""), lacks=lacks)  # fmt: skip
            await asyncio.sleep(_RETRY_SECONDS)


_HINTS = {
    SchemaOutdated: "run: python -m shared.runtime.migrate",
    asyncpg.UndefinedTableError: "run: python -m shared.runtime.migrate",
    asyncpg.InvalidParameterValueError: "run: python -m shared.runtime.migrate",
    asyncpg.InsufficientPrivilegeError: "this login may not act as the role of the service",
    asyncpg.InvalidCatalogNameError: "the database it names does not exist",
    TargetServerAttributeNotMatched: "no server it names takes writes",
}


async def _open(settings: ServiceSettings, service: str) -> Pool:
    pool = await asyncpg.create_pool(
        settings.postgres_dsn.get_secret_value(),
        min_size=1,
        max_size=settings.postgres_pool,
        command_timeout=_COMMAND_SECONDS,
        server_settings=session_settings(service),
        connect=_connect_for_pool,
        setup=_still_writable,
        reset=_keeps_nothing,
    )
    try:
        require_migrations(service, dict(await pool.fetch("select name, digest from migrations")))
    except BaseException:
        pool.terminate()
        raise
    return pool


async def _connect_for_pool(dsn: str, **options: Any) -> Connection:
    """A pool gives its event loop along, which asyncpg no longer needs."""
    del options["loop"]
    return await connect_writable(dsn, **options)


async def _still_writable(connection: Connection) -> None:
    """A pool gives up what is refused here."""
    raise_if_read_only(connection)


async def _keeps_nothing(connection: Connection) -> None:
    """Who borrows a connection leaves nothing in its session beyond a transaction, which asyncpg ends by itself.

    Locks by session and listening are for connections of their own (``connect``). One to a server that no longer takes
    writes is not kept.
    """
    if is_read_only(connection):
        connection.terminate()


@asynccontextmanager
async def connection_pool(settings: ServiceSettings, service: str) -> AsyncIterator[Pool]:
    pool = await open_pool(settings, service)
    try:
        yield pool
    finally:
        pool.terminate()
