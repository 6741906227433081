"""A date is set, moves, passes and is escalated; the moment the milestone is done, nobody hears of it again."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_DESIGNER, _COORDINATOR, _ESCALATION = 830, 22, 21
_MILESTONE = "M-2027-19"
_NEAR = "A date is coming up for “The Cartographer’s Garden”: First layouts is due on {}"


async def play(stage: Stage) -> None:
    await stage.at(london(4, 12, 10, 15))
    await _reminders(stage)
    await _overdue(stage)


async def _reminders(stage: Stage) -> None:
    """Five working days before, and again once the date has moved; then a question on the last working day."""
    both = [stage.world.cast[contact] for contact in (_DESIGNER, _COORDINATOR)]
    milestone = {
        "milestone_id": _MILESTONE, "work_id": 61419, "name": "First layouts", "milestone_key": "first_layouts",
        "due_on": "2027-04-20", "affected": [{"contact_id": _DESIGNER, "role": "designer"}],
    }  # fmt: skip
    await stage.consonance("the first layouts are due on 20 April", "milestones", milestone)
    stage.silence()
    await stage.at(london(4, 13, 9, 30))
    for player in both:
        stage.hears(player, _NEAR.format("20 April 2027"), at=london(4, 13, 9))
    await stage.at(london(4, 14, 10))
    await stage.edit("the date moves to 22 April", f"milestones/{_MILESTONE}", due_on="2027-04-22")
    stage.silence()
    await stage.at(london(4, 15, 9, 30))
    for player in both:
        stage.hears(player, _NEAR.format("22 April 2027"), at=london(4, 15, 9))
    await stage.at(london(4, 21, 8, 59))
    stage.silence()
    await stage.at(london(4, 21, 9, 30))
    designer = stage.world.cast[_DESIGNER]
    stage.hears(designer, "How does “The Cartographer’s Garden” stand?", at=london(4, 21, 9))
    await stage.taps(designer, "On time")
    stage.hears(designer, "Your answer is noted")


async def _overdue(stage: Stage) -> None:
    await stage.at(london(4, 23, 9, 30))
    for contact in (_DESIGNER, _COORDINATOR):
        stage.hears(
            stage.world.cast[contact], "has passed: First layouts was due on 22 April 2027", at=london(4, 23, 9)
        )
    await stage.at(london(4, 27, 9, 30))
    stage.hears(stage.world.cast[_ESCALATION], "“The Cartographer’s Garden” is overdue", at=london(4, 27, 9))
    stage.silence()
    await stage.at(london(4, 28, 12))
    await stage.edit("the first layouts are done", f"milestones/{_MILESTONE}", done_on="2027-04-28")


STORY = Story(
    title="A deadline comes near, moves, passes and is met late",
    about=("The Cartographer’s Garden",),
    roles={_DESIGNER: "designer", _COORDINATOR: "production coordinator", _ESCALATION: "escalation contact"},
    play=play,
)
