"""What a pushed CloudEvent becomes, and what it is refused for."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from services.ingest.cloudevents_http import read_cloudevents
from services.ingest.pushed import House, accept, working_days_after
from shared.errors import Malformed, Unfit
from shared.events.consonance import ApprovalRequested, StatementReady, WorkBlocked
from shared.ids import ContactId, person_of_contact
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
    assert event.data.owner.person_id == person_of_contact(FRAME.tenant, ContactId(71))
    assert event.data.escalation[0].person_id == person_of_contact(FRAME.tenant, ContactId(12))


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


def test_working_days_leave_out_weekends_and_holidays() -> None:
    assert working_days_after(date(2026, 12, 24), 2, "GB") == date(2026, 12, 30)
    assert working_days_after(date(2026, 12, 24), 2, None) == date(2026, 12, 28)


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


def test_a_kind_the_poll_tells_is_not_told_twice() -> None:
    with pytest.raises(Unfit, match=r"^type: "):
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
