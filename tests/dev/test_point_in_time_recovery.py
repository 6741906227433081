"""A restore to an instant, from a base backup and the archived WAL, as docs/operations/kubernetes.md has it.

CloudNativePG does the same with its own tools; here PostgreSQL's do it, as no operator runs.
"""

import asyncio
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

from dev.layout import Neighbours, preparation
from dev.postgres import EmbeddedPostgres, login_of
from dev.processes import Child

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
_ADD_WORK = "insert into rules.works (tenant, work_id, document) values ('penrose', $1, '{}')"


async def _archived(primary: EmbeddedPostgres) -> None:
    """Return once all WAL up to now is in the archive."""
    connection = await asyncpg.connect(primary.dsn)
    segment = await connection.fetchval("select pg_walfile_name(pg_switch_wal())")
    while (await connection.fetchval("select last_archived_wal from pg_stat_archiver") or "") < segment:
        await asyncio.sleep(0.05)
    await connection.close()


async def _migrate(server: EmbeddedPostgres, folder: Path) -> None:
    await Child(preparation("migrate", Neighbours("127.0.0.1:1", server.dsn), "migrate"), folder).run()


async def _add_work(server: EmbeddedPostgres, number: int) -> datetime:
    """Commit a row as the service does; returns an instant after it."""
    connection = await asyncpg.connect(login_of(server.dsn, "rules"))
    await connection.execute(_ADD_WORK, number)
    instant: datetime = await connection.fetchval("select clock_timestamp()")
    await connection.close()
    return instant


async def test_a_backup_and_the_archive_restore_the_instant_before_a_table_was_deleted(run_folder: Path) -> None:
    archive = run_folder / "archive"
    archive.mkdir(mode=0o777)
    archive.chmod(0o777)
    keep = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    primary = EmbeddedPostgres(run_folder / "primary", settings=keep)
    await primary.start()
    await _migrate(primary, run_folder)
    await _add_work(primary, 1)
    base = EmbeddedPostgres(run_folder / "restored")
    await base.copy(primary)
    instant = await _add_work(primary, 2)
    await asyncio.sleep(0.05)
    await _add_work(primary, 3)
    connection = await asyncpg.connect(primary.dsn)
    await connection.execute("drop table rules.chains cascade")
    await connection.close()
    await _archived(primary)
    await primary.kill()
    target = {"recovery_target_time": instant.isoformat(), "recovery_target_action": "promote"}
    restored = EmbeddedPostgres(run_folder / "restored", settings={"restore_command": f"cp {archive}/%f %p", **target})
    await restored.recover()
    connection = await asyncpg.connect(restored.dsn)
    while await connection.fetchval("select pg_is_in_recovery()"):
        await asyncio.sleep(0.05)
    works = [row["work_id"] for row in await connection.fetch("select work_id from rules.works order by work_id")]
    chains = await connection.fetchval("select to_regclass('rules.chains') is not null")
    await connection.close()
    assert (works, chains) == ([1, 2], True)
    await _migrate(restored, run_folder)
    await _add_work(restored, 4)
    await restored.stop()
