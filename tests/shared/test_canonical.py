"""One spelling for comparing: the same words are equal however Consonance or a person spelled them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.canonical import canonical, canonical_hash, canonical_text
from shared.contracts.consonance import MetadataField
from tests.cpu_time import at_most

_MARKED_UP = st.lists(
    st.sampled_from(["<p>", "</p>", "&amp;", "&lt;", "b>", "<", "\r\n", "\u00a0", "e", "\u0301", "&#38;"])
)


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("  Salt \r\n and Ink\t", "Salt \n and Ink"),
        ("Cafe\u0301", "Café"),
        ("Salt\u00a0  and", "Salt and"),
        (None, ""),
        ("A < B", "A < B"),
        ("<i>Salt</i>", "<i>Salt</i>"),
    ],
)
def test_a_title_keeps_its_inside(spelled: str | None, plain: str) -> None:
    assert canonical(spelled) == plain


@pytest.mark.parametrize(
    ("spelled", "words"),
    [
        ("<p>One &amp; two</p>\n<p>three</p>", "One & two\nthree"),
        ("One & two\n\nthree", "One & two\nthree"),
        ("One<br/>two", "One\ntwo"),
        ("a <em>bold</em>&nbsp;word", "a bold word"),
        ("A < B and C > D", "A < B and C > D"),
        ("<!-- hidden -->seen", "seen"),
    ],
)
def test_a_text_is_its_words(spelled: str, words: str) -> None:
    assert canonical_text(spelled) == words


_LENGTH = 20_000


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<!-- -->", "amp;", "&amp;", "&#38;#38;", "ampamp", "<a ", "<a/", "<", "&", "&lt;", "&#", "&#0", "\ufdfa"],
)
def test_no_text_takes_long(piece: str) -> None:
    with at_most(2):
        for text in (piece * (_LENGTH // len(piece)), "&" + piece * (_LENGTH // len(piece)) + "lt;"):
            assert canonical_text(canonical_text(text)) == canonical_text(text)


def test_tags_within_tags_take_no_longer() -> None:
    with at_most(2):
        text = "<" * (_LENGTH // 3) + "b>" * (_LENGTH // 3)
        assert canonical_text(canonical_text(text)) == canonical_text(text)


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("&#" + "0" * 20_000 + "65;", "A"),
        ("&#" + "9" * 20_000 + ";", "\ufffd"),
        ("&#x" + "f" * 20_000 + ";", "\ufffd"),
        ("&amp;#38;amp;lt;b&gt;", ""),
        ("&#389;", "\u0185"),
        ("salt <!-- and", "salt <!-- and"),
    ],
)
def test_character_references_of_any_length_are_read(spelled: str, plain: str) -> None:
    assert canonical_text(spelled) == plain


@given(st.text())
def test_a_canonical_value_is_its_own_canonical_form(value: str) -> None:
    assert canonical(canonical(value)) == canonical(value)


@given(st.one_of(st.text(), _MARKED_UP.map("".join)))
def test_a_canonical_text_is_its_own_canonical_form(value: str) -> None:
    assert canonical_text(canonical_text(value)) == canonical_text(value)


def test_the_field_says_whether_tags_count() -> None:
    marked, plain = "<p>Salt</p>", "Salt"
    assert canonical_hash(MetadataField.COVER_COPY, marked) == canonical_hash(MetadataField.COVER_COPY, plain)
    assert canonical_hash(MetadataField.TITLE, marked) != canonical_hash(MetadataField.TITLE, plain)
