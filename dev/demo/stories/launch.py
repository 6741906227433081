"""Cover, jacket copy and metadata become final one by one, which is said once; so is that the cover was rejected."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_MARKETING, _PUBLICITY, _SALES = 51, 52, 53
_COMPONENTS = "works/61422/components"


async def play(stage: Stage) -> None:
    told = [stage.world.cast[contact] for contact in (_MARKETING, _PUBLICITY, _SALES)]
    await stage.at(london(4, 14, 11))
    await stage.edit("the cover is final", _COMPONENTS, front_cover="final")
    await stage.at(london(4, 15, 11))
    await stage.edit("the jacket copy is final", _COMPONENTS, jacket_copy="final")
    stage.silence()
    await stage.at(london(4, 16, 11))
    await stage.edit("the metadata are final", _COMPONENTS, metadata="final")
    for player in told:
        stage.hears(player, "Cover, jacket copy and metadata of “The Lighthouse Cookbook” are all final.")
    await stage.at(london(4, 19, 11))
    await stage.edit("the interior files are final too", _COMPONENTS, interior_files="final")
    stage.silence()
    await stage.at(london(4, 20, 11))
    await stage.edit("the cover is rejected", _COMPONENTS, front_cover="rejected")
    for player in told:
        stage.hears(player, "Please hold back “The Lighthouse Cookbook”: not everything is final any more")
    stage.silence()
    await stage.poll()


STORY = Story(
    title="A title is ready for launch, and then it is not",
    about=("The Lighthouse Cookbook",),
    roles={_MARKETING: "marketing", _PUBLICITY: "publicity", _SALES: "sales"},
    play=play,
)
