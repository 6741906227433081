"""A Consonance that only has its documented mutations: the other writes become tasks, and a person's word goes on."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun
from tests.flow.tools import run_tool

_TASKS = ("ops", "tasks")
_AGENT, _HOLDER, _MANAGERS = 900, 812, (40, 41)


async def play(run: StoryRun) -> None:
    people = run.people
    agent = people[_AGENT]
    await run.wait_until(london(4, 12, 10, 10))
    asked = {"request_id": "R-hand-1", "work_id": 61418, "rights_holder": _HOLDER, "respond_by": "2027-05-07"}
    await run.change("a permission is asked", "rights_requests", asked)
    run.expect_message(agent, "vous demande l’autorisation")
    await run.tap(agent, "J’autorise")
    run.expect_message(agent, "Votre réponse est notée")
    run.expect_message(agent, "une personne la saisit à la main")
    await _does(run, "rights.record_decision")
    await _does(run, "rights.advance_workflow")
    for manager in _MANAGERS:
        run.expect_message(people[manager], "The rights holder approved the photograph of the quay")
    run.expect("nothing waits" in await run_tool(run.context.stack, *_TASKS, "list"), "no task is left")


async def _does(run: StoryRun, operation: str) -> None:
    listed = await run_tool(run.context.stack, *_TASKS, "list")
    rows = [line for line in listed.splitlines() if operation.partition(".")[2] in line]
    run.expect(len(rows) == 1, f"one task is open: {operation}")
    number = next(word for word in rows[0].split() if word.isdecimal())
    await run_tool(run.context.stack, *_TASKS, "done", number, "--yes", "--reason", "entered by hand")
    await run.context.timeline.settled()


STORY = DemoStory(
    title="Only the documented mutations",
    about=("A Grammar of Tides",),
    roles={_AGENT: "agent", **dict.fromkeys(_MANAGERS, "rights manager")},
    play=play,
)
