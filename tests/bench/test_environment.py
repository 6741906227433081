"""The CPU that a bench counts for a process."""

import sys
from subprocess import PIPE, Popen

from bench.environment import cpu_seconds

_SECONDS = 0.2
_WORK = f"import time\nwhile time.process_time() < {_SECONDS}: pass"
_PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-S", "-c", {_WORK!r}], check=True)
print("ended", flush=True)
sys.stdin.read()
"""


def test_the_cpu_of_a_child_that_has_ended_counts() -> None:
    with Popen([sys.executable, "-S", "-c", _PARENT], stdin=PIPE, stdout=PIPE) as parent:  # noqa: S603 -- our own script
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == b"ended\n"
        counted = cpu_seconds({"parent": parent.pid})["parent"]
        parent.stdin.close()
    assert counted > _SECONDS / 2  # the kernel counts in hundredths
