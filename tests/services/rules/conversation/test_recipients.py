"""Every excluded person has a reason, and every recipient a role."""

import pytest

from services.rules.conversation.context import ExclusionReason
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.recipients import Recipient, ResolvedRecipients
from shared.contracts.ids import PersonId
from tests.services.rules.stories import story_faults

MANAGER = "\n40: {roles: [rights_manager], country: GB}"
ASKED = "event: rights.approval_requested"


@pytest.mark.parametrize(
    ("holder", "reason"),
    [
        ("812: {roles: [rights_holder], opted_out: true}", "opted_out"),
        ("812: {roles: [rights_holder], reachable: false}", "no_address"),
    ],
)
def test_a_person_who_cannot_be_asked_is_left_out_and_the_next_step_runs_now(holder: str, reason: str) -> None:
    expected = f"expect: [{{left_out: {{812: {reason}}}}}, {{hand_over: 40}}]"
    assert story_faults(holder + MANAGER, ASKED, expected) == []


def test_a_role_without_a_basis_may_not_be_written_to() -> None:
    asked = "{event: rights.approval_requested, with: {rights_holder: {contact_id: 812, role: sales}}}"
    cast = "812: {roles: [rights_holder], country: GB}" + MANAGER
    assert story_faults(cast, asked, "expect: [{left_out: {812: no_consent}}, {hand_over: 40}]") == []


def test_a_person_who_opted_in_may_be_written_to() -> None:
    asked = "{event: rights.approval_requested, with: {rights_holder: {contact_id: 812, role: sales}}}"
    cast = "812: {roles: [rights_holder], country: GB}" + MANAGER
    moves = ("reply: {from: 812, text: START}", asked, "expect: [{tell: 812, say: started}, {ask: 812}]")
    assert story_faults(cast, *moves) == []


def test_the_stand_in_of_a_stand_in_is_asked() -> None:
    cast = "812: {roles: [rights_holder]}\n900: {stands_in_for: 812}\n901: {stands_in_for: 900}"
    assert story_faults(cast, ASKED, "expect: [{ask: 901, for: 812}]") == []


def test_an_opt_out_is_the_stand_in_s_own() -> None:
    cast = "812: {roles: [rights_holder]}\n900: {stands_in_for: 812, opted_out: true}" + MANAGER
    assert story_faults(cast, ASKED, "expect: [{left_out: {900: opted_out}}, {hand_over: 40}]") == []


def test_a_party_of_the_event_comes_before_the_staff() -> None:
    cast = "22: {roles: [production_coordinator]}\n21: {roles: [escalation_1]}\n12: {roles: [escalation_1]}"
    moves = (
        "{event: work.blocked, with: {owner: 22, escalation: [12]}}",
        "expect: [{hand_over: 22}]",
        "reply: {from: 22, button: not_me}",
        "expect: [{tell: 22, say: noted}, {hand_over: 12}]",
    )
    assert story_faults(cast, *moves) == []


def test_staff_fill_roles_that_the_event_does_not_name() -> None:
    cast = "22: {roles: [production_coordinator]}\n21: {roles: [escalation_1]}"
    moves = (
        "{event: work.blocked, with: {owner: 22, escalation: null}}",
        "reply: {from: 22, button: not_me}",
        "expect: [{hand_over: 22}, {tell: 22, say: noted}, {hand_over: 21}]",
    )
    assert story_faults(cast, *moves) == []


ADA = PersonFacts(person_id=PersonId("ada"), display_name="Ada", reachable=True)
BEN, CLEO = PersonId("ben"), PersonId("cleo")


@pytest.mark.parametrize(
    ("stands_in_for", "holders"),
    [
        ((None,), ("ada",)),
        ((None, None), ("ada",)),
        ((BEN,), (BEN,)),
        ((BEN, CLEO), (BEN, CLEO)),
        ((BEN, BEN), (BEN,)),
        ((BEN, None), (BEN, "ada")),
        ((None, BEN, CLEO), ("ada", BEN, CLEO)),
    ],
)
def test_a_person_gets_one_message_that_stands_for_all_whom_they_answer_for(
    stands_in_for: tuple[PersonId | None, ...], holders: tuple[str, ...]
) -> None:
    resolved = ResolvedRecipients()
    for other in stands_in_for:
        resolved.add(Recipient(ADA, "agent", other))
    (recipient,) = resolved.recipients
    assert recipient.holders == holders
    assert (recipient.on_behalf_of is None) == (holders == ("ada",))


@pytest.mark.parametrize("excepted_first", [True, False])
def test_a_person_whom_the_condition_leaves_out_in_one_role_gets_the_message_in_another(
    *, excepted_first: bool
) -> None:
    resolved = ResolvedRecipients()
    if excepted_first:
        resolved.add_excepted(ADA.person_id)
    resolved.add(Recipient(ADA, "author"))
    if not excepted_first:
        resolved.add_excepted(ADA.person_id)
    assert [recipient.person for recipient in resolved.recipients] == [ADA]
    assert resolved.left_out == {}
    resolved.add_excepted(BEN)
    assert resolved.left_out == {BEN: ExclusionReason.UNLESS}
