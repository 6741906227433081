"""Evidence is complete, exists for every outcome, and cannot be altered by the service that wrote it."""

import asyncpg
import orjson
import pytest

from tests.services.writeback.samples import NEW_SUBTITLE, SUBTITLE, metadata, request
from tests.services.writeback.test_manual_tasks import command
from tests.services.writeback.writeback_under_test import WritebackUnderTest

pytestmark = pytest.mark.integration


async def test_evidence_holds_the_request_its_proof_and_the_value_read_back(
    writeback: WritebackUnderTest, postgres_database: str
) -> None:
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    shown = command(postgres_database, "evidence", "show", "works/61421")
    (line,) = map(orjson.loads, shown.stdout.splitlines())
    assert (line["outcome"], line["proof"]["reply"], line["proof"]["rendered"]) == (
        "verified",
        "yes",
        "Shall the subtitle read so?",
    )
    (read,) = line["read_back"]
    assert (read["before"], read["asked"], read["read"]) == (SUBTITLE, NEW_SUBTITLE, NEW_SUBTITLE)


@pytest.mark.parametrize(
    "statement", ["update evidence set outcome = 'conflict'", "delete from evidence", "truncate evidence"]
)
async def test_evidence_is_append_only(writeback: WritebackUnderTest, statement: str) -> None:
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await writeback.pool.execute(statement)


async def test_a_conflict_leaves_evidence(writeback: WritebackUnderTest) -> None:
    await writeback.control("PATCH", "works/61421", {"subtitle": "Theirs"})
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("conflict")
    (row,) = await writeback.pool.fetch("select outcome, detail, read_back from evidence")
    assert (row["outcome"], row["detail"]) == ("conflict", "changed_meanwhile")
    assert orjson.loads(row["read_back"])[0]["read"] == "Theirs"
