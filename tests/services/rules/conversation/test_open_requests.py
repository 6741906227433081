"""A request for approval is open until it is withdrawn or decided, and so is a submission; a work is as seen last."""

from datetime import UTC, datetime

import pytest
from msgspec import to_builtins

from services.rules.conversation.context import Reason
from services.rules.conversation.decider import decider_of
from services.rules.conversation.fact_updates import apply_event
from services.rules.conversation.facts import Facts
from services.rules.rollout.revisions import RulebookRegistry
from services.rules.scenario.player import StoryPlayer
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, PersonId
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


def at(hour: int, event: Event, *, seen: int | None = None) -> Event:
    """The event as of an hour, seen at that hour too unless ``seen`` says when."""
    day = datetime(2027, 3, 3, tzinfo=UTC)
    recorded = day.replace(hour=hour if seen is None else seen)
    return event.replace(id=EventId(f"{event.id}-{hour}"), time=day.replace(hour=hour), recordedtime=recorded)


BLOCKED, UNBLOCKED = (golden_event(f"consonance.work.{kind}.v1", block_id="B-1") for kind in ("blocked", "unblocked"))
BLOCKED_ELSEWHERE = golden_event("consonance.work.blocked.v1", block_id="B-2")


def facts_of_blocked_work() -> Facts:
    facts = Facts(TENANT)
    apply_event(facts, golden_event("consonance.work.observed.v1", work=to_builtins(BLOCKED.data.work)))  # type: ignore[attr-defined]
    return facts


@pytest.mark.parametrize(
    ("events", "blocks"),
    [
        ([at(9, BLOCKED)], ("B-1",)),
        ([at(9, BLOCKED), at(10, UNBLOCKED)], ()),
        ([at(10, UNBLOCKED), at(9, BLOCKED)], ()),
        ([at(10, UNBLOCKED), at(9, BLOCKED_ELSEWHERE)], ("B-2",)),
        ([at(10, UNBLOCKED), at(11, BLOCKED), at(9, BLOCKED)], ("B-1",)),
        ([at(9, BLOCKED), at(11, BLOCKED), at(10, UNBLOCKED)], ("B-1",)),
        ([at(10, UNBLOCKED), at(9, BLOCKED, seen=11)], ("B-1",)),  # by the clock of another sender
        ([at(10, UNBLOCKED), at(11, BLOCKED, seen=9)], ("B-1",)),  # our clock was set back
        ([at(10, UNBLOCKED), at(10, BLOCKED)], ("B-1",)),
    ],
)
def test_a_block_that_comes_after_its_end_changes_nothing(events: list[Event], blocks: tuple[str, ...]) -> None:
    facts = facts_of_blocked_work()
    for event in events:
        apply_event(facts, event)
    (work,) = facts.works.values()
    assert work.blocks == blocks


def test_the_ends_of_the_newest_blocks_are_remembered() -> None:
    facts = facts_of_blocked_work()
    for number in range(30):
        apply_event(facts, at(10, golden_event("consonance.work.unblocked.v1", block_id=f"B-{number}")))
    apply_event(facts, at(9, golden_event("consonance.work.blocked.v1", block_id="B-29")))
    (work,) = facts.works.values()
    assert work.blocks == ()
    assert len(work.block_events) < 30


PENDING, LICENSED = (golden_event("consonance.rights.status_changed.v1", to=to) for to in ("pending", "licensed"))
REQUESTED = golden_event("consonance.rights.approval_requested.v1", request_id="R-9")


@pytest.mark.parametrize(
    ("events", "status", "requests"),
    [
        ([at(9, PENDING), at(10, LICENSED)], "licensed", ()),
        ([at(10, LICENSED), at(9, PENDING)], "licensed", ()),
        ([at(10, LICENSED), at(11, PENDING)], "pending", ()),
        ([at(10, LICENSED), at(9, REQUESTED)], "licensed", ()),
        ([at(10, LICENSED), at(11, REQUESTED)], "licensed", ("R-9",)),
        ([at(10, PENDING), at(9, REQUESTED)], "pending", ("R-9",)),
        ([at(9, REQUESTED), at(11, PENDING), at(10, LICENSED)], "pending", ("R-9",)),
    ],
)
def test_a_rights_record_is_as_the_newest_event_says(
    events: list[Event], status: str, requests: tuple[str, ...]
) -> None:
    facts = Facts(TENANT)
    for event in events:
        changed = event.data.replace(rights_record_id="PR-1")
        apply_event(facts, event.replace(data=changed))
    (record,) = facts.records.values()
    assert (record.status, record.open_requests) == (status, requests)


WORK = to_builtins(BLOCKED.data)["work"]
WITHDRAWN = golden_event("consonance.rights.request_withdrawn.v1", request_id="R-9", work=WORK)
ASKED_OF_IT, ASKED_OTHER = (
    golden_event("consonance.rights.approval_requested.v1", request_id=each, work=WORK) for each in ("R-9", "R-8")
)


@pytest.mark.parametrize(
    ("events", "is_asked"),
    [
        ([at(10, WITHDRAWN, seen=8), at(9, ASKED_OF_IT, seen=11)], False),
        ([at(10, WITHDRAWN), at(9, ASKED_OF_IT)], False),
        ([at(10, WITHDRAWN), at(11, ASKED_OF_IT)], True),  # made again
        ([at(10, WITHDRAWN), at(9, ASKED_OTHER)], True),
    ],
)
def test_a_request_that_comes_after_its_withdrawal_is_not_asked(events: list[Event], *, is_asked: bool) -> None:
    book, now = own_rulebook(), datetime(2027, 3, 3, 12, tzinfo=UTC)
    decider, facts = decider_of(book, RulebookRegistry(book).of_revision, (b"key",)), facts_of_blocked_work()
    for event in events:
        decision = decider.decide(event, facts, now)
        facts.apply_changes(decision.changes)
    assert bool(facts.chains) == is_asked
    assert (Reason.OUTDATED in decision.reasons) != is_asked


def test_the_newest_withdrawals_of_a_work_are_remembered() -> None:
    facts = facts_of_blocked_work()
    for number in range(30):
        apply_event(facts, at(10, WITHDRAWN.replace(data=WITHDRAWN.data.replace(request_id=f"R-{number}"))))
    (work,) = facts.works.values()
    assert [one.name for one in work.withdrawals] == [f"R-{number}" for number in range(10, 30)]


@pytest.mark.parametrize(("hour", "reason"), [(9, Reason.OUTDATED), (11, Reason.STARTED)])
def test_an_outdated_event_starts_no_rule_and_its_decision_says_why(hour: int, reason: Reason) -> None:
    book = own_rulebook()
    decider, facts = decider_of(book, RulebookRegistry(book).of_revision, (b"key",)), facts_of_blocked_work()
    apply_event(facts, at(10, UNBLOCKED))

    decision = decider.decide(at(hour, BLOCKED), facts, datetime(2027, 3, 3, 12, tzinfo=UTC))

    assert reason in decision.reasons
    assert bool(decision.changes.chains) == (reason is Reason.STARTED)
    assert decision.record is not None


def test_an_outdated_end_changes_no_chain_of_a_newer_block() -> None:
    book = own_rulebook()
    decider, facts = decider_of(book, RulebookRegistry(book).of_revision, (b"key",)), facts_of_blocked_work()
    now = datetime(2027, 3, 3, 12, tzinfo=UTC)

    begun = decider.decide(at(11, BLOCKED), facts, now)
    decision = decider.decide(at(10, UNBLOCKED), begun.changes, now)

    assert decision.reasons == (Reason.OUTDATED,)
    assert decision.changes.chains == begun.changes.chains
