"""A reply to a question that is closed changes nothing: the person is informed, and the owner gets the text."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_ESTATE, _MANAGERS = 817, (40, 41)
_REQUEST = "R-closed-1"


async def play(run: StoryRun) -> None:
    people = run.people
    estate = people[_ESTATE]
    await run.wait_until(london(4, 12, 10, 25))
    asked = {"request_id": _REQUEST, "work_id": 60022, "rights_holder": _ESTATE, "respond_by": "2027-05-07"}
    await run.change("a permission is asked", "rights_requests", asked)
    question = run.expect_message(estate, "vous demande l’autorisation")
    await run.edit("the request is withdrawn", f"rights_requests/{_REQUEST}", status="cancelled")
    run.expect_message(estate, "ne tient plus")
    await run.wait_until(london(4, 12, 10, 55))
    await run.tap(estate, "J’autorise")
    run.expect_message(estate, "est déjà close")
    for manager in _MANAGERS:
        run.expect_message(people[manager], "Étienne Rousselot answered “Approve”. It changed nothing")
    run.expect_no_message()
    await run.send_text(estate, "Pourtant, je veux bien", quoted=question.wamid)
    run.expect_message(estate, "est déjà close")
    for manager in _MANAGERS:
        run.expect_message(people[manager], "Étienne Rousselot: “Pourtant, je veux bien”")
    await run.expect_record("rights_requests", {"request_id": _REQUEST}, decision=None, status="cancelled")


STORY = DemoStory(
    title="A reply to a closed question",
    about=("Copper Bridges", "Étienne Rousselot"),
    roles={_ESTATE: "estate", **dict.fromkeys(_MANAGERS, "rights manager")},
    play=play,
)
