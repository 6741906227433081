from datetime import UTC, date, datetime
from enum import StrEnum

import pytest

from services.rules.conversation.rendering import (
    ABSENT_VALUE,
    RenderedMessage,
    choose_language,
    format_value,
    in_template_order,
    render_template,
)
from services.rules.rulebook.model import NOWHERE, Category, Template, TemplateText
from shared.clients.whatsapp_limits import BODY_LENGTH


class Stage(StrEnum):
    TYPESETTING = "typesetting"
    FINAL_PROOF_APPROVED = "final_proof_approved"


TEMPLATE = Template(
    name="rights_request",
    category=Category.UTILITY,
    version=3,
    fields={"title": "work.title", "by": "respond_by"},
    languages={
        "en": TemplateText("Hello {person}, about “{title}”: please answer by {by}.", {"approve": "Approve"}),
        "fr": TemplateText("Bonjour {person}, « {title} » : réponse avant le {by}.", {"approve": "J’autorise"}),
    },
    location=NOWHERE,
)
VALUES = {"person": "Ana", "title": "A Book", "by": date(2027, 3, 19)}


@pytest.mark.parametrize(
    ("wanted", "expected"), [("fr", "fr"), ("fr_CA", "fr"), ("fr-BE", "fr"), ("pt_BR", "en"), (None, "en")]
)
def test_the_language_is_the_exact_one_or_its_base_or_the_publisher_s(wanted: str | None, expected: str) -> None:
    assert choose_language(TEMPLATE.languages, wanted, "en") == expected


def test_a_template_is_filled_in_its_language() -> None:
    rendered = render_template(TEMPLATE, "fr", VALUES)
    assert rendered.body == "Bonjour Ana, « A Book » : réponse avant le 19 mars 2027."
    assert rendered.parameters == {"person": "Ana", "title": "A Book", "by": "19 mars 2027"}
    assert rendered.buttons == (("approve", "J’autorise"),)
    assert rendered.language == "fr"


def test_answers_are_in_the_order_of_the_template_s_buttons() -> None:
    rendered = RenderedMessage("May we?", {}, (("approve", "Approve"), ("decline", "Decline")), "en")
    assert in_template_order(("decline", "other", "approve"), rendered) == ("approve", "decline", "other")


@pytest.mark.parametrize(
    ("value", "language", "expected"),
    [
        (date(2027, 3, 1), "en", "1 March 2027"),
        (date(2027, 3, 1), "fr", "1er mars 2027"),
        (date(2027, 3, 11), "fr", "11 mars 2027"),
        (datetime(2027, 3, 1, 9, 5, tzinfo=UTC), "fr", "1er mars 2027, 9:05"),
        (datetime(2027, 3, 1, 0, 5, tzinfo=UTC), "de", "1. März 2027, 0:05"),
        (datetime(2027, 3, 1, 19, 30, tzinfo=UTC), "es", "1 de marzo de 2027, 19:30"),
        (date(2027, 3, 1), "en_US", "March 1, 2027"),
        (datetime(2027, 3, 1, 9, 30, tzinfo=UTC), "en", "1 March 2027, 9:30"),
        (("cover", "jacket_copy", "metadata"), "fr", "cover, texte de jaquette et metadata"),
        ((), "en", ABSENT_VALUE),
        (None, "en", ABSENT_VALUE),
        (Stage.FINAL_PROOF_APPROVED, "en", "final proof approved"),
        (Stage.TYPESETTING, "fr", "composition"),
        ("typesetting", "fr", "typesetting"),  # a title may be a code's word; only a closed set's is translated
        ("jacket_copy", "fr", "texte de jaquette"),
        (True, "en", "true"),
        (12500, "fr", "12\u202f500"),
        ("{title}", "en", "{title}"),
    ],
)
def test_a_value_is_formatted_as_text(value: object, language: str, expected: str) -> None:
    words = {"typesetting": "composition", "jacket_copy": "texte de jaquette"} if language == "fr" else {}
    assert format_value(value, language, words) == expected


def test_a_long_text_is_cut_so_that_the_whole_fits() -> None:
    rendered = render_template(TEMPLATE, "en", {**VALUES, "title": "very " * 400})
    assert len(rendered.body) <= BODY_LENGTH
    assert rendered.parameters["title"].endswith("…")
    assert rendered.parameters["by"] == "19 March 2027"
    assert rendered.parameters["title"] in rendered.body


def test_a_value_with_braces_is_not_filled_again() -> None:
    assert "“{by}”" in render_template(TEMPLATE, "en", {**VALUES, "title": "{by}"}).body


def test_a_missing_value_leaves_a_dash() -> None:
    assert f"“{ABSENT_VALUE}”" in render_template(TEMPLATE, "en", {"person": "Ana"}).body
