"""A stranger, known to WhatsApp by a user id only, pitches a book in chat; what they write later is added to it."""

from collections.abc import Mapping
from typing import Any

from dev.demo.people import DemoPerson
from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

STRANGER = "Wren Calloway"
_STRANGER = DemoPerson("a stranger", STRANGER, "en", "US")
PITCH = "I have written a book about the women who kept lighthouses"
_SUMMARY = ("Send", "Change", "Cancel")


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 12, 14))
    await _first_answers(run)
    await _correction(run)
    reference = await _sent(run)
    await run.wait_until(london(4, 13, 15))
    await _follow_up(run, reference)


async def _first_answers(run: StoryRun) -> None:
    await run.send_text(_STRANGER, PITCH, line="acquisitions")
    run.expect_message(_STRANGER, "Our editors read what you send here; we keep it for twelve months")
    run.expect_message(_STRANGER, "What is the working title?")
    await run.wait_until(london(4, 12, 14, 2))
    await run.send_text(_STRANGER, "The Keepers", line="acquisitions")
    run.expect_message(_STRANGER, "Which kind of book is it?")
    await run.send_text(_STRANGER, "2", line="acquisitions")
    run.expect_message(_STRANGER, "Was any of it written with AI?", buttons=("No", "Yes", "Partly"))
    await run.tap(_STRANGER, "No")
    run.expect_message(_STRANGER, "Send the manuscript or a sample")
    await run.wait_until(london(4, 12, 14, 10))
    await run.send(_STRANGER, "sends keepers.pdf", kind="document", filename="keepers.pdf", line="acquisitions")


async def _correction(run: StoryRun) -> None:
    run.expect_message(_STRANGER, "Title: The Keepers. Author: Wren Calloway. Kind: Non-fiction.", buttons=_SUMMARY)
    await run.tap(_STRANGER, "Change")
    run.expect_message(_STRANGER, "Which part shall we change?")
    await run.send_text(_STRANGER, "1", line="acquisitions")
    run.expect_message(_STRANGER, "What is the working title?")
    await run.send_text(_STRANGER, "The Keepers of the Light", line="acquisitions")
    run.expect_message(
        _STRANGER, f"Title: The Keepers of the Light. Author: Wren Calloway. Kind: Non-fiction. About: {PITCH}"
    )


async def _sent(run: StoryRun) -> str:
    await run.tap(_STRANGER, "Send")
    given = await run.expect_write("createAcquisition", title="The Keepers of the Light", genre="non_fiction")
    which = {"reference": given["reference"]}
    kept = await run.expect_record(
        "acquisitions", which, title="The Keepers of the Light", submitter_name="Wren Calloway"
    )
    run.expect(kept["pitch_text"] == PITCH, "the pitch is kept as it was written")
    run.expect([one["file_name"] for one in kept["attachments"]] == ["keepers.pdf"], "with the one PDF")
    (manuscript,) = kept["attachments"]
    run.expect(_is_kept(manuscript), f"which is stored: {manuscript.get('url')}, {manuscript.get('bytes')} bytes")
    run.expect_message(_STRANGER, f"is with our editors under the reference {given['reference']}")
    run.expect_no_message()
    return str(given["reference"])


def _is_kept(attachment: Mapping[str, Any]) -> bool:
    """Whether a record links to the file in the store; its name there says nothing about its author."""
    url = str(attachment.get("url") or "")
    return url.endswith(".pdf") and "keepers" not in url and bool(attachment.get("bytes"))


async def _follow_up(run: StoryRun, reference: str) -> None:
    await run.send_text(_STRANGER, "A chapter about Grace Darling is ready too", line="acquisitions")
    await run.expect_write(
        "appendToAcquisition", reference=reference, text="A chapter about Grace Darling is ready too"
    )
    kept = await run.expect_record("acquisitions", {"submitter_name": "Wren Calloway"}, reference=reference)
    run.expect(len(kept["entries"]) == 1, "there is one acquisition, and one message is added to it")
    await run.wait_until(london(4, 13, 15, 2))
    run.expect_message(_STRANGER, f"with your submission {reference}", buttons=("It is another book",))


STORY = DemoStory(
    title="A stranger pitches a book, and writes again",
    roles={},
    guests={_STRANGER: "stranger"},
    play=play,
)
