"""An unsupported write becomes a task with the exact values; once it is closed, later writes go on."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from dev.consonance.schema import Profile
from services.writeback.evidence_store import fetch_chain
from shared.contracts.consonance import MetadataField
from tests.infrastructure import ROOT
from tests.services.writeback.samples import TENANT, advance, decision, item, metadata, pitch, request
from tests.services.writeback.writeback_under_test import WritebackUnderTest, running_writeback

DONE = ("tasks", "done", "1", "--yes", "--reason", "entered in the contract")
pytestmark = pytest.mark.integration


@pytest.fixture
async def documented(postgres_database: str) -> AsyncIterator[WritebackUnderTest]:
    """Before a Consonance with only the documented mutations."""
    async with running_writeback(postgres_database, profile=Profile.DOCUMENTED) as writeback:
        yield writeback


def command(dsn: str, group: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STET_POSTGRES_DSN": dsn, "STET_TENANT": TENANT, "COLUMNS": "200"}
    call = [sys.executable, "-m", "ops", group, *arguments]
    return subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- ours


async def test_later_writes_of_a_record_wait_behind_its_task(
    documented: WritebackUnderTest, postgres_database: str
) -> None:
    decided = request(decision(needs_signature=True), "w1", "rights/R-9", 61418)
    declined = request(decision(needs_signature=True), "w2", "rights/R-9", 61418)
    await documented.enqueue(decided, declined, request(advance(), "w4", "rights/R-9", 61418))
    await documented.wait_for_outcomes("manual")
    await documented.enqueue(request(metadata(), "w3"))
    await documented.wait_for_outcomes("manual", "verified", "approved")
    assert (await documented.store.fetch_backlog())[:3] == (0, 2, 1)
    result = command(postgres_database, *DONE)
    assert result.returncode == 0, result.stderr
    await documented.wait_for_outcomes("manual", "verified", "approved", "done_by_hand", "already_applied", "conflict")


async def test_a_task_shows_the_change_and_its_evidence(documented: WritebackUnderTest, postgres_database: str) -> None:
    name = item("Ann Writer", "A. Writer", field=MetadataField.CONTRIBUTOR_NAME)
    await documented.enqueue(request(metadata(name)))
    await documented.wait_for_outcomes("manual")
    listed = command(postgres_database, "tasks", "list").stdout
    shown = command(postgres_database, "tasks", "show", "1", "--reason", "a test").stdout
    assert "metadata.apply" in listed
    assert "unsupported" in listed
    assert all(text in shown for text in ("A. Writer", "Ann Writer", "Shall the subtitle read so?", "wamid.1"))


async def test_metadata_done_by_hand_goes_downstream(documented: WritebackUnderTest, postgres_database: str) -> None:
    await documented.enqueue(request(metadata(item("Ann", "A.", field=MetadataField.CONTRIBUTOR_NAME))))
    await documented.wait_for_outcomes("manual")
    command(postgres_database, *DONE)
    await documented.wait_for_outcomes("manual", "done_by_hand", "approved")
    change = (await documented.events())[2]["data"]["changes"][0]
    assert (change["old"], change["new"]) == ("A.", "Ann")


async def test_a_pitch_by_hand_keeps_its_reference_and_is_created_once(
    documented: WritebackUnderTest, postgres_database: str
) -> None:
    await documented.enqueue(request(pitch(), "w1", "acquisitions/d1", None))
    await documented.wait_for_outcomes("manual")
    command(postgres_database, *DONE)
    await documented.enqueue(request(pitch(reference="PITCH-8"), "w2", "acquisitions/d1", None))
    await documented.wait_for_outcomes("manual", "done_by_hand", "already_applied")
    assert [event["data"]["reference"] for event in await documented.events()] == ["PITCH-7"] * 3


async def test_a_readable_value_is_compared_before_a_task_is_opened(documented: WritebackUnderTest) -> None:
    old = item("New", "Not what stands", field=MetadataField.SHORT_DESCRIPTION)
    await documented.enqueue(request(metadata(old)))
    await documented.wait_for_outcomes("conflict")


async def test_a_task_whose_write_is_not_wanted_any_more_is_dropped(
    documented: WritebackUnderTest, postgres_database: str
) -> None:
    """The request was cancelled, or the work is gone: nothing counts as written, and later writes go on."""
    name = item("Ann", "A.", field=MetadataField.CONTRIBUTOR_NAME)
    await documented.enqueue(request(metadata(name), "w1"))
    await documented.wait_for_outcomes("manual")
    await documented.enqueue(request(metadata(), "w2"))
    dropped = command(postgres_database, "tasks", "drop", "1", "--yes", "--reason", "the work was cancelled")
    assert dropped.returncode == 0, dropped.stderr
    await documented.wait_for_outcomes("manual", "conflict", "verified", "approved")
    assert (await documented.events())[1]["data"]["detail"] == "dropped"
    async with documented.pool.acquire() as connection:
        entry = (await fetch_chain(connection, TENANT, "works/61421")).entries[1].document()
    assert entry is not None
    assert (entry["outcome"], entry["detail"], entry["note"]) == ("conflict", "dropped", "the work was cancelled")
    assert "closed before" in command(postgres_database, *DONE).stderr


async def test_a_task_is_closed_once(documented: WritebackUnderTest, postgres_database: str) -> None:
    await documented.enqueue(request(decision(), "w1", "rights/R-9", 61418))
    await documented.wait_for_outcomes("manual")
    first, second = (command(postgres_database, *DONE) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 1)
    assert "closed before" in second.stderr
    assert command(postgres_database, "tasks", "show", "9", "--reason", "a test").returncode == 1


def test_a_missing_setting_is_named() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "STET_POSTGRES_DSN"}
    environment["STET_TENANT"] = "penrose"  # or the settings of a running stack are used
    call = [sys.executable, "-m", "ops", "tasks", "list"]
    result = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- ours
    advice = "or let --stack, before the command, name the stack.json of a stack"
    assert (result.returncode, result.stderr) == (2, f"STET_POSTGRES_DSN: not set; {advice}\n")
