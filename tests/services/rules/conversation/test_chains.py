"""Chains beside one another and over time, in tables."""

from dataclasses import replace

import pytest

from services.rules.scenario.player import StoryPlayer
from shared.contracts.ids import RuleId
from tests.services.rules.stories import faults_of_rule, own_rulebook, story, story_faults, template_text

PRESS = "830: {roles: [designer], country: GB}\n22: {roles: [production_coordinator], country: GB}"
NEAR = "{tell: 830, say: deadline_near}, {tell: 22, say: deadline_near}"
PASSED = "{tell: 830, say: deadline_passed}, {tell: 22, say: deadline_passed}"


@pytest.mark.parametrize(
    ("moved_at", "new_due", "said_at_once", "said_next"),
    [
        ("2027-03-03T12:00:00Z", "2027-04-30", "nothing", "nothing"),  # nothing was said yet: the plan only moves
        ("2027-03-12T12:00:00Z", "2027-03-19", "nothing", "nothing"),  # the same date: nothing is said twice
        ("2027-03-03T12:00:00Z", "2027-03-10", f"[{NEAR}]", "nothing"),  # so near that the first reminder is due now
        ("2027-03-12T12:00:00Z", "2027-03-10", f"[{PASSED}]", "nothing"),  # past: the latest only
        ("2027-03-12T12:00:00Z", "2027-03-22", "nothing", f"[{NEAR}]"),  # its reminder lies ahead again
    ],
)
def test_a_plan_moves_with_its_date(moved_at: str, new_due: str, said_at_once: str, said_next: str) -> None:
    before = f"expect: [{NEAR}]" if moved_at > "2027-03-12" else "expect: nothing"
    moves = (
        "{event: schedule.date_set, with: {new_due: 2027-03-19, affected: [830]}}",
        f"wait until: {moved_at}",
        before,
        f"{{event: schedule.date_changed, with: {{new_due: {new_due}, affected: [830]}}}}",
        f"expect: {said_at_once}",
        "wait until: 2027-03-15T09:30:00Z" if said_next != "nothing" else "wait: 1 minute",
        f"expect: {said_next}",
    )
    assert story_faults(PRESS, *moves) == []


CONFIRMERS = (
    "801: {roles: [author], country: GB}\n802: {roles: [illustrator], country: GB}\n31: {roles: [metadata_manager]}"
)
NOTED = "{{tell: {0}, say: noted}}"
WRITES = "{record: metadata.apply}"


@pytest.mark.parametrize(
    ("quorum", "taps", "last"),
    [
        ("first", ["801"], f"[{NOTED.format(801)}, {WRITES}]"),
        ("all", ["801"], f"[{NOTED.format(801)}]"),
        ("all", ["801", "801"], "[{tell: 801, say: closed_question}]"),
        ("all", ["801", "802"], f"[{NOTED.format(802)}, {WRITES}]"),
        ("all", ["802", "801"], f"[{NOTED.format(801)}, {WRITES}]"),
    ],
)
def test_a_quorum_is_of_people_not_of_taps(quorum: str, taps: list[str], last: str) -> None:
    asked = f"{{event: metadata.confirmation_requested, with: {{quorum: {quorum}}}}}"
    moves = [asked, "expect: [{ask: 801}, {ask: 802}]"]
    for tap in taps[:-1]:
        moves += [f"reply: {{from: {tap}, button: confirm}}", f"expect: [{NOTED.format(tap)}]"]
    moves += [f"reply: {{from: {taps[-1]}, button: confirm}}", f"expect: {last}"]
    assert story_faults(CONFIRMERS, *moves) == []


TOKYO = CONFIRMERS.replace("802: {roles: [illustrator], country: GB}", "802: {roles: [illustrator], country: JP}")
ALL = "{event: metadata.confirmation_requested, with: {quorum: all, confirmers: [801, 802], respond_by: 2027-04-30}}"
CONFIRM = "reply: {{from: {0}, button: confirm}}"


def test_a_quorum_of_all_waits_for_a_person_whose_question_is_held() -> None:
    """In Tokyo it is evening: the question is held until the morning, and the others cannot decide before."""
    moves = (
        ALL, "expect: [{ask: 801}]", CONFIRM.format(801), f"expect: [{NOTED.format(801)}]",
        "wait until: 2027-03-04T00:00:00Z", "expect: [{ask: 802}]", CONFIRM.format(802),
        f"expect: [{NOTED.format(802)}, {WRITES}]",
    )  # fmt: skip
    assert story_faults(TOKYO, *moves) == []


def test_a_person_who_opts_out_while_the_question_is_held_no_longer_counts() -> None:
    moves = (
        ALL, CONFIRM.format(801), "reply: {from: 802, text: STOP}",
        f"expect: [{{ask: 801}}, {NOTED.format(801)}, {{tell: 802, say: stopped}}, {WRITES}]",
    )  # fmt: skip
    assert story_faults(TOKYO, *moves) == []


def test_a_chain_that_ends_withdraws_its_held_messages() -> None:
    cast = "22: {roles: [production_coordinator], country: GB}"
    moves = (
        "wait until: 2027-03-03T20:00:00Z",
        "{event: work.blocked, with: {severity: info}}",
        "event: work.unblocked",
        "expect: [{end: until}]",
        "wait: 30 days",
        "expect: nothing",
    )
    assert story_faults(cast, *moves) == []


def test_one_subject_has_one_live_chain_and_another_after_its_end() -> None:
    cast = "22: {roles: [production_coordinator], country: GB}"
    moves = (
        "event: work.blocked",
        "event: work.blocked",
        "expect: [{hand_over: 22}]",
        "event: work.unblocked",
        "event: work.blocked",
        "expect: [{end: until}, {hand_over: 22}]",
    )
    assert story_faults(cast, *moves) == []


SEVERAL_EVENTS = """\
rule: moved
owner: production
why: {{en: You work on it., fr: Vous y travaillez.}}
on: [{first}, {second}]
about: work.work_id
steps:
  - {{tell: production_coordinator, say: moved}}
  - {{after: 1 week, tell: production_coordinator, say: moved}}
"""


@pytest.mark.parametrize(
    "events", [("work.stage_changed", "product.pub_date_changed"), ("work.blocked", "work.unblocked")]
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_rule_of_several_events_goes_on_by_one_that_is_no_repetition_of_the_first(
    events: tuple[str, str], *, turned: bool
) -> None:
    first, second = reversed(events) if turned else events
    rule = SEVERAL_EVENTS.format(first=first, second=second)
    moves = (
        f"event: {first}",
        "expect: [{tell: 22, say: moved}]",
        f"{{event: {second}, with: {{work.title: Night Ferry}}}}",
        "wait: 1 week",
        "expect: [{tell: 22, say: moved, text: Night Ferry}, {end: done}]",
    )
    texts = {"moved": template_text("moved", "There is news of “{title}” for you.")}
    assert faults_of_rule(rule, texts, "22: {roles: [production_coordinator], country: GB}", *moves) == []


def test_the_rules_of_an_event_start_in_the_order_of_their_names() -> None:
    """In every process alike: the order of a set of names is another in each."""
    blocked = own_rulebook().rules[RuleId("blocked-title")]
    names = [RuleId(f"blocked-{letter}") for letter in "hcgaedbf"]
    rules = {name: replace(blocked, name=name) for name in names}
    blocked_once = story("22: {roles: [production_coordinator], country: GB}", "event: work.blocked")
    player = StoryPlayer.of(blocked_once, replace(own_rulebook(), rules=rules))
    for step in blocked_once.steps:
        player.play(step)
    assert [chain.rule for chain in player.simulation.facts.chains.values()] == sorted(names)


def test_a_matter_taken_twice_is_reminded_of_twice() -> None:
    cast = "22: {roles: [production_coordinator], country: GB}"
    moves = (
        "event: work.blocked",
        "reply: {from: 22, button: take}",
        "wait: 5 working days",
        "expect: [{hand_over: 22}, {tell: 22, say: taken}, {remind: 22, say: taken}]",
        "reply: {from: 22, button: take}",
        "wait: 5 working days",
        "expect: [{tell: 22, say: taken}, {remind: 22, say: taken}]",
    )
    assert story_faults(cast, *moves) == []


def test_not_me_after_take_gives_the_matter_back() -> None:
    cast = "22: {roles: [production_coordinator], country: GB}\n21: {roles: [escalation_1], country: GB}"
    moves = (
        "event: work.blocked", "reply: {from: 22, button: take}",
        "expect: [{hand_over: 22}, {tell: 22, say: taken}]",
        "reply: {from: 22, button: not_me}", "wait: 4 working hours",
        "expect: [{tell: 22, say: noted}, {hand_over: 21}]",
    )  # fmt: skip
    assert story_faults(cast, *moves) == []


ITEM = "item_id: M-41/1, field: subtitle, level: work, target_ids: [61417], current_value: Old, current_hash: h"


def confirmation(proposed: str) -> str:
    item = f"{{{ITEM}, proposed_value: {proposed}}}"
    return f"{{event: metadata.confirmation_requested, with: {{quorum: all, respond_by: 2027-04-30, items: [{item}]}}}}"


def test_a_confirmation_from_before_a_change_does_not_confirm_the_new_value() -> None:
    """The question names the fields alone: what its answer writes has changed."""
    both = f"[{NOTED.format(802)}, {{record: metadata.apply, with: {{items: [{{new_value: Third}}]}}}}]"
    moves = (
        confirmation("Second"), CONFIRM.format(801),
        f"expect: [{{ask: 801}}, {{ask: 802}}, {NOTED.format(801)}]",
        confirmation("Third"), "expect: [{ask: 801}, {ask: 802}]",
        CONFIRM.format(802), f"expect: [{NOTED.format(802)}]",
        CONFIRM.format(801), f"expect: {both.replace('802', '801')}",
    )  # fmt: skip
    assert story_faults(CONFIRMERS, *moves) == []


def test_the_same_request_again_leaves_the_answers_as_they_are() -> None:
    moves = (
        confirmation("Second"), CONFIRM.format(801),
        f"expect: [{{ask: 801}}, {{ask: 802}}, {NOTED.format(801)}]",
        confirmation("Second"), "expect: nothing",
        CONFIRM.format(802), f"expect: [{NOTED.format(802)}, {WRITES}]",
    )  # fmt: skip
    assert story_faults(CONFIRMERS, *moves) == []


def test_a_step_that_asks_again_for_another_date_waits_for_everyone_again() -> None:
    """Both are asked for the new date; one who was done by the earlier date is asked whether that still holds."""
    cast = "830: {roles: [designer], country: GB}\n831: {roles: [illustrator], country: GB}\n" + PRESS.splitlines()[1]
    moves = (
        "{event: schedule.date_set, with: {new_due: 2027-03-19, affected: [830, 831]}}",
        "wait until: 2027-03-18T12:00:00Z", "reply: {from: 830, button: done}",
        "expect: [{tell: 830}, {tell: 831}, {tell: 22}, {ask: 830}, {ask: 831}, {tell: 830, say: noted}]",
        "{event: schedule.date_changed, with: {new_due: 2027-04-09, affected: [830, 831]}}",
        "wait until: 2027-04-08T12:00:00Z",
        "expect: [{tell: 830}, {tell: 831}, {tell: 22}, {ask: 830}, {ask: 831}]",
        "reply: {from: 831, button: done}", "expect: [{tell: 831, say: noted}]",
        "reply: {from: 830, button: done}", "expect: [{tell: 830, say: noted}, {record: milestone.complete}]",
    )  # fmt: skip
    assert story_faults(cast, *moves) == []
