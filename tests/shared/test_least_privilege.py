"""PostgreSQL with no more rights than needed: one login for each service, and a migration that is no superuser's."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from pydantic import SecretStr

from dev.postgres import EmbeddedPostgres, login_of
from ops.migrate import migrate, operator_migrations
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.contracts.topics import SERVICES
from shared.runtime.postgres import connect, migrations_of, open_pool
from shared.runtime.settings import ServiceSettings

pytestmark = pytest.mark.integration


def as_login(dsn: str, login: str) -> str:
    address = urlsplit(dsn)
    return urlunsplit(address._replace(netloc=f"{login}@{address.netloc.rpartition('@')[2]}"))


@pytest.fixture
async def administrator(own_postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_postgres.dsn)
    yield connection
    await connection.close()


async def may(dsn: str, statement: str) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await connection.close()
    return True


async def test_a_service_logs_in_as_itself_and_can_become_no_other(own_postgres: EmbeddedPostgres) -> None:
    await migrate(own_postgres.dsn)
    for service in SERVICES:
        login = login_of(own_postgres.dsn, service)
        connection = await connect(login, service)
        assert await connection.fetchval("select session_user = current_user")
        await connection.close()
        others = [other for other in SERVICES if other != service]
        assert not [other for other in others if await may(login, f"set role stet_{other}")]
        assert not [other for other in others if await may(login, f"table {other}.migrations")]
        assert not await may(login, "create schema mine")


async def test_a_login_that_may_make_roles_and_schemas_migrates(
    own_postgres: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    await administrator.execute("create role keeper login createrole; grant create on database postgres to keeper")
    keeper = as_login(own_postgres.dsn, "keeper")
    expected = len(operator_migrations()) + sum(len(migrations_of(service)) for service in SERVICES)
    assert len(await migrate(keeper)) == expected
    assert await migrate(keeper) == []


async def test_a_login_that_may_make_nothing_migrates_what_was_made_for_it(
    own_postgres: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    await administrator.execute("create role keeper login")
    for service in (*SERVICES, "operator"):
        await administrator.execute(
            f"create role stet_{service} login; grant stet_{service} to keeper with set true;"
            f"create schema {service} authorization stet_{service}"
        )
    assert await migrate(as_login(own_postgres.dsn, "keeper"))
    assert await may(login_of(own_postgres.dsn, "rules"), "select * from rules.migrations")


async def test_a_service_may_migrate_its_own_schema(own_postgres: EmbeddedPostgres) -> None:
    await migrate(own_postgres.dsn)
    assert await migrate(login_of(own_postgres.dsn, "rules"), ["rules"]) == []


async def test_a_login_without_the_right_is_told_what_it_takes(
    own_postgres: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    await administrator.execute("create role nobody_much login")
    with pytest.raises(Misconfigured, match=r"STET_POSTGRES_DSN: .*create role stet_operator login"):
        await migrate(as_login(own_postgres.dsn, "nobody_much"))


async def test_newer_code_waits_for_an_older_schema_and_says_what_it_lacks(
    own_postgres: EmbeddedPostgres, administrator: asyncpg.Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    await migrate(own_postgres.dsn)
    newest = migrations_of("rules")[-1].name
    row = await administrator.fetchrow("delete from rules.migrations where name = $1 returning *", newest)
    dsn = login_of(own_postgres.dsn, "rules")
    opening = asyncio.ensure_future(open_pool(settings_of(dsn), "rules"))
    said = ""
    while newest not in said:
        said += "".join(capfd.readouterr())
        await asyncio.sleep(0.05)
    assert "run: stet migrate" in said
    assert not opening.done()
    await administrator.execute("insert into rules.migrations values ($1, $2, $3)", *row.values())
    (await opening).terminate()


async def test_older_code_goes_on_with_a_newer_schema(
    own_postgres: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    await migrate(own_postgres.dsn)
    await administrator.execute("insert into rules.migrations values ('rules/9999_later.sql', 'x', now())")
    (await open_pool(settings_of(login_of(own_postgres.dsn, "rules")), "rules")).terminate()


def settings_of(dsn: str) -> ServiceSettings:
    return ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="127.0.0.1:1", postgres_dsn=SecretStr(dsn))
