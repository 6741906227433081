"""STOP in the middle of a chain: one person hears nothing more, the others do, and the chain goes on."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_DESIGNER, _COORDINATOR, _ESCALATION = 831, 22, 21
_MILESTONE = "M-2027-26"


async def play(stage: Stage) -> None:
    await stage.at(london(4, 12, 10, 15))
    await _first_reminder(stage)
    await stage.at(london(4, 13, 12))
    designer = stage.world.cast[_DESIGNER]
    await stage.writes(designer, "Stop")
    stage.hears(designer, "Vous ne recevrez plus rien de Penrose & Lisle ici")
    await _without_her(stage)
    await stage.writes(designer, "REPRENDRE")
    stage.hears(designer, "Bon retour")


async def _first_reminder(stage: Stage) -> None:
    milestone = {
        "milestone_id": _MILESTONE, "work_id": 61426, "name": "First layouts", "milestone_key": "first_layouts",
        "due_on": "2027-04-20", "affected": [{"contact_id": _DESIGNER, "role": "designer"}],
    }  # fmt: skip
    await stage.consonance("the first layouts are due on 20 April", "milestones", milestone)
    await stage.at(london(4, 13, 9, 30))
    stage.hears(stage.world.cast[_DESIGNER], "Une échéance approche", at=london(4, 13, 8))
    stage.hears(stage.world.cast[_COORDINATOR], "A date is coming up")
    stage.silence()


async def _without_her(stage: Stage) -> None:
    """On the 19th only she would be asked; on the 21st the coordinator hears alone that the date has passed."""
    await stage.at(london(4, 20, 12))
    stage.silence()
    await stage.at(london(4, 21, 9, 30))
    stage.hears(stage.world.cast[_COORDINATOR], "is not marked as done")
    await stage.at(london(4, 23, 9, 30))
    stage.hears(stage.world.cast[_ESCALATION], "is overdue")
    stage.silence()
    await stage.edit("the first layouts are done", f"milestones/{_MILESTONE}", done_on="2027-04-23")


STORY = Story(
    title="STOP in the middle of a chain",
    about=("The Harbourmaster’s Account",),
    roles={_DESIGNER: "designer", _COORDINATOR: "production coordinator", _ESCALATION: "escalation contact"},
    play=play,
)
