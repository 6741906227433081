"""The state of a template by Meta's reports, and whether it may go to a person."""

from typing import Any

import pytest

from services.dispatcher.templates import (
    KnownTemplate,
    TemplateKnowledge,
    TemplateReport,
    TemplateState,
    known_state,
    parse_category_update,
    parse_quality_update,
    parse_status_update,
    read_listed,
)
from tests.services.dispatcher.builders import NOON

KEY = ("rights_request_v3", "en")
NAMED = {"message_template_name": KEY[0], "message_template_language": KEY[1], "message_template_id": 1}
UTILITY_CALL = {"name": KEY[0], "language": KEY[1], "category": "utility"}


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("APPROVED", TemplateState.USABLE),
        ("paused", TemplateState.PAUSED),
        ("REJECTED", TemplateState.REJECTED),
        ("PENDING", TemplateState.PENDING),
        ("DELETED", TemplateState.DISABLED),
        ("UNARCHIVED", TemplateState.USABLE),
    ],
)
def test_the_word_of_a_status_says_the_state(event: str, state: TemplateState) -> None:
    report = parse_status_update({**NAMED, "event": event}, NOON)
    assert report is not None
    assert (report.status, known_state(report.status)) == (event.upper(), state)


@pytest.mark.parametrize("event", ["APPROVED", "PAUSED", "LOCKED", "SOMETHING_NEW"])
def test_the_title_that_ends_a_pause_counts_whatever_the_event(event: str) -> None:
    report = parse_status_update({**NAMED, "event": event, "other_info": {"title": "UNPAUSE"}}, NOON)
    assert report is not None
    assert known_state(report.status) is TemplateState.USABLE


def test_a_status_keeps_why_a_template_was_rejected() -> None:
    details = {"rejection_info": {"reason": "the variables lack context", "recommendation": "say what they are"}}
    report = parse_status_update({**NAMED, "event": "REJECTED", "reason": "INVALID_FORMAT", **details}, NOON)
    assert report is not None
    assert report.reason == "INVALID_FORMAT: the variables lack context"


@pytest.mark.parametrize("reason", [None, "NONE"])
def test_no_reason_is_none(reason: str | None) -> None:
    report = parse_status_update({**NAMED, "event": "APPROVED", "reason": reason}, NOON)
    assert report == TemplateReport(*KEY, NOON, status="APPROVED")


@pytest.mark.parametrize(
    "value", [{}, {"event": "SOMETHING_NEW", **NAMED}, {"event": "PAUSED"}, {"event": None, **NAMED}]
)
def test_an_update_that_says_nothing_of_a_template_changes_nothing(value: dict[str, Any]) -> None:
    assert parse_status_update(value, NOON) is None
    assert parse_quality_update(value, NOON) is None
    assert parse_category_update(value, NOON) is None


def test_a_change_of_category_names_both() -> None:
    value = {**NAMED, "previous_category": "UTILITY", "new_category": "MARKETING"}
    assert parse_category_update(value, NOON) == TemplateReport(
        *KEY, NOON, category="MARKETING", previous_category="UTILITY"
    )


def test_the_list_is_read_entry_by_entry_and_what_has_no_name_is_skipped() -> None:
    entry = {
        "name": KEY[0], "language": KEY[1], "status": "PAUSED", "category": "UTILITY", "rejected_reason": "NONE",
        "quality_score": {"score": "RED"},
    }  # fmt: skip
    assert read_listed([entry, {"status": "APPROVED"}], NOON) == [
        TemplateReport(*KEY, NOON, status="PAUSED", category="UTILITY", quality="RED")
    ]


_CASES: list[tuple[str, KnownTemplate | None, bool, bool, TemplateState]] = [
    ("nothing is known", None, False, False, TemplateState.USABLE),
    ("the list was read and does not have it", None, True, False, TemplateState.MISSING),
    ("approved", KnownTemplate(TemplateState.USABLE, "UTILITY"), True, False, TemplateState.USABLE),
    ("rejected", KnownTemplate(TemplateState.REJECTED, "UTILITY"), True, True, TemplateState.REJECTED),
    (
        "moved to marketing, and the person agreed to nothing of the kind",
        KnownTemplate(TemplateState.USABLE, "MARKETING"), True, False, TemplateState.RECATEGORISED,
    ),
    (
        "moved to marketing, and the person agreed to it",
        KnownTemplate(TemplateState.USABLE, "MARKETING"), True, True, TemplateState.USABLE,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("known", "is_listed", "consent", "expected"), [case[1:] for case in _CASES], ids=[case[0] for case in _CASES]
)
def test_whether_a_template_may_go(
    known: KnownTemplate | None, *, is_listed: bool, consent: bool, expected: TemplateState
) -> None:
    knowledge = TemplateKnowledge({} if known is None else {KEY: known}, is_listed)
    assert knowledge.state(UTILITY_CALL, marketing_consent=consent) is expected


def test_a_template_whose_file_says_marketing_needs_consent_before_meta_says_anything() -> None:
    call = {**UTILITY_CALL, "category": "marketing"}
    assert TemplateKnowledge({}).state(call, marketing_consent=False) is TemplateState.RECATEGORISED
    assert TemplateKnowledge({}).state(call, marketing_consent=True) is TemplateState.USABLE


def test_a_template_whose_file_says_marketing_needs_consent_whatever_meta_calls_it() -> None:
    call, utility = {**UTILITY_CALL, "category": "marketing"}, KnownTemplate(TemplateState.USABLE, "UTILITY")
    knowledge = TemplateKnowledge({KEY: utility}, is_listed=True)
    assert knowledge.state(call, marketing_consent=False) is TemplateState.RECATEGORISED
    assert knowledge.state(call, marketing_consent=False, newest_category="UTILITY") is TemplateState.RECATEGORISED
    assert knowledge.state(call, marketing_consent=True) is TemplateState.USABLE
