"""The plan: what differs between the templates of the rules and those of the account."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ops.template_plan import PlannedTemplate, TemplateAction, plan_templates, wanted_templates
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from tests.services.rules.rulebooks import good_book


def shipped_book() -> Rulebook:
    book, faults = load(read_folder(Path("rules")))
    assert book is not None, faults
    return book


SHIPPED = shipped_book()
WANTED = wanted_templates(good_book())
REQUEST = next(each for each in WANTED if each.name == "permission_request_v1" and each.language == "en")


def account_entry(**changes: Any) -> dict[str, Any]:
    return {**REQUEST.creation(), "id": "17", "status": "APPROVED", "rejected_reason": "NONE", **changes}


def body_with(change: Callable[[str], str]) -> list[dict[str, Any]]:
    return [
        {**part, "text": change(part["text"])} if part["type"] == "BODY" else part
        for part in REQUEST.creation()["components"]
    ]


def planned(*listed: dict[str, Any]) -> PlannedTemplate:
    (found,) = plan_templates([REQUEST], listed)
    return found


def test_a_template_is_created_with_named_parameters_an_example_of_each_and_quick_replies() -> None:
    body, buttons = REQUEST.creation()["components"]
    assert "{{person}}" in body["text"]
    assert {each["param_name"] for each in body["example"]["body_text_named_params"]} >= {"person", "title", "by"}
    assert all(each["example"] for each in body["example"]["body_text_named_params"])
    assert [button["type"] for button in buttons["buttons"]] == ["QUICK_REPLY", "QUICK_REPLY"]
    assert REQUEST.creation()["parameter_format"] == "NAMED"


def test_every_language_is_a_template_of_its_own() -> None:
    languages = [each.language for each in WANTED if each.name == REQUEST.name]
    assert languages == ["en", "fr"]


_CASES: list[tuple[str, dict[str, Any], TemplateAction]] = [
    ("as written", {}, TemplateAction.KEEP),
    ("other words", {"components": [{"type": "BODY", "text": "Other words"}]}, TemplateAction.EDIT),
    ("other words, in review", {"components": [], "status": "PENDING"}, TemplateAction.WAIT),
    ("other words, disabled", {"components": [], "status": "DISABLED"}, TemplateAction.ACT),
    ("rejected as written", {"status": "REJECTED", "rejected_reason": "SCAM"}, TemplateAction.ACT),
    ("other words after a rejection", {"status": "REJECTED", "components": []}, TemplateAction.EDIT),
    ("paused", {"status": "PAUSED"}, TemplateAction.ACT),
    ("moved to marketing", {"category": "MARKETING"}, TemplateAction.ACT),
    ("flagged", {"status": "FLAGGED"}, TemplateAction.KEEP),
    ("archived", {"status": "ARCHIVED"}, TemplateAction.ACT),
    ("to be deleted", {"status": "PENDING_DELETION"}, TemplateAction.ACT),
    ("a word that is new", {"status": "SUSPENDED"}, TemplateAction.ACT),
    ("other paragraphs", {"components": body_with(lambda text: text.replace(": ", ":\n\n"))}, TemplateAction.EDIT),
    ("blanks at the ends of lines", {"components": body_with(lambda text: f"{text}  \r\n")}, TemplateAction.KEEP),
]


@pytest.mark.parametrize(("changes", "action"), [case[1:] for case in _CASES], ids=[case[0] for case in _CASES])
def test_the_plan_follows_its_table(changes: dict[str, Any], action: TemplateAction) -> None:
    assert planned(account_entry(**changes)).action is action


def test_a_missing_template_is_created_and_others_are_left_alone() -> None:
    assert planned(account_entry(name="somebody_elses")).action is TemplateAction.CREATE
    assert planned(account_entry(language="fr")).action is TemplateAction.CREATE


def test_a_category_that_meta_moved_is_said_beside_everything_else() -> None:
    others: list[dict[str, Any]] = [{"components": []}, {"status": "PENDING"}, {"status": "PAUSED"}]
    for changes in others:
        assert "Meta moved it to MARKETING" in planned(account_entry(category="MARKETING", **changes)).note


def test_a_rejection_says_its_reason() -> None:
    assert "SCAM" in planned(account_entry(status="REJECTED", rejected_reason="SCAM")).note


@pytest.mark.parametrize(
    ("body", "is_short"),
    [
        ("Your title {{title}} is due.", False),
        ("For {{title}}, by {{by}}: please confirm", True),
        ("For {{title}}, by {{by}}: please confirm it", False),
        ("您的书 {{title}} 将于 {{by}} 到期。", False),
        ("Your proofs are ready.", False),
    ],
)
def test_a_text_with_too_few_words_for_its_parameters_is_noted_before_meta_refuses_it(
    body: str, *, is_short: bool
) -> None:
    (found,) = plan_templates([replace(REQUEST, components=[{"type": "BODY", "text": body}])], [])
    assert (found.action, "Meta may refuse it" in found.note) == (TemplateAction.CREATE, is_short)


def test_a_text_that_stands_within_another_is_no_template_of_the_account() -> None:
    assert "why_details" in SHIPPED.templates
    assert not any(each.name.startswith("why_details") for each in wanted_templates(SHIPPED))


def test_the_shipped_templates_have_enough_words_for_their_parameters() -> None:
    assert [each.note for each in plan_templates(wanted_templates(SHIPPED), []) if "may refuse it" in each.note] == []


def test_a_template_with_a_document_is_left_to_a_person_until_the_account_has_it() -> None:
    header = {"type": "HEADER", "format": "DOCUMENT"}
    wanted = replace(REQUEST, components=[header, *REQUEST.components])
    entry = account_entry(components=[{**header, "example": {"header_handle": ["4::a"]}}, *REQUEST.components])
    found = [*plan_templates([wanted], []), *plan_templates([wanted], [account_entry()])]
    assert [(each.action, "WhatsApp Manager" in each.note) for each in found] == [(TemplateAction.ACT, True)] * 2
    assert [each.action for each in plan_templates([wanted], [entry])] == [TemplateAction.KEEP]


def test_a_template_whose_file_names_an_example_is_created_with_its_handle() -> None:
    header = {"type": "HEADER", "format": "DOCUMENT"}
    wanted = replace(REQUEST, components=[header, *REQUEST.components], example="rights/samples/request.pdf")
    (found,) = plan_templates([wanted], [])
    assert found.action is TemplateAction.CREATE
    first, *rest = found.wanted.with_handle("4::a").creation()["components"]
    assert first == {**header, "example": {"header_handle": ["4::a"]}}
    assert rest == REQUEST.components
