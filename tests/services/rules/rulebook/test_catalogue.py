import pytest

from services.rules.rulebook.catalogue import (
    EVENTS,
    FACTS,
    FieldType,
    fields_of_event,
    known_paths,
    party_fields,
    resolve,
)

ASKED = ("rights.approval_requested",)


@pytest.mark.parametrize(
    ("event", "path", "kind", "optional"),
    [
        ("rights.approval_requested", "terms.exclusivity", FieldType.TEXT, False),
        ("rights.approval_requested", "respond_by", FieldType.DATE, False),
        ("rights.approval_requested", "kind", FieldType.TEXT, False),
        ("rights.approval_requested", "terms.fee.amount", FieldType.NUMBER, True),
        ("rights.approval_requested", "work.stage_key", FieldType.TEXT, False),
        ("rights.approval_requested", "rights.needs_signature", FieldType.FLAG, False),
        ("schedule.date_changed", "new_due", FieldType.DATE, True),
        ("schedule.date_changed", "affected", FieldType.LIST, True),
        ("metadata.changed", "changes.field", FieldType.LIST, False),
        ("royalty.statement_ready", "payee.person_id", FieldType.TEXT, False),
        ("royalty.statement_ready", "period.from", FieldType.DATE, False),
        ("work.blocked", "since", FieldType.INSTANT, False),
        ("acquisition.status_changed", "work.title", FieldType.TEXT, True),
        ("message.received", "kind", FieldType.TEXT, False),
        ("message.received", "text", FieldType.TEXT, True),
        ("message.received", "sender.open_acquisition", FieldType.TEXT, True),
    ],
)
def test_a_field_has_a_type(event: str, path: str, kind: FieldType, *, optional: bool) -> None:
    found = resolve((event,), path)
    assert found is not None
    assert (found.type, found.optional) == (kind, optional)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("royalty.statement_ready", "work.title"),
        ("rights.approval_requested", "sender.person_id"),
        ("rights.request_changed", "rights.status"),
        ("work.blocked", "terms.summary"),
        ("work.observed", "stage_key"),
    ],
)
def test_a_field_of_another_event_is_unknown(event: str, path: str) -> None:
    assert resolve((event,), path) is None


def test_a_closed_set_of_values_is_known() -> None:
    stage = resolve(("work.stage_changed",), "to_stage_key")
    assert stage is not None
    assert "final_proof_approved" in stage.values


def test_the_chain_is_the_event_that_started_it() -> None:
    assert resolve(("rights.request_changed",), "chain.terms_hash") is None
    assert resolve(("rights.request_changed",), "chain.terms_hash", ASKED) is not None
    assert "chain.terms_hash" in known_paths(("rights.request_changed",), ASKED)


def test_a_field_of_only_some_events_may_be_absent() -> None:
    found = resolve(("royalty.payment_issue", "royalty.payment_sent"), "issue")
    assert found is not None
    assert found.optional


def test_party_fields_are_people() -> None:
    assert party_fields("work.blocked") == {"owner", "escalation"}


def test_the_recipient_is_known_for_every_event_but_not_of_the_event_that_began_a_chain() -> None:
    for event in EVENTS:
        assert resolve((event,), "recipient.country") is not None
        assert not any(path == "recipient" for path in fields_of_event(event))
    assert resolve(ASKED, "chain.recipient.country") is None
    assert not any(path.startswith("chain.recipient.") for path in known_paths(ASKED))


def test_every_fact_belongs_to_an_event_and_has_a_description() -> None:
    everywhere = {path for event in EVENTS for path in fields_of_event(event)}
    assert {fact.spec.path for fact in FACTS} <= everywhere
    assert all(fact.spec.sentence.endswith(".") for fact in FACTS)
