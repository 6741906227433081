"""PostgreSQL: named queries from ``.sql`` files, connections and pools for one service's schema, locks, migrations."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import SERVICES
from shared.runtime.clock import machine_now
from shared.runtime.failures import CONNECTION_LOST, TRANSIENT_ERRORS, LocksBusy, remedy_of
from shared.runtime.metrics import Metrics
from shared.runtime.retry import until_available
from shared.runtime.settings import ServiceSettings

Connection = Any
"""An asyncpg connection, pooled or not; asyncpg ships no types."""

Pool = Any

_QUERY_DURATION = Metrics.of(*SERVICES).histogram(
    "stet_database_query_duration_seconds", "Time from a query of the pool to its last row; COPY is not counted."
)
ROOT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_COMMAND_SECONDS = 30.0
_CANCEL_SECONDS = 3.0
_CONNECT_SECONDS = 10.0
_WRITE_SECONDS = 2.0
_NEXT_SERVER_SECONDS = 3.0  # ingest must answer its sender within five

MIN_VERSION = 17
"""The first PostgreSQL with ``transaction_timeout``."""

_FROZEN_SECONDS = 10
_SESSION = {
    # a process frozen inside a transaction, or whose machine is gone, must not hold its locks for ever
    "idle_in_transaction_session_timeout": f"{_FROZEN_SECONDS}s",
    "transaction_timeout": f"{3 * _FROZEN_SECONDS}s",  # frozen in the middle of a statement, which is not idle
    "plan_cache_mode": "force_custom_plan",  # a plan made while a table was empty would scan it for ever
    # Every query of a service uses an index. For a table without statistics yet, or with many dead rows, the planner
    # would choose a sequential scan. The high cost it then assumes for small tables must not start the JIT compiler.
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
    parts = _NAME.split(path.read_text("utf-8"))
    return Queries(dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True)), name)


@lru_cache(maxsize=16_384)
def advisory_lock_key(name: str) -> int:
    """The signed 64-bit key of the advisory lock with this name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


# ------------------------------------------------------------------ connections


def role_name(service: str) -> str:
    return f"stet_{service}"


def session_settings(service: str, **more: str) -> dict[str, str]:
    """Server settings of a session that may read and write this service's schema alone."""
    role = {"search_path": service, "role": role_name(service), "application_name": f"stet-{service}"}
    return {**_SESSION, **role, **more}


class BoundedCancelConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg ships no types
    """Is closed where the server does not answer a cancellation soon.

    A command that takes too long is cancelled, and asyncpg waits for the answer as long again as a command may take. A
    server that hangs gives none, and another may have taken over. asyncpg has no public setting for it.
    """

    async def _cancel(
        self, waiter: "asyncio.Future[None]", cancel_waiter: "asyncio.Future[None] | None" = None
    ) -> None:
        async with asyncio.timeout(_CANCEL_SECONDS) as limit:
            await super()._cancel(waiter, cancel_waiter)
        if limit.expired() and not self.is_closed():
            self.terminate()


async def connect(dsn: str, service: str, **more: str) -> Connection:
    """A connection outside any pool, to a server that takes writes. Raises as ``connect_writable``."""
    return await connect_writable(
        dsn, command_timeout=_COMMAND_SECONDS, server_settings=session_settings(service, **more)
    )


async def connect_writable(dsn: str, **options: Any) -> Connection:
    """Connect to the first server of ``dsn`` that answers in time and takes writes; skip a standby.

    asyncpg would wait for a hung server without trying the next, so each server is tried as an address of its own.
    Raises the last server's error where none will do.
    """
    options["connection_class"] = BoundedCancelConnection
    servers = _servers_of(dsn)
    seconds = _CONNECT_SECONDS if len(servers) == 1 else _NEXT_SERVER_SECONDS
    for place, server in enumerate(servers, 1):
        try:
            return await asyncpg.connect(server, timeout=seconds, target_session_attrs="read-write", **options)
        except (*CONNECTION_LOST, TimeoutError):
            if place == len(servers):
                raise
    raise AssertionError("a DSN names at least one server")


def _servers_of(dsn: str) -> list[str]:
    """``postgresql://user@one,two/db`` as one address for each; a list in the query is left to asyncpg."""
    address = urlsplit(dsn)
    login, at, hosts = address.netloc.rpartition("@")
    return [urlunsplit(address._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


def is_read_only(connection: Connection) -> bool:
    """Whether the server became a standby or read-only: it reports both unasked, together with any answer."""
    reported = connection.get_settings()
    return "on" in (
        getattr(reported, "in_hot_standby", "off"),
        getattr(reported, "default_transaction_read_only", "off"),
    )


def raise_if_read_only(connection: Connection) -> None:
    """Raises ReadOnlySQLTransactionError for a connection that must be closed. Sends nothing to the server."""
    if is_read_only(connection):
        raise asyncpg.ReadOnlySQLTransactionError("the server takes no writes any more")


# ------------------------------------------------------------------ advisory locks

_QUERIES = load_queries(__file__, "delivery.sql")


class SharedLock(str):
    """The name of a lock that several transactions may hold at once, if all of them share it."""

    __slots__ = ()


async def acquire_locks(connection: Connection, service: str, names: Iterable[str]) -> None:
    """Advisory locks until the transaction ends, always in the same order; each service has its own names."""
    if locks := _sorted_locks(service, names):
        await connection.execute(_QUERIES.lock_names, *zip(*locks, strict=True))


async def try_acquire_locks(connection: Connection, service: str, names: Iterable[str]) -> None:
    """Acquire the locks for a transaction that holds rows already and must not wait. Raises LocksBusy."""
    names = list(names)
    locks = _sorted_locks(service, names)
    if locks and not await connection.fetchval(_QUERIES.try_names, *zip(*locks, strict=True)):
        raise LocksBusy(names)


def _sorted_locks(service: str, names: Iterable[str]) -> list[tuple[int, bool]]:
    """Lock keys, sorted, and whether each is shared: one that is also asked for alone is not."""
    locks: dict[int, bool] = {}
    for name in names:
        key = advisory_lock_key(f"{service}:{name}")
        locks[key] = isinstance(name, SharedLock) and locks.get(key, True)
    return sorted(locks.items())


# ------------------------------------------------------------------ migrations


class Migration(NamedTuple):
    """``name`` is kept in the schema's table ``migrations``, beside the ``digest`` of the text."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        return sha256(self.text.encode()).hexdigest()


class SchemaOutdated(Exception):
    """The code is newer than the schema, which lacks the migrations named in ``missing``."""

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing
        super().__init__(f"the schema lacks {', '.join(missing)}")


def migrations_of(service: str) -> list[Migration]:
    """The shared migrations first, then the service's own, by number."""
    folders = {"shared": Path(__file__).with_name("migrations"), service: ROOT / "services" / service / "migrations"}
    files = [(owner, path) for owner, folder in folders.items() for path in sorted(folder.glob("*.sql"))]
    return [Migration(f"{owner}/{path.name}", path.read_text("utf-8")) for owner, path in files]


def require_migrations(service: str, applied: dict[str, str]) -> None:
    """Raises SchemaOutdated where the schema lacks a migration that this code needs."""
    if missing := missing_migrations(service, applied):
        raise SchemaOutdated([migration.name for migration in missing])


def missing_migrations(service: str, applied: dict[str, str]) -> list[Migration]:
    """The migrations that a schema with these ``applied`` (name → digest) lacks; unknown ones are of a newer version.

    Raises Misconfigured for a file that was changed after it was applied.
    """
    return missing_of(migrations_of(service), applied)


def missing_of(migrations: Sequence[Migration], applied: dict[str, str]) -> list[Migration]:
    """The migrations among these that were not applied. Raises Misconfigured as ``missing_migrations``."""
    for migration in migrations:
        if applied.get(migration.name, migration.digest) != migration.digest:
            raise Misconfigured(migration.name, "this migration was changed after it was applied; write a new one")
    return [migration for migration in migrations if migration.name not in applied]


# ------------------------------------------------------------------ pools


async def open_pool(settings: ServiceSettings, service: str) -> Pool:
    """A pool that sees only this service's schema; waits for a database that is down, or whose schema is outdated.

    Raises Misconfigured where the database refuses the login, or is too old.
    """
    return await until_available(
        "postgresql",
        "STET_POSTGRES_DSN",
        lambda: _open_or_refuse(settings, service),
        errors=(*CONNECTION_LOST, asyncpg.PostgresError, TimeoutError, SchemaOutdated),
        fields=_advice,
    )


async def _open_or_refuse(settings: ServiceSettings, service: str) -> Pool:
    """Open the pool. Raises Misconfigured for an error that waiting does not remedy."""
    try:
        return await _open(settings, service)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise Misconfigured(
            "STET_POSTGRES_DSN", f"PostgreSQL refuses the login ({type(error).__name__}): {remedy_of(error)}"
        ) from None
    except asyncpg.UndefinedObjectError:  # a setting of the session that the server does not know
        raise Misconfigured("STET_POSTGRES_DSN", f"it must be PostgreSQL {MIN_VERSION} or newer") from None


def _advice(error: Exception) -> dict[str, object]:
    lacks = error.missing if isinstance(error, SchemaOutdated) else []
    return {"hint": _START_HINTS.get(type(error)) or remedy_of(error), "lacks": lacks}


_START_HINTS = {
    SchemaOutdated: "run: stet migrate",
    asyncpg.InvalidParameterValueError: "run: stet migrate",
    asyncpg.InsufficientPrivilegeError: "this login may not act as the role of the service",
    TargetServerAttributeNotMatched: "no server it names takes writes",
}


async def _open(settings: ServiceSettings, service: str) -> Pool:
    pool = await asyncpg.create_pool(
        settings.dsn,
        min_size=1,
        max_size=settings.postgres_pool,
        command_timeout=_COMMAND_SECONDS,
        server_settings=session_settings(service),
        connection_class=BoundedCancelConnection,
        connect=_connect_for_pool,
        init=_time_queries,
        setup=_check_writable,
        reset=_reset,
    )
    try:
        require_migrations(service, dict(await pool.fetch("select name, digest from migrations")))
    except BaseException:
        pool.terminate()
        raise
    return pool


async def _connect_for_pool(dsn: str, **options: Any) -> Connection:
    """The pool passes its event loop, which asyncpg no longer takes."""
    del options["loop"]
    return await connect_writable(dsn, **options)


async def _time_queries(connection: Connection) -> None:
    connection.add_query_logger(lambda query: _QUERY_DURATION.observe(query.elapsed))


async def _check_writable(connection: Connection) -> None:
    """The pool closes a connection for which this raises."""
    raise_if_read_only(connection)


async def _reset(connection: Connection) -> None:
    """Reset a connection that goes back to the pool, in place of asyncpg's own reset: a borrower leaves nothing in the
    session but a transaction, which asyncpg ends.

    Session locks and listeners need a connection of their own (``connect``). A connection to a server that takes no
    writes any more is closed.
    """
    if is_read_only(connection):
        connection.terminate()


# ------------------------------------------------------------------ readiness


class DatabaseCheck:
    """Whether the database takes a row at the moment, and what an operator has to mend where it does not."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._refusal = ""

    async def is_writable(self) -> bool:
        """Commits a row: a standby, a full disk or a lost synchronous replica answers questions too."""
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._pool.execute(_QUERIES.write_readiness, machine_now())
        except (asyncpg.PostgresError, *TRANSIENT_ERRORS) as error:
            self._refusal = remedy_of(error)
            return False
        self._refusal = ""
        return True

    async def detail(self) -> str:
        """A detail of readiness; empty where the database takes rows, or comes back by itself."""
        return f"database: {self._refusal}" if self._refusal else ""
