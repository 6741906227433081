"""The command line for operators: each command explains itself, and names a wrong argument or setting."""

import errno
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import aiohttp
import asyncpg
import pytest
import structlog
import typer
from typer.testing import CliRunner

from ops.__main__ import COMMANDS, app
from ops.changes import confirm, current_person
from ops.command_line import READER_GONE, print_lines
from ops.command_settings import cause_of, run
from ops.lazy_commands import LazyCommand
from shared.contracts.errors import Misconfigured
from shared.runtime.telemetry import get_logger
from tests.ops.stet_command import run_stet
from tests.ops.tls_server import ended_certificate, tls_server

CALLS = [
    ["parked", "list"], ["parked", "show"], ["parked", "replay"], ["parked", "discard"], ["sends", "list"],
    ["sends", "show"], ["sends", "settle"], ["tasks", "list"], ["tasks", "show"], ["tasks", "done"],
    ["evidence", "show"], ["chains", "list"], ["chains", "retry"], ["topics", "create"], ["topics", "check"],
    ["migrate"], ["asyncapi"], ["rules", "check"], ["rules", "fields"],
    ["rules", "schema"],
]  # fmt: skip


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.delenv("STET_POSTGRES_DSN", raising=False)
    monkeypatch.setenv("STET_TENANT", "penrose")  # or the settings of a running stack are used
    return CliRunner()


@pytest.mark.parametrize("command", CALLS, ids=" ".join)
def test_every_command_explains_itself(runner: CliRunner, command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize("command", [["drain"], ["rules", "rollout", "promote"], ["topics", "reread"]], ids=" ".join)
def test_the_help_fills_the_lines_of_the_terminal(runner: CliRunner, command: list[str]) -> None:
    shown = runner.invoke(app, [*command, "--help"], env={"COLUMNS": "60", "TERMINAL_WIDTH": "60"}).stdout
    lines = [line.strip() for line in shown.partition("╭")[0].splitlines()]
    for line, after in pairwise(lines):
        assert not line or not after or len(f"{line} {after.split()[0]}") > 58, line


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_help_of_the_whole_says_of_a_command_what_its_own_help_says_first(entry: LazyCommand) -> None:
    assert " ".join(entry.load().help.split()).startswith(entry.sentence)


@pytest.mark.parametrize(
    "arguments",
    [
        ["parked", "list", "--service", "none"],
        ["parked", "discard", "--service", "rules", "7"],
        ["sends", "settle", "m1"],
        ["sends", "settle", "m1", "--as", "sent", "--resend", "--reason", "x"],
        ["sends", "settle", "m1", "--as", "sent", "--reason", "x"],
        ["tasks", "done", "first"],
        ["chains", "retry", "c1"],
        ["chains", "retry", "--reason", "x"],
        ["chains", "retry", "c1", "--all", "--reason", "x"],
        ["topics"],
    ],
    ids=" ".join,
)
def test_a_wrong_argument_ends_with_code_2(runner: CliRunner, arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rule", "check"], "There is no command “rule” (did you mean “rules”?)"),
        (["rules", "chekc"], "There is no command “chekc” (did you mean “check”?)"),
        (["rules", "xyzzy"], "No such command 'xyzzy'."),
        (
            ["rules", "check", "rules", "--format", "jsn"],
            "Invalid value for '--format': “jsn” is none of text, json, markdown, junit, github (did you mean “json”?)",
        ),
        (["rules", "graph", "x", "--format", "png"], "“png” is none of mermaid, svg"),
        (["rules", "test", "rules", "--min", "200"], "Invalid value for '--min': it is at most 100"),
        (["rules", "test", "rules", "--min", "most"], "Invalid value for '--min': a number belongs here"),
        (["rules", "rollout", "status", "--most", "0"], "Invalid value for '--most': it is at least 1"),
        (["parked", "list", "--most", "0"], "Invalid value for '--most': it is at least 1"),
        (["audit", "--most", "0"], "Invalid value for '--most': it is at least 1"),
        (["trace", "", "--topics"], "Invalid value for 'ID': it is empty"),
        (["why", "812", " "], "Invalid value for 'SUBJECT': it is empty"),
        (["chains", "retry", "c1", "", "--reason", "x"], "it is empty"),
        (["erase", "", "--dry-run"], "it is empty"),
        (["lines", "show", "\udcff"], "Invalid value for 'LINE': “\\xff” is no text in UTF-8"),
        (["pause", "line", "main", "--reason", "\udce4"], "Invalid value for '--reason': “\\xe4” is no text in UTF-8"),
        (["pause", "line", "main", "--reason", " "], "Invalid value for '--reason': it must say why"),
        (
            ["parked", "show", "9" * 30, "--service", "rules"],
            "for 'ID': it is at most 9223372036854775807",
        ),
        (["audit-log", "--most", "9" * 30], "Invalid value for '--most': it is at most 9223372036854775807"),
        (["trace", "812", "--days", "99999999"], "Invalid value for '--days': it is at most 3650"),
        (["why", "812", "61417", "--days", "30000"], "Invalid value for '--days': it is at most 3650"),
        (["audit-log", "--days", "99999999"], "Invalid value for '--days': it is at most 3650"),
        (["rules", "bundle", "--last", "0d", "-o", "x"], "“0d” is no span of time; write 14d, 36h or 2w"),
        *(
            (["status", "--metrics", url], f"“{url}” is no address; write http://health-rules:9090")
            for url in ("rules:9090", "http://", "http://rules:99999", "http://[::1", "ftp://rules:9090")
        ),
        (["cost", "--month", "2027-13"], "“2027-13” is no date: write a month, as in 2027-03"),
        (["cost", "--from", "1.3.2027"], "“1.3.2027” is no date: write a day, as in 2027-03-31"),
        (["parked", "list", "--service", "rulez"], "“rulez” is none of ingest, rules, dispatcher, writeback"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_wrong_word_is_said_with_the_right_ones(runner: CliRunner, arguments: list[str], said: str) -> None:
    printed = runner.invoke(app, arguments).output
    assert said in " ".join(printed.replace("│", "").split())
    assert "Value error" not in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rules", "why-not", "r", "812", "61417", "0001-01-01"], "“0001-01-01” is no time; write 2027-04-12"),
        (["cost", "--month", "9999-12"], "9999-12 lies too far ahead"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_day_without_one_before_or_after_it_is_refused(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    for name, value in {"POSTGRES_DSN": "postgresql://localhost/stet", "KAFKA_BOOTSTRAP": "localhost:1"}.items():
        monkeypatch.setenv(f"STET_{name}", value)
    refused = runner.invoke(app, arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.replace("│", "").split())


@pytest.mark.parametrize("named", ["\udcff", "ada\nbyron"], ids=["no text", "two lines"])
def test_a_name_of_an_operator_that_the_audit_log_cannot_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("STET_OPERATOR", named)
    with pytest.raises(Misconfigured, match="STET_OPERATOR: it has characters that no log can show"):
        current_person()


def test_a_question_without_any_standard_input_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no object for one that the starter closed, as a timer's job may be started."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(typer.Exit) as end:
        confirm("Pause everything?", yes=False)
    assert end.value.exit_code == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (aiohttp.ClientConnectorError(Mock(), ConnectionRefusedError(111, "refused")), "connection refused"),
        (aiohttp.ClientConnectorError(Mock(), socket.gaierror(-2, "unknown")), "no host of this name"),
        (aiohttp.ClientConnectorSSLError(Mock(), ssl.SSLError(1, "wrong version")), "no TLS as it is asked for"),
        (ssl.SSLCertVerificationError("self-signed"), "its certificate is not trusted"),
        (aiohttp.ClientResponseError(Mock(), (), status=503), "HTTP 503"),
        (aiohttp.ServerDisconnectedError(), "the connection was closed"),
        (aiohttp.ConnectionTimeoutError(), "no answer in time"),
        (json.JSONDecodeError("no value", "<html>", 0), "its answer is no JSON"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "network is unreachable"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_a_neighbour_that_does_not_answer_is_told_without_names_of_classes(error: Exception, said: str) -> None:
    assert cause_of(error) == said


def test_files_of_ours_are_read_in_their_own_encoding() -> None:
    """In a Latin-1 locale a migration had another checksum; in ASCII none could be read."""
    script = """
import ops.cost
from ops.migrate import operator_migrations
from services.ingest.poll.consonance_reader import load_query
from shared.runtime.postgres import migrations_of
operator_migrations(), load_query("works"), [migrations_of(name) for name in ("rules", "dispatcher")]
"""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", script], env=os.environ | ascii_only, check=True)  # noqa: S603 -- our own


def test_a_reader_that_closes_the_output_of_a_command_with_neighbours_is_no_fault_of_theirs() -> None:
    """It was said of the database."""
    script = """
from ops.command_line import print_json
from ops.command_settings import run
async def command():
    print_json([{"row": number} for number in range(100_000)])
    return 0
run(command())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603 -- our own
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() == READER_GONE


def test_the_name_of_a_record_without_a_slash_is_said_to_be_none(runner: CliRunner) -> None:
    printed = " ".join(runner.invoke(app, ["evidence", "R-9"]).output.replace("│", "").split())
    assert "“R-9” is no command and no record; a record is named like rights/RR-88" in printed


@pytest.mark.parametrize("arguments", [["rules", "check", "rules"], ["rules", "reference"]], ids=" ".join)
def test_a_reader_that_closes_the_output_is_no_finding(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ops", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603 -- our own
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        progress = b"playing stories: "  # of a check that takes long, as on a busy machine
        assert [line for line in running.stderr if not line.startswith(progress)] == []
        assert running.wait() == READER_GONE


@pytest.mark.parametrize(
    "arguments",
    [["parked", "list", "--service", "rules"], ["sends", "list"], ["tasks", "list"], ["chains", "list"], ["migrate"]],
    ids=" ".join,
)
def test_a_missing_setting_ends_with_code_2_and_is_named(runner: CliRunner, arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "STET_" in result.output


def test_in_a_pod_a_change_needs_the_name_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    for none in ("", " "):
        monkeypatch.setenv("STET_OPERATOR", none)
        with pytest.raises(Misconfigured, match="STET_OPERATOR: say who you are"):
            current_person()
    monkeypatch.setenv("STET_OPERATOR", "ada")
    assert current_person() == "ada"


@pytest.mark.parametrize(("answer", "code"), [(typer.Abort(), 130), (False, 1)])
def test_a_question_that_is_interrupted_or_denied_changes_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: object, code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Mock(isatty=lambda: True))
    monkeypatch.setattr(typer, "confirm", Mock(side_effect=[answer]))
    with pytest.raises(typer.Exit) as ended:
        confirm("Pause tenant penrose?", yes=False)
    assert ended.value.exit_code == code
    assert "nothing was changed" in capsys.readouterr().err


def test_an_unreachable_database_ends_with_code_2_and_its_setting(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_POSTGRES_DSN", "postgresql://stet@127.0.0.1:1/stet")
    result = runner.invoke(app, ["tasks", "list"])
    assert result.exit_code == 2
    assert "STET_POSTGRES_DSN: no server at 127.0.0.1:1 answers that takes writes (connection refused)" in result.output


@pytest.mark.parametrize(
    ("error", "said", "then"),
    [
        (asyncpg.InvalidPasswordError("password authentication failed"), "password", "STET_POSTGRES_PASSWORD"),
        (asyncpg.InvalidAuthorizationSpecificationError("no such role"), "no such role", "correct the login"),
        (asyncpg.InvalidCatalogNameError("no such database"), "no such database", "stet migrate"),
        (asyncpg.InsufficientPrivilegeError("permission denied"), "permission denied", "operator's own login"),
        (asyncpg.TooManyConnectionsError("too many clients"), "too many clients", "max_connections"),
        (asyncpg.CannotConnectNowError("starting up"), "starting up", "wait until"),
        (ssl.SSLError(1, "[SSL] alert"), "TLS with the server fails", "sslkey"),
    ],
)
def test_an_error_of_the_database_is_said_with_what_to_do(
    capsys: pytest.CaptureFixture[str], error: Exception, said: str, then: str
) -> None:
    async def command() -> int:
        raise error

    with pytest.raises(typer.Exit) as ended:
        run(command())
    assert ended.value.exit_code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("STET_POSTGRES_DSN: ")
    assert said in printed
    assert then in printed


def test_a_certificate_that_has_ended_is_said_and_no_server_is_looked_for(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = ended_certificate(tmp_path)
    with tls_server(certificate) as port:
        monkeypatch.setenv("STET_TENANT", "penrose")
        dsn = f"postgresql://stet_operator@localhost:{port}/stet?sslmode=verify-full&sslrootcert={certificate}"
        monkeypatch.setenv("STET_POSTGRES_DSN", dsn)
        result = runner.invoke(app, ["lines", "list"])
    assert result.exit_code == 2
    assert "STET_POSTGRES_DSN: the server's certificate is not trusted: certificate has expired" in result.stderr
    assert "sslrootcert" in result.stderr


def test_a_file_that_is_missing_is_named_and_no_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    async def command() -> int:
        raise FileNotFoundError(2, "No such file or directory", "ca.pem")

    with pytest.raises(typer.Exit) as ended:
        run(command())
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "ca.pem: No such file or directory\n"


def test_an_unreachable_broker_ends_with_code_2_its_address_and_no_line_of_the_client(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = runner.invoke(app, ["topics", "check"])
    assert result.exit_code == 2
    assert result.output.startswith("STET_KAFKA_BOOTSTRAP: no broker at 127.0.0.1:1 answers (no connection)")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "brokers", ["kafka", "kafka:", ":9092", "kafka:port", "kafka:99999", "kafka:0", "kafka:9092,other"]
)
def test_a_broker_without_a_port_is_named(runner: CliRunner, monkeypatch: pytest.MonkeyPatch, brokers: str) -> None:
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", brokers)
    result = runner.invoke(app, ["topics", "check"])
    assert result.exit_code == 2
    assert "is not host:port, such as kafka:9093" in result.output


def test_a_long_line_goes_on_below_its_own_indent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_lines(["  one two three four five six"])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["  one two three four", "  five six"]


def test_commands_do_not_print_the_errors_that_client_libraries_log() -> None:
    """Of a process that has no handler: Python would print it with its traceback."""
    program = """
import logging
from ops.command_settings import run
async def command():
    for client in ("asyncpg.pool", "aiokafka.conn"):
        logging.getLogger(client).error("an attempt failed")
    return 0
run(command())
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)  # noqa: S603 -- ours
    assert "an attempt failed" not in ended.stderr


def test_a_check_of_rules_loads_no_client_of_a_neighbour() -> None:
    """They are a tenth of its memory, and of a check of few rules a fifth of its time."""
    program = """
import sys
import ops.__main__, ops.rules.check, services.rules.scenario.player
print(sorted({"asyncio", "pydantic_settings", "ssl", "structlog"} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)  # noqa: S603 -- ours
    assert ended.stdout.strip() == "[]"


@pytest.fixture
def unchanged_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("unchanged_logs")
def test_log_lines_never_reach_the_standard_output_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The clients that services use log in commands, too."""
    assert run_stet("mapping", "inputs") == 0
    capsys.readouterr()
    get_logger().info("kafka.connected")
    get_logger().warning("secret.refused", setting="STET_CONSONANCE_KEY")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "kafka.connected" not in printed.err
    assert "secret.refused" in printed.err


def test_a_long_line_to_a_file_stays_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    line = "  " + "word " * 60 + "end"
    print_lines([line])
    assert capsys.readouterr().out == f"{line}\n"


_SLOW_IMPORT = """
import pathlib, time
print("loading", flush=True)
while not pathlib.Path(__file__).with_name("go").exists():
    time.sleep(0.05)
print("on")
raise SystemExit(3)
"""


@contextmanager
def _loading_program(folder: Path, on_interrupt: signal.Handlers) -> Iterator[subprocess.Popen[str]]:
    """``stet status`` with imports that wait for the file “go”, started so for Ctrl-C, and interrupted."""
    (folder / "typer.py").write_text(_SLOW_IMPORT, "utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "ops", "status"],
        env=os.environ | {"PYTHONPATH": f"{folder}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, on_interrupt),  # noqa: PLW1509 -- pytest has no threads here
    ) as loading:
        assert loading.stdout is not None
        assert loading.stdout.readline() == "loading\n"
        loading.send_signal(signal.SIGINT)
        yield loading


def test_an_interruption_while_the_program_loads_ends_it_silently(tmp_path: Path) -> None:
    with _loading_program(tmp_path, signal.SIG_DFL) as loading:
        _, errors = loading.communicate(timeout=60)
    assert (loading.returncode, errors) == (130, "")


def test_a_program_in_the_background_goes_on_after_an_interruption(tmp_path: Path) -> None:
    with _loading_program(tmp_path, signal.SIG_IGN) as loading:
        (tmp_path / "go").touch()
        output, _ = loading.communicate(timeout=60)
    assert (loading.returncode, output) == (3, "on\n")
