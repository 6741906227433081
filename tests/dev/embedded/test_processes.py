import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dev.layout import ROOT
from dev.processes import Child, Command, ProcessFailed, end_leftovers, family_of
from tests.dev.embedded.starter import FORKING

SLEEPS = "import time; time.sleep(600)"


def child(folder: Path, script: str, environment: dict[str, str] | None = None, grace: float = 5) -> Child:
    return Child(Command("sample", (sys.executable, "-c", script), environment or {}, grace=grace), folder)


@contextmanager
def starter(what: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "tests.dev.embedded.starter", what, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: S603 -- our own module
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        process.kill()


async def vanished(family: list[psutil.Process]) -> None:
    await asyncio.to_thread(psutil.wait_procs, family, timeout=15)
    assert not any(process.is_running() for process in family)


@pytest.mark.integration
@pytest.mark.parametrize("what", ["forking", "kafka", "postgres"])
async def test_everything_ends_with_a_starter_that_is_killed(what: str, run_folder: Path) -> None:
    with starter(what, run_folder) as process:
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2  # the guard and at least one process under it
        process.send_signal(signal.SIGKILL)
        await vanished(family)


@pytest.mark.integration
async def test_a_database_whose_guard_was_killed_too_is_ended_by_the_next_start(run_folder: Path) -> None:
    with starter("postgres", run_folder) as process:
        guard, *family = psutil.Process(process.pid).children(recursive=True)
        (server,) = guard.children()  # its own workers come and go
        guard.kill()
    assert server.is_running()
    assert await end_leftovers(run_folder) == ["postgres"]
    await vanished(family)


async def test_an_unrelated_process_with_the_same_id_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids" / "postgres.pid"
    pid_file.parent.mkdir()
    pid_file.write_text(str(os.getpid()))
    os.utime(pid_file, (1, 1))
    assert await end_leftovers(tmp_path) == []
    assert not pid_file.exists()


async def test_stop_first_asks_a_process_to_end(tmp_path: Path) -> None:
    farewell = "import signal, time; signal.signal(15, lambda *_: print('bye') or exit(3)); print('up', flush=True);"
    polite = child(tmp_path, farewell + SLEEPS)
    await polite.start()
    await polite.wait_until(lambda: _said(polite, "up"), timeout=10)
    await polite.stop()
    assert await polite.ended() == 3
    assert polite.tail() == "up\nbye"


async def test_stop_kills_a_process_that_ignores_the_signal_and_its_children(tmp_path: Path) -> None:
    deaf = child(tmp_path, FORKING, grace=0.1)
    await deaf.start()
    family = family_of(deaf.pid)
    await deaf.stop()
    await vanished(family)


async def test_a_killed_process_can_be_started_again(tmp_path: Path) -> None:
    process = child(tmp_path, SLEEPS)
    await process.start()
    first = process.pid
    await process.kill()
    assert not psutil.pid_exists(first)
    await process.start()
    assert process.pid != first
    await process.stop()


async def test_an_early_end_names_the_process_and_shows_its_last_lines(tmp_path: Path) -> None:
    process = child(tmp_path, "print('the reason'); exit(7)")
    await process.start()
    with pytest.raises(ProcessFailed, match=r"(?s)sample ended with code 7 before it was ready.*the reason"):
        await process.wait_until(_never, timeout=10)
    await process.stop()


async def test_the_error_names_a_process_that_is_never_ready(tmp_path: Path) -> None:
    process = child(tmp_path, SLEEPS)
    await process.start()
    with pytest.raises(ProcessFailed, match="sample was not ready after 0 s"):
        await process.wait_until(_never, timeout=0.1)
    await process.stop()


async def test_the_error_names_a_program_that_does_not_exist(tmp_path: Path) -> None:
    missing = Child(Command("sample", ("/nowhere/at/all",)), tmp_path)
    with pytest.raises(ProcessFailed, match=r"(?s)sample ended.*/nowhere/at/all"):
        await missing.start()


async def test_only_its_own_settings_reach_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_TENANT", "somebody")
    script = "import os; print({k: v for k, v in os.environ.items() if k.startswith('STET_')})"
    process = child(tmp_path, script, environment={"STET_SIGNING_KEYS": "given"})
    await process.run()
    assert process.tail() == "{'STET_SIGNING_KEYS': 'given'}"


async def _said(process: Child, word: str) -> bool:
    return word in process.tail()


async def _never() -> bool:
    return False
