"""Short stories for the rule files of this repository, for tests that need several of them or a table."""

from functools import lru_cache
from pathlib import Path

from services.rules.rulebook.loader import load, read_folder
from services.rules.rulebook.model import Rulebook
from services.rules.story.model import Story
from services.rules.story.play import play
from services.rules.story.read import read_stories

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
    book, story_faults = load(read_folder(FOLDER))
    assert book is not None, story_faults
    return book


def story(people: str, *moves: str, about: str = "rights-approval") -> Story:
    cast = "\n".join(f"    {line}" for line in people.splitlines())
    text = HEAD.format(people=cast, play="\n".join(f"    - {move}" for move in moves))
    stories, story_faults = read_stories({f"{about}.test.yaml": text})
    assert not story_faults, story_faults
    return stories[0]


def story_faults(people: str, *moves: str) -> list[str]:
    return [fault.sentence for fault in play(story(people, *moves), own_rulebook())]
