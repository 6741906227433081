"""Lines, templates, rules and the tenant are held and let go on, on a real database."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from tests.ops.rows import execute
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("message")
def test_a_line_is_paused_listed_and_resumed_with_who_and_why(stet: CliRunner) -> None:
    done = stet.invoke(app, ["pause", "line", "main", "--reason", "Meta looks at it", "--yes"])
    assert done.exit_code == 0, done.output
    assert "1 messages wait" in done.stdout
    (paused,) = map(json.loads, stet.invoke(app, ["pause", "list", "--format", "json"]).stdout.splitlines())
    assert (paused["kind"], paused["name"], paused["who"]) == ("line", "main", "ada")
    assert stet.invoke(app, ["resume", "line", "main", "--reason", "well again", "--yes"]).exit_code == 0
    assert stet.invoke(app, ["resume", "line", "main", "--reason", "again", "--yes"]).exit_code == 1
    log = [json.loads(line) for line in stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines()]
    assert [entry["action"] for entry in log] == ["resume line", "resume line", "pause line"]
    assert {entry["who"] for entry in log} == {"ada"}


@pytest.mark.usefixtures("message")
def test_a_misspelt_name_pauses_nothing_and_says_the_nearest(stet: CliRunner) -> None:
    result = stet.invoke(app, ["pause", "line", "mian", "--reason", "x", "--yes"])
    assert result.exit_code == 2
    assert "did you mean main?" in result.stderr


def test_a_misspelt_line_pauses_nothing_before_the_first_message(stet: CliRunner, postgres_database: str) -> None:
    quality = "insert into dispatcher.line_quality values ('penrose', 'main', 'GREEN', now(), 'HIGH', now())"
    asyncio.run(execute(postgres_database, quality))
    result = stet.invoke(app, ["pause", "line", "mian", "--reason", "number limited", "--yes"])
    assert (result.exit_code, result.stderr.strip()) == (2, "no line is called mian; did you mean main?")


@pytest.mark.usefixtures("message")
def test_a_line_shows_the_quality_of_its_number(stet: CliRunner, postgres_database: str) -> None:
    quality = "insert into dispatcher.line_quality values ('penrose', 'main', 'YELLOW', now(), 'HIGH', now())"
    asyncio.run(execute(postgres_database, quality))
    (line,) = map(json.loads, stet.invoke(app, ["lines", "list", "--format", "json"]).stdout.splitlines())
    assert (line["quality"], line["throughput"], line["quality_since"] is not None) == ("YELLOW", "HIGH", True)
    assert "YELLOW" in stet.invoke(app, ["lines", "show", "main"]).stdout


def test_a_line_is_listed_before_its_first_message(stet: CliRunner, postgres_database: str) -> None:
    quality = "insert into dispatcher.line_quality values ('penrose', 'main', 'GREEN', now(), 'HIGH', now())"
    asyncio.run(execute(postgres_database, quality))
    (line,) = map(json.loads, stet.invoke(app, ["lines", "list", "--format", "json"]).stdout.splitlines())
    assert (line["line"], line["waiting"], line["quality"], line["last_send"]) == ("main", 0, "GREEN", None)


@pytest.mark.usefixtures("message")
def test_the_lines_show_their_queue_and_what_holds_them(stet: CliRunner) -> None:
    shown = stet.invoke(app, ["lines", "list", "--format", "json"])
    assert shown.exit_code == 0, shown.output
    (line,) = map(json.loads, shown.stdout.splitlines())
    assert (line["line"], line["waiting"], line["in_flight"], line["paused_since"]) == ("main", 1, 0, None)
    stet.invoke(app, ["pause", "line", "main", "--reason", "Meta looks at it", "--yes"])
    held = stet.invoke(app, ["lines", "list"])
    assert (held.exit_code, "ada" in held.stdout) == (1, True)
    assert "hello" in stet.invoke(app, ["lines", "show", "main"]).stdout
    unknown = stet.invoke(app, ["lines", "show", "mian"])
    assert (unknown.exit_code, "the lines are: main" in unknown.stderr) == (1, True)


_ACCOUNT_THROTTLED = """
insert into dispatcher.throttles (
    tenant, clock, scope, subject, detail, until, wait, trips, since, machine_since, code, ends_early, by_operator,
    by_status, fixed
) values (
    'penrose', 'machine', 'account', '', '', now() + interval '1 hour', interval '1 hour', 1, now(), now(), 190, false,
    true, false, false
)
"""


_SENT = """
update dispatcher.messages set state = 'accepted';
insert into dispatcher.attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until, ending)
values ('penrose', 'm1', 1, 'template', now(), now(), now(), 'accepted')
"""


@pytest.mark.usefixtures("message")
async def test_a_line_that_only_sends_is_listed_when_nothing_waits(stet: CliRunner, postgres_database: str) -> None:
    await execute(postgres_database, _SENT)
    shown = await asyncio.to_thread(stet.invoke, app, ["lines", "list", "--format", "json"])
    (line,) = map(json.loads, shown.stdout.splitlines())
    assert (shown.exit_code, line["line"], line["waiting"]) == (0, "main", 0)
    assert line["last_send"] is not None


@pytest.mark.usefixtures("message")
async def test_a_throttle_or_a_pause_of_the_tenant_is_shown_at_every_line(
    stet: CliRunner, postgres_database: str
) -> None:
    """A token that WhatsApp refuses, and a pause of the tenant."""
    await execute(postgres_database, _ACCOUNT_THROTTLED)
    held = await asyncio.to_thread(stet.invoke, app, ["lines", "list", "--format", "json"])
    (line,) = map(json.loads, held.stdout.splitlines())
    assert (held.exit_code, line["throttled_until"] is not None, line["paused_by"]) == (1, True, None)
    await execute(postgres_database, "delete from dispatcher.throttles")
    await asyncio.to_thread(stet.invoke, app, ["pause", "tenant", *WHY, "--yes"])
    paused = await asyncio.to_thread(stet.invoke, app, ["lines", "list", "--format", "json"])
    (line,) = map(json.loads, paused.stdout.splitlines())
    assert (paused.exit_code, line["throttled_until"], line["paused_by"]) == (1, None, "ada")


@pytest.mark.usefixtures("message")
@pytest.mark.parametrize(("kind", "name"), [("template", "hello"), ("rule", "greet")])
def test_a_template_and_a_rule_are_paused_and_resumed(stet: CliRunner, kind: str, name: str) -> None:
    done = stet.invoke(app, ["pause", kind, name, "--reason", "wrong words", "--yes"])
    assert done.exit_code == 0, done.output
    (paused,) = map(json.loads, stet.invoke(app, ["pause", "list", "--format", "json"]).stdout.splitlines())
    assert paused["kind"] == kind
    assert stet.invoke(app, ["resume", kind, name, "--reason", "mended", "--yes"]).exit_code == 0
    assert "nothing is paused" in stet.invoke(app, ["pause", "list"]).stdout


def test_a_change_without_an_answer_changes_nothing(stet: CliRunner) -> None:
    result = stet.invoke(app, ["pause", "tenant", "--reason", "x"])
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert "nothing is paused" in stet.invoke(app, ["pause", "list"]).stdout


@pytest.mark.parametrize("paused", [["tenant"], ["line", "main"]])
def test_the_hint_about_a_pause_is_the_command_that_ends_it(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch, paused: list[str]
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert stet.invoke(app, ["pause", *paused, *WHY, "--yes"]).exit_code == 0
    rows = map(json.loads, stet.invoke(app, ["status", "--format", "json"]).stdout.splitlines())
    (hint,) = [row["hint"] for row in rows if row["area"] == "paused"]
    ended = stet.invoke(app, [*hint.removeprefix("stet ").split(), "--yes"])
    assert ended.exit_code == 0, ended.output


def test_a_drain_without_a_broker_says_that_the_tenant_is_paused(
    stet: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = stet.invoke(app, ["drain", *WHY, "--yes"])
    assert result.exit_code == 2
    assert "penrose is paused, and what is under way is not known\nSTET_KAFKA_BOOTSTRAP: no broker" in result.stderr
    assert "tenant" in stet.invoke(app, ["pause", "list"]).stdout
