"""Which of many people a text names: the same ones as a search for every spelling of each would find."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.ids import PersonId
from shared.runtime.redaction import PeopleIndex, PersonWords

ANA = PersonWords(PersonId("p0d47d66e6683a0b436d10cdd4126f0b5"), ("Hélène Loewe", "+447700900123", "GB.1349120865530"))
BO = PersonWords(PersonId("p1d47d66e6683a0b436d10cdd4126f0b5"), ("Bo Berg", "+33639980012", "GB.2249120865531"))
LI = PersonWords(PersonId("p2d47d66e6683a0b436d10cdd4126f0b5"), ("王小明 李小龙先生",))
ONE_WORD = PersonWords(PersonId("p3d47d66e6683a0b436d10cdd4126f0b5"), ("Salt",))
EVERYBODY = (ANA, BO, LI, ONE_WORD)
WAMID = "wamid." + base64.b64encode(b"\x1d\x0b447700900123\x15\x02\x00\x11").decode()
LATER_WAMID = "wamid." + base64.b64encode(b"\x1d\x0b\x0c447700900123\x15\x02\x00\x11").decode()


@pytest.mark.parametrize(
    "text",
    [
        "for Hélène Loewe, with thanks",
        "FOR HÉLÈNE LOEWE",
        json.dumps({"name": "Hélène Loewe"}),
        json.dumps({"name": "Hélène Loewe"}).encode(),
        '{"from": "447700900123"}',
        "+447700900123",
        "00447700900123",
        "tel447700900123",
        f'{{"wamid": "{WAMID}"}}',
        f'{{"wamid": "{LATER_WAMID}"}}',
        "GB.1349120865530",
        "penrose/persons/p0d47d66e6683a0b436d10cdd4126f0b5",
        "a1b2" + b"447700900123".hex(),
        base64.b64encode(b"sent by H\xc3\xa9l\xc3\xa8ne Loewe today").decode(),
        b"\xff\xfe Bo: 447700900123",
    ],
)
def test_a_person_is_found_in_every_spelling(text: str | bytes) -> None:
    assert PeopleIndex(EVERYBODY).named_in("something else", None, text) == {ANA.person_id}


def test_a_name_in_a_script_without_spaces_is_found_within_other_words() -> None:
    assert PeopleIndex(EVERYBODY).named_in("作者王小明 李小龙先生的书") == {LI.person_id}


@pytest.mark.parametrize("text", ["", "Salt", "Hélène Berg and Bo Loewe", "447700900125", "GB.13491208655301", "p0d47"])
def test_a_text_about_others_names_none_of_the_people(text: str) -> None:
    assert PeopleIndex([BO, LI, ONE_WORD]).named_in(text) == set()


PARTS = st.sampled_from(
    [spelling for person in EVERYBODY for spelling in person.needles] + ["the salt road", "12345678", WAMID, '{"a": "']
)


@given(st.lists(st.tuples(PARTS, st.sampled_from([" ", "/", '"', ", ", "\n"])), max_size=6))
def test_an_index_finds_all_whose_spellings_stand_in_the_text(parts: list[tuple[str, str]]) -> None:
    text = "".join(map("".join, parts))
    wanted = {
        person.person_id for person in EVERYBODY if any(needle.lower() in text.lower() for needle in person.needles)
    }
    assert PeopleIndex(EVERYBODY).named_in(text) == wanted
