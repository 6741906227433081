"""The texts that people write into a typed field, and the values that the record keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rules.conversation.form_answers import Place, display_value, example_value, read_value
from services.rules.rulebook.built_in import TYPED_FIELDS
from services.rules.rulebook.model import FieldKind

GB, US, FR, DE = Place("en", "GB"), Place("en", "US"), Place("fr", "FR"), Place("de", "DE")
ES = Place("es", "ES")


@pytest.mark.parametrize(
    ("kind", "text", "place", "kept"),
    [
        (FieldKind.ISBN, "978-1-78442-001-7", GB, "9781784420017"),
        (FieldKind.ISBN, "ISBN-13: 978 1 78442 001 7", GB, "9781784420017"),
        (FieldKind.ISBN, "0-306-40615-2", GB, "9780306406157"),
        (FieldKind.ISBN, "978-1-78442-001-8", GB, None),
        (FieldKind.ISBN, "soon", GB, None),
        (FieldKind.DATE, "2027-03-04", US, "2027-03-04"),
        (FieldKind.DATE, "4/3/2027", GB, "2027-03-04"),
        (FieldKind.DATE, "4/3/2027", US, "2027-04-03"),
        (FieldKind.DATE, "19 March 2027", GB, "2027-03-19"),
        (FieldKind.DATE, "March 19th, 2027", US, "2027-03-19"),
        (FieldKind.DATE, "le 1er mars 2027", FR, "2027-03-01"),
        (FieldKind.DATE, "4. März 2027", DE, "2027-03-04"),
        (FieldKind.DATE, "04.03.2027", DE, "2027-03-04"),
        (FieldKind.DATE, "2027/03/05", GB, "2027-03-05"),
        (FieldKind.DATE, "2027-3-5", FR, "2027-03-05"),
        (FieldKind.DATE, "2027.03.05", DE, "2027-03-05"),
        (FieldKind.DATE, "20270305", GB, "2027-03-05"),
        (FieldKind.DATE, "20/03/2027", GB, "2027-03-20"),
        (FieldKind.DATE, "2027/13/05", GB, None),
        (FieldKind.DATE, "Freitag, den 5. März 2027", DE, "2027-03-05"),
        (FieldKind.DATE, "viernes, 5 de marzo del 2027", ES, "2027-03-05"),
        (FieldKind.DATE, "5 mar 2027", ES, "2027-03-05"),
        (FieldKind.DATE, "mar. 9 mars 2027", FR, "2027-03-09"),
        (FieldKind.DATE, "March 2027", GB, None),
        (FieldKind.DATE, "19 March", GB, None),
        (FieldKind.DATE, "31/02/2027", GB, None),
        (FieldKind.DATE, "29 February 2027", GB, None),
        (FieldKind.DATE, "tomorrow", GB, None),
        (FieldKind.NUMBER, "1,250.50", GB, "1250.50"),
        (FieldKind.NUMBER, "1.250,5", DE, "1250.5"),
        (FieldKind.NUMBER, "1 250,5", FR, "1250.5"),
        (FieldKind.NUMBER, "1'250.5", Place("de", "CH"), "1250.5"),
        (FieldKind.NUMBER, "-3", GB, "-3"),
        (FieldKind.NUMBER, "NaN", GB, None),
        (FieldKind.NUMBER, "1e400", GB, None),
        (FieldKind.NUMBER, "about 12", GB, None),
        (FieldKind.EMAIL, "Maud@Example.ORG", GB, "Maud@example.org"),
        (FieldKind.EMAIL, "mailto:maud@example.org", GB, "maud@example.org"),
        (FieldKind.EMAIL, "<maud@example.org>.", GB, "maud@example.org"),
        (FieldKind.EMAIL, "maud@example", GB, None),
        (FieldKind.EMAIL, "maud at example.org", GB, None),
        (FieldKind.PHONE, "07400 123456", GB, "+447400123456"),
        (FieldKind.PHONE, "+44 7400 123456", FR, "+447400123456"),
        (FieldKind.PHONE, "06 12 34 56 78", FR, "+33612345678"),
        (FieldKind.PHONE, "+52 1 55 1234 5678", GB, "+525512345678"),
        (FieldKind.PHONE, "044 55 1234 5678", Place("es", "MX"), "+525512345678"),
        (FieldKind.PHONE, "97 12 34 56", Place("fr", "BJ"), "+2290197123456"),
        (FieldKind.PHONE, "07 12 34 56", Place("fr", "GA"), "+24177123456"),
        (FieldKind.PHONE, "+84 168 123 4567", GB, "+84381234567"),
        (FieldKind.PHONE, "12", GB, None),
        (FieldKind.PHONE, "call me", GB, None),
        (FieldKind.TEXT, "  anything ", GB, "  anything "),
    ],
)
def test_a_written_value_is_kept_in_one_form(kind: FieldKind, text: str, place: Place, kept: str | None) -> None:
    assert read_value(kind, text, place) == kept


@pytest.mark.parametrize("kind", TYPED_FIELDS)
@pytest.mark.parametrize("place", [GB, US, FR, DE, Place("xx", None), Place("pt", "BR"), Place("ar", "EG")])
def test_the_example_of_a_kind_is_one(kind: FieldKind, place: Place) -> None:
    if (kind, place.language) in {(FieldKind.DATE, "ar"), (FieldKind.NUMBER, "ar")}:
        assert example_value(kind, place)  # in the digits of its script
        return
    kept = read_value(kind, example_value(kind, place), place)
    assert kept is not None
    assert read_value(kind, display_value(kind, kept, place), place) == kept


@given(st.sampled_from(list(TYPED_FIELDS)), st.text(max_size=40), st.sampled_from([GB, US, FR, DE]))
def test_every_text_is_read_as_a_displayable_value_or_none(kind: FieldKind, text: str, place: Place) -> None:
    kept = read_value(kind, text, place)
    if kept is not None:
        assert display_value(kind, kept, place)
