"""Runs a server in the foreground, as the only service of a container: its output is ours, its exit code too.

SIGTERM and SIGINT are passed on as the signal that ends this server cleanly; PostgreSQL, for one, would wait on SIGTERM
until its last client has gone.
"""

import os
import signal
import subprocess
from types import FrameType

from dev.process_guard import identity
from dev.processes import Command


def run_in_foreground(command: Command) -> int:
    """Run ``command`` until it ends; returns a shell's exit code."""
    process = subprocess.Popen(command.argv, env=os.environ | dict(command.environment), **identity(command.user))

    def end(_signal: int, _frame: FrameType | None) -> None:
        process.send_signal(command.ending)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    code = process.wait()
    return code if code >= 0 else 128 - code
