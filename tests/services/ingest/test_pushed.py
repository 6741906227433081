"""What a pushed CloudEvent becomes, and what it is refused for."""

import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from services.ingest.cloudevents_http import read_cloudevents
from services.ingest.notes import to_park
from services.ingest.pushed import House, accept, judge
from shared.contracts.consonance import (
    KINDS,
    ApprovalRequested,
    DateChanged,
    DateSet,
    MilestoneCompleted,
    StatementReady,
    WorkBlocked,
)
from shared.contracts.errors import Malformed, Unprocessable
from shared.contracts.golden import golden, golden_kinds
from shared.contracts.ids import ContactId, person_id_of_contact
from tests.services.ingest.payloads import FRAME, NOW

HOUSE = House(frozenset({"work.stage_changed"}), 5, ZoneInfo("Europe/London"), "GB")
OWNER = {"contact_id": 71, "kind": "person", "display_name": "Jonah Steadman", "role": "owner"}
WORK = {"work_id": 61417, "title": "The Salt Road"}


def blocked(**more: Any) -> dict[str, Any]:
    data = {
        "work": WORK, "block_id": "b1", "cause": "late_file", "detail": "The cover file is late",
        "blocking": "files_to_press", "owner": OWNER, "severity": "critical", "since": "2026-11-24T08:00:00Z",
    }  # fmt: skip
    event = {"specversion": "1.0", "id": "e1", "source": "https://ipaas.example/penrose",
             "type": "consonance.work.blocked.v1", "time": "2026-11-24T08:00:00Z", "data": data}  # fmt: skip
    return {**event, **more}


def asked(**more: Any) -> dict[str, Any]:
    terms = {"summary": "One image", "territory": "world", "exclusivity": "non_exclusive"}
    holder = {"contact_id": 812, "display_name": "Solène", "role": "rights_holder"}
    data = {
        "work": WORK, "request_id": "r1", "kind": "permission", "rights_record_id": "rr1", "right_type": "permission",
        "asset": {"type": "image", "description": "A map"}, "terms": terms, "terms_hash": "h", "rights_holder": holder,
        "requested_by": {"type": "user"}, "allowed_decisions": ["approve", "decline"], "requires_signature": False,
    }  # fmt: skip
    return blocked(type="consonance.rights.approval_requested.v1", data={**data, **more})


def test_an_event_keeps_its_sender_and_takes_our_envelope() -> None:
    event = accept(blocked(), FRAME, HOUSE)
    assert (event.id, event.source) == ("e1", "https://ipaas.example/penrose")
    assert (event.tenantid, event.partitionkey, event.recordedtime) == ("pelican", "pelican/works/61417", NOW)


def test_every_party_gets_the_person_its_contact_stands_for() -> None:
    escalation = [{**OWNER, "contact_id": 12, "role": "escalation_1"}]
    event = accept(blocked(data={**blocked()["data"], "escalation": escalation}), FRAME, HOUSE)
    assert isinstance(event.data, WorkBlocked)
    assert event.data.owner.person_id == person_id_of_contact(FRAME.tenant, ContactId(71))
    assert event.data.escalation[0].person_id == person_id_of_contact(FRAME.tenant, ContactId(12))


def test_without_a_work_the_payee_is_the_key() -> None:
    document = {
        "doc_id": "d",
        "kind": "statement",
        "title": "S",
        "mime": "application/pdf",
        "sensitivity": "confidential",
    }
    data = {
        "statement_id": "s1", "batch_id": "b", "period": {"from": "2026-01-01", "to": "2026-06-30"},
        "payee": {**OWNER, "role": "agent"}, "currency": "GBP", "has_payment": True, "document": document,
        "ack_required": True,
    }  # fmt: skip
    event = accept(blocked(type="consonance.royalty.statement_ready.v1", data=data), FRAME, HOUSE)
    assert isinstance(event.data, StatementReady)
    assert event.partitionkey == f"pelican/persons/{event.data.payee.person_id}"


def test_a_missing_respond_by_is_counted_in_working_days_from_the_event() -> None:
    event = accept(asked(), FRAME, HOUSE)
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 1)


def test_a_given_respond_by_stays() -> None:
    event = accept(asked(respond_by="2026-12-24"), FRAME, HOUSE)
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 24)


def test_a_missing_respond_by_is_counted_in_the_week_of_the_country() -> None:
    israel = House(HOUSE.polled, 5, ZoneInfo("Asia/Jerusalem"), "IL")
    event = accept(asked(), FRAME, israel)
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 1)
    event = accept({**asked(), "time": "2026-11-26T08:00:00Z"}, FRAME, israel)  # a Thursday
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 3)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("text", "event"),
        (blocked(specversion="0.3"), "specversion"),
        (blocked(id=""), "id"),
        (blocked(source=None), "source"),
        (blocked(type="consonance.work.exploded.v1"), "type"),
        (blocked(time="yesterday"), "time"),
        (blocked(tenantid="somebody-else"), "tenantid"),
        (blocked(data="x"), "data"),
        (blocked(data={**blocked()["data"], "severity": "loud"}), "data.severity"),
        (blocked(data={**blocked()["data"], "owner": {"display_name": "J", "role": "owner"}}), "data.owner.person_id"),
        (blocked(data={**blocked()["data"], "detail": "x" * 1_100_000}), "data"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(document: Any, field: str) -> None:
    with pytest.raises(Malformed, match=f"^{field}: "):
        accept(document, FRAME, HOUSE)


def moved(kind: str = "date_changed", **more: Any) -> dict[str, Any]:
    data = {
        "work": WORK, "milestone_id": "M-1", "milestone_key": "other", "name": "Proofs back", "basis": "absolute",
        "old_due": "2027-03-12", "new_due": "2027-03-19",
    }  # fmt: skip
    return blocked(type=f"consonance.schedule.{kind}.v1", data={**data, **more})


@pytest.mark.parametrize("kind", ["date_set", "date_changed"])
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1900-01-01", "0000-00-00", None])
def test_a_move_to_no_date_is_a_move_and_nothing_to_tell(kind: str, day: str | None) -> None:
    accepted = judge(moved(kind, new_due=day), FRAME, HOUSE)
    assert isinstance(accepted.event.data, DateSet)
    assert (accepted.event.data.new_due, accepted.event.data.old_due) == (None, date(2027, 3, 12))
    assert accepted.notes.unread == []


@pytest.mark.parametrize("day", ["19/03/2027", "TBC", "2027-02-30", 20270319, ["2027-03-19"], {}, True])
def test_a_move_to_what_cannot_be_read_does_not_leave_the_old_date_in_force(day: Any) -> None:
    accepted = judge(moved(new_due=day), FRAME, HOUSE)
    assert isinstance(accepted.event.data, DateChanged)
    assert accepted.event.data.new_due is None
    (bad,) = to_park(accepted.record, accepted.notes.unread, ())
    record = "schedule.date_changed e1 of pelican/works/61417"
    assert (bad.reason, bad.sentence) == ("unread_value", f"{record}: data.new_due: it is no date")
    assert orjson.loads(bad.raw)["value"] == day


def test_a_day_with_a_time_is_its_day() -> None:
    data = accept(moved(new_due="2027-03-19T00:00:00Z"), FRAME, HOUSE).data
    assert isinstance(data, DateChanged)
    assert data.new_due == date(2027, 3, 19)


@pytest.mark.parametrize("day", ["9999-12-31", "yesterday", None])
def test_a_milestone_that_is_done_is_done_whatever_the_day(day: str | None) -> None:
    done = moved(done_on=day, due_on="31.12.2027")
    accepted = judge({**done, "type": "consonance.milestone.completed.v1"}, FRAME, HOUSE)
    assert isinstance(accepted.event.data, MilestoneCompleted)
    assert (accepted.event.data.done_on, accepted.event.data.due_on) == (date(2026, 11, 24), None)
    assert [one.field for one in accepted.notes.unread] == ["data.due_on", "data.done_on"]


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "", None])
def test_an_answer_by_no_date_is_due_when_it_is_for_everybody(day: str | None) -> None:
    event = accept(asked(respond_by=day), FRAME, HOUSE)
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 1)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"])
def test_times_at_the_ends_of_the_calendar_are_refused_by_their_field(time: str) -> None:
    for document, field in (
        (blocked(time=time), "time"),
        (blocked(expirytime=time), "expirytime"),
        (blocked(data={**blocked()["data"], "since": time}), "data.since"),
        (asked() | {"time": time}, "time"),
    ):
        with pytest.raises(Malformed, match=f"^{field}: "):
            accept(document, FRAME, HOUSE)


FEE = {"summary": "x", "territory": "world", "exclusivity": "exclusive"}
PRODUCT = {"product_id": 1, "work_id": 61417}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (blocked(id="x" * 301), "id"),
        (blocked(id="a\u0000b"), "id"),
        (blocked(id="a\nb"), "id"),
        (blocked(source="https://" + "x" * 300), "source"),
        (blocked(subject="x" * 301), "subject"),
        (blocked(correlationid="x" * 301), "correlationid"),
        (blocked(data={**blocked()["data"], "block_id": "b" * 301}), "data.block_id"),
        (blocked(data={**blocked()["data"], "detail": "x" * 20_001}), "data.detail"),
        (blocked(data={**blocked()["data"], "escalation": [OWNER] * 1_001}), "data.escalation"),
        (blocked(data={**blocked()["data"], "work": {**WORK, "work_id": -1}}), "data.work.work_id"),
        (blocked(data={**blocked()["data"], "work": {**WORK, "work_id": 2**60}}), "data.work.work_id"),
        (blocked(data={**blocked()["data"], "work": {**WORK, "imprint": {"id": 2**60}}}), "data.work.imprint.id"),
        (blocked(data={**blocked()["data"], "owner": {**OWNER, "contact_id": 1e30}}), "data.owner.contact_id"),
        (asked(terms={**FEE, "fee": {"amount": "1E+1000000", "currency": "GBP"}}), "data.terms.fee.amount"),
        (asked(terms={**FEE, "fee": {"amount": "NaN", "currency": "GBP"}}), "data.terms.fee.amount"),
        (asked(terms={**FEE, "print_run": 2**62}), "data.terms.print_run"),
        (blocked(type="consonance.rights.expiring.v1",
                 data={"work": WORK, "rights_record_id": "r", "expires_on": "9999-12-31", "days_left": 1}),
         "data.expires_on"),
    ],
)  # fmt: skip
def test_what_would_fail_after_publishing_is_refused_before(document: Any, field: str) -> None:
    with pytest.raises(Malformed, match=f"^{re.escape(field)}: "):
        accept(document, FRAME, HOUSE)


@pytest.mark.parametrize("depth", [100, 300, 900])
def test_nesting_of_any_depth_is_read_past_or_refused(depth: int) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = {"contact_id": 1, "role": deep}
    document = blocked(data={**blocked()["data"], "more": deep})
    if depth < 250:
        assert accept(document, FRAME, HOUSE).id == "e1"
    else:
        with pytest.raises(Malformed, match=r"^event: "):
            accept(document, FRAME, HOUSE)


def test_a_trace_that_is_none_is_left_out() -> None:
    assert accept(blocked(traceparent="x" * 500_000), FRAME, HOUSE).traceparent == FRAME.traceparent
    known = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert accept(blocked(traceparent=known), FRAME, HOUSE).traceparent == known


@pytest.mark.parametrize("kind", [kind for kind in golden_kinds() if kind in KINDS])
def test_every_kind_that_was_ever_published_can_be_pushed(kind: str) -> None:
    document = {**orjson.loads(golden(kind)), "tenantid": FRAME.tenant}
    accepted = judge(document, FRAME, House(frozenset(), 5, ZoneInfo("Europe/London"), "GB"))
    assert accepted.notes.unread == []


def test_a_batch_of_more_than_a_thousand_is_refused() -> None:
    with pytest.raises(Malformed, match=r"^body: "):
        read_cloudevents(b"[" + b"1," * 1_000_000 + b"1]", {})


def test_a_kind_the_poll_tells_is_not_told_twice() -> None:
    with pytest.raises(Unprocessable, match=r"^type: "):
        accept(blocked(type="consonance.work.stage_changed.v1"), FRAME, HOUSE)


def test_a_fault_never_quotes_the_value() -> None:
    with pytest.raises(Malformed) as fault:
        accept(blocked(data={**blocked()["data"], "severity": "+447700900123"}), FRAME, HOUSE)
    assert "447700900123" not in str(fault.value)


def test_structured_and_batched_are_one() -> None:
    event = blocked()
    structured = read_cloudevents(orjson.dumps(event), {b"content-type": b"application/cloudevents+json"})
    batched = read_cloudevents(orjson.dumps([event]), {b"content-type": b"application/cloudevents-batch+json"})
    assert structured.documents == batched.documents
    assert (structured.batched, batched.batched) == (False, True)


@pytest.mark.parametrize("media", [b"application/json", b"application/cloudevents+json", b""])
def test_attributes_in_headers_are_refused_as_no_signature_covers_them(media: bytes) -> None:
    event = blocked()
    attributes = {f"ce-{name}".encode(): str(text).encode() for name, text in event.items() if name != "data"}
    for body in (event["data"], event):
        with pytest.raises(Malformed, match=r"^headers: ce-"):
            read_cloudevents(orjson.dumps(body), {b"content-type": media, **attributes})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xff"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match=r"^body: "):
        read_cloudevents(body, {})
