"""A work reaches “Final proof approved” in Consonance; author, illustrator, editor and production lead are informed."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_WORK = "works/61417"
_AUTHOR, _ILLUSTRATOR, _EDITOR, _LEAD = 801, 802, 11, 22


async def play(run: StoryRun) -> None:
    people = run.people
    await run.wait_until(london(4, 12, 10, 5))
    await run.edit("the proofs of The Salt Road are marked final", _WORK, stage="Final proof approved")
    run.expect_message(people[_AUTHOR], "it is now at “final proofs approved”")
    run.expect_message(people[_ILLUSTRATOR], "l’ouvrage en est maintenant à « épreuves finales validées »")
    run.expect_message(people[_EDITOR], "is with your team")
    run.expect_message(people[_LEAD], "is with your team")
    run.expect_no_message()
    await run.wait_until(london(4, 12, 11, 5))
    run.expect(await run.poll() == 0, "a second poll tells nothing")
    run.expect_no_message()


STORY = DemoStory(
    title="A manuscript moves to a new stage",
    about=("The Salt Road",),
    roles={_AUTHOR: "author", _ILLUSTRATOR: "illustrator", _EDITOR: "editor", _LEAD: "production lead"},
    play=play,
)
