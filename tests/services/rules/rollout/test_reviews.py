"""Chains of earlier rulebooks are looked for every few seconds, however many go on as they began."""

from typing import Any

import asyncpg
import orjson
import pytest

from services.rules.store import QUERIES
from shared.runtime.postgres import connect

pytestmark = pytest.mark.integration

_FILL = """
    insert into rules.chains (
        chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, changed_at, document
    )
    select 'c' || n, 't', 'rule' || n % 4, 's' || n, 'earlier' || n % 3, 'key' || n, true, true, '{}', '{}', '{}',
        now(), '{}'
    from generate_series($1::integer, $2::integer) as n
"""
_RULES = ["rule0", "rule1", "rule2", "rule3"]


def _parameters(changing: list[str], rules: list[str] = _RULES) -> tuple[Any, ...]:
    return "t", "now", changing, rules, ["now", "on trial"], 50


async def test_chains_that_go_on_as_they_began_cost_nothing(postgres_database: str) -> None:
    owner, rules = await asyncpg.connect(postgres_database), await connect(postgres_database, "rules")
    buffers = []
    for first, last in ((1, 2_000), (2_001, 20_000)):
        await owner.execute(_FILL, first, last)
        await owner.execute("analyze rules.chains")
        explained = f"explain (analyze, buffers, format json) {QUERIES.chains_to_review}"
        plan = orjson.loads(await rules.fetchval(explained, *_parameters([])))[0]["Plan"]
        buffers.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    assert buffers[1] < 2 * buffers[0]
    await owner.close()
    await rules.close()


_FILL_WAITING = """
    insert into rules.chains (
        chain_id, tenant, rule, subject, revision, reviewed, key, active, live, unsent, tags, people, guards,
        changed_at, document
    )
    select 'w' || n, 't', 'rule' || n % 4, 's' || n, 'earlier', 'now', 'key' || n, false, false, true, '{}', '{}', '{}',
        now(), '{}'
    from generate_series($1::integer, $2::integer) as n
"""


async def test_messages_that_wait_cost_nothing_once_their_chains_were_reviewed(postgres_database: str) -> None:
    owner, rules = await asyncpg.connect(postgres_database), await connect(postgres_database, "rules")
    buffers = []
    for first, last in ((1, 1_000), (1_001, 11_000)):
        await owner.execute(_FILL_WAITING, first, last)
        await owner.execute(
            "insert into rules.messages (message_id, chain_id, person_id, unsent)"
            " select 'm' || n, 'w' || n, 'p' || n, true from generate_series($1::integer, $2::integer) as n",
            first,
            last,
        )
        await owner.execute("analyze rules.chains, rules.messages")
        explained = f"explain (analyze, buffers, format json) {QUERIES.chains_to_review}"
        plan = orjson.loads(await rules.fetchval(explained, *_parameters([])))[0]["Plan"]
        buffers.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    assert buffers[1] < 2 * buffers[0]
    await owner.execute("update rules.chains set reviewed = 'before' where chain_id in ('w7', 'w9000')")
    found = await rules.fetch(QUERIES.chains_to_review, *_parameters([]))
    assert [row["chain_id"] for row in found] == ["w7", "w9000"]
    await owner.close()
    await rules.close()


async def test_the_chains_of_rules_that_changed_or_are_gone_are_found(postgres_database: str) -> None:
    owner, rules = await asyncpg.connect(postgres_database), await connect(postgres_database, "rules")
    await owner.execute(_FILL, 1, 12)

    async def found(*parameters: Any) -> list[str]:
        return [row["chain_id"] for row in await rules.fetch(QUERIES.chains_to_review, *parameters)]

    assert await found(*_parameters([])) == []
    assert await found(*_parameters(["rule1"])) == ["c1", "c5", "c9"]
    assert await found(*_parameters(["rule1"], _RULES[:3])) == ["c1", "c11", "c3", "c5", "c7", "c9"]
    await owner.execute("update rules.chains set reviewed = 'now' where chain_id = 'c5'")
    await owner.execute("update rules.chains set revision = 'on trial' where chain_id = 'c9'")
    await owner.execute("update rules.chains set active = false where chain_id = 'c3'")
    assert await found(*_parameters(["rule1"], _RULES[:3])) == ["c1", "c11", "c7"]
    await owner.close()
    await rules.close()
