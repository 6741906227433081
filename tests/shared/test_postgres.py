"""Queries of the services are answered by an index; rows that are written and deleted keep their order."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from shared.contracts.topics import SERVICES
from shared.runtime.failures import FailureKind, classify_failure
from shared.runtime.outbox import QUERIES, Transaction, outbox_channel
from shared.runtime.postgres import Connection, connect

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "relay", "progress", "waiting", "parked", "chains_set_aside", "audit_pending", "audit_runs", "webhook_coverage",
    "passes", "templates", "pauses",
}  # fmt: skip
"""Tables that may be read whole: of one row, of one a partition or hop, of what waits now or was refused lately, of the
templates that the account has, of what an operator has paused."""

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)


def statements(service: str) -> dict[str, str]:
    """By file and name: the service's own, and those every service has."""
    found: dict[str, str] = {}
    shared = ROOT / "shared" / "runtime"
    for path in (*sorted((ROOT / "services" / service).glob("*.sql")), *sorted(shared.glob("*.sql"))):
        parts = re.split(r"^-- name: (\w+)$", path.read_text(), flags=re.MULTILINE)
        found |= {f"{path.name}: {name}": text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return found


async def read_whole(connection: Connection, statement: str) -> set[str]:
    """The tables that the plan of a statement, whatever its parameters, reads from end to end."""
    return set(re.findall(r"Seq Scan on (\w+)", await explain(connection, statement)))


async def explain(connection: Connection, statement: str, command: str = "explain") -> str:
    parameters = max(map(int, re.findall(r"\$(\d+)", statement)), default=0)
    given = f"({', '.join(['null'] * parameters)})" if parameters else ""
    await connection.execute(f"prepare asked as {statement}")
    plan = await connection.fetch(f"{command} execute asked{given}")
    await connection.execute("deallocate asked")
    return "\n".join(line for (line,) in plan)


@pytest.mark.parametrize("service", SERVICES)
async def test_no_statement_reads_a_growing_table_whole(postgres_database: str, service: str) -> None:
    connection = await connect(postgres_database, service, plan_cache_mode="force_generic_plan")
    asked = statements(service)
    assert len(asked) > 15
    wholes = {name: await read_whole(connection, statement) - SMALL for name, statement in asked.items()}
    assert {name: tables for name, tables in wholes.items() if tables} == {}
    await connection.close()


def anti_joined(node: dict[str, Any]) -> Iterator[frozenset[str]]:
    """For each anti join of a plan whose both sides grow, the tables of the first."""
    children = node.get("Plans", [])
    if node.get("Join Type") == "Anti" and all(tables_in(child) - SMALL for child in children):
        yield tables_in(children[0])
    for child in children:
        yield from anti_joined(child)


def tables_in(node: dict[str, Any]) -> frozenset[str]:
    own = {node["Relation Name"]} if "Relation Name" in node else set()
    return frozenset(own).union(*(tables_in(child) for child in node.get("Plans", [])))


@pytest.mark.parametrize("service", SERVICES)
async def test_no_statement_excludes_rows_by_joining_two_growing_tables(postgres_database: str, service: str) -> None:
    """Planned while the tables are small, such a join compares each row with each, and is kept when they have grown."""
    connection = await connect(postgres_database, service, plan_cache_mode="force_generic_plan")
    found = {}
    for name, statement in statements(service).items():
        plan = orjson.loads(await explain(connection, statement, "explain (format json)"))[0]["Plan"]
        if joined := list(anti_joined(plan)):
            found[name] = joined
    assert found == {}
    await connection.close()


async def enter(connection: Connection, *names: tuple[str, str], tenant: str = "t") -> list[int]:
    sources, ids = (orjson.dumps(column).decode() for column in zip(*names, strict=True))
    brief = False
    rows = await connection.fetch(QUERIES.insert_inbox, tenant, sources, ids, brief, NOW)
    return sorted(row["place"] for row in rows)


async def test_the_inbox_gives_the_places_of_what_it_held(postgres_database: str) -> None:
    connection = await connect(postgres_database, "rules")
    assert await enter(connection, ("a", "1"), ("a", "2"), ("b", "1")) == []
    assert await enter(connection, ("a", "3"), ("b", "1"), ("c", "1"), ("a", "1")) == [2, 4]
    assert await enter(connection, ("a", "3"), ("c", "1")) == [1, 2]
    assert await enter(connection, ("a", "1"), tenant="another") == []
    await connection.close()


async def test_of_two_that_enter_the_same_at_once_one_finds_it_there(postgres_database: str) -> None:
    first, second = await connect(postgres_database, "rules"), await connect(postgres_database, "rules")
    transaction = first.transaction()
    await transaction.start()
    assert await enter(first, ("a", "1"), ("a", "2")) == []
    waiting = asyncio.create_task(enter(second, ("a", "2"), ("a", "3")))
    async with asyncio.timeout(20):
        while not await first.fetchval("select exists (select from pg_locks where not granted)"):
            await asyncio.sleep(0.01)
    await transaction.commit()
    assert await waiting == [1]
    await first.close()
    await second.close()


async def test_an_inbox_entered_in_vain_is_as_it_was(postgres_database: str) -> None:
    connection = await connect(postgres_database, "rules")
    transaction = connection.transaction()
    await transaction.start()
    assert await enter(connection, ("a", "1")) == []
    await transaction.rollback()
    assert await enter(connection, ("a", "1")) == []
    await connection.close()


async def test_much_that_leaves_stays_in_order(postgres_database: str) -> None:
    connection = await connect(postgres_database, "rules")
    sizes = [*range(1500), 900_000, 3, 700_000, 600_000, *range(500)]
    async with connection.transaction():
        tx = Transaction(connection, "rules", NOW)
        for place, size in enumerate(sizes):
            tx.publish_raw("decisions", str(place).encode(), b"x" * size)
        await tx.flush()
    left = await connection.fetch("select key, octet_length(value) as size from outbox order by id")
    assert [(row["key"], row["size"]) for row in left] == [(str(n).encode(), size) for n, size in enumerate(sizes)]
    await connection.close()


async def test_the_relay_is_notified_of_what_leaves(postgres_database: str) -> None:
    heard = asyncio.Event()
    connection, relay = await connect(postgres_database, "rules"), await connect(postgres_database, "rules")
    await relay.add_listener(outbox_channel("rules"), lambda *_: heard.set())
    tx = Transaction(connection, "rules", NOW)
    tx.publish_raw("decisions", None, b"{}")
    await tx.flush()
    async with asyncio.timeout(20):
        await heard.wait()
    await connection.close()
    await relay.close()


async def test_a_name_that_postgresql_cannot_hold_is_its_records_fault(postgres_database: str) -> None:
    connection = await connect(postgres_database, "rules")
    with pytest.raises(asyncpg.DataError) as refused:
        await enter(connection, ("a", "1\0"))
    assert classify_failure(refused.value) is FailureKind.RECORD
    await connection.close()
