"""Parked records and uncertain sends are listed and settled on a real database."""

import asyncio
import json
from datetime import timedelta

import asyncpg
import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from shared.runtime.clock import machine_now
from tests.ops.rows import execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration
PARKED = """
insert into SCHEMA.parked (topic, key, value, headers, reason, sentence, parked_at, state)
values ('consonance.events', null, 'x', '', 'malformed', 'it does not parse', now(), 'parked')
"""


async def test_parked_records_of_every_service_are_listed(stet: CliRunner, postgres_database: str) -> None:
    connection = await asyncpg.connect(postgres_database)
    for service in ("ingest", "rules"):
        await connection.execute(PARKED.replace("SCHEMA", service))
    await connection.close()

    def listed(*options: str) -> list[str]:
        result = stet.invoke(app, ["parked", "list", "--format", "json", *options])
        return [json.loads(line)["service"] for line in result.stdout.splitlines()]

    assert await asyncio.to_thread(listed) == ["ingest", "rules"]
    assert await asyncio.to_thread(listed, "--service", "rules") == ["rules"]


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_the_result_of_settling_a_record_is_json_where_that_is_asked_for(
    stet: CliRunner, postgres_database: str, verb: str
) -> None:
    asyncio.run(execute(postgres_database, PARKED.replace("SCHEMA", "rules")))
    result = stet.invoke(app, ["parked", verb, "--service", "rules", "1", *WHY, "--yes", "--format", "json"])
    assert json.loads(result.stdout) == {"service": "rules", "id": 1, "state": f"{verb.removesuffix('e')}ed"}


def test_many_records_are_replayed_by_their_numbers_or_by_why_they_were_parked(
    stet: CliRunner, postgres_database: str
) -> None:
    parked = PARKED.replace("SCHEMA", "rules")
    old = parked.replace("now()", "now() - interval '9 days'")
    several = [parked] * 3 + [parked.replace("malformed", "unexpected")] * 2 + [old.replace("malformed", "unexpected")]
    asyncio.run(execute(postgres_database, ";".join(several)))
    replay = ["parked", "replay", "--service", "rules", *WHY, "--format", "json"]

    def replayed(*options: str) -> list[int]:
        return [json.loads(line)["id"] for line in stet.invoke(app, [*replay, *options, "--yes"]).stdout.splitlines()]

    asked = stet.invoke(app, [*replay, "--parked-as", "malformed"])
    assert "Send 3 parked records of rules to their topics again (3 malformed of consonance.events)?" in asked.stderr
    assert stet.invoke(app, [*replay, "--yes"]).exit_code == 2
    assert replayed("1", "3") == [1, 3]
    assert stet.invoke(app, [*replay, "1", "2", "--yes"]).exit_code == 1
    yesterday = f"{machine_now() - timedelta(days=1):%Y-%m-%d}"
    assert replayed("--parked-as", "unexpected", "--since", yesterday) == [4, 5]
    left = stet.invoke(app, ["parked", "list", "--parked-as", "unexpected", "--format", "json"])
    assert [json.loads(line)["id"] for line in left.stdout.splitlines()] == [6]
    audited = stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines()
    targets = [(entry["target"], entry["result"]) for entry in map(json.loads, audited)]
    assert [(f"rules {number}", "done") in targets for number in (1, 2, 3, 4, 5, 6)] == [*[True] * 5, False]


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("polled contacts", "mend it in Consonance, where it is read again as soon as it changes, then discard it"),
        ("/whatsapp/webhook", "let its sender send it again, then discard it"),
        ("waiting", "discard it once you have looked at it"),
    ],
)
def test_a_record_that_came_by_no_topic_says_what_to_do_with_it(
    stet: CliRunner, postgres_database: str, source: str, advice: str
) -> None:
    parked = PARKED.replace("SCHEMA", "rules").replace("consonance.events", source)
    asyncio.run(execute(postgres_database, parked))
    shown = stet.invoke(app, ["parked", "show", "--service", "rules", "1"])
    assert f"it cannot be replayed: {advice}" in " ".join(shown.stdout.split())
    replayed = stet.invoke(app, ["parked", "replay", "--service", "rules", "1", *WHY, "--yes"])
    assert (replayed.exit_code, replayed.stderr) == (1, f"1 came in by {source}, which is no topic: {advice}\n")


def test_a_message_that_was_never_sent_is_not_settled(stet: CliRunner) -> None:
    result = stet.invoke(app, ["sends", "settle", "m9", "--as", "sent", *WHY, "--yes"])
    assert (result.exit_code, "no message m9 was ever sent" in result.stderr) == (1, True), result.output
    assert stet.invoke(app, ["audit-log", "--format", "json"]).stdout == ""
