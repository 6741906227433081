"""A permission is asked and given by the agent who stands in for the holder; an exclusive licence needs a signature."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_PERMISSION, _LICENCE = "R-2027-18", "R-2027-19"
_AGENT, _HOLDER, _LICENSOR, _MANAGER, _OTHER_MANAGER = 900, 812, 814, 40, 41
_LICENCE_TERMS = {
    "summary": "the French translation, exclusively, for seven years",
    "territory": "world",
    "languages": ["fre"],
    "formats": [],
    "exclusivity": "exclusive",
}


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 12, 10, 10))
    await _permission(run)
    await run.wait_until(london(4, 13, 11))
    await _licence(run)


async def _permission(run: StoryRun) -> None:
    people = run.people
    agent = people[_AGENT]
    request = {"request_id": _PERMISSION, "work_id": 61418, "rights_holder": _HOLDER, "respond_by": "2027-04-30"}
    await run.change("a permission is asked of Solène Marchetti", "rights_requests", request)
    run.expect_message(agent, "vous demande l’autorisation", buttons=("J’autorise", "Je refuse", "Une question"))
    await run.tap(agent, "J’autorise")
    await run.expect_write("recordRightsDecision", request_id=_PERMISSION, decision="approved", on_behalf_of=_HOLDER)
    await run.expect_write("advanceRightsWorkflow", to_stage="licensed")
    await run.expect_record("rights_requests", {"request_id": _PERMISSION}, decision="approved", decided_by=_AGENT)
    await run.expect_record("rights_records", {"work_id": 61418}, workflow_stage="licensed")
    run.expect_message(agent, "Votre réponse est notée")
    for manager in (_MANAGER, _OTHER_MANAGER):
        run.expect_message(
            people[manager], "The rights holder approved the photograph of the quay for “A Grammar of Tides”"
        )
    run.expect_no_message()
    await run.wait_until(london(4, 12, 10, 40))
    await run.tap(agent, "J’autorise")
    run.expect_message(agent, "est déjà close")
    run.expect_no_message()


async def _licence(run: StoryRun) -> None:
    people = run.people
    holder = people[_LICENSOR]
    request = {
        "request_id": _LICENCE, "work_id": 61420, "rights_holder": _LICENSOR, "respond_by": "2027-05-07",
        "kind": "licence", "right_type": "translation", "terms": _LICENCE_TERMS,
        "asset": {"type": "translation", "description": "the translation"},
    }  # fmt: skip
    await run.change("an exclusive licence is asked of Margaret Fairweather", "rights_requests", request)
    run.expect_message(holder, "asks your permission to use the translation in “Le Phare d’hiver”")
    await run.send(holder, "reacts with 👍", kind="reaction", text="👍")
    run.expect_message(holder, "has your message and will come back to you")
    for manager in (_MANAGER, _OTHER_MANAGER):
        run.expect_message(people[manager], "Margaret Fairweather says “👍”", buttons=("Take it", "Not me"))
    run.expect_no_message()
    await run.wait_until(london(4, 13, 11, 30))
    await run.tap(holder, "Approve")
    await run.expect_write("recordRightsDecision", request_id=_LICENCE, decision="approved_subject_to_signature")
    await run.expect_record("rights_requests", {"request_id": _LICENCE}, decision="approved_subject_to_signature")
    run.expect_message(holder, "Your answer is noted")
    for manager in (_MANAGER, _OTHER_MANAGER):
        run.expect_message(people[manager], "The rights holder approved the translation for “Le Phare d’hiver”")


STORY = DemoStory(
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
