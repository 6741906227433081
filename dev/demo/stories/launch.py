"""Cover, jacket copy and metadata become final one by one, and people are told once; they also learn that the cover was
rejected.
"""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_MARKETING, _PUBLICITY, _SALES = 51, 52, 53
_COMPONENTS = "works/61422/components"


async def play(run: StoryRun) -> None:
    told = [run.people[contact] for contact in (_MARKETING, _PUBLICITY, _SALES)]
    await run.wait_until(london(4, 14, 11))
    await run.edit("the cover is final", _COMPONENTS, front_cover="final")
    await run.wait_until(london(4, 15, 11))
    await run.edit("the jacket copy is final", _COMPONENTS, jacket_copy="final")
    run.expect_no_message()
    await run.wait_until(london(4, 16, 11))
    await run.edit("the metadata are final", _COMPONENTS, metadata="final")
    for person in told:
        run.expect_message(person, "Cover, jacket copy and metadata of “The Lighthouse Cookbook” are all final.")
    await run.wait_until(london(4, 19, 11))
    await run.edit("the interior files are final too", _COMPONENTS, interior_files="final")
    run.expect_no_message()
    await run.wait_until(london(4, 20, 11))
    await run.edit("the cover is rejected", _COMPONENTS, front_cover="rejected")
    for person in told:
        run.expect_message(person, "Please hold back “The Lighthouse Cookbook”: not everything is final any more")
    run.expect_no_message()
    await run.poll()


STORY = DemoStory(
    title="A title is ready for launch, and then it is not",
    about=("The Lighthouse Cookbook",),
    roles={_MARKETING: "marketing", _PUBLICITY: "publicity", _SALES: "sales"},
    play=play,
)
