"""The statements of the loops of the dispatcher cost the same however long its queue is, and so does each claim."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

import bench.backlog
import services.dispatcher.app
from services.dispatcher.provider_responses import SendError, error_policy
from services.dispatcher.reasons import MAY_BE_PASSED
from services.dispatcher.store import MANY_FOLLOWERS, QUERIES, LaneCapacity, MessageStore
from services.dispatcher.throttle_store import ThrottleStore
from services.dispatcher.throttles import SendTarget
from shared.contracts.ids import ChainId, TenantId
from shared.contracts.messages import Lane
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, connect, load_queries
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    message_received,
    person_observed,
    send_request,
    template_update,
    withdrawal,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

_SHORT, _LONG = 5_000, 50_000
_CHAT = 500
_TENANT, _NOW, _AGO = "t", datetime(2027, 3, 3, 10, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
_LINES, _LANES = ["main"] * 3, [0, 1, 2]

_PERIODIC: Mapping[str, Sequence[Any]] = {
    "store: find_due": (_TENANT, _LINES, _LANES, [64] * 3, [0] * 3, _NOW, _NOW, [], 64, MAY_BE_PASSED, 564, [None] * 3),
    "store: hold_followers": (
        _TENANT, _LINES, _LANES, _NOW, _NOW, 1000, MANY_FOLLOWERS, MAY_BE_PASSED, _NOW, [],
    ),
    "store: has_less_urgent": (_TENANT, ["main"], 2),
    "store: begin_attempts": (_TENANT, _NOW, _NOW, _NOW, ["m0", "m2"], ["template"] * 2, ["t"] * 2, ["en"] * 2),
    "store: postpone": (_TENANT, ["m0", "m2"], [_NOW] * 2, ["pair_rate"] * 2, ["1"] * 2),
    "store: release_followers": (_TENANT, ["p0", "chat0"], ["main"] * 2, MAY_BE_PASSED),
    "store: release_crossed": (_TENANT, _NOW, 0, 500, MAY_BE_PASSED),
    "store: find_expired": (_TENANT, _NOW, 500),
    "store: find_on_unknown_lines": (_TENANT, ["main"], _NOW, 500),
    "store: hold_paused": (_TENANT, True, [], _NOW, _NOW, 1000),
    "store: release_resumed": (_TENANT, _NOW, 0, 500, ["another"]),
    "charges: release_budgeted": (_TENANT, _NOW, 0, 500),
    "account_store: release_limited": (_TENANT, _NOW, 0, 500),
    "account_store: release_for_templates": (_TENANT, _NOW, 0, 500),
    "store: count_set_aside": (_TENANT,),
    "store: load_messages": (_TENANT, ["m0", "m1"]),
    "store: save_messages": (
        _TENANT, _NOW, ["m0"], ["accepted"], [None], [_NOW], [None], ["w"], [0], [0], [None], [False], [None], [0],
    ),
    "store: end_attempts": (_TENANT, _NOW, ["e0"], [1], ["accepted"], ["w0"], [None]),
    "store: accept_attempts": (_TENANT, _NOW, ["m0", "m2"], [1, 1], ["w0", "w2"]),
    "store: attempts_of_wamids": (_TENANT, ["w1", "w2"]),
    "store: expired_leases": (_TENANT, _NOW, [], 500),
    "store: settled_by_silence": (_TENANT, _NOW, _AGO, _NOW, 500),
    "store: open_sends": (_TENANT,),
    "store: recent_attempts": (_TENANT, _NOW),
    "store: lines_with_intents": (_TENANT, []),
    "store: take_early_statuses": (_TENANT, ["w1", "w2"]),
    "store: matched_early_statuses": (_TENANT, "", 500),
    "store: delete_old_early_statuses": (_TENANT, _AGO, 500),
    "store: take_early_amendments": (_TENANT, ["m0", "m1"]),
    "store: matched_early_amendments": (_TENANT, 500),
    "store: matched_early_withdrawals": (_TENANT, _AGO, 500),
    "store: delete_old_early_amendments": (_TENANT, _AGO, 500),
    "store: load_pauses": (_TENANT,),
    "store: oldest_pauses": (_TENANT,),
    "throttle_store: load_throttles": (_TENANT,),
    "throttle_store: delete_old_throttles": (_TENANT, _AGO),
    "store: read_positions": (["messages.requested"],),
    "account_store: load_templates": (_TENANT,),
    "account_store: listed_accounts": (_TENANT,),
    "account_store: count_templates": (_TENANT,),
    "account_store: load_qualities": (_TENANT,),
    "account_store: load_account_limits": (_TENANT,),
    "account_store: count_warnings": (_TENANT, _NOW),
    "account_store: covered_span": (_TENANT,),
    "account_store: caught_up_to": (["messages.requested"], 1),
    "charges: count_charges": (_TENANT, 500),
    "charges: delete_old_charges": (_TENANT, _AGO.date(), 500),
    "charges: charged_messages": (_TENANT, _NOW.date(), _NOW.date()),
    "charges: settled_sends": (_TENANT, ["m0", "e0"], [1, 1]),
    "documents: find_documents": (_TENANT, ["main"], ["d1"], _NOW),
    "documents: claim_documents": (_TENANT, _NOW, _NOW, 8),
    "documents: release_for_document": (_TENANT, _NOW, "main", "d1", 500),
    "documents: waiting_documents": (_TENANT, _NOW),
    "documents: delete_old_uploads": (_TENANT, _AGO),
    "retention: delete_old_messages": (_NOW, 500),
    "retention: delete_old_withdrawals": (_NOW, 500),
    "retention: delete_old_windows": (_NOW, 500),
    "retention: delete_old_charge_totals": (_NOW, 500),
    "retention: forget_visitors": ([_TENANT], ["p1"]),
    "audit: unended_attempts": (_NOW, 20),
    "audit: unsettled_sends": (_NOW, 20),
}  # fmt: skip
"""Statements of loops and of each batch of Kafka that work on few rows, with parameters."""

_COUNTING = {
    "store: waiting_by_lane": "the gauges, which rest the longer the more there is to count",
    "account_store: waiting_for_templates": "the gauges",
    "account_store: waiting_for_limits": "the gauges",
    "charges: count_budgeted": "a gauge, by an index of what is counted",
    "audit: overdue_messages": "looks at ten thousand at most, every few minutes",
    "audit: sends_without_status": "looks at ten thousand at most, every few minutes",
    "documents: delete_old_documents": "once an hour, by document",
    "throttle_store: has_succeeded_since": "looks at attempts since a throttle began, then rests twenty times as long",
}
"""Statements of loops whose cost grows with what they look at, and why they may."""

_ON_A_CHANGE = {
    "store": """
        add_messages lock_messages add_early_amendments lock_templates_of_open save_contents save_open_hours
        add_early_withdrawals raise_earlier release_other_chains
        release_far_ahead line_schedules set_aside unproven_with_buttons uncertain_sends attempts_of_message
        keep_early_statuses
    """,
    "people_store": """
        save_people were_merged follow_merges move_messages move_windows open_windows close_windows
        release_for_people release_for_windows
    """,
    "throttle_store": "lock_throttles save_throttles delete_throttles",
    "account_store": """
        adopt_templates save_template_reports mark_missing_templates save_template_reading
        save_quality save_account_limits people_outside_windows save_coverage save_gap
    """,
    "charges": "record_charges unsettled_sends",
    "documents": "request_documents reopen_documents postpone_document settle_document find_upload save_upload",
    "retention": "",
    "audit": "plant_waiting_message plant_attempt plant_uncertain_send plant_accepted_send",
}
"""Statements that follow from something that came, from a person's command or from a new leader."""

_OTHER_TABLES = """
    insert into messages (
        tenant, message_id, person_id, line, lane, state, content, button_ids, resend, requested_at, expires_at,
        not_before, changed_at, request_event, say, attempts, wamid, rank
    )
    select 't', 'e' || n, 'p' || n, 'main', 1, 'accepted', '{}', '{}', 'never', at, at, at, at, 'e' || n, 's', 1,
        'w' || n, 1
    from generate_series($1::integer, $2::integer) as n, (select $3::timestamptz as at) as instant;
    insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until, wamid)
    select 't', 'e' || n, 1, 'template', at, at, at, 'w' || n
    from generate_series($1::integer, $2::integer) as n, (select $3::timestamptz as at) as instant;
    insert into early_statuses (tenant, wamid, status, at, event, kept_at)
    select 't', 'of another system ' || n, 'sent', at, 'e' || n, at
    from generate_series($1::integer, $2::integer) as n, (select $3::timestamptz as at) as instant;
    insert into people (tenant, person_id, phone, version)
    select 't', 'known' || n, '+4416329' || n, extract(epoch from $3::timestamptz)
    from generate_series($1::integer, $2::integer) as n;
"""
_POSTPONE_FIRST = """
    update messages set reason = 'unknown_person', not_before = not_before + interval '10 minutes'
    where sequence in (select min(sequence) from messages where state = 'waiting' group by person_id)
"""
_POSTPONE_ALL = """
    update messages set reason = 'template_paused', not_before = not_before + interval '1 hour' where state = 'waiting'
"""
_BEGIN_FIRST = """
    with begun as (
        update messages set state = 'intent', attempts = 1 where sequence <= 200 returning message_id
    )
    insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until)
    select 't', message_id, 1, 'template', now(), now(), now() from begun
"""
_HOLD_ALL = """
    update messages set reason = (array['paused_by_operator', 'budget_spent', 'portfolio_limit'])[1 + sequence % 3],
        not_before = not_before + interval '1 hour'
    where state = 'waiting'
"""
_AS_REQUESTED = "select"


def _statements() -> dict[str, str]:
    folder, found = Path(services.dispatcher.app.__file__).parent, dict[str, str]()
    for path in sorted(folder.glob("*.sql")):
        parts = re.split(r"^-- name: (\w+)$", path.read_text(), flags=re.MULTILINE)
        found |= {f"{path.stem}: {name}": text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return found


_NO_AUTOVACUUM = """
    do $$
    declare name regclass;
    begin
        for name in select oid from pg_class where relkind = 'r' and relnamespace = 'dispatcher'::regnamespace loop
            execute format('alter table %s set (autovacuum_enabled = false)', name);
        end loop;
    end $$
"""
"""While it analyses a table, a vacuum removes no rows there, and their entries in indexes would count."""


async def _fill(database: str, first: int, last: int) -> None:
    insert = load_queries(bench.backlog.__file__, "backlog.sql").insert_waiting
    owner = await asyncpg.connect(database)
    await owner.execute(_NO_AUTOVACUUM)
    await owner.execute("set search_path = dispatcher")
    await owner.execute(insert, _TENANT, _NOW - timedelta(minutes=1), first, last - 1, _CHAT)
    for statement in _OTHER_TABLES.split(";")[:-1]:
        await owner.execute(statement, first, last - 1, _NOW - timedelta(minutes=1))
    await owner.close()


async def _prepare(database: str, change: str, *, analyse: bool) -> None:
    owner = await asyncpg.connect(database)
    await owner.execute("set search_path = dispatcher")
    await owner.execute(change)
    await owner.execute("vacuum analyze" if analyse else "vacuum")
    await owner.close()


async def _empty_queue(database: str) -> None:
    """All have been sent when statistics are collected, as at night: none of the later messages is expected."""
    await _fill(database, -_SHORT, 0)
    await _prepare(database, "update messages set state = 'accepted'", analyse=True)


async def _buffers(connection: Connection, name: str) -> tuple[int, set[str]]:
    """How many buffers a statement uses, and the tables that it reads from end to end."""
    transaction = connection.transaction()
    await transaction.start()
    explained = f"explain (analyze, buffers, format json) {_statements()[name]}"
    plan = orjson.loads(await connection.fetchval(explained, *_PERIODIC[name]))[0]["Plan"]
    await transaction.rollback()
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], _read_whole(plan)


def _read_whole(node: dict[str, Any]) -> set[str]:
    own = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return own.union(*(_read_whole(child) for child in node.get("Plans", [])))


def test_every_statement_is_either_bounded_or_not_asked_again_and_again() -> None:
    on_a_change = {f"{file}: {name}" for file, names in _ON_A_CHANGE.items() for name in names.split()}
    assert sorted(_statements()) == sorted([*_PERIODIC, *_COUNTING, *on_a_change])


@pytest.mark.parametrize("statistics", ["of now", "none", "of an empty queue"])
@pytest.mark.parametrize(
    "change",
    [_AS_REQUESTED, _POSTPONE_FIRST, _POSTPONE_ALL, _HOLD_ALL],
    ids=["due", "behind", "waiting for a template", "held"],
)
async def test_no_statement_of_a_loop_costs_more_with_a_longer_queue(
    postgres_database: str, change: str, statistics: str
) -> None:
    if statistics == "of an empty queue":
        await _empty_queue(postgres_database)
    connection = await connect(postgres_database, "dispatcher")
    costs: dict[int, dict[str, tuple[int, set[str]]]] = {}
    for first, last in ((0, _SHORT), (_SHORT, _LONG)):
        await _fill(postgres_database, first, last)
        await _prepare(postgres_database, change, analyse=statistics == "of now")
        costs[last] = {name: await _buffers(connection, name) for name in _PERIODIC}
    await connection.close()
    growing = {
        name: (costs[_SHORT][name][0], buffers)
        for name, (buffers, _) in costs[_LONG].items()
        if buffers > 2 * costs[_SHORT][name][0] + 100  # an index of ten times as many rows is a page deeper
    }
    assert growing == {}
    whole = {"messages", "attempts", "early_statuses", "people"}
    assert {name: read for name, (_, read) in costs[_LONG].items() if read & whole} == {}


def _indexes(node: dict[str, Any]) -> set[str]:
    own = {node["Index Name"]} if "Index Name" in node else set()
    return own.union(*(_indexes(child) for child in node.get("Plans", [])))


async def _indexes_without(connection: Connection, names: Sequence[str], statement: str) -> set[str]:
    """The indexes by which PostgreSQL would answer a statement if there were none of these."""
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("".join(f"drop index {name};" for name in names))
    explained = f"explain (format json) {_statements()[statement]}"
    plan = orjson.loads(await connection.fetchval(explained, *_PERIODIC[statement]))[0]["Plan"]
    await transaction.rollback()
    return _indexes(plan)


async def test_the_index_by_expiry_and_the_search_for_expired_messages_are_for_each_other_alone(
    postgres_database: str,
) -> None:
    """Where PostgreSQL expects nothing to wait, it takes any index that it may, and reads it from end to end."""
    owner = await asyncpg.connect(postgres_database)
    await owner.execute("set search_path = dispatcher; set enable_seqscan = off")
    indexes = await owner.fetch(
        "select indexname from pg_indexes where tablename = 'messages' and schemaname = 'dispatcher'"
    )
    own, key = "messages_expiring", "messages_pkey"
    others = [row["indexname"] for row in indexes if row["indexname"] not in {own, key}]
    by_expiry = {name for name in _PERIODIC if own in await _indexes_without(owner, others, name)}
    assert by_expiry == {"store: find_expired"}
    assert await _indexes_without(owner, [own], "store: find_expired") <= {key}
    await owner.close()


async def test_a_batch_of_requests_looks_at_no_send_that_has_ended(postgres_database: str) -> None:
    """Until the next vacuum, the index of open sends has all that have ended since the last one."""
    await _fill(postgres_database, 0, _SHORT)
    await _prepare(postgres_database, _AS_REQUESTED, analyse=True)
    owner = await asyncpg.connect(postgres_database)
    for state in ("intent", "accepted"):
        await owner.execute("update dispatcher.messages set state = $1 where message_id <> $2", state, f"m{_SHORT - 1}")
    connection = await connect(postgres_database, "dispatcher")
    buffers, _ = await _buffers(connection, "store: has_less_urgent")
    assert buffers < 50
    await connection.close()
    await owner.close()


def _compared(node: dict[str, Any]) -> int:
    """How many pairs of rows a plan compares in vain."""
    own = node.get("Rows Removed by Join Filter", 0) * node.get("Actual Loops", 1)
    return int(own) + sum(map(_compared, node.get("Plans", [])))


@pytest.mark.parametrize(
    "name", ["begin_attempts", "postpone", "load_messages", "save_messages", "end_attempts", "accept_attempts"]
)
async def test_the_messages_of_a_batch_are_not_compared_with_each_other(postgres_database: str, name: str) -> None:
    """Where nearly no message waits, PostgreSQL expects none of them, and might go through the whole batch for each."""
    await _fill(postgres_database, 0, 20_000)
    await _prepare(postgres_database, "update messages set state = 'accepted' where sequence > 200", analyse=True)
    if name == "accept_attempts":
        await _prepare(postgres_database, _BEGIN_FIRST, analyse=False)
    ids, ended = [f"m{number}" for number in range(200)], [f"e{number}" for number in range(200)]
    parameters: dict[str, Sequence[Any]] = {
        "begin_attempts": (
            _TENANT,
            _NOW,
            _NOW,
            _NOW,
            ids,
            ["template"] * len(ids),
            ["t"] * len(ids),
            ["en"] * len(ids),
        ),
        "postpone": (_TENANT, ids, [_NOW] * len(ids), ["pair_rate"] * len(ids), ["1"] * len(ids)),
        "load_messages": (_TENANT, ids),
        "save_messages": [_TENANT, _NOW, ids, *(one * len(ids) for one in _PERIODIC["store: save_messages"][3:])],
        "end_attempts": [_TENANT, _NOW, ended, *(one * len(ids) for one in _PERIODIC["store: end_attempts"][3:])],
        "accept_attempts": [_TENANT, _NOW, ids, [1] * len(ids), ids],
    }
    connection = await connect(postgres_database, "dispatcher")
    explained = f"explain (analyze, format json) {_statements()[f'store: {name}']}"
    plan = orjson.loads(await connection.fetchval(explained, *parameters[name]))[0]["Plan"]
    assert _compared(plan) == 0
    await connection.close()


async def _chat_behind_a_stranger(dispatcher: DispatcherUnderTest, messages: int, **changes: Any) -> None:
    """A long chat whose first message waits for its person, so that the others are held behind it."""
    await dispatcher.stop()
    await dispatcher.handle(*(send_request(f"m{number}", chain_id=ChainId("c1")) for number in range(messages)))
    await dispatcher.handle(*(send_request(f"x{number}", chain_id=ChainId("c2"), **changes) for number in range(2)))
    await dispatcher.start()
    await dispatcher.wait_for_reason("earlier_message", f"m{messages - 1}")


async def _order(dispatcher: DispatcherUnderTest) -> list[str]:
    await dispatcher.wait_until_idle()
    return [message["biz_opaque_callback_data"].partition(".")[0] for message in await dispatcher.sent()]


async def test_another_person_s_message_goes_past_a_long_chat_that_waits(dispatcher: DispatcherUnderTest) -> None:
    await _chat_behind_a_stranger(dispatcher, 700)
    await dispatcher.handle(person_observed("p2", "+441632960002"), send_request("other", "p2"))
    assert await _order(dispatcher) == ["other"]


async def test_a_long_chat_leaves_in_its_order_once_its_first_message_goes(dispatcher: DispatcherUnderTest) -> None:
    await _chat_behind_a_stranger(dispatcher, MANY_FOLLOWERS + 1)
    later = [f"m{number}" for number in range(6, MANY_FOLLOWERS + 1)]
    await dispatcher.handle(*map(withdrawal, later))
    await dispatcher.handle(person_observed())
    assert await _order(dispatcher) == [*(f"m{number}" for number in range(6)), "x0", "x1"]


async def test_messages_behind_withdrawn_ones_leave_in_their_order(dispatcher: DispatcherUnderTest) -> None:
    await _chat_behind_a_stranger(dispatcher, MANY_FOLLOWERS + 1)
    first = [f"m{number}" for number in range(MANY_FOLLOWERS + 1)]
    await dispatcher.handle(*map(withdrawal, first))
    await dispatcher.handle(person_observed())
    assert await _order(dispatcher) == ["x0", "x1"]


async def test_other_chains_pass_once_the_first_message_waits_for_its_template(dispatcher: DispatcherUnderTest) -> None:
    free = {"template": None, "body": "Thank you."}
    await _chat_behind_a_stranger(dispatcher, MANY_FOLLOWERS, **free)
    await dispatcher.simulator.tell(
        "inbound", {"from": "+441632960001", "line": "main", "kind": "text", "text": "Hello"}
    )
    await dispatcher.pool.execute("update messages set template_only = true where chain = 'c1'")
    await dispatcher.handle(template_update(dispatcher.clock.now(), "PAUSED"))
    await dispatcher.handle(person_observed(), message_received(dispatcher.clock.now()))
    assert await _order(dispatcher) == ["x0", "x1"]
    held = await dispatcher.pool.fetch("select message_id from messages where reason = 'earlier_message'")
    assert len(held) == MANY_FOLLOWERS - 1


async def test_a_wait_is_stored_only_with_the_release_of_what_may_pass_it(
    dispatcher: DispatcherUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ended between the two would leave the messages of other chains held for an hour."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    monkeypatch.setattr(
        QUERIES, "release_other_chains", "select 1 / (length($1) - length($1)), $2::text[]", raising=False
    )
    waits = [("m1", dispatcher.clock.now() + timedelta(days=1), "template_paused", "1")]
    async with dispatcher.pool.acquire() as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await MessageStore(TenantId("penrose")).postpone(connection, waits)
    assert await dispatcher.pool.fetchval("select reason from messages where message_id = 'm1'") is None


async def test_nothing_is_held_behind_a_message_that_is_ending(dispatcher: DispatcherUnderTest) -> None:
    """It would not be released: the transaction that ends the earlier message does not see it."""
    await dispatcher.stop()
    await dispatcher.handle(*(send_request(f"m{number}") for number in range(MANY_FOLLOWERS + 1)))
    store, now = dispatcher.parts.reconciler.store, dispatcher.clock.now()
    lanes = [LaneCapacity("main", lane, 64) for lane in Lane]
    async with dispatcher.pool.acquire() as ending, ending.transaction():
        await store.load(ending, ["m0"])
        assert await store.hold_followers(dispatcher.pool, lanes, [], (now, machine_now())) == 0
    assert await store.hold_followers(dispatcher.pool, lanes, [], (now, machine_now())) == MANY_FOLLOWERS


async def test_a_long_look_at_the_attempts_since_a_throttle_began_is_followed_by_a_rest(
    dispatcher: DispatcherUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    async def look(*_: object) -> bool:
        looks.append(time.monotonic())
        await asyncio.sleep(0.1)
        return False

    await dispatcher.stop()
    monkeypatch.setattr(ThrottleStore, "has_succeeded_since", look)
    sender, reconciler = dispatcher.parts.sender, dispatcher.parts.reconciler
    moment = sender.moment()
    refused = SendError(131056, error_policy(131056))
    sender.throttles.record(refused, SendTarget("main", "p1"), moment.business, moment.machine, by_status=True)
    for _ in range(3):
        await reconciler.end_throttles(moment)
    assert len(looks) == 1
