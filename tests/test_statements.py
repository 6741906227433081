"""PostgreSQL understands every statement of every ``.sql`` file, also those that are seldom executed."""

from pathlib import Path

import asyncpg
import pytest

from shared.runtime.postgres import load_queries
from tests.test_queries import QUERY_NAME, ROOT

pytestmark = pytest.mark.integration

_SCHEMAS = ("ingest", "rules", "dispatcher", "writeback")
_DEFINITIONS = ("create ", "alter ", "drop ", "grant ", "revoke ")


def files_with_queries(*names: str) -> list[Path]:
    folders = (ROOT / name for name in names)
    files = (path for folder in folders for path in folder.rglob("*.sql") if "migrations" not in path.parts)
    return sorted(path for path in files if QUERY_NAME.search(path.read_text("utf-8")))


def schemas_of(path: Path) -> tuple[str, ...]:
    """The schemas in which a file's statements are executed: one service's, or any service's."""
    parts = path.relative_to(ROOT).parts
    return (parts[1],) if parts[0] == "services" else ("floor",) if parts[0] == "bench" else _SCHEMAS


async def test_postgresql_understands_every_statement(postgres_database: str) -> None:
    wrong, prepared = [], 0
    connection = await asyncpg.connect(postgres_database)
    try:
        for floor in ("floor_rules", "floor_sender"):
            tables = load_queries(str(ROOT / "bench" / f"{floor}.py"), f"{floor}.sql").create_tables
            await connection.execute(tables)
        for path in files_with_queries("services", "shared", "ops", "dev", "bench"):
            queries = load_queries(str(path), path.name)
            for name in QUERY_NAME.findall(path.read_text("utf-8")):
                statement = getattr(queries, name)
                if not is_prepared(statement):
                    continue
                faults = [
                    await _fault_of(connection, schema, statement.replace("SCHEMA", schema))
                    for schema in schemas_of(path)
                ]
                prepared += 1
                if all(faults):
                    wrong.append(f"{path.relative_to(ROOT)}: {name}: {faults[0]}")
    finally:
        await connection.close()
    assert wrong == []
    assert prepared > 200


def is_prepared(statement: str) -> bool:
    """Whether PostgreSQL prepares it: no definition, and nothing that a transaction makes for itself."""
    text = next(line for line in statement.splitlines() if line and not line.startswith("--")).lower()
    return not text.startswith(_DEFINITIONS) and "pg_temp." not in statement


async def _fault_of(connection: asyncpg.Connection, schema: str, statement: str) -> str | None:
    await connection.execute(f"set search_path = {schema}")
    try:
        await connection.prepare(statement)
    except asyncpg.PostgresError as error:
        return str(error)
    return None
