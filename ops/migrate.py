"""Creates or updates the schemas and roles of the services and of the operators: their migrations, in order.

After each schema the operator's role is granted what it may do there (grants.sql).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from ops.command_line import ExitCode, Format, OutputFormat, Service, print_json
from ops.command_settings import CommandSettings, run
from shared.contracts.errors import Misconfigured
from shared.contracts.topics import SERVICES
from shared.runtime.clock import machine_now
from shared.runtime.postgres import (
    MIN_VERSION,
    Connection,
    Migration,
    advisory_lock_key,
    connect_writable,
    load_queries,
    migrations_of,
    missing_of,
    role_name,
)
from shared.runtime.settings import load_settings

QUERIES = load_queries(__file__, "migrate.sql")
GRANTS = load_queries(__file__, "grants.sql")
OPERATOR = "operator"


def migrate_command(
    services: Annotated[
        list[Service] | None, typer.Option("--services", help="Only this service; may be repeated (default: all).")
    ] = None,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Create or update the schemas in STET_POSTGRES_DSN."""

    async def command() -> int:
        dsn = load_settings(CommandSettings).dsn
        done = await migrate(dsn, services or SERVICES)
        if output is OutputFormat.JSON:
            print_json({"applied": line} for line in done)
        else:
            typer.echo("\n".join(done) or "nothing to do: every schema is up to date")
        return ExitCode.FINE

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
            done = await _migrate_operator(connection) if set(services) == set(SERVICES) else []
            return done + [line for service in services for line in await _migrate_service(connection, service)]
    finally:
        await connection.close()


async def _migrate_operator(connection: Connection) -> list[str]:
    """The operators' own schema, with the audit log."""
    return await _migrate_schema(connection, OPERATOR, operator_migrations())


async def _migrate_service(connection: Connection, service: str) -> list[str]:
    done = await _migrate_schema(connection, service, migrations_of(service))
    if await connection.fetchval(GRANTS.has_operator):
        await connection.execute(f"set local role {role_name(service)}")
        await connection.execute(GRANTS.every.replace("SCHEMA", service))
        await connection.execute(getattr(GRANTS, service))
        await connection.execute("reset role")
    return done


async def _migrate_schema(connection: Connection, schema: str, migrations: Sequence[Migration]) -> list[str]:
    role = role_name(schema)
    try:
        await _prepare(connection, schema, role)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured("STET_POSTGRES_DSN", _advice(schema, role, error)) from None
    await connection.execute(f"set local role {role}; set local search_path to {schema}")
    await connection.execute(QUERIES.close_schema.replace("SCHEMA", schema))
    await connection.execute(QUERIES.ledger)
    done = []
    for migration in missing_of(migrations, dict(await connection.fetch(QUERIES.applied))):
        await connection.execute(migration.text)
        await connection.execute(QUERIES.apply, migration.name, migration.digest, machine_now())
        done.append(f"{schema}: {migration.name}")
    await connection.execute("reset role; reset search_path")
    return done


def operator_migrations() -> list[Migration]:
    files = sorted(Path(__file__).with_name("migrations").glob("*.sql"))
    return [Migration(f"{OPERATOR}/{path.name}", path.read_text("utf-8")) for path in files]


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
