from services.rules.matching.self_starts import REPORTING_EVENTS, find_cycles
from services.rules.rulebook.catalogue import EVENTS
from services.rules.rulebook.loader import load
from shared.contracts.writes import WriteOperation
from tests.services.rules.rulebooks import good_files

HEAD = "owner: rights\nwhy: {en: You know this work., fr: Vous connaissez cette œuvre.}\n"


def cycles_of(**rules: str) -> list[tuple[str, ...]]:
    """The names of the rules of each cycle; the rules are written without their heads."""
    files = {f"{name}.rule.yaml": f"rule: {name}\n{HEAD}{text}" for name, text in rules.items()}
    book, faults = load({**good_files(), **files})
    assert book is not None, faults
    return [tuple(str(start.rule) for start in cycle) for cycle in find_cycles(book)]


COMPLETES = "steps:\n  - record: milestone.complete\n"
PITCHES = "steps:\n  - record: acquisition.create\n    with: {form: pitch}\n"


def test_a_rule_that_its_own_write_starts_is_a_cycle() -> None:
    assert cycles_of(again=f"on: milestone.completed\n{COMPLETES}") == [("again",)]


def test_rules_that_start_each_other_are_one_cycle() -> None:
    found = cycles_of(
        first=f"on: milestone.completed\n{PITCHES}",
        second=f"on: acquisition.status_changed\n{COMPLETES}",
        outside=f"on: work.blocked\n{COMPLETES}",
    )
    assert found == [("first", "second")]


def test_conditions_on_the_record_that_exclude_each_other_make_no_cycle() -> None:
    first, second = "milestone_key: ex_works", "{any: [{milestone_key: files_to_press}, {name: Press}]}"
    rules = {"first": f"on: milestone.completed\nif: {{{first}}}\n{PITCHES}"}
    open_end = f"on: [acquisition.status_changed]\n{COMPLETES}"
    assert cycles_of(**rules, second=open_end) == [("first", "second")]
    there = f"on: acquisition.status_changed\nif: {{work.work_id: 7}}\n{COMPLETES}"
    here = f"on: milestone.completed\nif: {{work.work_id: 8}}\n{PITCHES}"
    assert cycles_of(first=here, second=there) == []
    assert cycles_of(first=here.replace("8", "7"), second=there) == [("first", "second")]
    assert cycles_of(first=f"on: milestone.completed\nif: {second}\n{COMPLETES}") == [("first",)]


def test_a_field_that_may_change_before_the_report_of_a_write_excludes_no_self_start() -> None:
    rule = f"on: milestone.completed\nif: {{days_late: {{at_least: 1}}, not: {{days_late: 3}}}}\n{COMPLETES}"
    assert cycles_of(again=rule) == [("again",)]


def test_a_rule_that_says_how_often_it_may_start_again_ends_the_cycle() -> None:
    bound = "restarts: {at_most: 3, within: 4 weeks}\n"
    assert cycles_of(again=f"on: milestone.completed\n{bound}{COMPLETES}") == []


def test_writes_of_answers_and_forms_count_for_self_starts() -> None:
    asks = (
        "on: acquisition.status_changed\nsteps:\n  - ask: submitter\n    say: permission_reminder\n"
        "    answers: {approve: {collect: sender, form: pitch}}\n  - give_up: nothing\n"
    )
    assert cycles_of(again=asks) == [("again",)]


def test_every_operation_has_its_reporting_events_and_all_are_known() -> None:
    assert set(REPORTING_EVENTS) == set(WriteOperation)
    assert {event for events in REPORTING_EVENTS.values() for event in events} <= EVENTS.keys()
