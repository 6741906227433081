"""The bound on the chains of a rule about one subject: what the rule writes may be what starts it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook, StartLimit
from services.rules.scenario.player import play_story
from shared.contracts.consonance import WorkObserved
from tests.services.rules.rulebooks import good_files
from tests.services.rules.rules_service import golden_event, person_observed, rules_under_test, work_observed
from tests.services.rules.stories import story

PEOPLE = "40: {roles: [rights_manager], team: rights, country: GB}"
COMPLETED = "event: milestone.completed"
ENDS = ("written: {record: milestone.complete, as: verified}", "expect: [{end: done}]")
STARTS = (COMPLETED, "expect: [{record: milestone.complete}]", *ENDS)
SUPPRESSED = (COMPLETED, "expect: nothing")
RULE = """\
rule: again
owner: rights
why: {en: You know this work., fr: Vous connaissez cette œuvre.}
on: milestone.completed
restarts: {at_most: 2, within: 3 days}
about: milestone_id
steps:
  - record: milestone.complete
"""


def files_with(rule: str) -> dict[str, str]:
    return {**good_files(), "again.rule.yaml": rule}


def book_with(rule: str) -> Rulebook:
    book, faults = load(files_with(rule))
    assert book is not None, faults
    return book


def faults_of(rule: str, *steps: str) -> list[str]:
    return [fault.sentence for fault in play_story(story(PEOPLE, *steps, rule="again"), book_with(rule))]


def test_a_rule_starts_no_more_often_about_one_subject_than_it_may_and_again_after_that_time() -> None:
    day = ("wait: 1 day", "expect: nothing")
    moves = (*STARTS, *day, *STARTS, *SUPPRESSED, *day, *SUPPRESSED, *day, *STARTS, *SUPPRESSED)
    assert faults_of(RULE, *moves) == []


def test_another_subject_has_starts_of_its_own() -> None:
    other = "{event: milestone.completed, with: {milestone_id: M-2}}"
    moves = (*STARTS, *STARTS, *SUPPRESSED, other, "expect: [{record: milestone.complete}]")
    assert faults_of(RULE, *moves) == []


def test_without_a_subject_the_record_counts() -> None:
    rule = RULE.replace("about: milestone_id\n", "")
    other = "{event: milestone.completed, with: {milestone_id: M-2}}"
    assert faults_of(rule, *STARTS, *STARTS, other, "expect: nothing") == []


def test_where_the_rule_says_nothing_the_house_does() -> None:
    rule = RULE.replace("restarts: {at_most: 2, within: 3 days}\n", "")
    assert book_with(rule).tenant.restarts == StartLimit(20, timedelta(days=1))
    assert faults_of(rule, *(STARTS * 20), *SUPPRESSED) == []


def test_a_rule_that_writes_nothing_causes_no_event_and_is_not_limited() -> None:
    rule = RULE.replace("record: milestone.complete", "{tell: rights_manager, say: permission_void}")
    told = (COMPLETED, "expect: [{tell: 40}, {end: done}]")
    assert faults_of(rule, *(told * 5)) == []


@pytest.mark.integration
async def test_the_starts_are_counted_over_batches_and_a_suppressed_one_is_a_decision(
    postgres_database: str, tmp_path: Path
) -> None:
    for name, text in files_with(RULE.replace("about: milestone_id\n", "")).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    now = datetime(2027, 3, 3, 10, tzinfo=UTC)
    async with rules_under_test(postgres_database, now, tmp_path) as service:
        observed = work_observed()
        assert isinstance(observed.data, WorkObserved)
        await service.receive(person_observed(40), observed)
        changes = {"work": observed.data.work, "assignee": None, "actor": None}
        completed = golden_event("consonance.milestone.completed.v1").data.replace(**changes)
        for _ in range(4):
            await service.receive(completed)
        await service.receive(completed, completed)
        assert len(await service.published("writes.requested")) == 2
        decisions = [each["data"] for each in await service.published("decisions")]
        reasons = [v["reason"] for each in decisions for v in each.get("verdicts", ()) if v["rule"] == "again"]
        assert reasons.count("too_many_starts") == 4
