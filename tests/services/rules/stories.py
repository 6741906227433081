"""Short stories told to the house's own rules, for what needs more than one of them or a table."""

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
def house_book() -> Rulebook:
    book, faults = load(read_folder(FOLDER))
    assert book is not None, faults
    return book


def story(people: str, *moves: str, about: str = "rights-approval") -> Story:
    cast = "\n".join(f"    {line}" for line in people.splitlines())
    text = HEAD.format(people=cast, play="\n".join(f"    - {move}" for move in moves))
    stories, faults = read_stories({f"{about}.test.yaml": text})
    assert not faults, faults
    return stories[0]


def faults(people: str, *moves: str) -> list[str]:
    return [fault.sentence for fault in play(story(people, *moves), house_book())]
