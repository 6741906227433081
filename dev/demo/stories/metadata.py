"""Two people confirm a subtitle, and it goes downstream; in a second run somebody edits it first, and nothing does."""

from collections.abc import Sequence

from dev.demo.stage import CONSONANCE, Stage
from dev.demo.story import Story, london
from dev.demo.transcript import Kind
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import MetadataField

_HISTORIAN, _TRAVELLER, _FERRYWOMAN, _MANAGER = 803, 804, 807, 31
_CONFIRMED, _DISPUTED = 61421, 61423
_PROPOSED = "Forty sleepers and a window seat"
_MEANWHILE = "A history of crossing water"


async def play(stage: Stage) -> None:
    await stage.at(london(4, 13, 10))
    await _confirmed(stage)
    await stage.at(london(4, 15, 10))
    await _conflict(stage)


async def _ask(stage: Stage, work: int, current: str, proposed: str, confirmers: Sequence[int]) -> None:
    item = {
        "item_id": f"I-{work}", "field": "subtitle", "level": "work", "target_ids": [work], "current_value": current,
        "current_hash": canonical_hash(MetadataField.SUBTITLE, current), "proposed_value": proposed,
    }  # fmt: skip
    people = [{"contact_id": contact, "role": "author"} for contact in confirmers]
    await stage.push(
        f"a new subtitle is to be confirmed: “{proposed}”", "metadata.confirmation_requested",
        work=work, request_id=f"MC-{work}", items=[item], confirmers=people, quorum="all", respond_by="2027-04-23",
    )  # fmt: skip


async def _confirmed(stage: Stage) -> None:
    cast = stage.world.cast
    historian, traveller = cast[_HISTORIAN], cast[_TRAVELLER]
    await _ask(stage, _CONFIRMED, "A traveller’s companion", _PROPOSED, (_HISTORIAN, _TRAVELLER))
    stage.hears(historian, "We are about to change details of “Night Trains of Europe”")
    stage.hears(traveller, "Nous allons modifier des données de « Night Trains of Europe »")
    await stage.taps(historian, "Show me")
    stage.hears(historian, f"Proposed: “{_PROPOSED}”. Nothing changes until you confirm.")
    await stage.taps(historian, "Confirm")
    stage.hears(historian, "Your answer is noted")
    stage.silence()
    await stage.at(london(4, 13, 10, 40))
    await stage.taps(traveller, "Je confirme")
    stage.hears(traveller, "Votre réponse est notée")
    await stage.wrote("updateWork", id=_CONFIRMED, subtitle=_PROPOSED)
    await stage.reads("works", {"id": _CONFIRMED}, subtitle=_PROPOSED)
    stage.hears(cast[_MANAGER], "are confirmed, entered and on their way to the channels")
    announced = await stage.world.downstream.announced(_CONFIRMED)
    stage.expect([one["changes"][0]["new"] for one in announced] == [_PROPOSED], "announced downstream, once")
    await stage.poll()
    stage.silence()


async def _conflict(stage: Stage) -> None:
    cast = stage.world.cast
    historian, ferrywoman = cast[_HISTORIAN], cast[_FERRYWOMAN]
    await _ask(stage, _DISPUTED, "A history of crossing", "Those who crossed", (_HISTORIAN, _FERRYWOMAN))
    for player in (historian, ferrywoman):
        stage.hears(player, "We are about to change details of “Ferrymen”")
    await stage.taps(historian, "Confirm")
    stage.hears(historian, "Your answer is noted")
    await _somebody_edits(stage)
    await stage.taps(ferrywoman, "Confirm")
    stage.hears(ferrywoman, "Your answer is noted")
    for player in (historian, ferrywoman, cast[_MANAGER]):
        stage.hears(player, "The answer about Ferrymen could not be entered")
    await stage.reads("works", {"id": _DISPUTED}, subtitle=_MEANWHILE)
    stage.expect(await stage.world.downstream.announced(_DISPUTED) == [], "nothing is announced downstream")
    await stage.poll()
    stage.silence()


async def _somebody_edits(stage: Stage) -> None:
    """After the answers and before the write: just when writeback is about to look again."""
    edit = {"kind": "edit_before_write", "operation": "ReadWorkSubtitle", "work": _DISPUTED}
    stage.tell(Kind.DID, CONSONANCE, f"somebody changes it to “{_MEANWHILE}”, just before it would be written")
    await stage.world.outside.in_consonance("faults", {**edit, "field": "subtitle", "value": _MEANWHILE})


STORY = Story(
    title="Metadata are confirmed by two; the second time somebody was faster",
    about=("Night Trains of Europe", "Ferrymen"),
    roles={_HISTORIAN: "author", _TRAVELLER: "author", _FERRYWOMAN: "author", _MANAGER: "metadata manager"},
    play=play,
)
