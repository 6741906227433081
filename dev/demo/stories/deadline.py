"""A date is set, moves, passes and is escalated; once the milestone is done, no message follows."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_DESIGNER, _COORDINATOR, _ESCALATION = 830, 22, 21
_MILESTONE = "M-2027-19"
_NEAR = "A date is coming up for “The Cartographer’s Garden”: First layouts is due on {}"


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 12, 10, 15))
    await _reminders(run)
    await _overdue(run)


async def _reminders(run: StoryRun) -> None:
    """Five working days before, and again once the date has moved; then a question on the last working day."""
    both = [run.people[contact] for contact in (_DESIGNER, _COORDINATOR)]
    milestone = {
        "milestone_id": _MILESTONE, "work_id": 61419, "name": "First layouts", "milestone_key": "first_layouts",
        "due_on": "2027-04-20", "affected": [{"contact_id": _DESIGNER, "role": "designer"}],
    }  # fmt: skip
    await run.change("the first layouts are due on 20 April", "milestones", milestone)
    run.expect_no_message()
    await run.wait_until(london(4, 13, 9, 30))
    for person in both:
        run.expect_message(person, _NEAR.format("20 April 2027"), at=london(4, 13, 9))
    await run.wait_until(london(4, 14, 10))
    await run.edit("the date moves to 22 April", f"milestones/{_MILESTONE}", due_on="2027-04-22")
    run.expect_no_message()
    await run.wait_until(london(4, 15, 9, 30))
    for person in both:
        run.expect_message(person, _NEAR.format("22 April 2027"), at=london(4, 15, 9))
    await run.wait_until(london(4, 21, 8, 59))
    run.expect_no_message()
    await run.wait_until(london(4, 21, 9, 30))
    designer = run.people[_DESIGNER]
    run.expect_message(designer, "How does “The Cartographer’s Garden” stand?", at=london(4, 21, 9))
    await run.tap(designer, "On time")
    run.expect_message(designer, "Your answer is noted")


async def _overdue(run: StoryRun) -> None:
    await run.wait_until(london(4, 23, 9, 30))
    for contact in (_DESIGNER, _COORDINATOR):
        run.expect_message(
            run.people[contact], "has passed: First layouts was due on 22 April 2027", at=london(4, 23, 9)
        )
    await run.wait_until(london(4, 27, 9, 30))
    run.expect_message(run.people[_ESCALATION], "“The Cartographer’s Garden” is overdue", at=london(4, 27, 9))
    run.expect_no_message()
    await run.wait_until(london(4, 28, 12))
    await run.edit("the first layouts are done", f"milestones/{_MILESTONE}", done_on="2027-04-28")


STORY = DemoStory(
    title="A deadline comes near, moves, passes and is met late",
    about=("The Cartographer’s Garden",),
    roles={_DESIGNER: "designer", _COORDINATOR: "production coordinator", _ESCALATION: "escalation contact"},
    play=play,
)
