"""A schema and a role for each service, and its migrations in order: ``python -m shared.runtime.migrate``."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import asyncpg
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import SERVICES
from shared.runtime.clock import machine_now
from shared.runtime.postgres import (
    MIN_VERSION,
    Connection,
    advisory_lock_key,
    connect_writable,
    load_queries,
    missing_migrations,
    role_name,
)
from shared.runtime.settings import PREFIX, load_settings

QUERIES = load_queries(__file__, "migrate.sql")


class MigrateSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    postgres_dsn: SecretStr


async def migrate(dsn: str, services: Sequence[str] = SERVICES) -> list[str]:
    """Bring every service's schema up to date; what was done, a line each.

    Raises Misconfigured for a changed file, and for a database that is too old.
    """
    connection = await connect_writable(dsn)
    try:
        if connection.get_server_version().major < MIN_VERSION:
            raise Misconfigured("STET_POSTGRES_DSN", f"it must be PostgreSQL {MIN_VERSION} or newer")
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", advisory_lock_key("stet/migrate"))
            return [line for service in services for line in await _service(connection, service)]
    finally:
        await connection.close()


async def _service(connection: Connection, service: str) -> list[str]:
    role = role_name(service)
    try:
        await _prepare(connection, service, role)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured("STET_POSTGRES_DSN", _what_it_takes(service, role, error)) from None
    await connection.execute(f"set local role {role}; set local search_path to {service}")
    await connection.execute(QUERIES.close_schema.replace("SCHEMA", service))
    await connection.execute(QUERIES.ledger)
    done = []
    for migration in missing_migrations(service, dict(await connection.fetch(QUERIES.applied))):
        await connection.execute(migration.text)
        await connection.execute(QUERIES.apply, migration.name, migration.digest, machine_now())
        done.append(f"{service}: {migration.name}")
    await connection.execute("reset role; reset search_path")
    return done


async def _prepare(connection: Connection, service: str, role: str) -> None:
    """The role and the schema; what is there already needs no right to create it."""
    known = await connection.fetchrow(QUERIES.has_role, role)
    if not known["it_exists"]:
        await connection.execute(QUERIES.create_role.replace("ROLE", role))
    if not known["may_set"]:
        await connection.execute(QUERIES.join_role.replace("ROLE", role))
    if not await connection.fetchval(QUERIES.has_schema, service):
        await connection.execute(QUERIES.create_schema.replace("SCHEMA", service).replace("ROLE", role))


def _what_it_takes(service: str, role: str, error: asyncpg.PostgresError) -> str:
    refused = str(error).partition("\n")[0]
    return (
        f"this login may not prepare {service} ({refused}). Log in as one that may create roles and schemas, or have "
        f"an administrator run: create role {role} login; grant {role} to <this login> with set true; "
        f"create schema {service} authorization {role}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m shared.runtime.migrate", description="Create or update the schemas in STET_POSTGRES_DSN."
    )
    parser.add_argument("--services", nargs="+", choices=SERVICES, default=SERVICES, help="only these (default: all)")
    chosen = parser.parse_args(argv)
    try:
        settings = load_settings(MigrateSettings)
        done = asyncio.run(migrate(settings.postgres_dsn.get_secret_value(), chosen.services))
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201 -- a command's own output
        return 2
    except (OSError, asyncpg.PostgresError) as error:
        print(f"STET_POSTGRES_DSN: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 -- the same
        return 1
    print("\n".join(done) or "nothing to do: every schema is up to date")  # noqa: T201 -- the same
    return 0


if __name__ == "__main__":
    sys.exit(main())
