"""Checking many rules with their stories: 2,000 of each in 60 seconds and 400 MB, fewer in so much less."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rule_folders import add_deadline_rules
from tests.cases.case_folders import ROOT, copy_shared_rule_files

MANY = 150
SECONDS = 2 * 60 * MANY / 2000 + 3
"""Of CPU: three for the start of the process, and twice the budget, for a busy machine's seconds do less."""
MEGABYTES = 150
CHECK = """\
import sys
from pathlib import Path
from tests.ops.stet_command import run_stet
code = run_stet("rules", "check", *sys.argv[1:])
print(Path("/proc/self/status").read_text())
sys.exit(code)
"""
"""The memory in a child's usage includes its parent's, from before it became a process of its own."""


@pytest.mark.timeout(300)  # the budget is of its own time, whatever else runs on the machine
def test_many_rules_with_their_stories_are_checked_within_the_budget(tmp_path: Path) -> None:
    folder = add_deadline_rules(copy_shared_rule_files(tmp_path / "rules"), MANY)
    command = [sys.executable, "-c", CHECK, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as checking:  # noqa: S603 -- our own
        assert checking.stdout is not None
        said = checking.stdout.read()
        _, status, used = os.wait4(checking.pid, 0)
        checking.returncode = os.waitstatus_to_exitcode(status)
    assert checking.returncode == 0, said
    assert f"{MANY} stories: fine" in said
    assert used.ru_utime + used.ru_stime < SECONDS
    assert int(said.rpartition("VmHWM:")[2].split()[0]) / 1024 < MEGABYTES
