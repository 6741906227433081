"""A work reaches “Final proof approved” in Consonance; author, illustrator, editor and production lead are told."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_WORK = "works/61417"
_AUTHOR, _ILLUSTRATOR, _EDITOR, _LEAD = 801, 802, 11, 22


async def play(stage: Stage) -> None:
    cast = stage.world.cast
    await stage.at(london(4, 12, 10, 5))
    await stage.edit("the proofs of The Salt Road are marked final", _WORK, stage="Final proof approved")
    stage.hears(cast[_AUTHOR], "it is now at “final proofs approved”")
    stage.hears(cast[_ILLUSTRATOR], "l’ouvrage en est maintenant à « épreuves finales validées »")
    stage.hears(cast[_EDITOR], "The next step is with your team")
    stage.hears(cast[_LEAD], "The next step is with your team")
    stage.silence()
    await stage.at(london(4, 12, 11, 5))
    stage.expect(await stage.poll() == 0, "a second poll tells nothing")
    stage.silence()


STORY = Story(
    title="A manuscript moves to a new stage",
    about=("The Salt Road",),
    roles={_AUTHOR: "author", _ILLUSTRATOR: "illustrator", _EDITOR: "editor", _LEAD: "production lead"},
    play=play,
)
