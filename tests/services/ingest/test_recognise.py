"""Who somebody is, by what WhatsApp shows of them."""

from datetime import UTC, datetime

import pytest

from services.ingest.recognise import minted, recognise
from services.ingest.records import Sighting
from services.ingest.register import Register
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import Bsuid, ContactId, PersonId, Phone, TenantId, person_id_of_contact
from shared.contracts.whatsapp import IdentityChange
from tests.services.ingest.payloads import PSEUDONYMS

TENANT = TenantId("pelican")
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
STRANGER = PersonId("v-nobody-yet")


def named(bsuid: str | None) -> Bsuid | None:
    return Bsuid(bsuid) if bsuid else None


def numbered(phone: str | None) -> Phone | None:
    return Phone(phone) if phone else None


def contact(number: int, phone: str | None = None, bsuid: str | None = None) -> PersonObserved:
    return known(person_id_of_contact(TENANT, ContactId(number)), phone, bsuid, number)


def known(
    person_id: str, phone: str | None = None, bsuid: str | None = None, contact_id: int | None = None
) -> PersonObserved:
    return PersonObserved(
        person_id=PersonId(person_id),
        contact_id=None if contact_id is None else ContactId(contact_id),
        display_name="Ada",
        addresses=Addresses(phone=numbered(phone), bsuid=named(bsuid)),
        observed_at=NOW,
        version=3,
    )


def seen(bsuid: str | None = None, phone: str | None = None, name: str | None = None) -> Sighting:
    return Sighting(named(bsuid), numbered(phone), name)


def moved(
    change: IdentityChange, former: tuple[str | None, str | None], now: tuple[str | None, str | None]
) -> Sighting:
    return Sighting(
        bsuid=named(now[0]),
        phone=numbered(now[1]),
        change=change,
        former_bsuid=named(former[0]),
        former_phone=numbered(former[1]),
    )


def where(register: Register, person_id: str) -> tuple[str | None, str | None]:
    person = register.get(PersonId(person_id))
    assert person is not None
    return person.addresses.bsuid, person.addresses.phone


P, Q = "+447700900123", "+447700900999"


@pytest.mark.parametrize(
    ("people", "sighting", "who", "reached"),
    [
        ([contact(8, P)], seen("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, P, "GB.0")], seen("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, P, "GB.1")], seen("GB.1"), 0, ("GB.1", P)),
        ([contact(8, P, "GB.1")], seen("GB.1", Q), 0, ("GB.1", P)),
        ([contact(8, None, "GB.1")], seen("GB.1", Q), 0, ("GB.1", Q)),
        ([contact(8, P), contact(5, P)], seen(None, P), 1, (None, P)),
        ([contact(8, P), known("v1", P)], seen(None, P), 0, (None, P)),
        ([known("v1", None, "GB.1")], seen("GB.1", Q), 0, ("GB.1", Q)),
        ([contact(8, P), known("v1", None, "GB.1")], seen("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, P), contact(9, Q, "GB.1")], seen("GB.1", P), 1, ("GB.1", Q)),
        ([known("v1", None, "GB.1"), known("v2", P)], seen("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, "+5511987654321")], seen(None, "+551187654321"), 0, (None, "+5511987654321")),
        ([contact(8, "+525512345678")], seen(None, "+5215512345678"), 0, (None, "+525512345678")),
    ],
)
def test_an_address_leads_to_whom_it_belongs(
    people: list[PersonObserved], sighting: Sighting, who: int, reached: tuple[str | None, str | None]
) -> None:
    register = Register(people)
    assert recognise(register, sighting, STRANGER, NOW) == people[who].person_id
    assert where(register, people[who].person_id) == reached


def test_a_stranger_becomes_a_visitor_the_same_one_each_time() -> None:
    first, second = Register(), Register()
    named, nameless = seen("GB.1", None, "Ada"), seen("GB.1")
    one = recognise(first, named, minted(named, TENANT, PSEUDONYMS), NOW)
    assert one == recognise(second, nameless, minted(nameless, TENANT, PSEUDONYMS), NOW)
    (met,) = first.changed(NOW)
    assert (met.display_name, met.contact_id, met.version) == ("Ada", None, 1)


@pytest.mark.parametrize("before", ["WhatsApp visitor", None])
def test_a_name_that_nobody_gave_is_absent_until_it_is_told(before: str | None) -> None:
    register = Register([known("v1", P).replace(display_name=before)])
    recognise(register, seen("GB.1", P), STRANGER, NOW)
    assert named_in(register) is None
    recognise(register, seen("GB.1", P, "Ada"), STRANGER, NOW)
    assert named_in(register) == "Ada"
    recognise(register, seen("GB.1", P), STRANGER, NOW)
    assert named_in(register) == "Ada"


def named_in(register: Register) -> str | None:
    person = register.get(PersonId("v1"))
    assert person is not None
    return person.display_name


def test_a_nameless_stranger_has_no_name() -> None:
    register = Register()
    recognise(register, seen("GB.1"), STRANGER, NOW)
    (met,) = register.changed(NOW)
    assert met.display_name is None


def test_a_visitor_who_turns_out_to_be_a_contact_hands_over_and_points_to_them() -> None:
    people = [contact(8, P), known("v1", None, "GB.1")]
    register = Register(people)
    recognise(register, seen("GB.1", P), STRANGER, NOW)
    states = {person.person_id: person for person in register.changed(NOW)}
    assert states[PersonId("v1")].merged_into == people[0].person_id
    assert states[PersonId("v1")].addresses == Addresses()
    assert {person.version for person in states.values()} == {4}


def test_nothing_new_is_no_change() -> None:
    register = Register([contact(8, P, "GB.1")])
    recognise(register, seen("GB.1", P), STRANGER, NOW)
    assert register.changed(NOW) == []


@pytest.mark.parametrize(
    ("people", "sighting", "who", "reached"),
    [
        ([contact(8, P, "GB.1")], moved(IdentityChange.NUMBER, (None, P), (None, Q)), 0, ("GB.1", Q)),
        ([contact(8, P, "GB.1")], moved(IdentityChange.BSUID, ("GB.1", None), ("GB.2", P)), 0, ("GB.2", P)),
        ([contact(8, P)], moved(IdentityChange.BSUID, (None, P), ("GB.2", Q)), 0, ("GB.2", Q)),
        ([contact(8, P), known("v1", Q)], moved(IdentityChange.NUMBER, (None, P), (None, Q)), 0, (None, Q)),
        ([known("v1", P), contact(8, Q)], moved(IdentityChange.NUMBER, (None, P), (None, Q)), 1, (None, Q)),
    ],
)
def test_a_changed_address_stays_the_same_persons(
    people: list[PersonObserved], sighting: Sighting, who: int, reached: tuple[str | None, str | None]
) -> None:
    register = Register(people)
    assert recognise(register, sighting, STRANGER, NOW) == people[who].person_id
    assert where(register, people[who].person_id) == reached


def test_a_change_of_a_number_nobody_knew_is_a_visitor_at_the_new_one() -> None:
    register = Register()
    person = recognise(register, moved(IdentityChange.NUMBER, (None, P), (None, Q)), STRANGER, NOW)
    assert where(register, person) == (None, Q)
