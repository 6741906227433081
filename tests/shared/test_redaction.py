"""Names, addresses and own words of a person leave a document, in whichever spelling; the rest stays as it was."""

import base64

import pytest

from shared.contracts.ids import PersonId
from shared.runtime.redaction import ERASED, PersonWords, base64_fragments, redact

ANA = PersonWords(PersonId("p1"), ("Ana Löwe", "+447700900123", "GB.13491208655302741918"))
_WAMID = "wamid." + base64.b64encode(b"\x15\x02\x00\x0c447700900123\x15\x02\x00\x12\x18\x14ABC").decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"text": "Ask Ana Löwe, please"}, {"text": f"Ask {ERASED}, please"}),
        ({"text": "Ask ANA LÖWE"}, {"text": f"Ask {ERASED}"}),
        ({"to": "+447700900123", "wa_id": "447700900123"}, {"to": ERASED, "wa_id": ERASED}),
        ({"bsuid": "GB.13491208655302741918"}, {"bsuid": ERASED}),
        ({"quoted_id": _WAMID}, {"quoted_id": ERASED}),
        ({"text": "Anabel Löwenherz"}, {"text": "Anabel Löwenherz"}),
        ({"quoted_id": "wamid.QUJD"}, {"quoted_id": "wamid.QUJD"}),
        ({"at": 1, "is": True, "none": None}, {"at": 1, "is": True, "none": None}),
    ],
)
def test_names_and_addresses_are_replaced_wherever_they_stand(before: object, after: object) -> None:
    assert redact(before, ANA) == after


def test_redaction_erases_the_words_of_one_person_and_keeps_those_of_others() -> None:
    given = [{"person_id": "p1", "reply": "Yes, gladly", "at": "now"}, {"person_id": "p2", "reply": "No"}]
    assert redact({"given": given}, ANA) == {
        "given": [{"person_id": "p1", "reply": ERASED, "at": "now"}, {"person_id": "p2", "reply": "No"}]
    }


def test_a_write_is_about_the_person_whose_answer_proves_it() -> None:
    request = {
        "input": {"pitch_text": "A novel", "reference": "PIT-1"},
        "evidence": {"person_id": "p1", "reply": "Send"},
    }
    assert redact(request, ANA) == {
        "input": {"pitch_text": ERASED, "reference": "PIT-1"},
        "evidence": {"person_id": "p1", "reply": ERASED},
    }


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_a_needle_is_in_every_base64_text_that_contains_the_word(before: bytes) -> None:
    coded = base64.b64encode(before + b"447700900123" + b"!").decode()
    assert any(fragment in coded for fragment in base64_fragments(b"447700900123"))


@pytest.mark.parametrize("name", ["author", "Approved", "2027-03-01T09:00:00Z", "GB.", "+44"])
def test_a_name_that_may_be_any_word_is_replaced_in_texts_about_the_person_alone(name: str) -> None:
    """People name themselves on WhatsApp as they like: what they choose must not spoil data about others."""
    person = PersonWords(PersonId("p1"), (name,))
    document = {"role": name.lower(), "state": name, "text": f"From {name}"}
    assert redact(document, person) == document
    assert person.needles == ("p1",)
    assert redact(document, person, in_own_row=True) == {**document, "text": f"From {ERASED}"}


def test_another_person_of_the_same_name_keeps_it() -> None:
    people = [{"person_id": "p1", "display_name": "Ana Löwe"}, {"person_id": "p2", "display_name": "Ana Löwe"}]
    assert redact({"people": people}, ANA) == {"people": [{"person_id": "p1", "display_name": ERASED}, people[1]]}
