"""Runs a command that ends when its starter ends: ``python process_guard.py PID_FILE SIGNAL GRACE USER COMMAND…``.

Only the starter holds the other end of this process's standard input, so the input closes when the starter ends, even
by SIGKILL. The command then gets SIGNAL, and SIGKILL after GRACE seconds. It needs the standard library only.
"""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__)


def guard(pid_file: Path, ending: signal.Signals, grace: float, user: str | None, command: list[str]) -> int:
    """Run ``command`` in a session of its own until it ends or standard input closes; returns a shell's exit code."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **identity(user))
    _write(pid_file, process.pid)
    threading.Thread(target=_end_with_input, args=(process, ending, grace), daemon=True).start()
    code = process.wait()
    _kill_group(process.pid)
    return code if code >= 0 else 128 - code


def identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _write(pid_file: Path, pid: int) -> None:
    draft = pid_file.with_suffix(".draft")
    draft.write_text(str(pid))
    draft.replace(pid_file)


def _end_with_input(process: subprocess.Popen[bytes], ending: signal.Signals, grace: float) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    process.send_signal(ending)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
        return
    _kill_group(process.pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, lambda *_: None)
    _pid_file, _signal, _grace, _user, *_command = sys.argv[1:]
    sys.exit(guard(Path(_pid_file), signal.Signals[_signal], float(_grace), _user or None, _command))
