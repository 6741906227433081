"""Short stories for the rule files of this repository, for tests that need several of them or a table."""

from functools import lru_cache
from pathlib import Path

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story, read_stories

FOLDER = Path(__file__).parents[3] / "rules"
HEAD = """\
- it: goes so
  start: 2027-03-03T10:00:00Z
  people:
{people}
  play:
{play}
"""


@lru_cache(maxsize=1)
def own_rulebook() -> Rulebook:
    book, faults = load(read_folder(FOLDER))
    assert book is not None, faults
    return book


def story(people: str, *steps: str, rule: str = "rights-approval") -> Story:
    lines = "\n".join(f"    {line}" for line in people.splitlines())
    text = HEAD.format(people=lines, play="\n".join(f"    - {step}" for step in steps))
    stories, faults = read_stories({f"{rule}.test.yaml": text})
    assert not faults, faults
    return stories[0]


def story_faults(people: str, *steps: str) -> list[str]:
    return [fault.sentence for fault in play_story(story(people, *steps), own_rulebook())]
