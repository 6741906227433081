"""A statement reads and changes rows of one tenant only: services share a database, and other tests have one tenant."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import asyncpg
import pytest

from shared.runtime.postgres import load_queries
from tests.test_queries import QUERY_NAME, ROOT
from tests.test_statements import files_with_queries, is_prepared, schemas_of

pytestmark = pytest.mark.integration

_OF_ALL_TENANTS = {
    "services/dispatcher/audit.sql": {
        "overdue_messages": 1,
        "unended_attempts": 1,
        "unsettled_sends": 1,
        "sends_without_status": 1,
    },
    "services/dispatcher/charges.sql": {"delete_old_charges": 1},
    "services/dispatcher/retention.sql": {
        "delete_old_messages": 1,
        "delete_old_withdrawals": 1,
        "delete_old_windows": 1,
        "delete_old_charge_totals": 2,
    },
    "services/dispatcher/store.sql": {"delete_old_early_amendments": 1, "delete_old_early_statuses": 1},
    "services/ingest/audit.sql": {"received_events": 1, "unconfirmed_coverage": 2, "unfinished_polls": 2},
    "services/ingest/erasure.sql": {"delete_old_erased_addresses": 2},
    "services/ingest/store.sql": {"delete_old_received": 2},
    "services/rules/audit.sql": {"entered_events": 1, "undecided_events": 1, "overdue_waits": 1, "overdue_steps": 1},
    "services/rules/recorded_inputs.sql": {"erase_inputs": 1, "delete_old_inputs": 1},
    "services/rules/retention.sql": {"delete_old_chains": 2, "delete_old_file_reports": 1},
    "services/rules/rollout/rollout.sql": {"count_judged": 1, "turn_back": 2},
    "services/rules/store.sql": {
        "find_progress": 1,
        "find_chains": 4,
        "find_concerned_chains": 1,
        "any_due": 1,
        "due_chains": 2,
        "set_aside": 1,
        "count_set_aside": 1,
        "find_set_aside": 1,
        "retry_set_aside": 1,
        "due_state": 1,
        "open_questions": 1,
        "queued_keys": 1,
        "any_waiting": 1,
        "ready_keys": 2,
        "find_waiting": 1,
        "dequeue": 1,
        "expire_waits": 1,
        "waiting_state": 1,
    },
    "services/writeback/audit.sql": {"unsettled_writes": 1, "writes_without_task": 1, "writes_without_evidence": 1},
    "services/writeback/evidence.sql": {
        "fetch_entries": 1,
        "entries_of_people": 1,
        "older_evidence": 1,
        "delete_older_evidence": 1,
        "held_records_of": 1,
    },
    "services/writeback/retention.sql": {"delete_old_writes": 2, "delete_old_files": 1},
    "services/writeback/store.sql": {
        "fetch_due": 2,
        "fetch_others": 1,
        "list_open_tasks": 1,
        "fetch_task": 1,
        "close_task": 1,
        "fetch_backlog": 1,
        "open_tasks_by_operation": 1,
    },
    "shared/runtime/delivery.sql": {"delete_old_inbox": 1},
    "shared/runtime/erasure.sql": {"claim_passes": 1, "open_erasures": 1, "delete_old_erasures": 1},
}
"""Statements with rows of every tenant, or found by an id that the tenant is part of: a row says itself whose it is.

The number is that of the groups of tables within which all rows are of one tenant.
"""


async def test_every_statement_names_the_tenant_of_each_table_that_has_one(postgres_database: str) -> None:
    found: dict[str, dict[str, int]] = {}
    connection = await asyncpg.connect(postgres_database)
    try:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        for path in files_with_queries("services", "shared"):
            queries, schema = load_queries(str(path), path.name), schemas_of(path)[0]
            await connection.execute(f"set search_path = {schema}")
            tables = await tables_with_tenants(connection, schema)
            for name in QUERY_NAME.findall(path.read_text("utf-8")):
                statement = getattr(queries, name)
                if is_prepared(statement) and (
                    groups := groups_of_any_tenant(await plan_of(connection, statement), tables)
                ):
                    found.setdefault(str(path.relative_to(ROOT)), {})[name] = groups
    finally:
        await connection.close()

    assert found == _OF_ALL_TENANTS


async def tables_with_tenants(connection: asyncpg.Connection, schema: str) -> set[str]:
    rows = await connection.fetch(
        "select table_name from information_schema.columns where table_schema = $1 and column_name = 'tenant'", schema
    )
    return {row["table_name"] for row in rows}


async def plan_of(connection: asyncpg.Connection, statement: str) -> Mapping[str, Any]:
    """A plan for any parameters, which shows the conditions as they stand in the statement."""
    parameters = len((await connection.prepare(statement)).get_parameters())
    values = f"({', '.join(['null'] * parameters)})" if parameters else ""
    await connection.execute(f"prepare one as {statement}")
    plan = await connection.fetchval(f"explain (verbose, format json) execute one{values}")
    await connection.execute("deallocate one")
    return json.loads(plan)[0]["Plan"]  # type: ignore[no-any-return]


_TENANTS = re.compile(r"([\w.$\"]+)\)? = (?:ANY )?\(?([\w.$\"]+)")
_PARTITION = re.compile(r"_\d+$")


def groups_of_any_tenant(plan: Mapping[str, Any], tables: set[str]) -> int:
    """How many groups of tables are joined by their tenants, and by no condition are of a tenant that is named."""
    nodes = list(_nodes(plan))
    names = {
        f"{node['Alias']}.tenant": frozenset({"inbox" if table.startswith("inbox_") else node["Alias"]})
        for node in nodes
        if (table := node.get("Relation Name")) in tables and node["Node Type"] != "ModifyTable"
    }
    conditions = [str(text) for node in nodes for key, text in node.items() if key.endswith((" Cond", "Filter"))]
    pairs = [pair for text in conditions for pair in _TENANTS.findall(text) if names.keys() & set(pair)]
    for one, other in pairs * len(names):
        joined = names.get(one, _NAMED) | names.get(other, _NAMED)
        names = {name: joined if group & joined - _NAMED else group for name, group in names.items()}
    return len({group for group in names.values() if not group & _NAMED})


_NAMED = frozenset({"named"})


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
