"""Child processes that end with the process that started them, however it ends.

Each runs under the process guard (``dev/process_guard.py``), with its id in a file while it runs. A child belongs to
no event loop: it may be started in one and killed in another, as fixtures of a whole test session need.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dev import process_guard
from shared.contracts.errors import StetError

_TICK = 0.02  # seconds between two looks at a process
_CHILDREN_SECONDS = 2.0  # for children to notice that their parent has ended
_AGE_SECONDS = 2.0  # by which a process may seem older or younger than its pid file
_TAIL_LINES = 25


class ProcessFailed(StetError):
    """A process ended, or was not ready in time; ``tail`` is the end of its log."""

    def __init__(self, name: str, what: str, log: Path, tail: str) -> None:
        super().__init__(f"{name} {what}; the end of its log, {log}:\n{tail or '(it wrote nothing)'}")
        self.name = name
        self.tail = tail


@dataclass(frozen=True)
class Command:
    """A process to run; ``ending`` is the signal that stops it, ``grace`` the seconds it then has."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ending: signal.Signals = signal.SIGTERM
    grace: float = 5.0
    user: str | None = None


class Child:
    """One process and its log, ``<folder>/logs/<name>.log``; it can be started again after it ended."""

    def __init__(self, command: Command, folder: Path) -> None:
        self.command = command
        self.log = folder / "logs" / f"{command.name}.log"
        self._pid_file = folder / "pids" / f"{command.name}.pid"
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        if self._pid is None:
            raise self._failed("was not started")
        return self._pid

    @property
    def alive(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    async def start(self) -> None:
        for path in (self.log, self._pid_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: ASYNC220 -- outlives the event loop it was started in
                self._guard_argv(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_inherited() | dict(self.command.environment),
                start_new_session=True,
            )
        try:
            await self.wait_until(self._started, timeout=10)
        except ProcessFailed:
            await self.stop()
            raise

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], timeout: float) -> None:  # noqa: ASYNC109 -- the error names the process
        """Return once ``ready``. Raises ProcessFailed when the process ends first or ``timeout`` seconds pass."""
        deadline = time.monotonic() + timeout
        while True:
            alive = self.alive  # read first: what it did before it ended counts
            if await ready():
                return
            if not alive:
                raise self._failed(f"ended with code {self._code()} before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready after {timeout:.0f} s")
            await asyncio.sleep(_TICK)

    def check(self) -> None:
        """Raises ProcessFailed when it was started and has ended."""
        if self._guard is not None and not self.alive:
            raise self._failed(f"ended with code {self._code()}")

    async def run(self) -> None:
        """Run a process that does one job, to its end. Raises ProcessFailed when its exit code is not 0."""
        try:
            await self.start()
            code = await self.ended()
        finally:
            await self.stop()
        if code != 0:
            raise self._failed(f"ended with code {code}")

    async def ended(self) -> int:
        """The exit code, once it has ended."""
        while self.alive:
            await asyncio.sleep(_TICK)
        return self._code()

    async def stop(self) -> None:
        """Ask it to end, and kill it after its grace; does nothing if it has ended already."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self.ended()
            self._pid_file.unlink(missing_ok=True)

    async def kill(self) -> None:
        """SIGKILL, and wait until it and its children have ended."""
        family = family_of(self.pid)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        await self.ended()
        await ended(family)
        await self.stop()

    def tail(self, lines: int = _TAIL_LINES) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _failed(self, what: str) -> ProcessFailed:
        return ProcessFailed(self.command.name, what, self.log, self.tail())

    def _guard_argv(self) -> list[str]:
        command = self.command
        settings = [str(self._pid_file), command.ending.name, str(command.grace), command.user or ""]
        return [sys.executable, "-S", "-E", str(process_guard.SCRIPT), *settings, *command.argv]

    async def _started(self) -> bool:
        with suppress(FileNotFoundError):
            self._pid = int(self._pid_file.read_text())
            return True
        return False

    def _code(self) -> int:
        return self._guard.returncode if self._guard is not None else -1


def _inherited() -> dict[str, str]:
    """The starter's environment without its own STET_ settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STET_")}


# ------------------------------------------------------------------ processes of an earlier start


async def end_leftovers(folder: Path) -> list[str]:
    """Kill the processes that an earlier starter of ``folder`` left running; returns their names."""
    names = []
    for pid_file in sorted((folder / "pids").glob("*.pid")):
        pid = int(pid_file.read_text())
        if _is_the_same(pid, pid_file.stat().st_mtime):
            family = family_of(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await ended(family)
            names.append(pid_file.stem)
        pid_file.unlink(missing_ok=True)
    return names


def _is_the_same(pid: int, written: float) -> bool:
    """A process older or younger than its file only has the same number."""
    try:
        born = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return bool(abs(born - written) < _AGE_SECONDS)


def family_of(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


async def ended(family: list[psutil.Process]) -> None:
    """Wait for processes that end with their parent by themselves; after _CHILDREN_SECONDS kill the rest."""
    deadline = time.monotonic() + _CHILDREN_SECONDS
    while alive := [process for process in family if _runs(process)]:
        if time.monotonic() > deadline:
            for process in alive:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        await asyncio.sleep(_TICK)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
