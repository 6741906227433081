"""Caps per person, what exceeds them, and tells that wait and become one message."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.rules.conversation.chain import Chain, DeliveryState, Ending
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.rendering import reference_code
from services.rules.rulebook.model import Cap, CapPeriod, Rulebook, Severity
from services.rules.scenario.player import StoryPlayer, play_story
from services.rules.scenario.story_world import TENANT
from shared.clients.whatsapp_limits import BODY_LENGTH
from shared.contracts.ids import ContactId, PersonId, RuleId, person_id_of_contact
from shared.contracts.messages import MessageDropped, SendMessage
from shared.contracts.values import decode, encode
from tests.services.rules.delayed_dispatcher import DelayedStory
from tests.services.rules.stories import faults_of_rule, own_rulebook, story, template_text

PEOPLE = """\
830: {roles: [designer], country: GB}
22: {roles: [production_coordinator], country: GB}
801: {roles: [author], country: GB}
61: {roles: [finance], country: GB}
12: {roles: [escalation_1, escalation_2], country: GB}
"""
NIGHT = "wait until: 2027-03-03T23:00:00Z"
MORNING = "wait until: 2027-03-04T09:00:00Z"


def limited(*caps: Cap, digest: Severity | None = None) -> Rulebook:
    book = own_rulebook()
    return replace(book, tenant=replace(book.tenant, caps=caps, digest=digest))


def faults(book: Rulebook, *moves: str) -> list[str]:
    return [fault.sentence for fault in play_story(story(PEOPLE, *moves), book)]


def issue(number: int) -> str:
    return f"{{event: royalty.payment_issue, with: {{payment_id: P-{number}, payee: 801}}}}"


def moved(number: int, stage: str = "copyedit_assigned") -> str:
    title = f"work: {{work_id: {number}, title: The Tide Millers {number}}}"
    return f"{{event: work.stage_changed, with: {{to_stage_key: {stage}, {title}}}}}"


A_DAY = Cap(2, CapPeriod.DAY)
ASKED = "{ask: 801, say: payment_issue}"
WAITS = "{left_out: {801: waiting}}"
UNFILLED = ", ".join(
    f"{{left_out: {{{role}: unknown_role}}}}" for role in ("illustrator", "translator", "editor", "production_lead")
)
"""Roles of a stage change that no person of these stories has."""


def test_a_message_over_the_cap_waits_for_the_next_day() -> None:
    moves = (issue(1), issue(2), issue(3), f"expect: [{ASKED}, {ASKED}, {WAITS}]", MORNING, f"expect: [{ASKED}]")
    assert faults(limited(A_DAY), *moves) == []


def test_a_message_that_a_cap_would_hold_too_long_is_left_out_and_the_next_step_runs() -> None:
    moves = (
        issue(1),
        issue(2),
        f"expect: [{ASKED}, {{left_out: {{801: capped}}}}, {{hand_over: 61, say: payment_issue_unanswered}}]",
    )
    assert faults(limited(Cap(1, CapPeriod.WEEK)), *moves) == []


def test_words_that_are_passed_on_to_be_read_are_never_left_out() -> None:
    """They wait for room like any message, and go without it where that would be too late."""
    people = "801: {roles: [author], country: GB}\n11: {roles: [editor], country: GB}"
    words = ("When will it be printed?", "And by whom?")
    says = [f"expect: [{{tell: 11, say: to_read, text: {text}}}, {{tell: 801, say: passed_on}}]" for text in words]
    moves = (f"reply: {{from: 801, text: {words[0]}}}", says[0], f"reply: {{from: 801, text: {words[1]}}}", says[1])
    assert [f.sentence for f in play_story(story(people, *moves), limited(Cap(1, CapPeriod.WEEK)))] == []
    waits = "expect: [{left_out: {11: waiting}}, {tell: 801, say: passed_on}]"
    later = (*moves[:3], waits, MORNING, says[1].replace(", {tell: 801, say: passed_on}", ""))
    assert [f.sentence for f in play_story(story(people, *later), limited(Cap(1, CapPeriod.DAY)))] == []


def test_replies_are_free() -> None:
    moves = (
        issue(1),
        "reply: {from: 801, button: help}",
        issue(2),
        f"expect: [{ASKED}, {{hand_over: 61}}, {{tell: 801, say: handed_over}}, {ASKED}]",
    )
    assert faults(limited(A_DAY), *moves) == []


def test_critical_messages_to_staff_pass_the_cap() -> None:
    blocks = [
        f"{{event: work.blocked, with: {{block_id: B-{number}, severity: critical, owner: 12}}}}" for number in range(3)
    ]
    expected = ", ".join(["{hand_over: 12, say: title_blocked}"] * 3)
    assert faults(limited(Cap(1, CapPeriod.DAY)), *blocks, f"expect: [{expected}]") == []


def test_a_message_that_never_left_takes_no_room() -> None:
    withdrawn = "{event: royalty.payment_sent, with: {payment_id: P-1, payee: 801}}"
    moves = (
        NIGHT,
        issue(1),
        issue(2),
        withdrawn,
        issue(3),
        "expect: [{end: until}]",
        MORNING,
        f"expect: [{ASKED}, {ASKED}]",
    )
    assert faults(limited(A_DAY), *moves) == []


def test_a_message_requested_and_withdrawn_by_one_decision_does_not_count_for_a_cap() -> None:
    """After an outage a question that was held for the morning is due together with the end of its chain."""
    people = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
    delayed = DelayedStory(people, book=limited(A_DAY))
    delayed.play(NIGHT, "{event: rights.approval_requested, with: {respond_by: 2027-03-04}}")
    simulation = delayed.simulation
    simulation.now = datetime(2027, 3, 5, 10, tzinfo=UTC)
    simulation._run_due(delayed.chain)
    assert delayed.chain.closing is Ending.GAVE_UP
    requested = [effect.send for effect in simulation.effects if isinstance(effect, RequestedMessage)]
    counted = {one.message_id for known in simulation.facts.counted.values() for one in known.messages}
    assert counted == {send.message_id for send in requested if send.person_id != delayed.person(812)}


def test_a_message_that_never_left_takes_no_room_of_the_id_that_its_person_has_now() -> None:
    delayed = DelayedStory("801: {roles: [author], country: GB}", rule="payment-issue", book=limited(A_DAY))
    delayed.play(issue(1))
    ((message, former),) = delayed.simulation.requested
    facts = delayed.simulation.facts
    known = facts.people[former]
    facts.set_person(known.replace(person_id=PersonId("now")))
    facts.set_person(known.replace(merged_into=PersonId("now"), merged_at=delayed.simulation.now))
    facts.set_counted(PersonId("now"), facts.counted[former])
    facts.set_chain(delayed.chain.with_current_id(former, PersonId("now")))
    dropped = MessageDropped(message_id=message, person_id=former, at=delayed.simulation.now, reason="expired")
    delayed.simulation.publish_of(former, dropped)
    assert not facts.counted[PersonId("now")].messages


def test_the_more_severe_goes_first_where_there_is_not_room_for_all() -> None:
    moves = (NIGHT, moved(1), issue(1), f"expect: [{UNFILLED}]", MORNING, f"expect: [{ASKED}, {WAITS}]")
    assert faults(limited(Cap(1, CapPeriod.DAY)), *moves) == []


def test_tells_that_wait_become_one_message_and_each_is_shown_on_demand() -> None:
    told = "{tell: 801, say: stage_changed"
    moves = (
        NIGHT,
        moved(1),
        moved(2),
        f"expect: [{UNFILLED}]",
        MORNING,
        'expect: [{tell: 801, say: digest, text: "There are 2: 1. "}, {end: done}, {end: done}]',
        "reply: {from: 801, button: show}",
        f"expect: [{told}, text: The Tide Millers 1}}, {told}, text: The Tide Millers 2}}]",
        "reply: {from: 801, button: show}",
        "expect: nothing",
    )
    assert faults(limited(digest=Severity.INFO), *moves) == []


BLOCK_RULE = """\
rule: block-told
owner: production
why: {en: You work on this title., fr: Vous travaillez sur ce titre.}
on: work.blocked
about: block_id
steps:
  - tell: [owner, escalation_1]
    say: block_news
"""


def blocked(number: int, owner: int, lead: int) -> str:
    parties = f"owner: {owner}, escalation: [{{contact_id: {lead}, role: escalation_1}}]"
    return f"{{event: work.blocked, with: {{block_id: B-{number}, severity: info, {parties}}}}}"


def test_people_who_share_other_chains_than_the_first_to_be_due_get_a_digest_too() -> None:
    """The first two share 801, the last two share 22; the release for 801 must not send to 22 one by one."""
    digests = "{tell: 801, say: digest}, {tell: 22, say: digest}"
    others = "{tell: 830, say: block_news}, {tell: 61, say: block_news}"
    moves = (
        NIGHT,
        blocked(1, owner=801, lead=830),
        blocked(2, owner=801, lead=22),
        blocked(3, owner=61, lead=22),
        MORNING,
        f"expect: [{digests}, {others}, {{end: done}}, {{end: done}}, {{end: done}}]",
    )
    texts = {"block_news": template_text("block_news", "News of “{title}”, {person}. It is held up now.")}
    assert faults_of_rule(BLOCK_RULE, texts, PEOPLE, *moves, limits="digest: info\n") == []


def test_one_tell_goes_as_itself_and_a_question_never_in_a_digest() -> None:
    told = f"{{tell: 801, say: stage_changed}}, {ASKED}, {{end: done}}"
    moves = (NIGHT, moved(1), issue(1), MORNING, f"expect: [{UNFILLED}, {told}]")
    assert faults(limited(digest=Severity.INFO), *moves) == []


def test_a_tell_more_severe_than_a_digest_takes_goes_as_itself() -> None:
    book = limited(digest=Severity.INFO)
    told = book.rules[RuleId("stage-change")]
    severe = replace(book, rules={**book.rules, told.name: replace(told, severity=Severity.WARNING)})
    each = "{tell: 801, say: stage_changed}"
    moves = (NIGHT, moved(1), moved(2), MORNING, f"expect: [{UNFILLED}, {each}, {each}, {{end: done}}, {{end: done}}]")
    assert faults(severe, *moves) == []


GATHERED = "{tell: 801, say: digest}, {end: done}, {end: done}"


def test_a_digest_counts_once_for_a_cap() -> None:
    moves = (NIGHT, moved(1), moved(2), MORNING, issue(1), issue(2))
    assert (
        faults(limited(A_DAY, digest=Severity.INFO), *moves, f"expect: [{UNFILLED}, {GATHERED}, {ASKED}, {WAITS}]")
        == []
    )


def test_a_digest_waits_for_the_cap_as_a_message_does() -> None:
    moves = (NIGHT, moved(1), moved(2), issue(1), MORNING, f"expect: [{UNFILLED}, {ASKED}, {WAITS}]")
    next_day = ("wait: 24 hours", f"expect: [{GATHERED}]")
    assert faults(limited(Cap(1, CapPeriod.DAY), digest=Severity.INFO), *moves, *next_day) == []


def digest_player(book: Rulebook, *moves: str) -> StoryPlayer:
    """A story in which a digest is due in the morning."""
    one = story(PEOPLE, NIGHT, *moves)
    player = StoryPlayer.of(one, book)
    for step in one.steps:
        assert player.play(step) == []
    return player


def sent_in_the_morning(player: StoryPlayer) -> list[SendMessage]:
    simulation = player.simulation
    simulation.advance(simulation.now + timedelta(hours=10))
    return [effect.send for effect in simulation.effects if isinstance(effect, RequestedMessage)]


def test_no_digest_goes_to_a_person_who_cannot_be_reached_any_more() -> None:
    player = digest_player(limited(digest=Severity.INFO), moved(1), moved(2))
    facts = player.simulation.facts
    author = facts.people[person_id_of_contact(TENANT, ContactId(801))]
    facts.set_person(author.replace(reachable=False))
    assert sent_in_the_morning(player) == []
    assert {m.delivery for chain in facts.chains.values() for m in chain.messages} == {DeliveryState.DROPPED}


@pytest.mark.parametrize(("count", "parts"), [(2, [2]), (15, [15]), (16, [15, 1]), (33, [15, 15, 3])])
def test_a_digest_has_a_part_of_each_text_with_its_code_and_is_no_longer_than_whatsapp_takes(
    count: int, parts: list[int]
) -> None:
    long = "The Tide Millers of the Western Isles and their Machines " * 12
    several = (moved(number).replace("The Tide Millers", long.strip()) for number in range(count))
    player = digest_player(limited(digest=Severity.INFO), *several)
    sent = sent_in_the_morning(player)
    codes = {reference_code(chain) for chain in player.simulation.facts.chains}
    for digest, items in zip(sent, parts, strict=True):
        assert digest.say == ("digest" if items > 1 else "stage_changed")
        assert len(digest.body) <= BODY_LENGTH
        named = {code for code in codes if f"… ({code})" in digest.body}
        assert len(named) == (items if items > 1 else 0)
        assert all(f" {number}. " in digest.body for number in range(1, items + 1 if items > 1 else 1))
        codes -= named


def test_a_digest_that_rules_comes_to_after_the_hours_waits_for_the_next_ones() -> None:
    simulation = digest_player(limited(digest=Severity.INFO), moved(1), moved(2)).simulation
    late = datetime(2027, 3, 4, 22, tzinfo=UTC)
    simulation.now = late  # rules stood still over the day
    simulation.advance(late)
    assert not any(isinstance(effect, RequestedMessage) for effect in simulation.effects)
    simulation.advance(late + timedelta(hours=11))
    (sent,) = (effect.send for effect in simulation.effects if isinstance(effect, RequestedMessage))
    assert (sent.say, sent.open_hours[0].opens) == ("digest", simulation.now)


def test_the_items_of_a_digest_share_its_delivery_and_are_kept() -> None:
    one = story(PEOPLE, NIGHT, moved(1), moved(2), MORNING, "failed: {to: 801, code: 131026}")
    player = StoryPlayer.of(one, limited(digest=Severity.INFO))
    for step in one.steps:
        assert player.play(step) == []
    chains = [chain for chain in player.simulation.facts.chains.values() if any(m.digest for m in chain.messages)]
    items = [message for chain in chains for message in chain.messages]
    assert [item.delivery for item in items] == [DeliveryState.FAILED] * 2
    assert len({item.digest for item in items}) == 1
    assert [decode(Chain, encode(chain)) for chain in chains] == chains


@pytest.mark.parametrize(("count", "expected"), [(1, [ASKED]), (3, [ASKED, ASKED, ASKED])])
def test_a_week_begins_on_monday(count: int, expected: list[str]) -> None:
    moves = (
        "wait until: 2027-03-05T10:00:00Z",
        *map(issue, range(count)),
        f"expect: [{', '.join(expected)}]",
        issue(9),
        f"expect: [{WAITS}]",
        "wait until: 2027-03-08T09:00:00Z",
        f"expect: [{ASKED}]",
    )
    assert faults(limited(Cap(count, CapPeriod.WEEK)), *moves) == []


def test_of_two_full_caps_the_longer_one_counts() -> None:
    moves = (
        "wait until: 2027-03-04T10:00:00Z",  # a Thursday
        issue(0),
        f"expect: [{ASKED}]",
        issue(9),
        f"expect: [{WAITS}]",
        "wait until: 2027-03-05T17:00:00Z",
        "expect: nothing",
        "wait until: 2027-03-08T09:00:00Z",
        f"expect: [{ASKED}]",
    )
    assert faults(limited(Cap(1, CapPeriod.DAY), Cap(1, CapPeriod.WEEK)), *moves) == []


def test_messages_older_than_nine_days_are_not_kept_for_the_caps() -> None:
    one = story(
        PEOPLE, *(move for day in (3, 8, 15) for move in (f"wait until: 2027-03-{day:02}T10:00:00Z", issue(day)))
    )
    player = StoryPlayer.of(one, limited(A_DAY))
    for step in one.steps:
        assert player.play(step) == []
    counted = player.simulation.facts.counted[person_id_of_contact(TENANT, ContactId(801))]
    assert counted.messages[0].at.day == 8
