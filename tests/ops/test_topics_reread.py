"""A service is made to read a topic again, on a real database: who and why stand in the audit log."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from tests.ops.rows import execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration

READ = """
insert into rules.progress (topic, partition, next_offset) values
    ('contacts', 0, 5), ('contacts', 1, 7), ('messages.events', 0, 9);
insert into dispatcher.progress (topic, partition, next_offset) values ('contacts', 0, 5)
"""


@pytest.fixture
def database(postgres_database: str) -> str:
    asyncio.run(execute(postgres_database, READ))
    return postgres_database


def reread(stet: CliRunner, *arguments: str) -> tuple[int, str]:
    result = stet.invoke(app, ["topics", "reread", *arguments, *WHY, "--yes"])
    return result.exit_code, result.output


def log(stet: CliRunner) -> list[tuple[str, str, str, str]]:
    shown = stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines()
    return [(row["who"], row["action"], row["target"], row["result"]) for row in map(json.loads, shown)]


@pytest.mark.usefixtures("database")
def test_one_partition_or_all_of_a_topic_begin_anew_for_one_service(stet: CliRunner) -> None:
    one = reread(stet, "contacts", "--service", "rules", "--partition", "1")
    assert one == (0, "rules reads 1 partition of contacts again, from the oldest record\n")
    assert reread(stet, "contacts", "--service", "rules")[0] == 0
    code, problem = reread(stet, "contacts", "--service", "rules")
    assert (code, "has read nothing of contacts" in problem) == (1, True)
    assert log(stet)[1:] == [
        ("ada", "reread topic", "rules contacts", "had read to 0: 5"),
        ("ada", "reread topic", "rules contacts:1", "had read to 1: 7"),
    ]
    assert reread(stet, "contacts", "--service", "dispatcher")[0] == 0
    assert reread(stet, "messages.events", "--service", "rules")[0] == 0


@pytest.mark.usefixtures("database")
def test_a_topic_that_the_service_does_not_read_is_refused_with_those_it_reads(stet: CliRunner) -> None:
    code, problem = reread(stet, "contact", "--service", "rules")
    assert code == 2
    assert "rules does not read contact; did you mean contacts?" in problem
    assert reread(stet, "contacts", "--service", "ingest")[0] == 2
    assert log(stet) == []
