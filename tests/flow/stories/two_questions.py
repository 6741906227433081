"""The same question open twice in one chat: words alone are asked about; a quote or a button decides."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_HOLDER, _MANAGERS = 813, (40, 41)
_FIRST, _SECOND = "R-two-1", "R-two-2"


async def play(run: StoryRun) -> None:
    holder = run.people[_HOLDER]
    await run.wait_until(london(4, 12, 10, 20))
    for request, work in ((_FIRST, 60008), (_SECOND, 60015)):
        asked = {"request_id": request, "work_id": work, "rights_holder": _HOLDER, "respond_by": "2027-05-07"}
        await run.change("a permission is asked", "rights_requests", asked)
    first = run.expect_message(holder, "in “Northern Rivers”")
    run.expect_message(holder, "in “Paper Clocks”")
    await run.send_text(holder, "Yes, that is fine with me")
    run.expect_message(holder, "You have more than one open question from us")
    run.expect_no_message()
    await run.send_text(holder, "I mean this one", quoted=first.wamid)
    run.expect_message(holder, "has your message and will come back to you")
    for manager in _MANAGERS:
        run.expect_message(run.people[manager], "About Northern Rivers: Jürgen Abendroth says “I mean this one”")
    run.expect_no_message()
    await _buttons(run, first.wamid)


async def _buttons(run: StoryRun, first: str) -> None:
    holder = run.people[_HOLDER]
    await run.tap(holder, "Approve", message=first)
    await run.expect_write("recordRightsDecision", request_id=_FIRST, decision="approved")
    await run.expect_write("advanceRightsWorkflow", to_stage="licensed")
    run.expect_message(holder, "Your answer is noted")
    await run.tap(holder, "Decline")
    await run.expect_write("recordRightsDecision", request_id=_SECOND, decision="declined")
    run.expect_message(holder, "Your answer is noted")
    for manager in _MANAGERS:
        run.expect_message(run.people[manager], "approved the photograph of the quay for “Northern Rivers”")
        run.expect_message(run.people[manager], "declined the photograph of the quay for “Paper Clocks”")


STORY = DemoStory(
    title="The same question twice in one chat",
    about=("Northern Rivers", "Paper Clocks"),
    roles={_HOLDER: "rights holder", **dict.fromkeys(_MANAGERS, "rights manager")},
    play=play,
)
