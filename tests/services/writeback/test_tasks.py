"""What Consonance cannot do becomes a task with the exact values; a person closes it, and what waited goes on."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from dev.consonance.schema import Profile
from shared.contracts.consonance import MetadataField
from tests.infrastructure import ROOT
from tests.services.writeback.desk import Desk, at_desk
from tests.services.writeback.samples import advance, decision, item, metadata, pitch, request

pytestmark = pytest.mark.integration


@pytest.fixture
async def documented(postgres_database: str) -> AsyncIterator[Desk]:
    """A Consonance that offers only what is public."""
    async with at_desk(postgres_database, profile=Profile.DOCUMENTED) as desk:
        yield desk


def command(dsn: str, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STET_POSTGRES_DSN": dsn, "COLUMNS": "200"}
    call = [sys.executable, "-m", f"services.writeback.{module}", *words]
    return subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- ours


async def test_later_writes_of_the_record_wait_behind_its_task(documented: Desk, postgres_database: str) -> None:
    decided = request(decision(needs_signature=True), "w1", "rights/R-9", 61418)
    declined = request(decision(needs_signature=True), "w2", "rights/R-9", 61418)
    await documented.ask(decided, declined, request(advance(), "w4", "rights/R-9", 61418))
    await documented.heard("manual")
    await documented.ask(request(metadata(), "w3"))
    await documented.heard("manual", "verified", "approved")
    assert (await documented.ledger.backlog())[:3] == (0, 2, 1)
    told = command(postgres_database, "tasks", "done", "1", "--note", "entered in the contract")
    assert told.returncode == 0, told.stderr
    await documented.heard("manual", "verified", "approved", "done_by_hand", "already_applied", "conflict")


async def test_a_task_names_what_to_do_and_why(documented: Desk, postgres_database: str) -> None:
    name = item("Ann Writer", "A. Writer", field=MetadataField.CONTRIBUTOR_NAME)
    await documented.ask(request(metadata(name)))
    await documented.heard("manual")
    listed = command(postgres_database, "tasks", "list").stdout
    shown = command(postgres_database, "tasks", "show", "1").stdout
    assert "metadata.apply" in listed
    assert "unsupported" in listed
    assert all(words in shown for words in ("A. Writer", "Ann Writer", "Shall the subtitle read so?", "wamid.1"))


async def test_metadata_done_by_hand_goes_downstream(documented: Desk, postgres_database: str) -> None:
    await documented.ask(request(metadata(item("Ann", "A.", field=MetadataField.CONTRIBUTOR_NAME))))
    await documented.heard("manual")
    command(postgres_database, "tasks", "done", "1")
    await documented.heard("manual", "done_by_hand", "approved")
    change = (await documented.events())[2]["data"]["changes"][0]
    assert (change["old"], change["new"]) == ("A.", "Ann")


async def test_a_pitch_by_hand_keeps_its_reference_and_is_not_asked_for_again(
    documented: Desk, postgres_database: str
) -> None:
    await documented.ask(request(pitch(), "w1", "acquisitions/d1", None))
    await documented.heard("manual")
    command(postgres_database, "tasks", "done", "1")
    await documented.ask(request(pitch(reference="PITCH-8"), "w2", "acquisitions/d1", None))
    await documented.heard("manual", "done_by_hand", "already_applied")
    assert [event["data"]["reference"] for event in await documented.events()] == ["PITCH-7"] * 3


async def test_what_is_readable_is_compared_before_a_person_is_asked(documented: Desk) -> None:
    old = item("New", "Not what stands", field=MetadataField.SHORT_DESCRIPTION)
    await documented.ask(request(metadata(old)))
    await documented.heard("conflict")


async def test_a_task_is_closed_once(documented: Desk, postgres_database: str) -> None:
    await documented.ask(request(decision(), "w1", "rights/R-9", 61418))
    await documented.heard("manual")
    first, second = (command(postgres_database, "tasks", "done", "1") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 1)
    assert "closed before" in second.stderr
    assert command(postgres_database, "tasks", "show", "9").returncode == 1


def test_a_missing_setting_is_named() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "STET_POSTGRES_DSN"}
    call = [sys.executable, "-m", "services.writeback.tasks", "list"]
    told = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- ours
    assert (told.returncode, told.stderr) == (2, "STET_POSTGRES_DSN: not set\n")
