"""docs/rules/reference.md says what the models of the rule files say."""

import json

import pytest

from ops.command_line import ExitCode
from ops.rules.reference import MARK, PATH
from services.rules.analysis.reference import (
    FILE_KINDS,
    event_entries,
    operation_entries,
    reference_markdown,
    section_entries,
    verb_entries,
)
from services.rules.rulebook.catalogue import EVENTS
from services.rules.rulebook.model import Operator
from services.rules.rulebook.rule_schema import RuleFile
from tests.ops.stet_command import run_stet


def test_the_page_is_that_of_the_models() -> None:
    _, mark, written = PATH.read_text("utf-8").partition(MARK)
    assert mark
    assert written == reference_markdown(), "run: stet rules reference --write"


def test_every_event_has_its_fields_with_an_example() -> None:
    entries = {entry.name: entry for entry in event_entries()}
    assert set(entries) == set(EVENTS)
    assert entries["schedule.date_set"].examples["new_due"] == '"2027-03-26"'


def test_an_operation_says_what_the_event_and_with_need() -> None:
    entries = {entry.name: entry for entry in operation_entries()}
    decision = entries["rights.record_decision"]
    assert "terms_hash" in decision.fields
    assert [spec.path for spec in decision.needs] == ["decision"]
    assert entries["acquisition.create"].only_in_form


def test_every_key_of_a_rule_is_listed() -> None:
    entry = next(iter(section_entries("rule")))
    assert [key.key for key in entry.keys] == list(RuleFile.known_keys())
    assert {key.key for key in entry.keys if key.required} >= {"rule", "owner", "why", "steps"}


def test_the_commands_print_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("rules", "events", "--format", "json") == ExitCode.FINE
    assert {json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()} == set(EVENTS)
    assert run_stet("rules", "operations") == ExitCode.FINE
    assert "milestone.complete  needs milestone_id" in capsys.readouterr().out
    assert run_stet("rules", "events", "work.stage_chnged") == ExitCode.CANNOT_RUN
    assert "did you mean “work.stage_changed”?" in capsys.readouterr().err


def test_every_key_and_every_section_has_a_meaning() -> None:
    sections = [entry for kind in FILE_KINDS for entry in section_entries(kind)]
    sections += [entry for _, entry in verb_entries()]
    assert [entry.title for entry in sections if not entry.sentence] == []
    assert [f"{entry.title}: {key.key}" for entry in sections for key in entry.keys if not key.sentence] == []


def test_every_event_and_operation_says_what_it_is() -> None:
    assert [entry.name for entry in event_entries() if not entry.sentence] == []
    assert [entry.name for entry in operation_entries() if len(entry.sentence.split()) < 3] == []


def test_the_comparisons_of_a_condition_are_listed() -> None:
    listed = {key.key for entry in section_entries("rule") if entry.title == "comparison" for key in entry.keys}
    words = {str(operator) for operator in Operator} - {Operator.IS, Operator.ONE_OF}  # a value, and a list of values
    assert listed >= words


def test_a_key_that_takes_a_word_or_more_says_both() -> None:
    until = next(key for entry in section_entries("rule") for key in entry.keys if key.key == "until")
    assert until.takes == "text or mapping or list of text or mapping"


def test_no_two_sections_of_a_file_have_one_title() -> None:
    for kind in FILE_KINDS:
        titles = [entry.title for entry in section_entries(kind)]
        assert sorted(titles) == sorted(set(titles))
