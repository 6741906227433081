"""Checking many rules with their stories: 2,000 of each in 60 seconds and 400 MB, fewer in so much less."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
RULE = """\
rule: {name}
owner: production
why: {{en: You work on this title., fr: Vous travaillez sur ce titre.}}
on: [schedule.date_set, schedule.date_changed]
if: {{new_due: {{exists: true}}, work.title: Title {name}}}
about: milestone_id
steps:
  - at: 3 working days before new_due
    tell: affected
    say: deadline_near
  - at: new_due
    hand_over: production_lead
    say: {name}_late
until:
  - milestone.completed
"""
TEMPLATE = """\
template: {name}_late
category: utility
version: 1
fields: {{title: work.title}}
languages:
  en:
    body: The corrections of “{{title}}” ({name}) are not back. Can you take it?
    buttons: {{take: Take it, not_me: Not me}}
"""
STORY = """\
- it: goes so
  start: 2027-03-15T10:00:00Z
  people: {{830: {{roles: [designer], country: GB}}, 21: {{roles: [production_lead], country: GB}}}}
  play:
    - event: schedule.date_set
      with: {{new_due: 2027-04-01, affected: [830], work.title: Title {name}}}
    - expect: nothing
    - wait until: 2027-03-25T09:00:00Z
    - expect: [{{tell: 830, say: deadline_near, text: 1 April 2027}}]
    - wait until: 2027-04-02T08:00:00Z
    - expect: [{{hand_over: 21, say: {name}_late}}]
    - reply: {{from: 21, button: take}}
    - expect: [{{tell: 21, say: taken}}]
"""


@pytest.mark.timeout(300)  # the budget is of its own time, whatever else runs on the machine
def test_many_rules_with_their_stories_are_checked_within_the_budget(tmp_path: Path) -> None:
    folder = copy_shared_rule_files(tmp_path / "rules")
    for number in range(MANY):
        name = f"r{number:04}"
        folder.joinpath(f"{name}.rule.yaml").write_text(RULE.format(name=name), "utf-8")
        folder.joinpath(f"{name}_late.template.yaml").write_text(TEMPLATE.format(name=name), "utf-8")
        folder.joinpath(f"{name}.test.yaml").write_text(STORY.format(name=name), "utf-8")
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
