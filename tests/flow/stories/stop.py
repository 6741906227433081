"""STOP in the middle of a chain: one person gets no more messages, the others do, and the chain goes on."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_DESIGNER, _COORDINATOR, _ESCALATION = 831, 22, 21
_MILESTONE = "M-2027-26"


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 12, 10, 15))
    await _first_reminder(run)
    await run.wait_until(london(4, 13, 12))
    designer = run.people[_DESIGNER]
    await run.send_text(designer, "Stop")
    run.expect_message(designer, "Vous ne recevrez plus rien de Penrose & Lisle ici")
    await _without_her(run)
    await run.send_text(designer, "REPRENDRE")
    run.expect_message(designer, "Bon retour")


async def _first_reminder(run: StoryRun) -> None:
    milestone = {
        "milestone_id": _MILESTONE, "work_id": 61426, "name": "First layouts", "milestone_key": "first_layouts",
        "due_on": "2027-04-20", "affected": [{"contact_id": _DESIGNER, "role": "designer"}],
    }  # fmt: skip
    await run.change("the first layouts are due on 20 April", "milestones", milestone)
    await run.wait_until(london(4, 13, 9, 30))
    run.expect_message(run.people[_DESIGNER], "Une échéance approche", at=london(4, 13, 8))
    run.expect_message(run.people[_COORDINATOR], "A date is coming up")
    run.expect_no_message()


async def _without_her(run: StoryRun) -> None:
    """On the 19th only she would be asked; on the 21st only the coordinator is informed that the date has passed."""
    await run.wait_until(london(4, 20, 12))
    run.expect_no_message()
    await run.wait_until(london(4, 21, 9, 30))
    run.expect_message(run.people[_COORDINATOR], "is not marked as done")
    await run.wait_until(london(4, 23, 9, 30))
    run.expect_message(run.people[_ESCALATION], "is overdue")
    run.expect_no_message()
    await run.edit("the first layouts are done", f"milestones/{_MILESTONE}", done_on="2027-04-23")


STORY = DemoStory(
    title="STOP in the middle of a chain",
    about=("The Harbourmaster’s Account",),
    roles={_DESIGNER: "designer", _COORDINATOR: "production coordinator", _ESCALATION: "escalation contact"},
    play=play,
)
