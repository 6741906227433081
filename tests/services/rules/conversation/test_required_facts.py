"""The facts a batch needs, and events that need none."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from hypothesis import given, settings

from dev.layout import ROOT
from services.rules.conversation.required_facts import RequiredFacts, find_required_facts
from services.rules.matching.conditions import FieldValues, holds, necessary_condition
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Condition, Rulebook
from services.rules.rulebook.rule_folder import read_folder
from shared.contracts import consonance, whatsapp
from shared.contracts.envelope import Event, parse_event
from shared.contracts.golden import golden
from shared.contracts.ids import TenantId
from tests.services.rules.matching.test_matcher import CONDITIONS, DOCUMENTS

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
TENANT = TenantId("pelican")
KINDS = {**consonance.KINDS, **whatsapp.MESSAGE_KINDS}


@cache
def book() -> Rulebook:
    """The house's own rules."""
    found, _ = load(read_folder(ROOT / "rules"))
    assert found is not None
    return found


def event(kind: str, **changes: Any) -> Event:
    told = orjson.loads(golden(kind))
    return parse_event(orjson.dumps({**told, "data": {**told["data"], **changes}}), KINDS)


def wanted(*events: Event) -> RequiredFacts:
    return find_required_facts(events, book(), TENANT, NOW)


def test_a_stage_no_rule_names_needs_nothing_to_be_known() -> None:
    one = event("consonance.work.stage_changed.v1", to_stage_key="typesetting")
    found = wanted(one)
    assert set(found.idle) == {one.id}
    assert [*found.works, *found.people, *found.tags] == []


def test_a_stage_some_rule_names_needs_its_work_its_people_and_the_chain_it_may_meet() -> None:
    one = event("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved")
    assert isinstance(one.data, consonance.StageChanged)
    found, work = wanted(one), one.data.work.work_id
    assert not found.idle
    assert found.works == {work}
    assert f"work.work_id={work}|to_stage_key=final_proof_approved" in found.tags
    assert found.people, "staff, at least"


def test_an_event_that_may_end_a_chain_is_never_idle() -> None:
    one = event("consonance.work.unblocked.v1")
    assert isinstance(one.data, consonance.WorkUnblocked)
    assert f"block_id={one.data.block_id}" in wanted(one).tags


def test_an_event_that_changes_a_fact_is_never_idle() -> None:
    kinds = (
        "work.observed", "work.blocked", "work.unblocked", "rights.approval_requested", "rights.request_withdrawn",
        "rights.status_changed", "acquisition.status_changed", "metadata.changed",
    )  # fmt: skip
    assert not wanted(*(event(f"consonance.{kind}.v1") for kind in kinds)).idle


def test_a_message_needs_all_that_listens_to_its_sender() -> None:
    one = event("whatsapp.message.received.v1", quoted_id="wamid.ours")
    assert isinstance(one.data, whatsapp.MessageReceived)
    found = wanted(one)
    assert (found.senders, found.wamids) == ({one.data.person_id}, {"wamid.ours"})


@settings(max_examples=400)
@given(CONDITIONS, DOCUMENTS)
def test_a_condition_holds_nowhere_its_reduced_form_does_not(condition: Condition, document: FieldValues) -> None:
    told = {field: value for field, value in document.items() if field in {"a", "d"}}
    reduced = necessary_condition(condition, lambda field: field in {"a", "d"})
    assert holds(reduced, told) or not holds(condition, document)
