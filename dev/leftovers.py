"""Ending what an earlier start left behind: by the ids in its pid files, never by name."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

_TICK = 0.02  # seconds between two looks at a process
_PATIENCE = 2.0  # seconds in which children must have noticed that their parent is gone
_SLACK = 2.0  # seconds by which a process may seem older or younger than the file that names it


async def end_leftovers(folder: Path) -> list[str]:
    """End what an earlier starter of ``folder`` left running; returns their names."""
    names = []
    for pid_file in sorted((folder / "pids").glob("*.pid")):
        pid = int(pid_file.read_text())
        if _is_the_one(pid, pid_file.stat().st_mtime):
            family = family_of(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await gone(family)
            names.append(pid_file.stem)
        pid_file.unlink(missing_ok=True)
    return names


def _is_the_one(pid: int, written: float) -> bool:
    """A process of another age than the file that names it only inherited the number."""
    try:
        born = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return bool(abs(born - written) < _SLACK)


def family_of(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


async def gone(family: list[psutil.Process]) -> None:
    """Wait for those who end with their parent by themselves; whoever has not after _PATIENCE is killed."""
    deadline = time.monotonic() + _PATIENCE
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
