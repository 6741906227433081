"""``python -m shared.migrate``: a schema and a role for each service, and its migrations in order, each once."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.clock import machine_now
from shared.errors import Misconfigured
from shared.postgres import OLDEST, Connection, connect_writable, load_queries, lock_number, role_of
from shared.setting_names import PREFIX
from shared.settings import load
from shared.topics import SERVICES

ROOT = Path(__file__).resolve().parent.parent
QUERIES = load_queries(__file__, "migrate.sql")


class MigrateSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    postgres_dsn: SecretStr


def files_of(service: str) -> list[Path]:
    """The shared ones first, then the service's own, by number."""
    folders = (ROOT / "shared" / "migrations", ROOT / "services" / service / "migrations")
    return [path for folder in folders for path in sorted(folder.glob("*.sql"))]


async def migrate(dsn: str, services: Sequence[str] = SERVICES) -> list[str]:
    """Bring every service's schema up to date; what was done, a line each.

    Raises Misconfigured for a changed file, and for a database that is too old.
    """
    connection = await connect_writable(dsn)
    try:
        if connection.get_server_version().major < OLDEST:
            raise Misconfigured("STET_POSTGRES_DSN", f"it must be PostgreSQL {OLDEST} or newer")
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", lock_number("stet/migrate"))
            return [line for service in services for line in await _service(connection, service)]
    finally:
        await connection.close()


async def _service(connection: Connection, service: str) -> list[str]:
    role = role_of(service)
    await connection.execute(QUERIES.schema.replace("SCHEMA", service).replace("ROLE", role))
    await connection.execute(f"set local role {role}; set local search_path to {service}")
    await connection.execute(QUERIES.ledger)
    applied = dict(await connection.fetch(QUERIES.applied))
    done = []
    for path in files_of(service):
        name = f"{path.parent.parent.name}/{path.name}"
        text = path.read_text()
        digest = sha256(text.encode()).hexdigest()
        if applied.get(name, digest) != digest:
            raise Misconfigured(name, "this migration was changed after it was applied; write a new one")
        if name not in applied:
            await connection.execute(text)
            await connection.execute(QUERIES.apply, name, digest, machine_now())
            done.append(f"{service}: {name}")
    await connection.execute("reset role; reset search_path")
    return done


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m shared.migrate", description="Create or update the schemas in STET_POSTGRES_DSN."
    )
    parser.add_argument("--services", nargs="+", choices=SERVICES, default=SERVICES, help="only these (default: all)")
    chosen = parser.parse_args(argv)
    try:
        settings = load(MigrateSettings)
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
