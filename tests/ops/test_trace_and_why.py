"""``stet trace`` and ``stet why`` on a real database: what they show, leave out, and say where the broker is away."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.timeline import Entry, IdKind, Life, pauses_of
from ops.trace import _print
from ops.why import _case, waiting_reasons
from services.rules.conversation.chain import Chain
from services.rules.conversation.fact_values import Consent, PersonFacts
from shared.contracts.ids import PersonId
from shared.contracts.values import encode
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool
from tests.ops.rows import PEOPLE, execute
from tests.services.rules.conversation.test_chain import NOON, running_chain

pytestmark = pytest.mark.integration
THROTTLE = """
insert into dispatcher.throttles (
    tenant, clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator,
    by_status, fixed
) values ('penrose', 'business', '{scope}', '{subject}', '', now() + interval '1 hour', interval '1 hour', 1, now(),
    now(), 131, false, {stopped}, false, false)
"""


@pytest.mark.usefixtures("message")
def test_a_trace_shows_a_message_without_its_words(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    shown = stet.invoke(app, ["trace", "m1", "--no-topics"])
    assert shown.exit_code == 0, shown.output
    assert "message queued" in shown.stdout
    assert "secret words" not in shown.stdout
    refused = stet.invoke(app, ["trace", "m1", "--no-topics", "--reveal"])
    assert refused.exit_code == 2
    assert "--reason" in refused.stderr
    revealed = stet.invoke(app, ["trace", "m1", "--no-topics", "--reveal", "--reason", "she asked", "--format", "json"])
    assert "secret words" in revealed.stdout
    assert "reveal" in stet.invoke(app, ["audit-log"]).stdout


def test_an_unknown_id_is_not_found(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["trace", "nothing", "--no-topics"])
    assert result.exit_code == 1
    assert "no table knows" in result.stderr


@pytest.mark.usefixtures("message")
def test_a_trace_without_a_broker_shows_what_the_tables_know(stet: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["trace", "m1"])
    assert result.exit_code == 1
    assert "dispatcher.messages" in result.stdout
    assert "the topics were not read: STET_KAFKA_BOOTSTRAP: no broker at 127.0.0.1:1" in result.stderr
    result = stet.invoke(app, ["trace", "nothing"])
    assert (result.exit_code, "the topics were not read: STET_KAFKA_BOOTSTRAP" in result.stderr) == (2, True)


@pytest.mark.usefixtures("message")
@pytest.mark.parametrize(
    ("scope", "subject", "stopped", "reason"),
    [
        ("account", "", "true", "the account is stopped, code 131"),
        ("number", "main", "false", "line main is throttled, code 131"),
        ("number", "rights", "true", None),
    ],
)
async def test_a_message_waits_because_whatsapp_stopped_what_it_leaves_by(
    pool: Pool, postgres_database: str, scope: str, subject: str, stopped: str, reason: str | None
) -> None:
    await execute(postgres_database, THROTTLE.format(scope=scope, subject=subject, stopped=stopped))
    reasons = await waiting_reasons(pool, "penrose", ["m1"], machine_now())
    assert reasons.get("m1") == reason


async def test_a_trace_and_an_answer_say_that_the_rule_is_paused(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    chain = running_chain()
    pause = {"kind": "rule", "name": chain.rule, "since": NOON, "who": "ada", "reason": "wrong words"}
    connection = await asyncpg.connect(postgres_database)
    await _store_chain(connection, chain)
    await connection.execute(
        "insert into rules.pauses (tenant, kind, name, since, who, reason) values ($1, $2, $3, $4, $5, $6)",
        *(chain.tenant, *pause.values()),
    )
    await connection.close()
    shown = await asyncio.to_thread(stet.invoke, app, ["trace", chain.chain_id, "--no-topics"])
    assert f"rule {chain.rule} paused" in shown.stdout, shown.output
    assert "by ada: wrong words" in shown.stdout
    assert pauses_of(chain, [pause]) == [pause]
    assert pauses_of(chain, [{**pause, "name": "another"}]) == []
    assert _case(chain, {"p1"}, {}, [pause]).outcome.startswith("rule paused by ada: wrong words; not among")


def test_the_trace_of_a_person_to_whom_nothing_happened_does_not_call_them_unknown(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, PEOPLE))
    result = stet.invoke(app, ["trace", "900", "--no-topics"])
    assert result.exit_code == 1
    assert "the person p900 is known, and no table has more; the topics were not read" in result.stderr


@pytest.mark.usefixtures("message")
def test_the_life_of_a_person_has_what_happened_under_former_ids(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor who turned out to be a contact: the message went to the id of then."""
    people = """
        insert into ingest.people (tenant, person_id, contact_id, version, state) values
            ('penrose', 'p1', null, 2, '{"person_id": "p1", "merged_into": "p7"}'),
            ('penrose', 'p7', 7, 1, '{"person_id": "p7"}')
    """
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    asyncio.run(execute(postgres_database, people))
    for person in ("7", "p7", "p1"):
        shown = stet.invoke(app, ["trace", person, "--no-topics"])
        assert (shown.exit_code, "message queued" in shown.stdout) == (0, True), shown.output


async def test_why_without_a_broker_answers_from_the_tables_and_says_that_decisions_are_missing(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    connection = await asyncpg.connect(postgres_database)
    await _store_chain(connection, running_chain())
    person = encode(PersonFacts(person_id=PersonId("p1"), display_name="A person", reachable=True)).decode()
    await connection.execute("insert into rules.people values ('penrose', 'p1', $1)", person)
    await connection.close()
    shown = await asyncio.to_thread(stet.invoke, app, ["why", "p1", "1"])
    assert shown.exit_code == 1
    assert "rights-approval (running)" in shown.stdout, shown.output
    assert "not among its recipients" in shown.stdout
    assert "not every decision is here: STET_KAFKA_BOOTSTRAP: no broker at 127.0.0.1:1" in shown.stderr
    assert "No decision could be read" in shown.stdout
    nothing = await asyncio.to_thread(stet.invoke, app, ["why", "p1", "2"])
    assert nothing.exit_code == 2
    assert "not every event and decision was read" in nothing.stderr


async def test_why_counts_an_opt_out_by_a_former_id_of_the_person(
    stet: CliRunner, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules counts it; of its answer, “has opted out: no”, an operator would conclude that the rule is at fault."""
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    connection = await asyncpg.connect(postgres_database)
    await _store_chain(connection, running_chain())
    now, before = (
        PersonFacts(person_id=PersonId("p1"), display_name="A person", reachable=True),
        PersonFacts(person_id=PersonId("v1"), display_name="", reachable=False, merged_into=PersonId("p1")),
    )
    for person in (now, before):
        document = encode(person).decode()
        await connection.execute("insert into rules.people values ('penrose', $1, $2)", person.person_id, document)
    stop = encode(Consent(opted_out_at=NOON)).decode()
    await connection.execute("insert into rules.consent values ('penrose', 'v1', $1)", stop)
    await connection.close()
    for asked in ("p1", "v1"):
        shown = await asyncio.to_thread(stet.invoke, app, ["why", asked, "1"])
        assert "has opted out: yes" in shown.stdout, shown.output
        assert ("merged into: p1" in shown.stdout) is (asked == "v1")


async def _store_chain(connection: asyncpg.Connection, chain: Chain) -> None:
    await connection.execute(
        """
        insert into rules.chains (
            chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, changed_at, document
        ) values ($1, $2, $3, $4, $5, $6, true, true, '{}', '{}', '{}', $7, $8)
        """,
        *(chain.chain_id, chain.tenant, chain.rule, chain.subject, chain.revision, chain.key, NOON),
        encode(chain).decode(),
    )


@pytest.mark.parametrize(("about", "title"), [("e1", "event e1"), ("e2", "no event e1; records that name it")])
def test_a_trace_calls_that_an_event_which_is_the_id_of_one(
    about: str, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request's or a work's id is that of no event, and stands in many."""
    entry = Entry(datetime(2027, 3, 3, tzinfo=UTC), "consonance.events", "rights.approval_requested", about=about)
    _print(Life(IdKind.EVENT, "e1", [entry]), reveal=False, topics=True)
    assert capsys.readouterr().out.splitlines()[0] == title
