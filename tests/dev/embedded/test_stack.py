import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
import pytest

from dev import stack as stacks
from dev.layout import ROOT, Layout, Neighbours
from dev.processes import ProcessFailed
from dev.stack import Stack, StackOptions, announcement, locked
from shared.contracts.errors import Misconfigured

BARE = StackOptions(services=(), simulators=())
NEIGHBOURS = Neighbours("127.0.0.1:1", "postgresql://postgres@127.0.0.1:2/postgres")
PROMISED = {
    "ingest_url", "whatsapp_graph_url", "consonance_url", "kafka_bootstrap", "postgres_dsn", "whatsapp_app_secret",
    "whatsapp_verify_token", "consonance_webhook_secret", "phone_number_ids", "tenant",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _runs_elsewhere(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "RUN", run_folder)


@pytest.fixture
def _broker_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that starts no broker: its test is about another process, and a broker takes long to start."""
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", NEIGHBOURS.kafka_bootstrap)


@pytest.fixture
def _servers_elsewhere(_broker_elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_POSTGRES_DSN", NEIGHBOURS.postgres_dsn)


def test_the_document_has_every_promised_address(tmp_path: Path) -> None:
    document = Layout(tmp_path).document(NEIGHBOURS)
    assert document.keys() >= PROMISED
    assert json.loads(json.dumps(document)) == document


def test_no_two_stacks_share_a_secret_or_a_port(tmp_path: Path) -> None:
    one, other = Layout(tmp_path), Layout(tmp_path)
    assert one.secrets != other.secrets
    assert one.ingest_url != other.ingest_url


def test_each_service_has_a_health_port_of_its_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ingest = layout.service("ingest", NEIGHBOURS, {"STET_CONSONANCE_POLL_SECONDS": "60"}).environment
    rules = layout.service("rules", NEIGHBOURS, {}).environment
    assert layout.health_url("ingest").endswith(ingest["STET_HEALTH_PORT"])
    assert ingest["STET_HEALTH_PORT"] != rules["STET_HEALTH_PORT"]
    assert ingest["STET_CONSONANCE_POLL_SECONDS"] == "60"


def test_the_development_clock_needs_its_flag(tmp_path: Path) -> None:
    assert "STET_ALLOW_DEVELOPMENT_CLOCK" not in Layout(tmp_path).settings(NEIGHBOURS)
    settings = Layout(tmp_path, tmp_path / "clock").settings(NEIGHBOURS)
    assert settings["STET_ALLOW_DEVELOPMENT_CLOCK"] == "1"
    assert settings["STET_DEVELOPMENT_CLOCK"] == str(tmp_path / "clock")


def test_a_name_is_in_use_while_its_stack_runs(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(Misconfigured, match="is running already"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.integration
async def test_two_stacks_run_side_by_side_and_leave_no_process(run_folder: Path) -> None:
    async with Stack.open("one", options=BARE) as one, Stack.open("two", options=BARE) as two:
        assert one.neighbours != two.neighbours
        children = [psutil.Process(child.pid) for stack in (one, two) for child in stack.children.values()]
    assert not any(process.is_running() for process in children)
    assert {path.name for path in (run_folder / "one").iterdir()} == {"lock", "logs", "pids"}


@pytest.mark.integration
@pytest.mark.usefixtures("_broker_elsewhere")
async def test_a_database_that_died_is_reported_unless_it_was_killed_on_purpose() -> None:
    async with Stack.open(options=BARE) as stack:
        await stack.kill("postgres")
        stack.check()
        await stack.start("postgres")
        await (await asyncpg.connect(stack.neighbours.postgres_dsn)).close()
        os.kill(stack.children["postgres"].pid, signal.SIGKILL)
        await stack.children["postgres"].ended()
        with pytest.raises(ProcessFailed, match=r"(?s)postgres ended with code 137.*database system is ready"):
            stack.check()


@pytest.mark.integration
@pytest.mark.usefixtures("_servers_elsewhere")
async def test_business_time_starts_at_the_given_instant() -> None:
    start = datetime(2027, 3, 3, 9, tzinfo=UTC)
    name = "clocked"
    announcement(name).parent.mkdir(parents=True, exist_ok=True)
    announcement(name).write_text("{}")  # left by one that was killed
    async with Stack.open(
        name, development_clock=start, options=StackOptions(services=(), simulators=("whatsapp",))
    ) as stack:
        assert not announcement(name).exists()
        await stack.virtual_clock.run_until(start.replace(hour=17))
        assert stack.clock is not None
        assert stack.clock.now() == start.replace(hour=17)


@pytest.mark.integration
@pytest.mark.usefixtures("_broker_elsewhere")
async def test_a_process_that_does_not_start_is_named_and_the_others_end() -> None:
    options = StackOptions(services=(), simulators=("whatsapp",), arguments={"whatsapp": ("--no-such-option",)})
    with pytest.raises(ProcessFailed, match=r"(?s)^whatsapp ended with code 2.*--no-such-option"):
        async with Stack.open("broken", options=options):
            pytest.fail("it started")


@contextmanager
def up(name: str) -> Iterator[subprocess.Popen[str]]:
    script = "import sys; from dev.up import main, StackOptions; sys.exit(main(sys.argv[1], StackOptions((), ())))"
    argv = [sys.executable, "-c", script, name]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 -- our own module
        yield process
        process.kill()
    shutil.rmtree(ROOT / ".run" / name)


def announced(process: subprocess.Popen[str], name: str) -> dict[str, object]:
    place = ROOT / ".run" / name / "stack.json"
    deadline = time.monotonic() + 50
    while not place.exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(json.loads(place.read_text()))


@pytest.mark.integration
@pytest.mark.usefixtures("_broker_elsewhere")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_up_runs_until_it_is_interrupted(how: signal.Signals, unique_suffix: str) -> None:
    with up(unique_suffix) as process:
        pids = announced(process, unique_suffix)["pids"]
        assert isinstance(pids, dict)
        assert all(psutil.pid_exists(pid) for pid in pids.values())
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert not (ROOT / ".run" / unique_suffix / "stack.json").exists()


@pytest.mark.integration
@pytest.mark.usefixtures("_broker_elsewhere")
def test_up_ends_with_an_error_when_a_process_ends_by_itself(unique_suffix: str) -> None:
    with up(unique_suffix) as process:
        pids = announced(process, unique_suffix)["pids"]
        assert isinstance(pids, dict)
        os.kill(pids["postgres"], signal.SIGKILL)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "postgres ended with code 137" in said
    assert "database system is ready" in said
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
