"""Freezes a process, so that it answers nothing while its connections stay open."""

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_SECONDS = 10.0
_STANDS_STILL = frozenset("TtZX")
"""The letters of stopped, traced and ended threads: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Within it each thread of the process and of its children stands still; the signal alone takes its time."""
    parent = psutil.Process(pid)
    parent.send_signal(signal.SIGSTOP)
    processes = [parent, *parent.children(recursive=True)]
    try:
        _send(processes, signal.SIGSTOP)
        deadline = time.monotonic() + _SECONDS
        while not all(_stands_still(process.pid) for process in processes):
            assert time.monotonic() < deadline, "a process that was told to stop still runs"
            time.sleep(0.001)
        yield
    finally:
        _send(processes, signal.SIGCONT)


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """A child may have ended by itself."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _stands_still(pid: int) -> bool:
    return _STANDS_STILL.issuperset(_states(pid))


def _states(pid: int) -> Iterator[str]:
    """The state of each thread; one that has ended has none."""
    for thread in Path("/proc").glob(f"{pid}/task/*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield thread.read_text().rpartition(") ")[2][0]
