"""Pushed CloudEvents: the event each becomes, and the faults that reject it."""

import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from services.ingest.cloudevents import PushSettings, decode_request, validate_event
from services.ingest.fields import to_invalid_inputs
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
from tests.services.ingest.payloads import CONTEXT, NOW

SETTINGS = PushSettings(frozenset({"work.stage_changed"}), 5, ZoneInfo("Europe/London"), "GB")
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


def test_an_event_keeps_its_sender_and_gets_our_envelope() -> None:
    event = validate_event(blocked(), CONTEXT, SETTINGS).event
    assert (event.id, event.source) == ("e1", "https://ipaas.example/penrose")
    assert (event.tenantid, event.partitionkey, event.recordedtime) == ("pelican", "pelican/works/61417", NOW)


def test_every_party_gets_the_person_id_of_its_contact() -> None:
    escalation = [{**OWNER, "contact_id": 12, "role": "escalation_1"}]
    event = validate_event(blocked(data={**blocked()["data"], "escalation": escalation}), CONTEXT, SETTINGS).event
    assert isinstance(event.data, WorkBlocked)
    assert event.data.owner.person_id == person_id_of_contact(CONTEXT.tenant, ContactId(71))
    assert event.data.escalation[0].person_id == person_id_of_contact(CONTEXT.tenant, ContactId(12))


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
    event = validate_event(blocked(type="consonance.royalty.statement_ready.v1", data=data), CONTEXT, SETTINGS).event
    assert isinstance(event.data, StatementReady)
    assert event.partitionkey == f"pelican/persons/{event.data.payee.person_id}"


def test_a_missing_respond_by_is_counted_in_working_days_from_the_event() -> None:
    event = validate_event(asked(), CONTEXT, SETTINGS).event
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 1)


def test_a_given_respond_by_is_kept() -> None:
    event = validate_event(asked(respond_by="2026-12-24"), CONTEXT, SETTINGS).event
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 24)


def test_a_missing_respond_by_is_counted_in_the_week_of_the_country() -> None:
    israel = PushSettings(SETTINGS.polled, 5, ZoneInfo("Asia/Jerusalem"), "IL")
    event = validate_event(asked(), CONTEXT, israel).event
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 1)
    event = validate_event({**asked(), "time": "2026-11-26T08:00:00Z"}, CONTEXT, israel).event  # a Thursday
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
def test_an_invalid_event_is_rejected_with_the_name_of_its_field(document: Any, field: str) -> None:
    with pytest.raises(Malformed, match=f"^{field}: "):
        validate_event(document, CONTEXT, SETTINGS)


def moved(kind: str = "date_changed", **more: Any) -> dict[str, Any]:
    data = {
        "work": WORK, "milestone_id": "M-1", "milestone_key": "other", "name": "Proofs back", "basis": "absolute",
        "old_due": "2027-03-12", "new_due": "2027-03-19",
    }  # fmt: skip
    return blocked(type=f"consonance.schedule.{kind}.v1", data={**data, **more})


@pytest.mark.parametrize("kind", ["date_set", "date_changed"])
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1900-01-01", "0000-00-00", None])
def test_a_move_to_no_date_is_accepted_without_a_report(kind: str, day: str | None) -> None:
    accepted = validate_event(moved(kind, new_due=day), CONTEXT, SETTINGS)
    assert isinstance(accepted.event.data, DateSet)
    assert (accepted.event.data.new_due, accepted.event.data.old_due) == (None, date(2027, 3, 12))
    assert accepted.fields.unreadable == []


@pytest.mark.parametrize("day", ["19/03/2027", "TBC", "2027-02-30", 20270319, ["2027-03-19"], {}, True])
def test_a_move_to_an_unreadable_date_removes_the_old_date_and_is_reported(day: Any) -> None:
    accepted = validate_event(moved(new_due=day), CONTEXT, SETTINGS)
    assert isinstance(accepted.event.data, DateChanged)
    assert accepted.event.data.new_due is None
    (invalid,) = to_invalid_inputs(accepted.label, accepted.fields.unreadable, ())
    record = "schedule.date_changed e1 of pelican/works/61417"
    assert (invalid.reason, invalid.sentence) == ("unread_value", f"{record}: data.new_due: it is no date")
    assert orjson.loads(invalid.raw)["value"] == day


def test_a_date_with_a_time_is_read_as_its_day() -> None:
    data = validate_event(moved(new_due="2027-03-19T00:00:00Z"), CONTEXT, SETTINGS).event.data
    assert isinstance(data, DateChanged)
    assert data.new_due == date(2027, 3, 19)


@pytest.mark.parametrize("day", ["9999-12-31", "yesterday", None])
def test_a_completed_milestone_is_accepted_with_an_unreadable_day(day: str | None) -> None:
    done = moved(done_on=day, due_on="31.12.2027")
    accepted = validate_event({**done, "type": "consonance.milestone.completed.v1"}, CONTEXT, SETTINGS)
    assert isinstance(accepted.event.data, MilestoneCompleted)
    assert (accepted.event.data.done_on, accepted.event.data.due_on) == (date(2026, 11, 24), None)
    assert [one.field for one in accepted.fields.unreadable] == ["data.due_on", "data.done_on"]


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "", None])
def test_a_respond_by_without_a_date_gets_the_default(day: str | None) -> None:
    event = validate_event(asked(respond_by=day), CONTEXT, SETTINGS).event
    assert isinstance(event.data, ApprovalRequested)
    assert event.data.respond_by == date(2026, 12, 1)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"])
def test_times_at_the_ends_of_the_calendar_are_rejected_with_the_name_of_their_field(time: str) -> None:
    for document, field in (
        (blocked(time=time), "time"),
        (blocked(expirytime=time), "expirytime"),
        (blocked(data={**blocked()["data"], "since": time}), "data.since"),
        (asked() | {"time": time}, "time"),
    ):
        with pytest.raises(Malformed, match=f"^{field}: "):
            validate_event(document, CONTEXT, SETTINGS)


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
def test_a_value_out_of_bounds_is_rejected_before_it_is_published(document: Any, field: str) -> None:
    with pytest.raises(Malformed, match=f"^{re.escape(field)}: "):
        validate_event(document, CONTEXT, SETTINGS)


@pytest.mark.parametrize("depth", [100, 300, 900])
def test_nesting_of_any_depth_is_ignored_or_rejected(depth: int) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = {"contact_id": 1, "role": deep}
    document = blocked(data={**blocked()["data"], "more": deep})
    if depth < 250:
        assert validate_event(document, CONTEXT, SETTINGS).event.id == "e1"
    else:
        with pytest.raises(Malformed, match=r"^event: "):
            validate_event(document, CONTEXT, SETTINGS)


def test_an_invalid_traceparent_is_left_out() -> None:
    assert (
        validate_event(blocked(traceparent="x" * 500_000), CONTEXT, SETTINGS).event.traceparent == CONTEXT.traceparent
    )
    known = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert validate_event(blocked(traceparent=known), CONTEXT, SETTINGS).event.traceparent == known


@pytest.mark.parametrize("kind", [kind for kind in golden_kinds() if kind in KINDS])
def test_every_kind_that_was_ever_published_can_be_pushed(kind: str) -> None:
    document = {**orjson.loads(golden(kind)), "tenantid": CONTEXT.tenant}
    accepted = validate_event(document, CONTEXT, PushSettings(frozenset(), 5, ZoneInfo("Europe/London"), "GB"))
    assert accepted.fields.unreadable == []


def test_a_batch_of_more_than_a_thousand_events_is_rejected() -> None:
    with pytest.raises(Malformed, match=r"^body: "):
        decode_request(b"[" + b"1," * 1_000_000 + b"1]", {})


def test_a_kind_that_the_poll_publishes_is_rejected() -> None:
    with pytest.raises(Unprocessable, match=r"^type: "):
        validate_event(blocked(type="consonance.work.stage_changed.v1"), CONTEXT, SETTINGS)


def test_an_error_text_never_quotes_the_value() -> None:
    with pytest.raises(Malformed) as fault:
        validate_event(blocked(data={**blocked()["data"], "severity": "+447700900123"}), CONTEXT, SETTINGS)
    assert "447700900123" not in str(fault.value)


def test_structured_and_batched_mode_give_the_same_documents() -> None:
    event = blocked()
    structured = decode_request(orjson.dumps(event), {b"content-type": b"application/cloudevents+json"})
    batched = decode_request(orjson.dumps([event]), {b"content-type": b"application/cloudevents-batch+json"})
    assert structured.documents == batched.documents
    assert (structured.is_batch, batched.is_batch) == (False, True)


@pytest.mark.parametrize("media", [b"application/json", b"application/cloudevents+json", b""])
def test_attributes_in_headers_are_rejected_because_no_signature_covers_them(media: bytes) -> None:
    event = blocked()
    attributes = {f"ce-{name}".encode(): str(text).encode() for name, text in event.items() if name != "data"}
    for body in (event["data"], event):
        with pytest.raises(Malformed, match=r"^headers: ce-"):
            decode_request(orjson.dumps(body), {b"content-type": media, **attributes})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xff"])
def test_a_body_that_is_not_json_is_rejected(body: bytes) -> None:
    with pytest.raises(Malformed, match=r"^body: "):
        decode_request(body, {})
