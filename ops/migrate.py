"""Creates or updates the schema and the role of each service: its migrations, in order."""

from collections.abc import Sequence
from typing import Annotated

import asyncpg
import typer

from ops.command_line import CommandSettings, Service, run
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
from shared.runtime.settings import load_settings

QUERIES = load_queries(__file__, "migrate.sql")


def migrate_command(
    services: Annotated[
        list[Service] | None, typer.Option("--services", help="Only this service; may be repeated (default: all).")
    ] = None,
) -> None:
    """Create or update the schemas in STET_POSTGRES_DSN."""

    async def command() -> int:
        dsn = load_settings(CommandSettings).dsn
        done = await migrate(dsn, services or SERVICES)
        typer.echo("\n".join(done) or "nothing to do: every schema is up to date")
        return 0

    run(command())


async def migrate(dsn: str, services: Sequence[str] = SERVICES) -> list[str]:
    """Bring every service's schema up to date; returns a line for each migration applied.

    Raises Misconfigured for a changed file, and for a database that is too old.
    """
    connection = await connect_writable(dsn)
    try:
        if connection.get_server_version().major < MIN_VERSION:
            raise Misconfigured("STET_POSTGRES_DSN", f"it must be PostgreSQL {MIN_VERSION} or newer")
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", advisory_lock_key("stet/migrate"))
            return [line for service in services for line in await _migrate_service(connection, service)]
    finally:
        await connection.close()


async def _migrate_service(connection: Connection, service: str) -> list[str]:
    role = role_name(service)
    try:
        await _prepare(connection, service, role)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured("STET_POSTGRES_DSN", _advice(service, role, error)) from None
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
    """Create the role and the schema where they are missing; existing ones need no right to create them."""
    known = await connection.fetchrow(QUERIES.has_role, role)
    if not known["it_exists"]:
        await connection.execute(QUERIES.create_role.replace("ROLE", role))
    if not known["may_set"]:
        await connection.execute(QUERIES.join_role.replace("ROLE", role))
    if not await connection.fetchval(QUERIES.has_schema, service):
        await connection.execute(QUERIES.create_schema.replace("SCHEMA", service).replace("ROLE", role))


def _advice(service: str, role: str, error: asyncpg.PostgresError) -> str:
    refused = str(error).partition("\n")[0]
    return (
        f"this login may not prepare {service} ({refused}). Log in as one that may create roles and schemas, or have "
        f"an administrator run: create role {role} login; grant {role} to <this login> with set true; "
        f"create schema {service} authorization {role}"
    )
