"""Writes against the simulator: written once, read back, and never over another edit."""

from typing import NamedTuple

import pytest

from services.writeback.store import close_task, enqueue_writes, fetch_task
from shared.contracts.consonance import Level, MetadataField
from shared.contracts.envelope import Event
from shared.contracts.ids import derive_id
from shared.contracts.writes import AcknowledgementKind, RecordAcknowledgement, RightsDecision
from shared.runtime.clock import SystemClock
from tests.services.writeback.samples import (
    NEW_SUBTITLE,
    NOW,
    advance,
    decision,
    follow_up,
    item,
    metadata,
    milestone,
    pitch,
    request,
)
from tests.services.writeback.writeback_under_test import WritebackUnderTest

pytestmark = pytest.mark.integration


async def test_a_confirmed_subtitle_is_written_and_published_downstream(writeback: WritebackUnderTest) -> None:
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    assert (await writeback.control("GET", "works/61421"))["subtitle"] == NEW_SUBTITLE
    change = (await writeback.events())[1]["data"]["changes"][0]
    assert (change["old"], change["new"], change["target_id"]) == ("A traveller’s companion", NEW_SUBTITLE, 61421)


async def test_the_same_request_twice_is_written_once(writeback: WritebackUnderTest) -> None:
    await writeback.enqueue(request(metadata()), request(metadata()), request(metadata(), "w2"))
    await writeback.wait_for_outcomes("verified", "approved", "already_applied", "approved")
    assert len(await writeback.mutation_log("updateWork")) == 1


async def test_another_edit_is_a_conflict_and_is_kept(writeback: WritebackUnderTest) -> None:
    await writeback.control("PATCH", "works/61421", {"subtitle": "Theirs"})
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("conflict")
    assert (await writeback.control("GET", "works/61421"))["subtitle"] == "Theirs"
    assert (await writeback.events())[0]["data"]["detail"] == "changed_meanwhile"


async def test_an_edit_between_reply_and_write_is_a_conflict(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault(
        "edit_before_write", operation="ReadWorkSubtitle", work=61421, field="subtitle", value="Theirs"
    )
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("conflict")
    assert await writeback.mutation_log("updateWork") == []


async def test_no_item_is_written_where_one_is_in_conflict(writeback: WritebackUnderTest) -> None:
    other = item("New title", "Not what stands there", field=MetadataField.TITLE, item_id="i2")
    await writeback.enqueue(request(metadata(item(), other)))
    await writeback.wait_for_outcomes("conflict")
    assert await writeback.mutation_log("updateWork") == []


async def test_a_replaced_cover_copy_leaves_one_text(writeback: WritebackUnderTest) -> None:
    old = "Forty sleeper lines and what can be seen from each at dawn."
    copy = item("Forty **lines**, and dawn.", old, field=MetadataField.COVER_COPY)
    await writeback.enqueue(request(metadata(copy)))
    await writeback.wait_for_outcomes("verified", "approved")
    texts = [one for one in await writeback.control("GET", "state/marketing_texts") if one["work_id"] == 61421]
    assert [one["external_text_markdown"] for one in texts if one["variant"] == "COVER_COPY"] == [copy.new_value]


async def test_a_publication_date_and_a_product_title_are_written(writeback: WritebackUnderTest) -> None:
    products = await writeback.control("GET", "state/products")
    product = next(one for one in products if one["work_id"] == 61421 and one["form_code"] == "BB")
    where = {"level": Level.PRODUCT, "target_ids": (product["id"],)}
    date = item("2027-09-30", "2027-09-23", field=MetadataField.PUB_DATE, **where)
    title = item("The Night Trains", "Night Trains of Europe", field=MetadataField.TITLE, item_id="i2", **where)
    await writeback.enqueue(request(metadata(date, title)))
    await writeback.wait_for_outcomes("verified", "approved")
    assert (await writeback.control("GET", f"products/{product['id']}"))["publication_date"] == "2027-09-30"


class Licence(NamedTuple):
    """A rights request in the simulator."""

    terms_hash: str
    card: str

    def decided(self, name: str, kind: RightsDecision = RightsDecision.APPROVED) -> Event:
        licensed = decision(kind, terms_hash=self.terms_hash, rights_record_id=self.card)
        return request(licensed, name, f"rights/{self.card}", 61418)

    def advanced(self, name: str) -> Event:
        return request(advance(rights_record_id=self.card), name, f"rights/{self.card}", 61418)


async def licence(writeback: WritebackUnderTest, exclusivity: str = "non_exclusive") -> Licence:
    terms = {"summary": "inside the book", "territory": "world", "exclusivity": exclusivity}
    given = {"request_id": "RQ-1", "work_id": 61418, "rights_holder": 812, "respond_by": "2027-03-20", "push": False}
    result = await writeback.control("POST", "rights_requests", {**given, "terms": terms})
    return Licence(result["terms_hash"], result["rights_record_id"])


async def test_a_decision_is_recorded_and_then_the_card_moves(writeback: WritebackUnderTest) -> None:
    licensed = await licence(writeback)
    await writeback.enqueue(licensed.decided("w1"), licensed.advanced("w2"))
    await writeback.wait_for_outcomes("verified", "verified")
    (recorded,) = await writeback.control("GET", "state/rights_requests")
    (card,) = await writeback.control("GET", "state/rights_records")
    assert (recorded["decision"], card["workflow_stage"]) == ("approved", "licensed")


async def test_an_exclusive_licence_is_subject_to_signature_and_its_card_does_not_move(
    writeback: WritebackUnderTest,
) -> None:
    licensed = await licence(writeback, "exclusive")
    await writeback.enqueue(licensed.decided("w1"), licensed.advanced("w2"))
    await writeback.wait_for_outcomes("verified", "conflict")
    first, second = [event["data"]["detail"] for event in await writeback.events()]
    assert (first, second) == ("approved_subject_to_signature", "awaits_signature")


async def test_a_second_final_decision_is_a_conflict(writeback: WritebackUnderTest) -> None:
    licensed = await licence(writeback)
    await writeback.enqueue(
        licensed.decided("w1"), licensed.decided("w2"), licensed.decided("w3", RightsDecision.DECLINED)
    )
    await writeback.wait_for_outcomes("verified", "already_applied", "conflict")


async def test_a_decision_that_a_person_recorded_after_a_mutation_that_did_something_else_is_in_force(
    writeback: WritebackUnderTest,
) -> None:
    licensed = await licence(writeback)
    await writeback.enqueue(licensed.decided("w1", RightsDecision.DECLINED))
    await writeback.wait_for_outcomes("verified")
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [licensed.decided("w2"), licensed.advanced("w3")])
        sent = "state = 'intent', attempts = 1, answer = 'failed', asked_at = now()"
        await connection.execute(f"update writes set {sent} where write_id = $1", derive_id("w2"))  # noqa: S608
    await writeback.wait_for_outcomes("verified", "manual")
    task = await fetch_task(writeback.pool, 1)
    assert task is not None
    assert (task.reason, task.changes[0]["asked"]) == ("read_back_differs", "approved")
    await close_task(writeback.pool, SystemClock(), task, "entered by hand")
    await writeback.wait_for_outcomes("verified", "manual", "done_by_hand", "verified")


async def test_a_pitch_is_created_once_and_a_message_appended_once(writeback: WritebackUnderTest) -> None:
    record = "acquisitions/PITCH-7"
    await writeback.enqueue(
        request(pitch(), "w1", record, None),
        request(pitch(reference="PITCH-8"), "w2", record, None),
        request(follow_up(), "w3", record, None),
        request(follow_up(), "w4", record, None),
    )
    await writeback.wait_for_outcomes("verified", "already_applied", "verified", "already_applied")
    assert [event["data"].get("reference") for event in await writeback.events()] == ["PITCH-7"] * 4
    (made,) = await writeback.control("GET", "state/acquisitions")
    assert [entry["source_message_id"] for entry in made["entries"]] == ["wamid.2"]


async def test_acknowledgements_only_become_stronger(writeback: WritebackUnderTest) -> None:
    kinds = [AcknowledgementKind.ACKNOWLEDGED, AcknowledgementKind.READ, AcknowledgementKind.DISPUTED]
    licensed = [RecordAcknowledgement(document_id="S-1", acknowledgement=kind, at=NOW) for kind in kinds]
    await writeback.enqueue(
        *(request(one, f"w{number}", "statements/S-1", None) for number, one in enumerate(licensed))
    )
    await writeback.wait_for_outcomes("verified", "already_applied", "verified")


async def test_a_milestone_is_completed(writeback: WritebackUnderTest) -> None:
    given = {"milestone_id": "MS-1", "work_id": 61419, "push": False, "name": "Files to press", "due_on": "2027-03-05"}
    await writeback.control("POST", "milestones", {**given, "milestone_key": "files_to_press"})
    await writeback.enqueue(request(milestone(), "w1", "milestones/MS-1", 61419))
    await writeback.wait_for_outcomes("verified")
    (done,) = await writeback.control("GET", "state/milestones")
    assert done["done_on"] == "2027-03-02"
