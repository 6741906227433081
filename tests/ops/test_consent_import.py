"""Opt-ins from a list: what each row does, by what is known of the person."""

from datetime import UTC, datetime, timedelta

import pytest

from ops.consent import grounds_of
from ops.consent_import import Outcome, PlannedRow, UnusableFile, decode_file, people_named, plan_import, read_rows
from services.rules.conversation.fact_values import Consent, PersonFacts
from services.rules.conversation.facts import Facts
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import ContactId, PersonId, Phone, TenantId, person_id_of_contact
from tests.services.rules.stories import own_rulebook

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
TENANT = TenantId("penrose")
FORM = "sign-up form 2026 (sheet 14)"


def person_of(contact: int) -> PersonId:
    return person_id_of_contact(TENANT, ContactId(contact))


AUTHOR, READER, GONE, MERGED, TWIN = map(person_of, (806, 900, 901, 902, 903))
VISITOR = PersonId("v-one")


def person(person_id: PersonId, contact: int | None, **more: object) -> PersonFacts:
    seen = PersonObserved(
        person_id=person_id, contact_id=None if contact is None else ContactId(contact), display_name="Maud Ferrier",
        addresses=Addresses(phone=Phone("+447700900123")), observed_at=NOW - timedelta(days=1), version=1,
    )  # fmt: skip
    return PersonFacts.of(seen, None).replace(**more)


def known() -> Facts:
    people = (
        person(AUTHOR, 806, roles=("author",)),
        person(READER, 900, roles=("newsletter",)),
        person(GONE, 901, erased=True),
        person(MERGED, 902, merged_into=READER, merged_at=NOW - timedelta(days=1)),
        person(TWIN, 903),
        person(VISITOR, None),
    )
    return Facts(TENANT, people={each.person_id: each for each in people})


PEOPLE = {
    **{("contact", str(c)): [person_of(c)] for c in (806, 900, 901, 902, 903)},
    ("phone", "+447700900123"): [AUTHOR, TWIN],
    ("phone", "+447700900124"): [READER, MERGED],
    ("person", VISITOR): [VISITOR],
}


def planned(text: str, facts: Facts | None = None) -> list[PlannedRow]:
    return plan_import(read_rows(text), PEOPLE, facts or known(), NOW)


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (f"806,,,2027-03-01,{FORM},", Outcome.NEW),
        (f"806,,,2027-03-01T09:30:00+01:00,{FORM},marketing", Outcome.NEW),
        (f",v-one,,2027-03-01,{FORM},", Outcome.NEW),
        (f",,+44 7700 900124,2027-03-01,{FORM},", Outcome.NEW),
        (f",,+44 7700 900123,2027-03-01,{FORM},", Outcome.SEVERAL_PEOPLE),
        (f",,07700 900124,2027-03-01,{FORM},", Outcome.NO_ADDRESSEE),
        (f",,,2027-03-01,{FORM},", Outcome.NO_ADDRESSEE),
        (f"806,v-one,,2027-03-01,{FORM},", Outcome.NO_ADDRESSEE),
        (f"abc,,,2027-03-01,{FORM},", Outcome.NO_ADDRESSEE),
        (f"{'9' * 30},,,2027-03-01,{FORM},", Outcome.NO_ADDRESSEE),
        (f"999,,,2027-03-01,{FORM},", Outcome.UNKNOWN_PERSON),
        (f"901,,,2027-03-01,{FORM},", Outcome.ERASED),
        (f"806,,,2027-03-04,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,01/03/2027,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,2027-03-01T09:30:00,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,0001-01-01T00:00:00+05:00,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,46082,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,1900-01-01,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,1970-01-01T00:00:00Z,{FORM},", Outcome.WRONG_TIME),
        (f"806,,,0001-01-01,{FORM},", Outcome.WRONG_TIME),
        (f",,'+44 7700 900124,2027-03-01,{FORM},", Outcome.NEW),
        (f",,\u202a+44 7700 900124\u202c,2027-03-01,{FORM},", Outcome.NEW),
        (f"\u200b806,,,2027-03-01\u200b,{FORM},marketing\u200e", Outcome.NEW),
        ("806,,,2027-03-01,\u200b,", Outcome.NO_EVIDENCE),
        (f",,4.47700900124E+11,2027-03-01,{FORM},", Outcome.NO_ADDRESSEE),
        ("806,,,2027-03-01,,", Outcome.NO_EVIDENCE),
        (f"806,,,2027-03-01,{'x' * 301},", Outcome.NO_EVIDENCE),
        (f"806,,,2027-03-01,{FORM},news", Outcome.WRONG_CATEGORY),
    ],
)
def test_each_row_says_what_it_does_or_what_is_wrong(row: str, outcome: Outcome) -> None:
    (result,) = planned(f"contact,person,phone,at,evidence,category\n{row}\n")
    assert (result.line, result.outcome) == (2, outcome)
    assert (result.entry is not None) is (outcome is Outcome.NEW)


def test_an_opt_in_counts_for_the_person_under_every_id() -> None:
    facts = known()
    (result,) = planned(f"contact;at;evidence\n902;2027-03-01;{FORM}\n", facts)
    assert (result.person_id, facts.consent[READER].opted_in_at) == (READER, datetime(2027, 3, 1, tzinfo=UTC))
    assert grounds_of(facts, own_rulebook(), READER, NOW)[0]["ground"] == "opt_in"


def test_empty_columns_behind_the_last_one_are_left_out() -> None:
    """Excel writes them where a cell was ever filled."""
    (row,) = read_rows("contact,at,evidence,,\r\n806,2027-03-01,form 3,,\r\n,,,,\r\n")
    assert row.values == {"contact": "806", "at": "2027-03-01", "evidence": "form 3"}
    with pytest.raises(UnusableFile, match="line 2 has more values than there are columns"):
        read_rows("contact,at,evidence,,\n806,2027-03-01,form 3,,sheet 14\n")


def test_a_newer_opt_out_stands() -> None:
    facts = known()
    facts.consent[MERGED] = Consent(opted_out_at=NOW - timedelta(hours=1))
    (result,) = planned(f"contact,at,evidence\n900,2027-03-01,{FORM}\n", facts)
    assert (result.outcome, result.is_fault) == (Outcome.OPTED_OUT_SINCE, False)
    assert facts.opted_out(READER)
    assert grounds_of(facts, own_rulebook(), READER, NOW)[0] == {
        "role": "newsletter",
        "allowed": "no",
        "ground": "opted_out",
        "because": "the person opted out: see the ledger",
    }


@pytest.mark.parametrize("category", ["messages", "marketing"])
def test_an_opt_in_that_lapsed_is_not_restored_by_the_list_it_came_from(category: str) -> None:
    facts = known()
    facts.consent[AUTHOR] = Consent(lapsed_at=NOW - timedelta(days=2))
    before, after = planned(
        f"contact,at,evidence,category\n806,2027-02-01,{FORM},{category}\n806,2027-03-02,{FORM},{category}\n", facts
    )
    assert (before.outcome, before.is_fault, before.entry) == (Outcome.LAPSED_SINCE, False, None)
    assert (after.outcome, after.entry is not None) == (Outcome.NEW, True)


def test_a_row_twice_is_recorded_once_and_the_newest_counts() -> None:
    facts = known()
    rows = f"900,2027-03-02,{FORM}\n900,2027-03-02,{FORM}\n900,2027-01-01,older\n"
    results = planned(f"contact,at,evidence\n{rows}", facts)
    assert [each.outcome for each in results] == [Outcome.NEW, Outcome.KNOWN, Outcome.KNOWN]
    assert facts.consent[READER].evidence == FORM


def test_marketing_is_a_consent_of_its_own() -> None:
    facts = known()
    planned(f"contact,at,evidence,category\n900,2027-03-01,{FORM},marketing\n", facts)
    assert facts.allows_marketing(READER)
    assert grounds_of(facts, own_rulebook(), READER, NOW)[0]["ground"] == "no_consent"


def test_the_grounds_name_what_declares_them() -> None:
    (ground,) = grounds_of(known(), own_rulebook(), AUTHOR, NOW)
    assert ground == {
        "role": "author",
        "allowed": "yes",
        "ground": "contract",
        "because": "house.yaml declares basis.author: contract",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it needs the columns"),
        ("contact,evidence\n", "it needs the columns"),
        ("at,evidence\n", "it needs the columns"),
        ("contact,at,evidence,contact\n", "it has the column “contact” twice"),
        ("contact,at,evidence\n806,2027-03-01,form\0 3\n", "line 2 holds a character that is no text"),
        ("contact,at,evidence\n806,2027-03-01,form\x1b[2J 3\n", "line 2 holds a character that is no text"),
        ("sep=;\ncontact;at;evidence\n", "a column “sep=”"),
        ("contact,at,evidence,name\n", "a column “name”"),
        ('contact,at,evidence\n806,2027-03-01,"open\n', "no line of a CSV file"),
        ("contact,at,evidence\n806,2027-03-01,form 3, sheet 14\n", "line 2 has more values than there are columns"),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UnusableFile, match=sentence):
        read_rows(text)


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_file_in_another_encoding_is_refused_with_what_to_do(encoding: str) -> None:
    text = "contact;at;evidence\n806;2027-03-01;Formular für Autoren\n"
    assert read_rows(decode_file(text.encode("utf-8-sig"))) == read_rows(text)
    with pytest.raises(UnusableFile, match="save it as “CSV UTF-8”"):
        decode_file(text.encode(encoding))


def test_a_text_of_two_lines_is_one_line_of_the_ledger() -> None:
    (row,) = read_rows('contact,at,evidence\r\n806,2027-03-01,"sheet 14,\r\n\tpage 3"\r\n')
    assert (row.line, row.values["evidence"]) == (3, "sheet 14, page 3")


def test_the_words_of_the_evidence_stay_as_they_are_written() -> None:
    """In Persian a mark that takes no room keeps two letters apart."""
    (row,) = read_rows("contact,at,evidence\n806,2027-03-01,می\u200cخواهم\n")
    assert row.values["evidence"] == "می\u200cخواهم"


def test_numbers_are_looked_up_in_their_one_spelling() -> None:
    rows = read_rows("phone,at,evidence\n+55 11 91234-5678,2027-03-01,x\n+44 7700 900124,2027-03-01,x\n")
    assert people_named(rows, "phone") == {"+5511912345678", "+447700900124"}
