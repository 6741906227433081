"""Two people confirm a subtitle, and it goes downstream; a second time another user edits it first, and none does."""

from collections.abc import Sequence

from dev.demo.story import DemoStory, LineKind, london
from dev.demo.story_run import CONSONANCE, StoryRun
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import MetadataField

_HISTORIAN, _TRAVELLER, _FERRYWOMAN, _MANAGER = 803, 804, 807, 31
_CONFIRMED, _DISPUTED = 61421, 61423
_PROPOSED = "Forty sleepers and a window seat"
_MEANWHILE = "A history of crossing water"


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 13, 10))
    await _confirmed(run)
    await run.wait_until(london(4, 15, 10))
    await _conflict(run)


async def _ask(run: StoryRun, work: int, current: str, proposed: str, confirmers: Sequence[int]) -> None:
    item = {
        "item_id": f"I-{work}", "field": "subtitle", "level": "work", "target_ids": [work], "current_value": current,
        "current_hash": canonical_hash(MetadataField.SUBTITLE, current), "proposed_value": proposed,
    }  # fmt: skip
    people = [{"contact_id": contact, "role": "author"} for contact in confirmers]
    await run.push(
        f"a new subtitle is to be confirmed: “{proposed}”", "metadata.confirmation_requested",
        work=work, request_id=f"MC-{work}", items=[item], confirmers=people, quorum="all", respond_by="2027-04-23",
    )  # fmt: skip


async def _confirmed(run: StoryRun) -> None:
    people = run.people
    historian, traveller = people[_HISTORIAN], people[_TRAVELLER]
    await _ask(run, _CONFIRMED, "A traveller’s companion", _PROPOSED, (_HISTORIAN, _TRAVELLER))
    run.expect_message(historian, "We are about to change details of “Night Trains of Europe”")
    run.expect_message(traveller, "Nous allons modifier des données de « Night Trains of Europe »")
    await run.tap(historian, "Show me")
    run.expect_message(historian, f"Proposed: “{_PROPOSED}”. Nothing changes until you confirm.")
    await run.tap(historian, "Confirm")
    run.expect_message(historian, "Your answer is noted")
    run.expect_no_message()
    await run.wait_until(london(4, 13, 10, 40))
    await run.tap(traveller, "Je confirme")
    run.expect_message(traveller, "Votre réponse est notée")
    await run.expect_write("updateWork", id=_CONFIRMED, subtitle=_PROPOSED)
    await run.expect_record("works", {"id": _CONFIRMED}, subtitle=_PROPOSED)
    run.expect_message(people[_MANAGER], "are confirmed, entered and on their way to the channels")
    announced = await run.context.approved_metadata.changes_of(_CONFIRMED)
    run.expect([one["changes"][0]["new"] for one in announced] == [_PROPOSED], "announced downstream, once")
    await run.poll()
    run.expect_no_message()


async def _conflict(run: StoryRun) -> None:
    people = run.people
    historian, ferrywoman = people[_HISTORIAN], people[_FERRYWOMAN]
    await _ask(run, _DISPUTED, "A history of crossing", "Those who crossed", (_HISTORIAN, _FERRYWOMAN))
    for person in (historian, ferrywoman):
        run.expect_message(person, "We are about to change details of “Ferrymen”")
    await run.tap(historian, "Confirm")
    run.expect_message(historian, "Your answer is noted")
    await _edit_before_write(run)
    await run.tap(ferrywoman, "Confirm")
    run.expect_message(ferrywoman, "Your answer is noted")
    for person in (historian, ferrywoman, people[_MANAGER]):
        run.expect_message(person, "The answer about Ferrymen could not be entered")
    await run.expect_record("works", {"id": _DISPUTED}, subtitle=_MEANWHILE)
    run.expect(await run.context.approved_metadata.changes_of(_DISPUTED) == [], "nothing is announced downstream")
    await run.poll()
    run.expect_no_message()


async def _edit_before_write(run: StoryRun) -> None:
    """After the answers and before the write: just when writeback is about to look again."""
    edit = {"kind": "edit_before_write", "operation": "ReadWorkSubtitle", "work": _DISPUTED}
    run.note(LineKind.CHANGED, CONSONANCE, f"somebody changes it to “{_MEANWHILE}”, just before it would be written")
    await run.context.simulators.consonance("faults", {**edit, "field": "subtitle", "value": _MEANWHILE})


STORY = DemoStory(
    title="Metadata are confirmed by two; the second time somebody was faster",
    about=("Night Trains of Europe", "Ferrymen"),
    roles={_HISTORIAN: "author", _TRAVELLER: "author", _FERRYWOMAN: "author", _MANAGER: "metadata manager"},
    play=play,
)
