"""A permission is asked and given by the agent who stands in for the holder; an exclusive licence needs a signature."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_PERMISSION, _LICENCE = "R-2027-18", "R-2027-19"
_AGENT, _HOLDER, _LICENSOR, _MANAGER, _OTHER_MANAGER = 900, 812, 814, 40, 41
_LICENCE_TERMS = {
    "summary": "the French translation, exclusively, for seven years",
    "territory": "world",
    "languages": ["fre"],
    "formats": [],
    "exclusivity": "exclusive",
}


async def play(stage: Stage) -> None:
    await stage.at(london(4, 12, 10, 10))
    await _permission(stage)
    await stage.at(london(4, 13, 11))
    await _licence(stage)


async def _permission(stage: Stage) -> None:
    cast = stage.world.cast
    agent = cast[_AGENT]
    request = {"request_id": _PERMISSION, "work_id": 61418, "rights_holder": _HOLDER, "respond_by": "2027-04-30"}
    await stage.consonance("a permission is asked of Solène Marchetti", "rights_requests", request)
    stage.hears(agent, "vous demande l’autorisation", buttons=("J’autorise", "Je refuse", "Une question"))
    await stage.taps(agent, "J’autorise")
    await stage.wrote("recordRightsDecision", request_id=_PERMISSION, decision="approved", on_behalf_of=_HOLDER)
    await stage.wrote("advanceRightsWorkflow", to_stage="licensed")
    await stage.reads("rights_requests", {"request_id": _PERMISSION}, decision="approved", decided_by=_AGENT)
    await stage.reads("rights_records", {"work_id": 61418}, workflow_stage="licensed")
    stage.hears(agent, "Votre réponse est notée")
    for manager in (_MANAGER, _OTHER_MANAGER):
        stage.hears(cast[manager], "The rights holder approved the photograph of the quay for “A Grammar of Tides”")
    stage.silence()
    await stage.at(london(4, 12, 10, 40))
    await stage.taps(agent, "J’autorise")
    stage.hears(agent, "est déjà close")
    stage.silence()


async def _licence(stage: Stage) -> None:
    cast = stage.world.cast
    holder = cast[_LICENSOR]
    request = {
        "request_id": _LICENCE, "work_id": 61420, "rights_holder": _LICENSOR, "respond_by": "2027-05-07",
        "kind": "licence", "right_type": "translation", "terms": _LICENCE_TERMS,
        "asset": {"type": "translation", "description": "the translation"},
    }  # fmt: skip
    await stage.consonance("an exclusive licence is asked of Margaret Fairweather", "rights_requests", request)
    stage.hears(holder, "asks your permission to use the translation in “Le Phare d’hiver”")
    await stage.says(holder, "reacts with 👍", kind="reaction", text="👍")
    stage.hears(holder, "has your message and will come back to you")
    for manager in (_MANAGER, _OTHER_MANAGER):
        stage.hears(cast[manager], "Margaret Fairweather says “👍”", buttons=("Take it", "Not me"))
    stage.silence()
    await stage.at(london(4, 13, 11, 30))
    await stage.taps(holder, "Approve")
    await stage.wrote("recordRightsDecision", request_id=_LICENCE, decision="approved_subject_to_signature")
    await stage.reads("rights_requests", {"request_id": _LICENCE}, decision="approved_subject_to_signature")
    stage.hears(holder, "Your answer is noted")
    for manager in (_MANAGER, _OTHER_MANAGER):
        stage.hears(cast[manager], "The rights holder approved the translation for “Le Phare d’hiver”")


STORY = Story(
    title="A permission is asked and given",
    about=("A Grammar of Tides", "Le Phare d’hiver"),
    roles={
        _AGENT: "agent of the rights holder",
        _LICENSOR: "rights holder",
        _MANAGER: "rights manager",
        _OTHER_MANAGER: "rights manager",
    },
    play=play,
)
