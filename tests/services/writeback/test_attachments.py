"""The files of a pitch reach its record: with the write, or after it where they come late."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.writeback.attachments import (
    FILES_WAIT,
    MediaFile,
    attachments_of,
    late_append,
    link_files,
    may_wait,
    open_files,
    reported_file,
)
from services.writeback.audit import WRITE_BUDGET
from services.writeback.store import WriteStore, save_files
from services.writeback.write_state import StoredWrite
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.whatsapp import MediaRefusal, MediaRefused, MediaStored, ScanVerdict
from shared.contracts.writes import AppendAcquisition, Attachment, RequestWrite, WriteInput
from tests.services.writeback.samples import NOW, pitch, request
from tests.services.writeback.writeback_under_test import WritebackUnderTest

FILE = "9b2f0c6d4a8e1f3b5d7c9e0a2b4c6d8e"
MANUSCRIPT = Attachment(media_id="M-1", mime="application/octet-stream", filename="tides.docx", file_id=FILE)
STORED = MediaStored(
    file_id=FILE,
    person_id=PersonId("p1"),
    url="s3://bucket/t/9b/9b2f.docx",
    mime="application/msword",
    size=4711,
    sha256="aa" * 32,
    verdict=ScanVerdict.CLEAN,
    at=NOW,
)
REFUSED = MediaRefused(file_id=FILE, person_id=PersonId("p1"), reason=MediaRefusal.INFECTED, at=NOW)


def write_with_file(requested_at: datetime = NOW) -> RequestWrite:
    data = request(pitch(attachments=(MANUSCRIPT,))).data
    assert isinstance(data, RequestWrite)
    return data.replace(requested_at=requested_at)


def test_a_kept_file_is_linked_with_its_true_type_and_size() -> None:
    write = write_with_file()
    assert open_files(write) == [FILE]
    linked = link_files(write, {FILE: reported_file(STORED)})
    (attachment,) = attachments_of(linked)
    assert (attachment.url, attachment.verdict, attachment.mime, attachment.size, attachment.filename) == (
        STORED.url, "clean", "application/msword", 4711, "tides.docx",
    )  # fmt: skip
    assert open_files(linked) == []


def test_a_refused_file_says_why_and_has_no_link() -> None:
    (attachment,) = attachments_of(link_files(write_with_file(), {FILE: reported_file(REFUSED)}))
    assert (attachment.url, attachment.verdict) == (None, "infected")


def test_a_file_that_is_not_kept_is_not_awaited() -> None:
    old = request(pitch(attachments=(MANUSCRIPT.replace(file_id=None),))).data
    assert isinstance(old, RequestWrite)
    assert open_files(old) == []


def test_a_write_waits_some_minutes_for_its_file() -> None:
    write = write_with_file()
    assert may_wait(write, NOW + FILES_WAIT - timedelta(seconds=1))
    assert not may_wait(write, NOW + FILES_WAIT)


def test_a_late_file_is_added_to_the_record_under_an_id_of_its_own() -> None:
    write, file = write_with_file(), reported_file(STORED)
    event = late_append(TenantId("t"), write, "t/acquisitions/PITCH-7", file, NOW)
    again = late_append(TenantId("t"), write, "t/acquisitions/PITCH-7", file, NOW + timedelta(days=1))
    assert isinstance(event.data, RequestWrite)
    assert isinstance(again.data, RequestWrite)
    assert isinstance(event.data.input, AppendAcquisition)
    assert event.data.write_id == again.data.write_id != write.write_id
    assert (event.data.input.reference, event.data.input.attachments[0].url) == (pitch().reference, STORED.url)
    assert event.partitionkey == "t/acquisitions/PITCH-7"


@pytest.mark.integration
async def test_a_record_gets_the_link_of_its_file_also_when_the_file_comes_after_it(
    writeback: WritebackUnderTest,
) -> None:
    now = writeback.store.clock.now()
    await writeback.enqueue(
        _requested(pitch(attachments=(MANUSCRIPT,)), "w1", now),
        _requested(pitch(dedupe_key="late", reference="PITCH-9", attachments=(_file("late"),)), "w2", now - FILES_WAIT),
    )
    await writeback.wait_for_outcomes("verified")  # the second does not wait any longer, the first still does
    await _report(writeback, now, reported_file(STORED), reported_file(STORED.replace(file_id="late")))
    await writeback.wait_for_outcomes("verified", "verified", "verified")
    made = {record["reference"]: record for record in await writeback.control("GET", "state/acquisitions")}
    assert made[pitch().reference]["attachments"][0]["url"] == STORED.url
    assert made["PITCH-9"]["attachments"][0].get("url") is None
    (entry,) = made["PITCH-9"]["entries"]
    assert (entry["attachments"][0]["url"], entry["attachments"][0]["verdict"]) == (STORED.url, "clean")


@pytest.mark.integration
@pytest.mark.parametrize("is_read_again", [False, True])
async def test_a_file_that_comes_as_its_write_goes_on_without_it_is_added_once(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch, *, is_read_again: bool
) -> None:
    """Also where the write has to wait for Consonance, and begins once more when the file is there."""
    if is_read_again:
        await writeback.inject_fault("http_503", operation="ReadAcquisition")
    now, await_files = writeback.store.clock.now(), WriteStore.await_files

    async def await_and_report(store: WriteStore, stored: StoredWrite, missing: Sequence[str]) -> Any:
        found = await await_files(store, stored, missing)
        await _report(writeback, now, reported_file(STORED))
        return found

    monkeypatch.setattr(WriteStore, "await_files", await_and_report)
    await writeback.enqueue(_requested(pitch(attachments=(MANUSCRIPT,)), "w1", now - FILES_WAIT))
    await writeback.wait_for_outcomes("verified", "verified")
    (made,) = await writeback.control("GET", "state/acquisitions")
    links = [one.get("url") for part in (made, *made["entries"]) for one in part["attachments"]]
    assert links == [None, STORED.url]


@pytest.mark.integration
async def test_a_file_that_came_before_its_write_goes_on_without_it_is_not_awaited(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, await_files = writeback.store.clock.now(), WriteStore.await_files

    async def report_and_await(store: WriteStore, stored: StoredWrite, missing: Sequence[str]) -> Any:
        await _report(writeback, now, reported_file(STORED))
        return await await_files(store, stored, missing)

    monkeypatch.setattr(WriteStore, "await_files", report_and_await)
    await writeback.enqueue(_requested(pitch(attachments=(MANUSCRIPT,)), "w1", now - FILES_WAIT))
    await writeback.wait_for_outcomes("verified")
    (made,) = await writeback.control("GET", "state/acquisitions")
    assert [one.get("url") for one in made["attachments"]] == [STORED.url]
    assert await writeback.pool.fetch("select from media_awaited") == []


def test_a_write_that_waits_for_its_file_is_no_gap_of_the_audit() -> None:
    assert FILES_WAIT + timedelta(minutes=2) <= WRITE_BUDGET


def _file(file_id: str) -> Attachment:
    return MANUSCRIPT.replace(file_id=file_id)


def _requested(given: WriteInput, write_id: str, at: datetime) -> Event:
    event = request(given, write_id, f"acquisitions/{write_id}", None)
    return event.replace(data=event.data.replace(requested_at=at))


async def _report(writeback: WritebackUnderTest, now: datetime, *files: MediaFile) -> None:
    event = request(pitch())
    async with writeback.pool.acquire() as connection, connection.transaction():
        await save_files(connection, [(event, file) for file in files], now)
