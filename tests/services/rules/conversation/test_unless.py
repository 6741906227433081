"""A message that waits in the dispatcher does not go after its reason is gone: its ``unless`` is judged again."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.conversation.chain import Chain, DeliveryState
from services.rules.conversation.context import Effect, RequestedMessage
from services.rules.rulebook.model import AllOf, Compare, Condition, Operator, Rulebook, Severity
from shared.contracts.ids import RuleId, WorkId
from shared.contracts.messages import SendMessage, WithdrawMessage
from shared.contracts.vocabulary import Stage
from tests.services.rules.delayed_dispatcher import DelayedStory
from tests.services.rules.stories import own_rulebook

_TITLE = "801: {roles: [author], country: GB}\n11: {roles: [editor], country: FR}"
_MOVED = "{event: work.stage_changed, with: {to_stage_key: final_proof_approved}}"
_ON_LIST = Compare("work.stage_key", Operator.IS, "published")


def _withdrawals(effects: list[Effect]) -> list[WithdrawMessage]:
    return [effect for effect in effects if isinstance(effect, WithdrawMessage)]


def _after(story: DelayedStory, **changes: Any) -> list[WithdrawMessage]:
    """The withdrawals when Consonance shows the work in another state."""
    before = len(story.simulation.effects)
    story.simulation.observe_work(**changes)
    return _withdrawals(story.simulation.effects[before:])


def _stage_story() -> DelayedStory:
    story = DelayedStory(_TITLE, rule="stage-change")
    story.play(_MOVED)
    assert [person for _, person in story.simulation.requested] == [story.person(801), story.person(11)]
    return story


def test_a_notice_that_waits_is_withdrawn_when_the_title_has_moved_on() -> None:
    """Its chain has ended: nothing was to come after the notice."""
    story = _stage_story()
    assert not story.chain.live
    gone = _after(story, stage_key=Stage.PUBLISHED)
    assert [(one.person_id, one.reason) for one in gone] == [
        (story.person(801), "unless"),
        (story.person(11), "unless"),
    ]
    assert _after(story, stage_key=Stage.PUBLISHED, cancelled=True) == []  # once is enough
    for one in gone:
        story.simulation.report_withdrawn(one)
    assert {message.delivery for message in story.chain.messages} == {DeliveryState.WITHDRAWN}


def test_a_change_that_leaves_the_reason_withdraws_nothing() -> None:
    assert _after(_stage_story(), embargo_until=date(2027, 8, 1)) == []


def test_sent_messages_are_not_withdrawn() -> None:
    story = _stage_story()
    story.simulation.report_one(0)
    assert [one.person_id for one in _after(story, stage_key=Stage.PUBLISHED)] == [story.person(11)]


def test_an_uncertain_message_does_not_go_again_after_its_reason_is_gone() -> None:
    story = _stage_story()
    message, person = story.simulation.requested[0]
    story.simulation.report_uncertain(0)
    assert len(_after(story, stage_key=Stage.PUBLISHED)) == 2
    before = len(story.simulation.effects)
    story.simulation.report_again(message, person)
    assert [one.message_id for one in _withdrawals(story.simulation.effects[before:])] == [message]


def _with_first_step(rule: str, unless: Condition) -> Rulebook:
    book = own_rulebook()
    known = book.rules[RuleId(rule)]
    steps = (replace(known.steps[0], unless=unless), *known.steps[1:])
    return replace(book, rules={**book.rules, known.name: replace(known, steps=steps)})


def test_a_question_that_is_left_out_waits_for_no_answer_of_its_person() -> None:
    """Two of two must agree; one has done so when the question to the other is withdrawn."""
    only_france = AllOf((_ON_LIST, Compare("recipient.country", Operator.IS, "FR")))
    authors = "801: {roles: [author], country: GB}\n803: {roles: [author], country: FR}"
    book = _with_first_step("metadata-confirmation", only_france)
    story = DelayedStory(authors, rule="metadata-confirmation", book=book)
    story.play("{event: metadata.confirmation_requested, with: {quorum: all, confirmers: [801, 803]}}")
    waiting = {person: index for index, (_, person) in enumerate(story.simulation.requested)}
    story.simulation.report_one(waiting[story.person(801)])
    story.play("reply: {from: 801, button: confirm, to: metadata_confirm}")
    assert not story.chain.writes
    (gone,) = _after(story, stage_key=Stage.PUBLISHED)
    assert gone.person_id == story.person(803)
    story.simulation.report_withdrawn(gone)
    assert story.chain.writes
    assert "unless" in _left_out(story.chain).values()


def _left_out(chain: Chain) -> dict[str, str]:
    return {person: why for step in chain.steps for person, why in step.left_out.items()}


def test_an_offer_that_is_left_out_is_no_offer() -> None:
    story = DelayedStory(
        "12: {roles: [editor], country: GB}\n801: {roles: [author], country: GB}",
        rule="blocked-title",
        book=_with_first_step("blocked-title", _ON_LIST),
    )
    story.play("{event: work.blocked, with: {block_id: B-1, severity: warning, owner: 12}}")
    offered = {person for offer in story.chain.handovers for person in offer.people}
    assert offered
    for one in _after(story, stage_key=Stage.PUBLISHED):
        story.simulation.report_withdrawn(one)
    assert not offered & {person for offer in story.chain.handovers for person in offer.people}


def test_an_event_that_comes_again_judges_what_waits_by_its_new_values() -> None:
    payee = "801: {roles: [author], country: GB}\n61: {roles: [finance], country: GB}"
    unless = Compare("issue", Operator.IS, "vat_invoice_needed")
    story = DelayedStory(payee, rule="payment-issue", book=_with_first_step("payment-issue", unless))
    issue = "{{event: royalty.payment_issue, with: {{payment_id: P-1, payee: 801, issue: {0}}}}}"
    assert _withdrawals(story.effects_of([issue.format("bank_rejected")])) == []
    (gone,) = _withdrawals(story.effects_of([issue.format("vat_invoice_needed")]))
    assert (gone.person_id, gone.reason) == (story.person(801), "unless")


def test_a_decision_does_not_withdraw_its_own_messages() -> None:
    assert [e for e in _stage_story().simulation.effects if isinstance(e, WithdrawMessage)] == []


def _digest_story(*titles: int) -> DelayedStory:
    """A digest for the author waits in the dispatcher, with a notice on each of these titles."""
    book = own_rulebook()
    gathering = replace(book, tenant=replace(book.tenant, digest=Severity.INFO))
    story = DelayedStory("801: {roles: [author], country: GB}", rule="stage-change", book=gathering)
    story.play("wait until: 2027-03-03T23:00:00Z", *map(_moved_title, titles), "wait until: 2027-03-04T09:00:00Z")
    assert len(story.simulation.requested) == 1
    return story


def _moved_title(number: int) -> str:
    work = f"work: {{work_id: {number}, title: T{number}}}"
    return f"{{event: work.stage_changed, with: {{to_stage_key: final_proof_approved, {work}}}}}"


def _requested_after(story: DelayedStory, work: int) -> list[SendMessage]:
    """The work moves on, the digest is withdrawn, and this is requested in its place."""
    before = len(story.simulation.effects)
    story.simulation.observe_work(work, stage_key=Stage.PUBLISHED)
    (gone,) = _withdrawals(story.simulation.effects[before:])
    assert gone.message_id == story.simulation.requested[0][0]
    story.simulation.report_withdrawn(gone)
    return [e.send for e in story.simulation.effects[before:] if isinstance(e, RequestedMessage)]


def test_a_digest_goes_without_the_item_whose_reason_is_gone() -> None:
    (rest,) = _requested_after(_digest_story(1, 2, 3), 2)
    assert rest.say == "digest"
    assert ("T1" in rest.body, "T2" in rest.body, "T3" in rest.body) == (True, False, True)


def test_the_last_item_of_a_digest_goes_as_itself() -> None:
    story = _digest_story(1, 2)
    (rest,) = _requested_after(story, 2)
    assert (rest.say, "T1" in rest.body) == ("stage_changed", True)
    items = {m.digest: m.delivery for c in story.simulation.facts.chains.values() for m in c.messages}
    assert set(items.values()) == {DeliveryState.REQUESTED, DeliveryState.WITHDRAWN}


def test_the_rest_of_a_digest_goes_where_it_was_withdrawn_for_a_reason_before() -> None:
    story = _digest_story(1, 2)
    story.simulation.observe_work(2, stage_key=Stage.PUBLISHED)
    (gone,) = _withdrawals(story.simulation.effects)
    before = len(story.simulation.effects)
    story.simulation.report_withdrawn(gone.replace(reason="until"))
    (rest,) = [e.send for e in story.simulation.effects[before:] if isinstance(e, RequestedMessage)]
    assert (rest.say, "T1" in rest.body) == ("stage_changed", True)


def test_the_rest_of_a_digest_is_not_sent_after_an_opt_out() -> None:
    story = _digest_story(1, 2)
    story.simulation.observe_work(2, stage_key=Stage.PUBLISHED)
    before = len(story.simulation.effects)
    story.play("reply: {from: 801, text: STOP}")
    for gone in _withdrawals(story.simulation.effects)[:1]:
        story.simulation.report_withdrawn(gone)
    said = [e.send.say for e in story.simulation.effects[before:] if isinstance(e, RequestedMessage)]
    assert said == ["stopped"]


class _Queue:
    """A dispatcher that sends when it is told to: what it has, what it has sent, and what of it came too late."""

    def __init__(self, story: DelayedStory) -> None:
        self.story, self.waiting, self.sent, self.seen = story, list[SendMessage](), list[SendMessage](), 0

    def take_over(self) -> None:
        """Read what rules has asked for since, and report each withdrawal that is in time."""
        simulation = self.story.simulation
        while self.seen < len(simulation.effects):
            effect, self.seen = simulation.effects[self.seen], self.seen + 1
            if isinstance(effect, RequestedMessage):
                self.waiting.append(effect.send)
            elif isinstance(effect, WithdrawMessage):
                in_time = [one for one in self.waiting if one.message_id == effect.message_id]
                self.waiting = [one for one in self.waiting if one not in in_time]
                if in_time:
                    simulation.report_withdrawn(effect)

    def send(self, which: int) -> None:
        if self.waiting:
            self.sent.append(self.waiting.pop(which % len(self.waiting)))
            index = [message for message, _ in self.story.simulation.requested].index(self.sent[-1].message_id)
            self.story.simulation.report_one(index)


@given(moves=st.lists(st.tuples(st.sampled_from(["send", "moved_on", "read"]), st.integers(1, 4)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_each_item_goes_once_and_none_after_its_reason_is_gone(moves: list[tuple[str, int]]) -> None:
    story = _digest_story(1, 2, 3, 4)
    queue, gone = _Queue(story), set[int]()
    queue.take_over()
    for move, number in moves:
        if move == "send":
            queue.send(number)
        elif move == "read":
            queue.take_over()
        else:
            gone.add(number)
            story.simulation.observe_work(number, stage_key=Stage.PUBLISHED)
    queue.take_over()
    sent_before = len(queue.sent)
    while queue.waiting:
        queue.send(0)
        queue.take_over()
    texts = [one.body for one in queue.sent]
    assert not any(f"T{number}" in text for number in gone for text in texts[sent_before:])
    for number in {1, 2, 3, 4} - gone:
        assert sum(f"T{number}" in text for text in texts) == 1


# ------------------------------------------------------------------ what time alone makes true

_LATE = Compare("days_to.pub_date", Operator.LESS_THAN, 5)
_THURSDAY, _FRIDAY = datetime(2027, 3, 4, tzinfo=UTC), datetime(2027, 3, 5, tzinfo=UTC)


def _dated_story(days: int, unless: Condition = _LATE, people: str = _TITLE) -> DelayedStory:
    """A notice that is not sent in the last working days before publication waits in the dispatcher on a Wednesday."""
    story = DelayedStory(people, rule="stage-change", book=_with_first_step("stage-change", unless))
    story.play(f"facts: {{days_to.pub_date: {days}}}", _MOVED)
    assert len(story.simulation.requested) == 2
    return story


def _withdrawals_until(story: DelayedStory, instant: datetime) -> list[WithdrawMessage]:
    before = len(story.simulation.effects)
    story.simulation.advance(instant)
    return _withdrawals(story.simulation.effects[before:])


def test_a_notice_that_waits_is_withdrawn_at_the_midnight_from_which_its_unless_holds() -> None:
    """Its chain has ended, and no event comes."""
    story = _dated_story(6)
    assert not story.chain.live
    assert _withdrawals_until(story, _FRIDAY - timedelta(seconds=1)) == []
    (gone,) = _withdrawals_until(story, _FRIDAY)
    assert (gone.person_id, gone.reason) == (story.person(801), "unless")
    assert story.chain.next_due is None


def test_each_person_is_judged_by_time_for_themselves() -> None:
    only_france = AllOf((_LATE, Compare("recipient.country", Operator.IS, "FR")))
    authors = "801: {roles: [author], country: GB}\n803: {roles: [author], country: FR}"
    story = _dated_story(6, only_france, authors)
    assert [one.person_id for one in _withdrawals_until(story, _FRIDAY)] == [story.person(803)]


def test_a_chain_is_not_due_for_what_no_midnight_changes_before_its_message_expires() -> None:
    assert _stage_story().chain.next_due is None
    assert _dated_story(20).chain.next_due is None


def test_a_chain_is_due_no_more_once_its_messages_have_gone() -> None:
    story = _dated_story(6)
    assert story.chain.next_due == _FRIDAY
    story.simulation.report_all()
    assert story.chain.next_due is None


def test_a_publication_date_that_moves_while_a_message_waits_moves_the_midnight() -> None:
    story = _dated_story(20)
    _publish_in(story, 0, date(2027, 3, 10))
    assert [one.person_id for one in _withdrawals_until(story, _THURSDAY)] == [story.person(801)]


def test_a_publication_that_is_put_off_keeps_what_waits() -> None:
    story = _dated_story(6)
    _publish_in(story, 0, date(2027, 4, 10))
    assert _withdrawals_until(story, _FRIDAY + timedelta(days=3)) == []
    assert story.chain.next_due is None


def test_a_digest_goes_without_the_item_whose_reason_ends_by_time() -> None:
    book = _with_first_step("stage-change", _LATE)
    gathering = replace(book, tenant=replace(book.tenant, digest=Severity.INFO))
    story = DelayedStory("801: {roles: [author], country: GB}", rule="stage-change", book=gathering)
    story.play("wait until: 2027-03-03T23:00:00Z", *map(_moved_title, (1, 2, 3)), "wait until: 2027-03-04T09:00:00Z")
    _publish_in(story, 2, date(2027, 3, 11))
    (gone,) = _withdrawals_until(story, _FRIDAY)
    before = len(story.simulation.effects)
    story.simulation.report_withdrawn(gone)
    (rest,) = (e.send for e in story.simulation.effects[before:] if isinstance(e, RequestedMessage))
    assert ("T1" in rest.body, "T2" in rest.body, "T3" in rest.body) == (True, False, True)


def _publish_in(story: DelayedStory, work: int, day: date) -> None:
    """``work`` 0 stands for the only one."""
    works = story.simulation.facts.works
    known = (works.get(WorkId(work)) or next(iter(works.values()))).state
    story.simulation.observe_work(work, products=tuple(one.replace(pub_date=day) for one in known.products))


# ------------------------------------------------------------------ copies

_TWO_AUTHORS = "801: {roles: [author], country: GB}\n803: {roles: [author], country: GB}"


def _copied_story(people: str, unless: Condition = _ON_LIST) -> DelayedStory:
    """A notice to the authors, and a copy of it to a coordinator, wait in the dispatcher."""
    book = _with_first_step("stage-change", unless)
    known = book.rules[RuleId("stage-change")]
    first = replace(known.steps[0], cc=("production_coordinator",))
    book = replace(book, rules={**book.rules, known.name: replace(known, steps=(first,))})
    story = DelayedStory(f"{people}\n22: {{roles: [production_coordinator]}}", rule="stage-change", book=book)
    story.play(_MOVED)
    assert story.simulation.requested[-1][1] == story.person(22)
    return story


def test_a_copy_goes_no_more_than_the_message_it_tells_of() -> None:
    story = _copied_story("801: {roles: [author], country: GB}")
    (notice,) = _after(story, stage_key=Stage.PUBLISHED)
    before = len(story.simulation.effects)
    story.simulation.report_withdrawn(notice)
    (copy,) = _withdrawals(story.simulation.effects[before:])
    assert (copy.person_id, copy.reason) == (story.person(22), "unless")
    story.simulation.report_withdrawn(copy)
    assert {message.delivery for message in story.chain.messages} == {DeliveryState.WITHDRAWN}


def test_a_copy_goes_where_one_of_the_messages_it_tells_of_has_gone() -> None:
    story = _copied_story(_TWO_AUTHORS)
    story.simulation.report_one(0)
    (notice,) = _after(story, stage_key=Stage.PUBLISHED)
    story.simulation.report_withdrawn(notice)
    assert {one.person_id for one in _withdrawals(story.simulation.effects)} == {notice.person_id}


def test_a_copy_goes_where_its_message_could_not_be_withdrawn_in_time() -> None:
    story = _copied_story("801: {roles: [author], country: GB}")
    (notice,) = _after(story, stage_key=Stage.PUBLISHED)
    story.simulation.report_one(0)
    assert _withdrawals(story.simulation.effects) == [notice]


def test_a_copy_that_is_held_is_left_out_with_the_message_it_tells_of() -> None:
    """Both wait for the morning when the title moves on."""
    book = _copied_story(_TWO_AUTHORS).simulation.decider.rulebook
    story = DelayedStory(f"{_TWO_AUTHORS}\n22: {{roles: [production_coordinator]}}", rule="stage-change", book=book)
    story.play("wait until: 2027-03-03T23:00:00Z", _MOVED)
    _after(story, stage_key=Stage.PUBLISHED)
    story.play("wait until: 2027-03-04T12:00:00Z")
    assert story.simulation.requested == []
    assert {message.delivery for message in story.chain.messages} == {DeliveryState.WITHDRAWN}
