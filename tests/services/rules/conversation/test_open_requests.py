"""A request for approval is open until it is withdrawn or decided, and so is a submission; a work is as seen last."""

import pytest

from services.rules.conversation.fact_updates import apply_event
from services.rules.conversation.facts import Facts
from services.rules.scenario.player import StoryPlayer
from shared.contracts.ids import PersonId
from tests.services.rules.rules_service import TENANT, golden_event
from tests.services.rules.stories import own_rulebook, story

PEOPLE = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "{event: rights.approval_requested, with: {request_id: R-9, respond_by: 2027-04-30}}"
DECIDED = "written: {record: rights.record_decision, as: verified}"


def status(to: str) -> str:
    return f"{{event: rights.status_changed, with: {{to: {to}}}}}"


@pytest.mark.parametrize(
    ("moves", "still_open"),
    [
        ([], True),
        (["{event: rights.request_withdrawn, with: {request_id: R-9}}"], False),
        (["reply: {from: 812, button: approve}"], True),
        (["reply: {from: 812, button: approve}", DECIDED], False),
        (["reply: {from: 812, button: decline}", DECIDED], False),
        (["reply: {from: 812, button: decline}", DECIDED.replace("verified", "conflict")], True),
        (["reply: {from: 812, button: question}"], True),
        ([status("more_information_requested")], True),
        ([status("licensed")], False),
        ([status("closed")], False),
    ],
)
def test_a_request_is_open_until_it_is_withdrawn_or_decided(moves: list[str], *, still_open: bool) -> None:
    one = story(PEOPLE, ASKED, *moves)
    player = StoryPlayer.of(one, own_rulebook())
    for step in one.steps:
        assert player.play(step) == []
    assert [bool(record.open_requests) for record in player.facts.facts.records.values()] == [still_open]


@pytest.mark.parametrize(
    ("to", "reference", "still_open"),
    [
        ("under_review", "K7PQ2M", "K7PQ2M"),
        ("rejected", "K7PQ2M", None),
        ("withdrawn", "K7PQ2M", None),
        ("contracted", "K7PQ2M", None),
        ("rejected", None, None),  # this Consonance does not keep references
        ("rejected", "H3XW9R", "K7PQ2M"),  # an earlier one of the same person
    ],
)
def test_a_submission_is_open_until_it_is_decided(to: str, reference: str | None, still_open: str | None) -> None:
    event = golden_event("consonance.acquisition.status_changed.v1", to=to, reference=reference)
    submitter = PersonId(event.data.submitter.person_id)  # type: ignore[attr-defined]
    facts = Facts(TENANT)
    facts.set_acquisition(submitter, "K7PQ2M")
    apply_event(facts, event)
    assert facts.acquisitions[submitter] == still_open


@pytest.mark.parametrize(("numbers", "last"), [((1, 3, 2), 3), ((3, 3), 3), ((3, 0), 0), ((0, 1), 1), ((0, 0), 0)])
def test_an_older_state_of_a_work_that_comes_late_changes_nothing(numbers: tuple[int, ...], last: int) -> None:
    """One without a number is pushed, or comes from an earlier version, and counts as it comes."""
    facts = Facts(TENANT)
    for number in numbers:
        version = {"token": "t", "kind": "content_hash", "observed_at": "2027-03-03T09:58:37Z", "number": number}
        event = golden_event("consonance.work.observed.v1", version=version)
        apply_event(facts, event)
    (work,) = facts.works.values()
    assert work.state.version is not None
    assert work.state.version.number == last
