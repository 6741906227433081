"""The example rules of the language's authors check and pass their stories, unchanged.

They are in a folder beside the repository, or that of ``STET_RULE_EXAMPLES``. Templates and
``house.yaml``, which it lacks, are those of the shipped rules.
"""

import pytest

from services.rules.rulebook.rule_folder import RULE
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import play_story
from tests.services.rules.rulebooks import EXAMPLES, example_files

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason=f"{EXAMPLES} does not exist: STET_RULE_EXAMPLES names the folder of the example rules"
)


def test_every_example_is_checked_and_plays_its_stories() -> None:
    checked = check_files(example_files(), tested=False)
    assert [str(fault) for fault in checked.faults] == []
    assert len(checked.rulebook.rules) == len(list(EXAMPLES.glob(f"*{RULE}")))
    assert checked.stories
    assert [str(fault) for story in checked.stories for fault in play_story(story, checked.rulebook)] == []
