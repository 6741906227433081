"""The example rules of the language's authors check and pass their stories, unchanged.

They are in a folder beside the repository, or that of ``STET_RULE_EXAMPLES``. What they do not contain, templates and
``house.yaml``, is that of the shipped rules.
"""

import os
from pathlib import Path

import pytest

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.rule_folder import FORM, RULE, STORIES, read_folder
from services.rules.scenario.folder_check import Checked, check_files
from services.rules.scenario.player import play_story

ROOT = Path(__file__).parents[3]
EXAMPLES = Path(os.environ.get("STET_RULE_EXAMPLES", ROOT.parent / "shared/rules-examples"))

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason=f"{EXAMPLES} does not exist: STET_RULE_EXAMPLES names the folder of the example rules"
)


def checked_examples() -> Checked:
    report = FaultReport()
    examples, shipped = read_folder(EXAMPLES, report), read_folder(ROOT / "rules", report)
    assert not report.faults
    named = {file.rpartition("/")[2] for file in examples}
    missing = {
        file: text
        for file, text in shipped.items()
        if file.rpartition("/")[2] not in named and not file.endswith((RULE, FORM, STORIES))
    }
    return check_files(missing | examples, tested=False)


def test_every_example_is_checked_and_plays_its_stories() -> None:
    checked = checked_examples()
    assert [str(fault) for fault in checked.faults] == []
    assert len(checked.rulebook.rules) == len(list(EXAMPLES.glob(f"*{RULE}")))
    assert checked.stories
    assert [str(fault) for story in checked.stories for fault in play_story(story, checked.rulebook)] == []
