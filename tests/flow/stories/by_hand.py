"""A Consonance that only has its documented mutations: the other writes become tasks, and a person's word goes on."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london
from tests.flow.tools import run_tool

_TASKS = "services.writeback.tasks"
_AGENT, _HOLDER, _MANAGERS = 900, 812, (40, 41)


async def play(stage: Stage) -> None:
    cast = stage.world.cast
    agent = cast[_AGENT]
    await stage.at(london(4, 12, 10, 10))
    asked = {"request_id": "R-hand-1", "work_id": 61418, "rights_holder": _HOLDER, "respond_by": "2027-05-07"}
    await stage.consonance("a permission is asked", "rights_requests", asked)
    stage.hears(agent, "vous demande l’autorisation")
    await stage.taps(agent, "J’autorise")
    stage.hears(agent, "Votre réponse est notée")
    stage.hears(agent, "une personne la saisit à la main")
    await _does(stage, "rights.record_decision")
    await _does(stage, "rights.advance_workflow")
    for manager in _MANAGERS:
        stage.hears(cast[manager], "The rights holder approved the photograph of the quay")
    stage.expect("nothing waits" in await run_tool(stage.world.stack, _TASKS, "list"), "no task is left")


async def _does(stage: Stage, operation: str) -> None:
    listed = await run_tool(stage.world.stack, _TASKS, "list")
    rows = [line for line in listed.splitlines() if operation.partition(".")[2] in line]
    stage.expect(len(rows) == 1, f"one task is open: {operation}")
    number = next(word for word in rows[0].split() if word.isdecimal())
    await run_tool(stage.world.stack, _TASKS, "done", number, "--note", "entered by hand")
    await stage.world.timeline.settled()


STORY = Story(
    title="Only the documented mutations",
    about=("A Grammar of Tides",),
    roles={_AGENT: "agent", **dict.fromkeys(_MANAGERS, "rights manager")},
    play=play,
)
