"""A stranger, known to WhatsApp by a user id only, pitches a book in chat; what they write later is added to it."""

from dev.demo.cast import Player
from dev.demo.stage import Stage
from dev.demo.story import Story, london

_STRANGER = Player("a stranger", "Wren Calloway", "en", "US")
_PITCH = "I have written a book about the women who kept lighthouses"
_SUMMARY = ("Send", "Change", "Cancel")


async def play(stage: Stage) -> None:
    await stage.at(london(4, 12, 14))
    await _first_answers(stage)
    await _correction(stage)
    reference = await _sent(stage)
    await stage.at(london(4, 13, 15))
    await _follow_up(stage, reference)


async def _first_answers(stage: Stage) -> None:
    await stage.writes(_STRANGER, _PITCH, line="acquisitions")
    stage.hears(_STRANGER, "Our editors read what you send here; we keep it for twelve months")
    stage.hears(_STRANGER, "What is the working title?")
    await stage.at(london(4, 12, 14, 2))
    await stage.writes(_STRANGER, "The Keepers", line="acquisitions")
    stage.hears(_STRANGER, "Which kind of book is it?")
    await stage.writes(_STRANGER, "2", line="acquisitions")
    stage.hears(_STRANGER, "Was any of it written with AI?", buttons=("No", "Yes", "Partly"))
    await stage.taps(_STRANGER, "No")
    stage.hears(_STRANGER, "Send the manuscript or a sample")
    await stage.at(london(4, 12, 14, 10))
    await stage.says(_STRANGER, "sends keepers.pdf", kind="document", filename="keepers.pdf", line="acquisitions")


async def _correction(stage: Stage) -> None:
    stage.hears(_STRANGER, "Title: The Keepers. Author: Wren Calloway. Kind: Non-fiction.", buttons=_SUMMARY)
    await stage.taps(_STRANGER, "Change")
    stage.hears(_STRANGER, "Which part shall we change?")
    await stage.writes(_STRANGER, "1", line="acquisitions")
    stage.hears(_STRANGER, "What is the working title?")
    await stage.writes(_STRANGER, "The Keepers of the Light", line="acquisitions")
    stage.hears(
        _STRANGER, f"Title: The Keepers of the Light. Author: Wren Calloway. Kind: Non-fiction. About: {_PITCH}"
    )


async def _sent(stage: Stage) -> str:
    await stage.taps(_STRANGER, "Send")
    given = await stage.wrote("createAcquisition", title="The Keepers of the Light", genre="non_fiction")
    which = {"reference": given["reference"]}
    kept = await stage.reads("acquisitions", which, title="The Keepers of the Light", submitter_name="Wren Calloway")
    stage.expect(kept["pitch_text"] == _PITCH, "the pitch is kept as it was written")
    stage.expect([one["file_name"] for one in kept["attachments"]] == ["keepers.pdf"], "with the one PDF")
    stage.hears(_STRANGER, f"is with our editors under the reference {given['reference']}")
    stage.silence()
    return str(given["reference"])


async def _follow_up(stage: Stage, reference: str) -> None:
    await stage.writes(_STRANGER, "A chapter about Grace Darling is ready too", line="acquisitions")
    await stage.wrote("appendToAcquisition", reference=reference, text="A chapter about Grace Darling is ready too")
    kept = await stage.reads("acquisitions", {"submitter_name": "Wren Calloway"}, reference=reference)
    stage.expect(len(kept["entries"]) == 1, "there is one acquisition, and one message is added to it")
    stage.hears(_STRANGER, f"with your submission {reference}")


STORY = Story(
    title="A stranger pitches a book, and writes again",
    roles={},
    guests={_STRANGER: "stranger"},
    play=play,
)
