"""The operator's login: it reads every schema, and writes only what operators settle, pause and audit.

``stet migrate`` creates the role ``stet_operator`` and grants it this much (grants.sql). Whichever login
STET_POSTGRES_DSN names acts as that role, so that an administrator's rights are not used by accident.

A database belongs to the tenants whose rules were in force in it; another one in STET_TENANT is a slip, and is refused.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from ops.command_settings import TenantSettings, database_away
from ops.migrate import OPERATOR
from shared.contracts.errors import Misconfigured
from shared.runtime.connection_settings import PostgresSettings
from shared.runtime.postgres import Pool, connect_writable, load_queries, role_name

QUERIES = load_queries(__file__, "database.sql")
_TIMEOUT_SECONDS = 60.0


@asynccontextmanager
async def operator_pool(settings: PostgresSettings, schema: str = OPERATOR) -> AsyncIterator[Pool]:
    """Connections that act as the operator and find the tables of ``schema`` first.

    Raises Misconfigured where the login may not act as the operator, ``stet migrate`` has not run, or the database
    has other tenants than that of the settings.
    """
    session = {
        "search_path": str(schema),
        "role": role_name(OPERATOR),
        "application_name": "stet-operator",
        "jit": "off",
    }
    try:
        pool = await asyncpg.create_pool(
            settings.dsn,
            min_size=1,
            max_size=4,
            command_timeout=_TIMEOUT_SECONDS,
            server_settings=session,
            connect=_connect,
        )
    except asyncpg.InvalidParameterValueError:
        raise Misconfigured("STET_POSTGRES_DSN", "the role stet_operator is not there: run stet migrate") from None
    except asyncpg.InsufficientPrivilegeError:
        advice = "this login may not act as stet_operator; use the operator's own login"
        raise Misconfigured("STET_POSTGRES_DSN", advice) from None
    except (OSError, asyncpg.InternalClientError) as error:
        raise database_away(error, urlsplit(settings.dsn).netloc.rpartition("@")[2]) from None
    try:
        if isinstance(settings, TenantSettings):
            await _check_tenant(pool, settings.tenant)
        yield pool
    finally:
        pool.terminate()


async def _check_tenant(pool: Pool, tenant: str) -> None:
    """Raises Misconfigured for an unknown tenant, since “nothing is open” would be a wrong answer about it."""
    try:
        known = [row["tenant"] for row in await pool.fetch(QUERIES.tenants)]
    except asyncpg.UndefinedTableError:
        return  # no schema yet; the command says what it lacks
    if known and tenant not in known:
        advice = (
            f"this database knows no tenant {tenant}; it has {', '.join(known)}. Correct the name, or let "
            f"STET_POSTGRES_DSN name the database of {tenant}: each tenant has one of its own"
        )
        raise Misconfigured("STET_TENANT", advice)


async def _connect(dsn: str, **options: object) -> object:
    """The pool passes its event loop, which asyncpg no longer takes."""
    options.pop("loop", None)
    return await connect_writable(dsn, **options)
