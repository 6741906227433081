"""The conservation audit finds each kind of gap on a real database, closes what is mended, and proves it looked."""

import asyncio
import re
import tracemalloc
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from services.dispatcher import audit as dispatcher
from services.ingest import audit as ingest
from services.rules import audit as rules
from services.writeback import audit as writeback
from shared.contracts.ids import TenantId
from shared.contracts.topics import DECISIONS, PARTITIONS, SERVICES
from shared.runtime.audit import OUTBOX_HOP, Audit, GapReason, Hop, StateHop, WindowHop
from shared.runtime.clock import machine_now
from shared.runtime.metrics import exposition
from shared.runtime.postgres import Connection, connect
from shared.runtime.settings import ServiceSettings
from shared.runtime.topic_audit import NamesIn, TopicHop, TopicReader

pytestmark = pytest.mark.integration

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
_MESSAGE = """
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event, lease_until, wamid, set_aside
)
values ('t', 'm1', 'p1', 'main', 1, '', '{state}', '{{}}', '{{}}', '', $1, $1, $1, $1, 'e1', $1, '{wamid}', {set_aside})
"""
_WRITE = """
insert into writes (tenant, write_id, ordering_key, record, operation, request, event_id, requested_at, due_at, state,
    settled_at, outcome)
values ('t', '{write_id}', 'k', 'r', 'rights', '{{}}', 'e1', $1, $1, '{state}', {settled_at}, {outcome})
"""


def _message(state: str, wamid: str = "", set_aside: str = "null") -> str:
    return _MESSAGE.format(state=state, wamid=wamid, set_aside=set_aside)


def _write(state: str, settled_at: str = "null", outcome: str = "null", write_id: str = "w1") -> str:
    return _WRITE.format(state=state, settled_at=settled_at, outcome=outcome, write_id=write_id)


class GapCase(NamedTuple):
    """``lose`` makes a row of the instant $1 that lacks its end; ``mend`` gives it one."""

    service: str
    hop: str
    reason: GapReason
    lose: str
    mend: str


_CHAIN = """
insert into chains (chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, next_due,
    changed_at, document)
values ('c1', 't', 'rule', 's', 'r1', 'k', true, true, '{}', '{}', '{}', $1, $1, '{}')
"""

CASES = (
    *(
        GapCase(
            service, "outbox", GapReason.RECORD_NOT_RELAYED,
            "insert into outbox (topic, value, written_at) values ('decisions', '', $1)", "delete from outbox",
        )
        for service in SERVICES
    ),
    GapCase(
        "ingest", "coverage", GapReason.COVERAGE_NOT_CONFIRMED,
        "insert into webhook_coverage (tenant, account, since, until) values ('t', 'account', $1, $1)",
        "update webhook_coverage set until = now() + interval '10 years'",
    ),
    GapCase(
        "ingest", "poll", GapReason.POLL_NOT_COMPLETED,
        "insert into passes (tenant, entity, started_at, after, fields) values ('t', 'works', $1, 7, '{}')",
        "update passes set completed_at = started_at",
    ),
    GapCase(
        "rules", "waiting_event", GapReason.EVENT_STILL_WAITING,
        "insert into waiting (tenant, key, event_id, value, people, since, until)"
        " values ('t', 'k', 'e1', '', '{}', $1, $1)",
        "delete from waiting",
    ),
    GapCase("rules", "due_step", GapReason.STEP_NOT_RUN, _CHAIN, "update chains set next_due = null"),
    GapCase(
        "rules", "message_outcome", GapReason.MESSAGE_WITHOUT_OUTCOME,
        "insert into messages (message_id, unsent, expires_at) values ('m1', true, $1)",
        "update messages set unsent = false",
    ),
    GapCase(
        "rules", "write_outcome", GapReason.WRITE_WITHOUT_OUTCOME,
        "insert into writes (write_id, chain_id, requested_at) values ('w1', 'c1', $1)",
        "update writes set outcome = 'verified'",
    ),
    GapCase(
        "dispatcher", "message", GapReason.MESSAGE_NOT_ENDED, _message("waiting"),
        "update messages set state = 'dropped'",
    ),
    GapCase(
        "dispatcher", "message", GapReason.MESSAGE_SET_ASIDE, _message("waiting", set_aside="'unreadable'"),
        "update messages set state = 'dropped'",
    ),
    GapCase(
        "dispatcher", "attempt", GapReason.ATTEMPT_NOT_ENDED, _message("intent"),
        "update messages set state = 'uncertain'",
    ),
    GapCase(
        "dispatcher", "uncertain_send", GapReason.SEND_NOT_SETTLED, _message("uncertain"),
        "update messages set state = 'accepted'",
    ),
    GapCase(
        "dispatcher", "status", GapReason.STATUS_MISSING, _message("accepted", wamid="wamid.1"),
        "update messages set rank = 1",
    ),
    GapCase(
        "writeback", "write", GapReason.WRITE_NOT_SETTLED, _write("queued"),
        "delete from writes",
    ),
    GapCase(
        "writeback", "task", GapReason.TASK_MISSING, _write("manual", settled_at="$1", outcome="'manual'"),
        "insert into tasks (tenant, write_id, reason, changes, error_messages, opened_at)"
        " values ('t', 'w1', 'unsupported', '[]', '[]', now())",
    ),
    GapCase(
        "writeback", "evidence", GapReason.EVIDENCE_MISSING,
        _write("settled", settled_at="$1", outcome="'verified'", write_id="w2"),
        "insert into evidence_entries (tenant, record, sequence, entry_id, write_id, outcome, key_id, header, hash,"
        " recorded_at) values ('t', 'r', 1, 'e', 'w2', 'verified', 'k', '{}', '', now())",
    ),
)  # fmt: skip


_LEDGERS = {"dispatcher": "messages", "writeback": "writes"}


class SetClock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


def settings_of(dsn: str) -> ServiceSettings:
    return ServiceSettings(tenant=TenantId("t"), kafka_bootstrap="127.0.0.1:1", postgres_dsn=SecretStr(dsn))


def hops_of(service: str, settings: ServiceSettings) -> list[Hop]:
    own = {
        "ingest": lambda: ingest.audit_hops(settings),
        "rules": lambda: rules.audit_hops(settings),
        "dispatcher": dispatcher.audit_hops,
        "writeback": writeback.audit_hops,
    }
    return [*own[service](), OUTBOX_HOP]


class ServiceUnderAudit(NamedTuple):
    audit: Audit
    connection: Connection
    clock: SetClock
    service: str

    async def run(self) -> None:
        await self.audit.run_once(self.connection)

    async def open(self) -> list[tuple[str, str, str]]:
        rows = await self.connection.fetch("select hop, subject, reason from audit_gaps where closed_at is null")
        return [tuple(row) for row in rows]

    def value(self, metric: str, hop: str) -> float:
        text, _ = exposition(self.service, "")
        found = re.search(rf'^{metric}{{hop="{hop}",service="{self.service}"}} (.+)$', text.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


async def test_a_database_that_is_away_ends_no_audit() -> None:
    """A task that ends is started again, and counted as a fault of the program."""
    audit = Audit(settings_of("postgresql://nobody@127.0.0.1:9/none"), "rules", SetClock(), [])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(audit.run(), 0.5)


async def under_audit(dsn: str, service: str, hop: str) -> ServiceUnderAudit:
    """Only this hop of the service."""
    settings, clock = settings_of(dsn), SetClock()
    hops = [one for one in hops_of(service, settings) if one.name == hop]
    assert hops
    return ServiceUnderAudit(Audit(settings, service, clock, hops), await connect(dsn, service), clock, service)


@pytest.fixture
async def opened() -> AsyncIterator[list[Connection]]:
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_each_kind_of_gap_is_found_after_its_budget_and_closed_when_mended(
    postgres_database: str, service: str, opened: list[Connection]
) -> None:
    for case in (case for case in CASES if case.service == service):
        audited = await under_audit(postgres_database, case.service, case.hop)
        opened.append(audited.connection)
        await _lose_and_mend(audited, case)


async def _lose_and_mend(audited: ServiceUnderAudit, case: GapCase) -> None:
    await audited.connection.execute("delete from audit_gaps; delete from audit_runs")
    (hop,) = audited.audit.hops
    assert isinstance(hop, StateHop | WindowHop)
    now = audited.clock.now() if hop.is_business_time else machine_now()
    await audited.run()
    await audited.connection.execute(case.lose, now)
    await audited.run()
    assert await audited.open() == [], case

    if hop.is_business_time:
        audited.clock.at += hop.budget + timedelta(seconds=1)
    else:
        audited.audit.hops = [replace(hop, budget=timedelta(0))]
    await audited.run()
    assert [(name, reason) for name, _, reason in await audited.open()] == [(case.hop, case.reason)], case
    assert audited.value("stet_audit_gaps", case.hop) == 1
    assert audited.value("stet_audit_oldest_gap_age_seconds", case.hop) > 0
    assert audited.value("stet_audit_last_run_timestamp_seconds", case.hop) > 0

    await audited.connection.execute(case.mend)
    await audited.run()
    assert await audited.open() == [], case
    assert audited.value("stet_audit_gaps", case.hop) == 0
    assert await audited.connection.fetchval("select count(*) from audit_gaps where closed_at is not null") == 1
    if (ledger := _LEDGERS.get(case.service)) is not None:
        await audited.connection.execute(f"truncate {ledger}")


def test_every_reason_has_a_case() -> None:
    read_back = {GapReason.EVENT_NOT_DECIDED, GapReason.EVENT_NOT_PUBLISHED}
    assert {case.reason for case in CASES} | read_back == set(GapReason)


async def test_a_run_leaves_nothing_of_its_controls(postgres_database: str, opened: list[Connection]) -> None:
    for service in SERVICES:
        hops = [hop for hop in hops_of(service, settings_of(postgres_database)) if not isinstance(hop, TopicHop)]
        connection = await connect(postgres_database, service)
        opened.append(connection)
        await Audit(settings_of(postgres_database), service, SetClock(), hops).run_once(connection)
        tables = ("messages", "writes", "outbox", "waiting", "chains", "passes", "webhook_coverage", "audit_gaps")
        for table in tables:
            if await connection.fetchval("select to_regclass($1) is not null", table):
                assert await connection.fetch(f"table {table}") == []
        assert await connection.fetchval("select count(*) from audit_runs") == len(hops)


async def test_a_run_that_misses_its_control_does_not_count(postgres_database: str, opened: list[Connection]) -> None:
    audited = await under_audit(postgres_database, "rules", "message_outcome")
    opened.append(audited.connection)
    (hop,) = audited.audit.hops
    assert isinstance(hop, StateHop)
    blind = replace(hop, query=hop.query.replace("where unsent", "where not unsent"))
    audited.audit.hops = [blind]
    failed = audited.value("stet_audit_failed_runs_total", hop.name)
    await audited.run()
    assert audited.value("stet_audit_failed_runs_total", hop.name) == failed + 1
    assert await audited.connection.fetchval("select count(*) from audit_runs") == 0


async def test_a_hop_that_fails_does_not_keep_the_others_back(postgres_database: str, opened: list[Connection]) -> None:
    audited = await under_audit(postgres_database, "rules", "message_outcome")
    opened.append(audited.connection)
    (hop,) = audited.audit.hops
    assert isinstance(hop, StateHop)
    audited.audit.hops = [replace(hop, name="broken", query="select broken"), hop]
    await audited.run()
    assert await audited.connection.fetchval("select array_agg(hop) from audit_runs") == ["message_outcome"]


# ------------------------------------------------------------------ what is read back from a topic


class ScriptedReader:
    """A topic of which each read gives the next values; the end is reached."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.closed = 0
        self.settled = timedelta(seconds=60)

    async def read(self, since: datetime, names_in: NamesIn) -> tuple[list[str], bool]:
        del since
        values, self.values = self.values, []
        return [name for value in values for name in names_in(value)], True

    async def close(self) -> None:
        self.closed += 1


class TopicUnderAudit(NamedTuple):
    audited: ServiceUnderAudit
    reader: ScriptedReader
    hop: TopicHop

    async def enter(self, event: str, age: timedelta) -> None:
        await self.audited.connection.execute(
            "insert into inbox (tenant, source, id, seen_at, brief) values ('t', 'test', $1, $2, false)",
            *(event, machine_now() - age),
        )


@pytest.fixture
async def decisions(postgres_database: str, opened: list[Connection]) -> TopicUnderAudit:
    """The audit of decisions, which began an hour ago."""
    audited = await under_audit(postgres_database, "rules", "decision")
    opened.append(audited.connection)
    (hop,) = audited.audit.hops
    assert isinstance(hop, TopicHop)
    reader = ScriptedReader()
    hop.reader = reader  # type: ignore[assignment]
    await audited.connection.execute(
        "insert into audit_runs (hop, ran_at, checked, checked_to) values ('decision', $1, 0, $1)",
        machine_now() - timedelta(hours=1),
    )
    return TopicUnderAudit(audited, reader, hop)


_LATE = timedelta(minutes=6)
_DECIDED: Mapping[str, bytes] = {
    "alone": b'{"id":"d","data":{"about":"e1"}}',
    "with others": b'{"id":"d","data":{"events":["e0","e1"]}}',
}


async def test_an_event_without_a_decision_is_a_gap_until_its_decision_comes(decisions: TopicUnderAudit) -> None:
    await decisions.enter("e1", _LATE)
    await decisions.audited.run()
    assert await decisions.audited.open() == [("decision", "t test e1", "event_not_decided")]
    decisions.reader.values = [_DECIDED["alone"]]
    await decisions.audited.run()
    assert await decisions.audited.open() == []


@pytest.mark.parametrize("how", _DECIDED)
async def test_an_event_with_a_decision_is_no_gap(decisions: TopicUnderAudit, how: str) -> None:
    await decisions.enter("e1", _LATE)
    decisions.reader.values = [_DECIDED[how], b"not JSON"]
    await decisions.audited.run()
    await decisions.audited.run()
    assert await decisions.audited.open() == []


async def test_an_event_within_its_budget_is_no_gap_yet(decisions: TopicUnderAudit) -> None:
    await decisions.enter("e1", timedelta(minutes=4))
    await decisions.audited.run()
    assert await decisions.audited.open() == []


async def test_an_event_that_waits_is_pending_and_then_a_gap_if_nothing_follows(decisions: TopicUnderAudit) -> None:
    connection = decisions.audited.connection
    await decisions.enter("e1", _LATE)
    await connection.execute(
        "insert into waiting (tenant, key, event_id, value, people, since, until)"
        " values ('t', 'k', 'e1', '', '{}', now(), now())"
    )
    await decisions.audited.run()
    assert await decisions.audited.open() == []
    await connection.execute("delete from waiting")
    await decisions.audited.run()
    assert await decisions.audited.open() == []
    assert await connection.fetchval("select array_agg(subject) from audit_pending") == ["t test e1"]
    await connection.execute("update audit_pending set since = since - interval '6 minutes'")
    await decisions.audited.run()
    assert await decisions.audited.open() == [("decision", "t test e1", "event_not_decided")]


async def test_an_event_that_was_parked_from_its_queue_is_no_gap(decisions: TopicUnderAudit) -> None:
    await decisions.enter("e1", _LATE)
    await decisions.audited.run()
    await decisions.audited.connection.execute("delete from inbox")
    await decisions.audited.run()
    assert await decisions.audited.open() == []


async def test_after_a_failed_run_nothing_is_forgotten(decisions: TopicUnderAudit) -> None:
    await decisions.enter("e1", _LATE)
    good, decisions.hop.expected = decisions.hop.expected, "select broken"
    await decisions.audited.run()
    assert decisions.reader.closed == 1
    decisions.hop.expected = good
    await decisions.audited.run()
    assert [subject for _, subject, _ in await decisions.audited.open()] == ["t test e1"]


async def test_another_replica_goes_on_where_the_last_one_ended(decisions: TopicUnderAudit) -> None:
    """Rows that the last one had not judged yet are judged by the next, which has nothing of it in memory."""
    await decisions.enter("e1", timedelta(minutes=4))
    await decisions.audited.run()
    await decisions.hop.forget()
    decisions.hop.budget = timedelta(minutes=3)
    await decisions.audited.run()
    assert [subject for _, subject, _ in await decisions.audited.open()] == ["t test e1"]


# ------------------------------------------------------------------ a real topic


async def test_a_topic_is_read_onwards_from_an_instant(kafka_bootstrap: str, unique_suffix: str) -> None:
    settings = settings_of("postgresql://none").model_copy(
        update={"kafka_bootstrap": kafka_bootstrap, "topic_prefix": f"{unique_suffix}."}
    )
    name = f"{unique_suffix}.{DECISIONS.name}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    await admin.close()
    reader = TopicReader(settings, DECISIONS)
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        began = machine_now()
        for number, age in enumerate((3600, 10, 0)):
            at = int((began - timedelta(seconds=age)).timestamp() * 1000)
            await producer.send_and_wait(name, b"%d" % number, partition=number, timestamp_ms=at)
        assert await _all_of(reader, began - timedelta(seconds=60)) == {"1", "2"}
        await producer.send_and_wait(name, b"3", partition=0)
        assert await _all_of(reader, began) == {"3"}
        assert await _all_of(reader, began) == set()
        await reader.close()
        assert await _all_of(reader, began - timedelta(seconds=60)) == {"1", "2", "3"}
    await reader.close()


async def _all_of(reader: TopicReader, since: datetime) -> set[str]:
    names, is_at_end = await reader.read(since, lambda value: [value.decode()])
    assert is_at_end
    return set(names)


class LongTopic:
    """A client that reads records of a kibibyte, a thousand at once, for ever."""

    read = 0

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10**9)

    async def position(self, _: TopicPartition) -> int:
        return self.read

    async def getmany(self, first: TopicPartition, *_: TopicPartition, **__: int) -> dict[TopicPartition, list[Any]]:
        self.read += 1000
        return {first: [SimpleNamespace(value=b"%06d" % number + b" " * 1024) for number in range(1000)]}


async def test_an_audit_of_a_long_backlog_keeps_no_records_in_memory() -> None:
    """A replica that begins to audit after a day reads what was published since; its pod has 512 MiB."""
    reader = TopicReader(settings_of("postgresql://none"), DECISIONS)
    reader._consumer = LongTopic()
    tracemalloc.start()
    try:
        names, is_at_end = await reader.read(NOW, lambda value: [value[:6].decode()])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(names) > 0, is_at_end) == (True, False)
    assert peak < 64 * 1024 * 1024
