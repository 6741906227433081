"""The person with the addresses that WhatsApp shows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.identity import (
    ObservedIdentity,
    ReachedAddress,
    apply_contact,
    identify,
    learn_address,
    visitor_id,
)
from services.ingest.person_directory import FormerAddress, PersonDirectory
from services.ingest.poll.snapshot_parser import parse_contact
from services.ingest.poll.snapshots import ContactSnapshot
from services.ingest.poll.vocabulary import TenantVocabulary
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import Bsuid, ContactId, PersonId, Phone, TenantId, person_id_of_contact
from shared.contracts.vocabulary import PartyKind
from shared.contracts.whatsapp import IdentityChange
from tests.services.ingest.payloads import PSEUDONYMS

TENANT = TenantId("pelican")
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
VISITOR = PersonId("v-new")


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


def observed(bsuid: str | None = None, phone: str | None = None, name: str | None = None) -> ObservedIdentity:
    return ObservedIdentity(named(bsuid), numbered(phone), name)


def changed_identity(
    change: IdentityChange, former: tuple[str | None, str | None], now: tuple[str | None, str | None]
) -> ObservedIdentity:
    return ObservedIdentity(
        bsuid=named(now[0]),
        phone=numbered(now[1]),
        change=change,
        former_bsuid=named(former[0]),
        former_phone=numbered(former[1]),
    )


def addresses_in(directory: PersonDirectory, person_id: str) -> tuple[str | None, str | None]:
    person = directory.get(PersonId(person_id))
    assert person is not None
    return person.addresses.bsuid, person.addresses.phone


P, Q = "+447700900123", "+447700900999"


@pytest.mark.parametrize(
    ("people", "identity", "index", "reached"),
    [
        ([contact(8, P)], observed("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, P, "GB.0")], observed("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, P, "GB.1")], observed("GB.1"), 0, ("GB.1", P)),
        ([contact(8, P, "GB.1")], observed("GB.1", Q), 0, ("GB.1", P)),
        ([contact(8, None, "GB.1")], observed("GB.1", Q), 0, ("GB.1", Q)),
        ([contact(8, P), contact(5, P)], observed(None, P), 1, (None, P)),
        ([contact(8, P), known("v1", P)], observed(None, P), 0, (None, P)),
        ([known("v1", None, "GB.1")], observed("GB.1", Q), 0, ("GB.1", Q)),
        ([contact(8, P), known("v1", None, "GB.1")], observed("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, P), contact(9, Q, "GB.1")], observed("GB.1", P), 1, ("GB.1", Q)),
        ([known("v1", None, "GB.1"), known("v2", P)], observed("GB.1", P), 0, ("GB.1", P)),
        ([contact(8, "+5511987654321")], observed(None, "+551187654321"), 0, (None, "+5511987654321")),
        ([contact(8, "+525512345678")], observed(None, "+5215512345678"), 0, (None, "+525512345678")),
    ],
)
def test_an_address_leads_to_its_person(
    people: list[PersonObserved], identity: ObservedIdentity, index: int, reached: tuple[str | None, str | None]
) -> None:
    directory = PersonDirectory(people)
    assert identify(directory, identity, VISITOR, NOW) == people[index].person_id
    assert addresses_in(directory, people[index].person_id) == reached


def test_a_stranger_becomes_the_same_visitor_each_time() -> None:
    first, second = PersonDirectory(), PersonDirectory()
    named, nameless = observed("GB.1", None, "Ada"), observed("GB.1")
    one = identify(first, named, visitor_id(named, TENANT, PSEUDONYMS), NOW)
    assert one == identify(second, nameless, visitor_id(nameless, TENANT, PSEUDONYMS), NOW)
    (visitor,) = first.changed(NOW)
    assert (visitor.display_name, visitor.contact_id, visitor.version) == ("Ada", None, 1)


@pytest.mark.parametrize("before", ["WhatsApp visitor", None])
def test_a_placeholder_name_is_absent_until_a_name_is_known(before: str | None) -> None:
    directory = PersonDirectory([known("v1", P).replace(display_name=before)])
    identify(directory, observed("GB.1", P), VISITOR, NOW)
    assert named_in(directory) is None
    identify(directory, observed("GB.1", P, "Ada"), VISITOR, NOW)
    assert named_in(directory) == "Ada"
    identify(directory, observed("GB.1", P), VISITOR, NOW)
    assert named_in(directory) == "Ada"


def named_in(directory: PersonDirectory) -> str | None:
    person = directory.get(PersonId("v1"))
    assert person is not None
    return person.display_name


def test_a_stranger_without_a_name_has_none() -> None:
    directory = PersonDirectory()
    identify(directory, observed("GB.1"), VISITOR, NOW)
    (visitor,) = directory.changed(NOW)
    assert visitor.display_name is None


def test_a_visitor_that_is_a_contact_is_merged_and_loses_its_addresses() -> None:
    people = [contact(8, P), known("v1", None, "GB.1")]
    directory = PersonDirectory(people)
    identify(directory, observed("GB.1", P), VISITOR, NOW)
    states = {person.person_id: person for person in directory.changed(NOW)}
    assert states[PersonId("v1")].merged_into == people[0].person_id
    assert states[PersonId("v1")].addresses == Addresses()
    assert {person.version for person in states.values()} == {4}


@pytest.mark.parametrize(("days", "is_stored"), [(29, False), (31, True)])
def test_a_visitor_who_writes_again_after_a_month_is_kept_from_then_on(days: int, *, is_stored: bool) -> None:
    directory, now = PersonDirectory([known("v1", P)]), NOW + timedelta(days=days)
    identify(directory, observed(None, P), VISITOR, now)
    assert [(one.observed_at, one.version) for one in directory.changed(now)] == [(now, 4)] * is_stored


def test_known_addresses_change_nothing() -> None:
    directory = PersonDirectory([contact(8, P, "GB.1")])
    identify(directory, observed("GB.1", P), VISITOR, NOW)
    assert directory.changed(NOW) == []


@pytest.mark.parametrize(
    ("people", "identity", "index", "reached"),
    [
        ([contact(8, P, "GB.1")], changed_identity(IdentityChange.NUMBER, (None, P), (None, Q)), 0, ("GB.1", Q)),
        ([contact(8, P, "GB.1")], changed_identity(IdentityChange.BSUID, ("GB.1", None), ("GB.2", P)), 0, ("GB.2", P)),
        ([contact(8, P)], changed_identity(IdentityChange.BSUID, (None, P), ("GB.2", Q)), 0, ("GB.2", Q)),
        ([contact(8, P), known("v1", Q)], changed_identity(IdentityChange.NUMBER, (None, P), (None, Q)), 0, (None, Q)),
        ([known("v1", P), contact(8, Q)], changed_identity(IdentityChange.NUMBER, (None, P), (None, Q)), 1, (None, Q)),
    ],
)
def test_a_person_whose_address_changed_stays_the_same_person(
    people: list[PersonObserved], identity: ObservedIdentity, index: int, reached: tuple[str | None, str | None]
) -> None:
    directory = PersonDirectory(people)
    assert identify(directory, identity, VISITOR, NOW) == people[index].person_id
    assert addresses_in(directory, people[index].person_id) == reached


def moved(former: tuple[str | None, str | None], now: tuple[str | None, str | None]) -> ObservedIdentity:
    return changed_identity(IdentityChange.NUMBER, former, now)


@pytest.mark.parametrize(
    ("others", "identity", "index", "reached"),
    [
        ([contact(9, P)], moved((None, P), (None, Q)), 1, ("GB.1", Q)),
        ([contact(9, P)], moved(("GB.1", None), ("GB.2", Q)), 1, ("GB.2", Q)),
        ([contact(9, P, "GB.1")], moved(("GB.1", P), ("GB.2", Q)), 1, ("GB.2", Q)),
        ([contact(9, "+447700900777")], moved((None, P), (None, Q)), 1, (None, "+447700900777")),
        ([contact(9, P, "GB.7")], moved((None, P), (None, Q)), 1, ("GB.7", P)),
        ([contact(9, P)], changed_identity(IdentityChange.BSUID, ("GB.1", None), ("GB.2", None)), 1, ("GB.2", P)),
    ],
    ids=["number", "by_bsuid", "same_bsuid", "elsewhere", "another_user", "bsuid"],
)
def test_all_contacts_who_share_a_number_follow_where_it_goes(
    others: list[PersonObserved], identity: ObservedIdentity, index: int, reached: tuple[str | None, str | None]
) -> None:
    people = [contact(8, P, "GB.1"), *others]
    directory = PersonDirectory(people)
    identify(directory, identity, VISITOR, NOW)
    assert addresses_in(directory, people[index].person_id) == reached


def test_the_user_at_a_shared_number_is_known_of_all_who_share_it() -> None:
    people = [contact(8, P), contact(9, P), contact(10, P, "GB.7"), contact(11, Q)]
    directory = PersonDirectory(people)
    identify(directory, observed("GB.1", P), VISITOR, NOW)
    assert [addresses_in(directory, one.person_id)[0] for one in people] == ["GB.1", "GB.1", "GB.7", None]
    learn_address(directory, ReachedAddress(people[1].person_id, 3, named("GB.2"), numbered(P)), NOW)
    assert [addresses_in(directory, one.person_id)[0] for one in people] == ["GB.2", "GB.2", "GB.7", None]


@pytest.mark.parametrize(
    ("before", "identity", "since"),
    [
        (None, observed("GB.2", P), NOW - timedelta(seconds=61)),
        ("GB.1", observed("GB.1", P), None),
        ("GB.1", observed("GB.2", P), NOW - timedelta(seconds=61)),
        ("GB.1", changed_identity(IdentityChange.BSUID, ("GB.1", P), ("GB.2", None)), NOW - timedelta(seconds=60)),
    ],
    ids=["first", "same", "seen", "announced"],
)
def test_a_person_s_state_says_since_when_another_user_is_there(
    before: str | None, identity: ObservedIdentity, since: datetime | None
) -> None:
    """The message that shows another user is that user's own; in the second of an announcement the order is open."""
    people = [contact(8, P, before), contact(9, P, before)]
    directory = PersonDirectory(people)
    identify(directory, identity, VISITOR, NOW, NOW - timedelta(seconds=60))
    found = [directory.get(one.person_id) for one in people]
    assert [one.user_since if one else None for one in found] == [since, since]


def test_a_changed_number_of_an_unknown_person_is_a_visitor_at_the_new_number() -> None:
    directory = PersonDirectory()
    person = identify(directory, changed_identity(IdentityChange.NUMBER, (None, P), (None, Q)), VISITOR, NOW)
    assert addresses_in(directory, person) == (None, Q)


def wa_id_in(directory: PersonDirectory, person: PersonObserved) -> str | None:
    found = directory.get(person.person_id)
    assert found is not None
    return found.addresses.wa_id


def reached(person: PersonObserved, phone: str | None, bsuid: str | None = None, version: int = 3) -> ReachedAddress:
    return ReachedAddress(person.person_id, version, named(bsuid), numbered(phone))


def test_the_number_that_whatsapp_uses_is_kept_beside_the_one_of_consonance() -> None:
    person = contact(8, P)
    directory = PersonDirectory([person])
    learn_address(directory, reached(person, Q, "GB.1"), NOW)
    assert addresses_in(directory, person.person_id) == ("GB.1", P)
    assert wa_id_in(directory, person) == Q
    assert identify(directory, observed(None, Q), VISITOR, NOW) == person.person_id


def test_a_message_under_a_known_bsuid_teaches_its_number() -> None:
    person = contact(8, P, "GB.1")
    directory = PersonDirectory([person])
    identify(directory, observed("GB.1", Q), VISITOR, NOW)
    assert identify(directory, observed(None, Q), VISITOR, NOW) == person.person_id


def test_a_visitor_found_where_a_message_arrived_is_the_person_it_was_sent_to() -> None:
    person, stranger = contact(8, P), known("v1", Q)
    directory = PersonDirectory([person, stranger])
    learn_address(directory, reached(person, Q), NOW)
    visitor = directory.get(stranger.person_id)
    assert visitor is not None
    assert visitor.merged_into == person.person_id
    assert wa_id_in(directory, person) == Q


def test_a_visitor_who_is_reached_at_a_contact_s_number_is_that_contact() -> None:
    stranger, person = known("v1", None, "GB.1"), contact(8, P)
    directory = PersonDirectory([person, stranger])
    learn_address(directory, reached(stranger, P, "GB.1"), NOW)
    visitor = directory.get(stranger.person_id)
    assert visitor is not None
    assert (visitor.merged_into, addresses_in(directory, "v1")) == (person.person_id, (None, None))
    assert addresses_in(directory, person.person_id) == ("GB.1", P)


def test_a_changed_number_shows_that_a_visitor_is_the_contact_at_the_former_one() -> None:
    stranger, person = known("v1", None, "GB.1"), contact(8, P)
    directory = PersonDirectory([person, stranger])
    assert identify(directory, moved(("GB.1", P), ("GB.2", Q)), VISITOR, NOW) == person.person_id
    visitor = directory.get(stranger.person_id)
    assert visitor is not None
    assert visitor.merged_into == person.person_id
    assert addresses_in(directory, person.person_id) == ("GB.2", Q)


def test_nothing_is_learnt_from_a_message_to_a_former_address() -> None:
    person = contact(8, P)
    directory = PersonDirectory([person])
    learn_address(directory, reached(person, Q, "GB.1", version=2), NOW)
    assert directory.changed(NOW) == []


def test_a_visitor_s_own_number_stays_beside_the_one_that_a_message_reached() -> None:
    stranger = known("v1", P, "GB.1")
    directory = PersonDirectory([stranger])
    learn_address(directory, reached(stranger, Q, "GB.1"), NOW)
    assert addresses_in(directory, "v1") == ("GB.1", P)
    assert wa_id_in(directory, stranger) == Q


def test_a_changed_bsuid_changes_no_number_of_the_contacts_who_share_the_account() -> None:
    """Each has the number that Consonance has of them; WhatsApp names the account of both by one."""
    ada = contact(8, Q, "GB.1").replace(addresses=Addresses(phone=Phone(Q), bsuid=Bsuid("GB.1"), wa_id=Phone(P)))
    bea = contact(9, P, "GB.1")
    directory = PersonDirectory([ada, bea])
    identify(directory, changed_identity(IdentityChange.BSUID, ("GB.1", None), ("GB.2", None)), VISITOR, NOW)
    assert addresses_in(directory, ada.person_id) == ("GB.2", Q)
    assert addresses_in(directory, bea.person_id) == ("GB.2", P)
    assert wa_id_in(directory, ada) == P


@pytest.mark.parametrize(
    ("before", "left", "is_same"),
    [
        (known("v1", Q, "GB.1"), [], False),
        (known("v1"), [], True),
        (known("v1"), [Q], True),
        (known("v1"), [P], False),
        (known("v1").replace(erased=True), [P], True),
    ],
    ids=["has another address", "lost it to another", "left another", "left it", "was erased"],
)
def test_a_writer_at_the_address_of_a_visitor_is_that_visitor_unless_it_has_moved(
    before: PersonObserved, left: list[str], *, is_same: bool
) -> None:
    former = [FormerAddress(address=address, until=NOW - timedelta(days=1)) for address in left]
    directory = PersonDirectory([before], {before.person_id: former})
    found = identify(directory, observed(None, P), before.person_id, NOW)
    assert (found == before.person_id) is is_same
    assert addresses_in(directory, found) == (None, P)


def test_a_visitor_s_id_is_that_of_the_bsuid_where_both_are_shown() -> None:
    ids = [visitor_id(observed(bsuid, phone), TENANT, PSEUDONYMS) for bsuid, phone in (("GB.1", P), ("GB.1", Q))]
    assert ids[0] == ids[1] != visitor_id(observed(None, P), TENANT, PSEUDONYMS)


def test_a_number_of_another_contact_stays_with_that_one() -> None:
    person, other = contact(8, P), contact(9, Q, "GB.9")
    directory = PersonDirectory([person, other])
    learn_address(directory, reached(person, Q, "GB.9"), NOW)
    assert directory.changed(NOW) == []


def test_a_changed_number_replaces_both() -> None:
    person = contact(8, P, "GB.1").replace(addresses=Addresses(phone=Phone(P), wa_id=Phone(Q), bsuid=Bsuid("GB.1")))
    directory = PersonDirectory([person])
    third = "+447700900777"
    identify(directory, changed_identity(IdentityChange.NUMBER, (None, Q), (None, third)), VISITOR, NOW)
    assert addresses_in(directory, person.person_id) == ("GB.1", third)
    assert wa_id_in(directory, person) is None


def test_a_bsuid_written_into_a_phone_field_of_consonance_is_the_contact_s() -> None:
    """The visitor who wrote under it is that contact."""
    stranger = known("v1", None, "GB.ABC123")
    directory = PersonDirectory([stranger])
    phones = [{"phoneNumber": "GB.ABC123", "phoneType": "Mobile"}, {"phoneNumber": P, "phoneType": "Home"}]
    snapshot = parse_contact({"id": 8, "name": "Ada", "phones": phones}, TenantVocabulary())
    apply_contact(directory, snapshot, None, TENANT, NOW)
    person = person_id_of_contact(TENANT, ContactId(8))
    assert addresses_in(directory, person) == ("GB.ABC123", P)
    assert identify(directory, observed("GB.ABC123"), VISITOR, NOW) == person


def snapshot(phone: str | None, bsuid: str | None = None) -> ContactSnapshot:
    return ContactSnapshot(
        contact_id=ContactId(8), kind=PartyKind.PERSON, name="Ada", phone=numbered(phone), bsuid=named(bsuid)
    )


@pytest.mark.parametrize(
    ("known_numbers", "before", "after", "reached_at"),
    [
        ((P, None), snapshot(P), snapshot(Q), (None, Q)),
        ((P, None), snapshot(P), snapshot(None), (None, None)),
        ((P, None), snapshot(P), snapshot(Q, "GB.2"), ("GB.2", Q)),
        ((P, Q), snapshot(P), snapshot(Q), ("GB.1", Q)),
        ((Q, None), snapshot(P), snapshot(Q), ("GB.1", Q)),
        ((None, None), snapshot(None), snapshot(Q), ("GB.1", Q)),
        ((P, None), None, snapshot(P), ("GB.1", P)),
        ((P, None), None, snapshot(Q), (None, Q)),
    ],
    ids=[
        "other",
        "none",
        "Consonance names one",
        "WhatsApp's number",
        "changed in WhatsApp",
        "first",
        "again",
        "unread",
    ],
)
def test_a_bsuid_learnt_at_a_number_goes_with_that_number(
    known_numbers: tuple[str | None, str | None],
    before: ContactSnapshot | None,
    after: ContactSnapshot,
    reached_at: tuple[str | None, str | None],
) -> None:
    """The number may have been another person's, whose messages and taps would count as the contact's."""
    phone, wa_id = known_numbers
    person = contact(8).replace(addresses=Addresses(phone=numbered(phone), wa_id=numbered(wa_id), bsuid=Bsuid("GB.1")))
    directory = PersonDirectory([person])
    apply_contact(directory, after, before, TENANT, NOW)
    assert addresses_in(directory, person.person_id) == reached_at


def test_a_stranger_whose_number_stood_in_consonance_by_mistake_is_not_the_contact() -> None:
    person = contact(8, P)
    directory = PersonDirectory([person])
    learn_address(directory, reached(person, P, "GB.1"), NOW)
    apply_contact(directory, snapshot(Q), snapshot(P), TENANT, NOW)
    assert identify(directory, observed("GB.1", P), VISITOR, NOW) == VISITOR


# ------------------------------------------------------------------ any order of everything

NUMBERS, BSUIDS = st.sampled_from([None, P, Q, "+447700900777"]), st.sampled_from([None, "GB.1", "GB.2", "GB.3"])
SHOWN = st.tuples(BSUIDS, NUMBERS).filter(any)
MOVES = st.one_of(
    st.tuples(st.just("contact"), st.sampled_from([8, 9, 10]), NUMBERS),
    st.tuples(st.just("message"), SHOWN),
    st.tuples(st.just("change"), st.sampled_from([IdentityChange.NUMBER, IdentityChange.BSUID]), SHOWN, SHOWN),
    st.tuples(st.just("status"), st.integers(0, 5), SHOWN),
)


def play(directory: PersonDirectory, move: tuple[Any, ...], known_contacts: dict[int, ContactSnapshot]) -> None:
    match move:
        case ("contact", int(number), phone):
            seen = ContactSnapshot(
                contact_id=ContactId(number), kind=PartyKind.PERSON, name="Ana Loewe", phone=numbered(phone)
            )
            apply_contact(directory, seen, known_contacts.get(number), TENANT, NOW)
            known_contacts[number] = seen
        case ("message", (bsuid, phone)):
            writer = identify(directory, observed(bsuid, phone), PersonId(f"v{bsuid or phone}"), NOW)
            found = directory.get(writer)
            assert found is not None
            assert found.merged_into is None
        case ("change", change, former, now):
            identify(directory, changed_identity(change, former, now), PersonId(f"v{now[0] or now[1]}"), NOW)
        case ("status", index, (bsuid, phone)):
            people = directory.changed(NOW)
            if people:
                person = people[index % len(people)]
                version = person.version - 1
                learn_address(directory, ReachedAddress(person.person_id, version, named(bsuid), numbered(phone)), NOW)
        case _:
            raise AssertionError(move)


@settings(max_examples=300)
@given(st.lists(MOVES, min_size=3, max_size=10))
def test_any_order_of_messages_changes_statuses_and_contacts_leaves_each_address_to_one_person(
    moves: list[tuple[Any, ...]],
) -> None:
    """Several contacts may share an address; a visitor has theirs alone, and a merged id has none."""
    directory, contacts = PersonDirectory(), dict[int, ContactSnapshot]()
    for move in moves:
        play(directory, move, contacts)
    people = {person.person_id: person for person in directory.changed(NOW)}
    owners: dict[str, list[PersonObserved]] = {}
    for person in people.values():
        if person.merged_into is not None:
            assert person.addresses == Addresses()
            assert people[person.merged_into].merged_into != person.person_id
        if person.addresses.bsuid is not None:
            owners.setdefault(person.addresses.bsuid, []).append(person)
    assert not [bsuid for bsuid, of in owners.items() if len(of) > 1 and any(one.contact_id is None for one in of)]
