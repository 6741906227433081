from collections import Counter
from dataclasses import asdict
from datetime import date, time

import pytest

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import (
    After,
    At,
    Compare,
    ContactBasis,
    Field,
    NoneOf,
    OnRepeat,
    Operator,
    Severity,
    Until,
    Verb,
)
from services.rules.rulebook.validation import validate
from services.rules.rulebook.validation_context import LoadedFiles
from shared.clients.working_calendar import Duration, TimeUnit
from shared.contracts.ids import RuleId
from shared.contracts.writes import WriteOperation
from tests.services.rules.rulebooks import good_book, good_files

PERMISSION = RuleId("permission")


def test_a_rule_has_its_steps_times_and_endings() -> None:
    rule = good_book().rules[PERMISSION]
    assert [step.verb for step in rule.steps] == [Verb.ASK, Verb.REMIND, Verb.GIVE_UP]
    assert rule.steps[1].timing == After(Duration(2, TimeUnit.WORKING_DAYS))
    assert rule.steps[2].timing == At("respond_by")
    assert rule.about == ("request_id",)
    assert rule.severity is Severity.WARNING
    assert rule.on_repeat is OnRepeat.REPLAN
    assert rule.until[1] == Until("rights.request_withdrawn")


def test_a_condition_may_name_another_field() -> None:
    until = good_book().rules[PERMISSION].until[0]
    assert until.condition == NoneOf(Compare("new_terms_hash", Operator.IS, Field("chain.terms_hash")))


def test_an_answer_writes_and_then_writes_again() -> None:
    approve = good_book().rules[PERMISSION].steps[0].answers["approve"]
    assert approve.final
    assert approve.record is not None
    assert approve.record.values == {"decision": "approved"}
    assert approve.record.then is not None
    assert approve.record.then.operation is WriteOperation.ADVANCE_WORKFLOW
    assert approve.record.then.unless == Compare("rights.needs_signature", Operator.IS, operand=True)


def test_an_answer_that_hands_over_is_not_final() -> None:
    question = good_book().rules[PERMISSION].steps[0].answers["question"]
    assert question.hand_over is not None
    assert not question.final


def test_yes_and_no_are_words_and_not_flags() -> None:
    files = good_files()
    name = "pitch/pitch.form.yaml"
    files[name] = files[name].replace("[fiction, other]", "[no, yes]")
    rulebook, _ = load(files)
    assert rulebook is not None
    assert rulebook.forms["pitch"].fields[2].choose == ("no", "yes")


def test_the_publisher_s_people_calendar_and_choices_are_read() -> None:
    book = good_book()
    assert book.people.stands_in[1].first == date(2027, 7, 5)
    assert book.people.imprints[7]["production_coordinator"] == (23,)
    assert book.calendar.office.opens == time(9)
    assert book.calendar.fairs[0].roles == {"rights_manager", "agent"}
    assert book.tenant.basis["author"] is ContactBasis.CONTRACT
    assert book.tenant.words["fr"]["final_proof_approved"] == "épreuves validées"
    assert book.tenant.staff_pass is Severity.CRITICAL


def test_a_revision_depends_on_the_rule_files_and_not_on_the_stories() -> None:
    files = good_files()
    book = good_book()
    tested = files | {"pitch/pitch.test.yaml": "[]"}
    changed = files | {"limits.yaml": files["limits.yaml"] + "# later\n"}
    moved = {f"moved/{name}": text for name, text in files.items()}
    revisions = [load(each)[0] for each in (tested, changed, moved)]
    assert [other is not None and other.revision == book.revision for other in revisions] == [True, False, False]


def test_a_rulebook_is_read_again_from_stored_texts() -> None:
    stored = {name: text for name, text in good_files().items() if not name.endswith(".test.yaml")}
    again, _ = load(dict(reversed(stored.items())))
    assert again is not None
    assert asdict(again) == asdict(good_book())


@pytest.mark.parametrize(
    ("file", "written", "odd"),
    [
        ("people.yaml", "escalation_1: [21]", "escalation_1: []"),
        ("calendar.yaml", "[mon, tue,", "[mon, mon, tue,"),
        ("rights/permission.rule.yaml", "[permission, licence]", "[permission, permission]"),
    ],
)
def test_a_stored_file_is_read_with_what_is_refused_in_new_ones(file: str, written: str, odd: str) -> None:
    files = good_files()
    assert written in files[file]
    files[file] = files[file].replace(written, odd)
    book, faults = load(files)
    assert (book is not None, faults) == (True, [])
    assert [fault.location.file for fault in validate(files).faults] == [file]


def test_the_files_are_gone_through_as_often_for_many_templates_as_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Counter[int]()
    unread = LoadedFiles.unread

    def count(loaded: LoadedFiles, suffix: str) -> frozenset[str]:
        looked[len(loaded.trees)] += 1
        return unread(loaded, suffix)

    monkeypatch.setattr(LoadedFiles, "unread", count)
    for count_of_templates in (1, 20):
        templates = {f"said_{n}.template.yaml": _TEMPLATE.format(number=n) for n in range(count_of_templates)}
        validate(good_files() | templates)
    few, many = looked.values()
    assert few == many


_TEMPLATE = """\
template: said_{number}
category: utility
version: 1
languages: {{en: {{body: "You answered {{answers}} so far."}}}}
"""
