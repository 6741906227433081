"""A reply to a question that is closed changes nothing: the person is told so, and the owner hears what they said."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_ESTATE, _MANAGERS = 817, (40, 41)
_REQUEST = "R-closed-1"


async def play(stage: Stage) -> None:
    cast = stage.world.cast
    estate = cast[_ESTATE]
    await stage.at(london(4, 12, 10, 25))
    asked = {"request_id": _REQUEST, "work_id": 60022, "rights_holder": _ESTATE, "respond_by": "2027-05-07"}
    await stage.consonance("a permission is asked", "rights_requests", asked)
    question = stage.hears(estate, "vous demande l’autorisation")
    await stage.edit("the request is withdrawn", f"rights_requests/{_REQUEST}", status="cancelled")
    stage.hears(estate, "ne tient plus")
    await stage.at(london(4, 12, 10, 55))
    await stage.taps(estate, "J’autorise")
    stage.hears(estate, "est déjà close")
    for manager in _MANAGERS:
        stage.hears(cast[manager], "Étienne Rousselot answered “Approve”. It changed nothing")
    stage.silence()
    await stage.writes(estate, "Pourtant, je veux bien", quoted=question.wamid)
    stage.hears(estate, "est déjà close")
    for manager in _MANAGERS:
        stage.hears(cast[manager], "Étienne Rousselot: “Pourtant, je veux bien”")
    await stage.reads("rights_requests", {"request_id": _REQUEST}, decision=None, status="cancelled")


STORY = Story(
    title="A reply to a closed question",
    about=("Copper Bridges", "Étienne Rousselot"),
    roles={_ESTATE: "estate", **dict.fromkeys(_MANAGERS, "rights manager")},
    play=play,
)
