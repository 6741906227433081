"""Single fields from outside: how each is read, and which are reported."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.fields import FieldReader, find_phone, parse_country, parse_day, parse_language, parse_person_name
from services.ingest.poll.snapshot_parser import parse_contact, parse_page, parse_work
from services.ingest.poll.snapshots import ContactSnapshot, WorkSnapshot
from services.ingest.poll.vocabulary import TenantVocabulary
from shared.contracts.vocabulary import Named
from tests.cpu_time import at_most

MOBILE, OTHER = "+447700900123", "+447700900456"


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("07700 900123", "GB", MOBILE),
        ("07700 900123 (WhatsApp only)", "GB", MOBILE),
        ("07700 900123 / 07700 900456", "GB", MOBILE),
        ("07700 900123 or 07700 900456", "GB", MOBILE),
        ("07700 900456, ask for Mary; office 020 7946 0012", "GB", OTHER),
        ("m: 07700.900.123", "GB", MOBILE),
        ("WhatsApp: +44 (0)7700 900123", None, MOBILE),
        ("0044 7700 900123", "GB", MOBILE),
        ("020 7946 0012 ext. 5", "GB", "+442079460012"),
        ("020 7946 0012 x123", "GB", "+442079460012"),
        ("+54 9 351 631 5733 ext.", "GB", "+5493516315733"),
        ("4084568908#", "US", "+14084568908"),
        ("555-1234", "US", None),
        ("555-1234", "GB", None),
        ("07700 900123", None, None),
        ("ask Mary", "GB", None),
        ("12/05/2027", "GB", None),
        ("", "GB", None),
    ],
)
def test_the_number_in_a_phone_field_is_found(written: str, country: str | None, number: str | None) -> None:
    assert find_phone(written, country) == number


@given(st.text(max_size=400) | st.text("0123456789+ ()-/x#.,;", max_size=400))
def test_any_phone_field_is_read_quickly(written: str) -> None:
    with at_most(0.2):
        number = find_phone(written, "GB")
    assert number is None or number.startswith("+")


@pytest.mark.parametrize(
    "written",
    ["WhatsApp visitor", "Unknown", "unknown.", "N/A", "n.a.", "TBC", "-", "—", "(none)", "?", "…", "NULL", "🌸",
     "123", "", None, 7],
)  # fmt: skip
def test_a_placeholder_is_no_name(written: Any) -> None:
    assert parse_person_name(written) is None


@pytest.mark.parametrize("written", ["Eleanor W.", "Na Li", "O’Brien", "李娜", "Anonymous", "Noname Jane", "X Æ A-12"])
def test_other_text_with_letters_is_a_name(written: str) -> None:
    assert parse_person_name(written) == written


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2027-03-12", date(2027, 3, 12)),
        ("2027-03-12T00:00:00Z", date(2027, 3, 12)),
        ("9999-12-31", None),
        ("0001-01-01", None),
        ("0000-00-00", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_read_or_absent(written: Any, day: date | None) -> None:
    assert parse_day(written) == day


@pytest.mark.parametrize("written", ["12/03/2027", "TBC", "2027-02-30", "2027-13-01", "soon", 20270312, [], True])
def test_a_value_that_is_no_date_raises(written: Any) -> None:
    with pytest.raises(ValueError, match="no date"):
        parse_day(written)


def test_countries_and_languages_are_known_by_their_usual_spellings() -> None:
    assert [parse_country(code) for code in ("GB", "uk", "fr", "England", "XX", "")] == [
        "GB",
        "GB",
        "FR",
        None,
        None,
        None,
    ]
    found = [parse_language(code) for code in ("fr", "pt-BR", "fr_CA", "French", "klingon", "", "x" * 500)]
    assert found == ["fr", "pt-BR", "fr_CA", "fr", None, None, None]


def test_a_work_with_unreadable_fields_keeps_the_others() -> None:
    reader = FieldReader()
    node = {
        "id": "61417", "title": "The Salt Road", "imprint": {"id": "x", "name": "P"}, "projectStage": ["Typesetting"],
        "products": [{"id": None}, {"id": 94791, "publicationDate": "31/12/2027", "isbn": {"isbn13": "978-1"}}, 5],
        "contributions": [{"sequenceNumber": "2", "contributor": {"name": "No id"}},
                          {"sequenceNumber": None, "contributor": {"id": 801, "personName": "TBC", "name": "E. W."}}],
        "shortDescription": [{"id": [], "externalText": {"html": "x"}}], "embargoUntil": "9999-12-31",
        "supportingResources": "none", "metadataStatus": 7,
    }  # fmt: skip
    snapshot = parse_work(node, TenantVocabulary(), reader)
    assert (snapshot.work_id, snapshot.title, snapshot.stage, snapshot.imprint) == (61417, "The Salt Road", None, None)
    assert [product.product_id for product in snapshot.products] == [94791]
    assert [(one.contact_id, one.name) for one in snapshot.people] == [(801, "E. W.")]
    assert {one.field for one in reader.unreadable} == {
        "projectStage", "imprint.id", "contributions.2.contributor.id", "products", "products.0.id",
        "products.94791.publicationDate", "products.94791.isbn", "short_description.externalText",
        "supportingResources",
    }  # fmt: skip
    assert len(snapshot.unread) == len(reader.unreadable)


def test_a_known_imprint_is_kept() -> None:
    assert parse_work({"id": 1, "imprint": {"id": 7, "name": "P"}}, TenantVocabulary()).imprint == Named(id=7, name="P")


FIELDS = st.sampled_from(
    ["id", "title", "projectStage", "imprint", "contributions", "contributor", "products", "publicationDate", "isbn",
     "isbn13", "seriesMemberships", "series", "name", "shortDescription", "externalText", "supportingResources",
     "variant", "status", "coverCopy", "sequenceNumber", "phones", "phoneNumber", "phoneType", "addresses", "country",
     "code", "contactTags", "personName", "onixContributorRole", "onixPublishingStatus", "embargoUntil", "partNumber"]
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["9999-12-31", "front_cover", "zone:Paris", "07700 900123 x", "\x00", "GB", "A01"])
)  # fmt: skip
NODES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6), max_leaves=40
)


@given(st.dictionaries(FIELDS, NODES, max_size=14))
def test_a_record_with_an_id_always_gives_a_snapshot(node: dict[str, Any]) -> None:
    node = {**node, "id": 1}
    parsers: tuple[tuple[Any, Any], ...] = ((WorkSnapshot, parse_work), (ContactSnapshot, parse_contact))
    for model, parse in parsers:
        parsed, invalid = parse_page(
            model,
            [node],
            lambda one, reader, parse=parse: parse(one, TenantVocabulary(), reader),  # type: ignore[misc]
        )
        assert (len(parsed), invalid) == (1, [])
        reported = parsed[0].snapshot.unread
        assert isinstance(reported, tuple)
        assert list(parsed[0].invalid_fields("record 1", reported)) == []
