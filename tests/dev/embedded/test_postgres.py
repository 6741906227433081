import asyncpg
import pytest

from dev.postgres import EmbeddedPostgres


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.integration
async def test_committed_rows_survive_a_kill_and_the_server_keeps_its_port(own_postgres: EmbeddedPostgres) -> None:
    before, pid = own_postgres.dsn, own_postgres.child.pid
    await query(own_postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    await own_postgres.kill()
    assert not own_postgres.child.alive
    await own_postgres.start()
    assert own_postgres.dsn == before
    assert own_postgres.child.pid != pid
    assert await query(before, "SELECT answer FROM kept") == 42


@pytest.mark.integration
async def test_it_can_be_killed_while_a_session_is_open(own_postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(own_postgres.dsn)
    await own_postgres.kill()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    await own_postgres.start()
    assert await query(own_postgres.dsn, "SELECT 1") == 1


@pytest.mark.integration
async def test_a_restart_keeps_the_data(own_postgres: EmbeddedPostgres) -> None:
    await query(own_postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    await own_postgres.restart()
    assert await query(own_postgres.dsn, "SELECT answer FROM kept") == 42


@pytest.mark.integration
async def test_durability_is_on(own_postgres: EmbeddedPostgres) -> None:
    settings = [await query(own_postgres.dsn, f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
    assert settings == ["on", "on"]


@pytest.mark.integration
async def test_each_test_has_a_database_of_its_own(postgres_database: str, postgres_dsn: str) -> None:
    assert await query(postgres_database, "SELECT current_database()") != await query(
        postgres_dsn, "SELECT current_database()"
    )
    await query(postgres_database, "CREATE TABLE mine AS SELECT 1")
