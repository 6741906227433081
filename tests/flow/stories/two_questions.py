"""The same question open twice in one chat: words alone are asked about; a quote or a button decides."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_HOLDER, _MANAGERS = 813, (40, 41)
_FIRST, _SECOND = "R-two-1", "R-two-2"


async def play(stage: Stage) -> None:
    holder = stage.world.cast[_HOLDER]
    await stage.at(london(4, 12, 10, 20))
    for request, work in ((_FIRST, 60008), (_SECOND, 60015)):
        asked = {"request_id": request, "work_id": work, "rights_holder": _HOLDER, "respond_by": "2027-05-07"}
        await stage.consonance("a permission is asked", "rights_requests", asked)
    first = stage.hears(holder, "in “Northern Rivers”")
    stage.hears(holder, "in “Paper Clocks”")
    await stage.writes(holder, "Yes, that is fine with me")
    stage.hears(holder, "You have more than one open question from us")
    stage.silence()
    await stage.writes(holder, "I mean this one", quoted=first.wamid)
    stage.hears(holder, "has your message and will come back to you")
    for manager in _MANAGERS:
        stage.hears(stage.world.cast[manager], "About Northern Rivers: Jürgen Abendroth says “I mean this one”")
    stage.silence()
    await _buttons(stage, first.wamid)


async def _buttons(stage: Stage, first: str) -> None:
    holder = stage.world.cast[_HOLDER]
    await stage.taps(holder, "Approve", message=first)
    await stage.wrote("recordRightsDecision", request_id=_FIRST, decision="approved")
    await stage.wrote("advanceRightsWorkflow", to_stage="licensed")
    stage.hears(holder, "Your answer is noted")
    await stage.taps(holder, "Decline")
    await stage.wrote("recordRightsDecision", request_id=_SECOND, decision="declined")
    stage.hears(holder, "Your answer is noted")
    for manager in _MANAGERS:
        stage.hears(stage.world.cast[manager], "approved the photograph of the quay for “Northern Rivers”")
        stage.hears(stage.world.cast[manager], "declined the photograph of the quay for “Paper Clocks”")


STORY = Story(
    title="The same question twice in one chat",
    about=("Northern Rivers", "Paper Clocks"),
    roles={_HOLDER: "rights holder", **dict.fromkeys(_MANAGERS, "rights manager")},
    play=play,
)
