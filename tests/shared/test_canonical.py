"""One spelling for comparing: the same words are equal however Consonance or a person spelled them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import canonical, canonical_hash, canonical_text
from shared.events.consonance import MetadataField

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
