"""Messages and notes of WhatsApp that are delivered late, again or in another order than they happened."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.identity import ObservedIdentity, apply_contact, identify
from services.ingest.person_directory import PersonDirectory
from services.ingest.poll.snapshots import ContactSnapshot
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import Bsuid, ContactId, PersonId, Phone, TenantId, person_id_of_contact
from shared.contracts.vocabulary import PartyKind
from shared.contracts.whatsapp import IdentityChange

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TENANT = TenantId("pelican")
CONTACT = person_id_of_contact(TENANT, ContactId(8))
P, Q, R = Phone("+447700900123"), Phone("+447700900999"), Phone("+447700900777")


@dataclass(frozen=True)
class Message:
    """``at`` is WhatsApp's instant, in seconds after the start."""

    at: int
    phone: Phone
    bsuid: Bsuid | None = None


@dataclass(frozen=True)
class Moved:
    at: int
    former: Phone | None
    phone: Phone | None
    former_bsuid: Bsuid | None = None
    bsuid: Bsuid | None = None


@dataclass(frozen=True)
class Edited:
    """The contact is changed in Consonance, where the number is still the first one."""

    name: str


class KnownPeople:
    """The people that ingest knows, to which updates are applied; a contact is known at P."""

    def __init__(self, *others: PersonObserved) -> None:
        ada = PersonObserved(
            person_id=CONTACT,
            contact_id=ContactId(8),
            addresses=Addresses(phone=P),
            observed_at=NOW,
            version=1,
        )
        self.people = PersonDirectory([ada, *others])
        self.writers: dict[Message, PersonId] = {}
        self.snapshot: ContactSnapshot | None = ContactSnapshot(
            contact_id=ContactId(8), kind=PartyKind.PERSON, name="Ada", phone=P
        )

    def deliver(self, *updates: Message | Moved | Edited) -> "KnownPeople":
        for update in updates:
            if isinstance(update, Edited):
                self._edit(update.name)
                continue
            at = NOW + timedelta(seconds=update.at)
            if isinstance(update, Message):
                shown = ObservedIdentity(update.bsuid, update.phone)
                self.writers[update] = self._identify(shown, at)
            else:
                change = ObservedIdentity(
                    bsuid=update.bsuid,
                    phone=update.phone,
                    change=IdentityChange.NUMBER if update.former else IdentityChange.BSUID,
                    former_bsuid=update.former_bsuid,
                    former_phone=update.former,
                )
                self._identify(change, at)
        return self

    def _edit(self, name: str) -> None:
        new = ContactSnapshot(contact_id=ContactId(8), kind=PartyKind.PERSON, name=name, phone=P)
        apply_contact(self.people, new, self.snapshot, TENANT, NOW + timedelta(days=1))
        self.snapshot = new

    def _identify(self, identity: ObservedIdentity, at: datetime) -> PersonId:
        visitor = PersonId(f"v-{identity.bsuid or identity.phone}")
        return identify(self.people, identity, visitor, NOW + timedelta(days=1), at)

    def writer(self, message: Message) -> PersonId:
        """The id that the writer has now."""
        person = self.writers[message]
        while (state := self.people.get(person)) is not None and state.merged_into is not None:
            person = state.merged_into
        return person

    def phone(self, person: PersonId = CONTACT) -> Phone | None:
        state = self.people.get(person)
        return None if state is None else state.addresses.phone


def test_a_message_from_the_former_number_is_the_person_s_also_when_it_comes_after_the_change() -> None:
    late = Message(10, P)
    world = KnownPeople().deliver(Moved(20, P, Q), late)
    assert (world.writer(late), world.phone()) == (CONTACT, Q)


def test_in_the_second_of_the_change_the_former_number_is_the_person_s_still() -> None:
    late, after = Message(20, P), Message(21, P)
    world = KnownPeople().deliver(Moved(20, P, Q), late, after)
    assert world.writer(late) == CONTACT
    assert world.writer(after) != CONTACT


def test_a_late_message_does_not_lead_back_to_the_former_number() -> None:
    """Neither a visitor's, who is written to where they last wrote from, nor by its BSUID."""
    first, late = Message(1, R, Bsuid("GB.1")), Message(10, R, Bsuid("GB.1"))
    world = KnownPeople().deliver(first, Moved(20, R, Q), late)
    assert world.writer(late) == world.writer(first)
    state = world.people.get(world.writer(first))
    assert state is not None
    assert (state.addresses.phone, state.addresses.wa_id) == (Q, None)


def test_the_next_holder_of_a_number_is_another_person() -> None:
    late, next_holder = Message(10, P), Message(30, P, Bsuid("GB.9"))
    world = KnownPeople().deliver(Moved(20, P, Q), next_holder, late, Moved(40, P, R))
    assert world.writer(late) == CONTACT
    assert world.writer(next_holder) != CONTACT
    again = Message(39, P)
    assert world.deliver(again).writer(again) == world.writer(next_holder)
    assert (world.phone(), world.phone(world.writer(next_holder))) == (Q, R)


def test_the_next_holder_of_a_visitor_s_number_does_not_become_that_visitor() -> None:
    """Neither while they are a visitor, nor when they have turned out to be a contact: the pitch stays theirs."""
    visitor, next_holder = Message(1, R), Message(30, R)
    world = KnownPeople().deliver(visitor, Moved(20, R, Q), next_holder)
    assert world.writers[next_holder] != world.writers[visitor]
    assert (world.phone(world.writers[visitor]), world.phone(world.writers[next_holder])) == (Q, R)
    world = KnownPeople().deliver(visitor, Moved(10, P, R), Moved(20, R, Q), next_holder)
    assert world.writer(visitor) == CONTACT
    assert world.writer(next_holder) not in {CONTACT, world.writers[visitor]}
    assert world.writer(visitor) == CONTACT


def test_a_change_that_is_delivered_again_changes_nothing() -> None:
    """Neither after the person came back, nor for another contact who has the former number since."""
    moved, back = Moved(20, P, Q), Moved(40, Q, P)
    assert KnownPeople().deliver(moved, back, moved).phone() == P
    heir = PersonObserved(
        person_id=PersonId("p-bea"), contact_id=ContactId(9), addresses=Addresses(), observed_at=NOW, version=1
    )
    world = KnownPeople(heir).deliver(moved)
    world.people.put(heir.replace(addresses=Addresses(phone=P)))
    world.deliver(moved)
    assert (world.phone(), world.phone(heir.person_id)) == (Q, P)


def test_a_change_that_comes_after_the_next_one_leaves_the_newest_number() -> None:
    late = Message(30, Q)
    world = KnownPeople().deliver(Moved(40, Q, R), late, Moved(20, P, Q))
    assert (world.writer(late), world.phone()) == (CONTACT, R)


def test_an_older_bsuid_does_not_replace_one_that_was_shown_later() -> None:
    world = KnownPeople().deliver(
        Message(1, P, Bsuid("GB.1")), Message(30, P, Bsuid("GB.2")), Message(10, P, Bsuid("GB.1"))
    )
    state = world.people.get(CONTACT)
    assert state is not None
    assert state.addresses.bsuid == "GB.2"


def test_a_report_without_a_number_of_a_bsuid_that_was_replaced_already_makes_no_second_person() -> None:
    """The BSUID that it announces was replaced by the next one before anything was sent under it."""
    first, last = Message(10, P, Bsuid("GB.1")), Message(40, P, Bsuid("GB.3"))
    late = Moved(20, None, None, Bsuid("GB.1"), Bsuid("GB.2"))
    world = KnownPeople().deliver(first, last, late)
    state = world.people.get(CONTACT)
    assert state is not None
    assert state.addresses == Addresses(phone=P, bsuid=Bsuid("GB.3"))
    for bsuid in (Bsuid("GB.1"), Bsuid("GB.2")):
        assert world.people.by_bsuid(bsuid, NOW + timedelta(seconds=15)) == state


def test_a_bsuid_that_was_replaced_since_does_not_come_with_the_visitor_who_is_the_person() -> None:
    """The person's last one is not known: at the former number, where it was shown, the next holder may have it."""
    last, first = Moved(59, None, P, Bsuid("GB.2"), Bsuid("GB.3")), Moved(29, None, Q, Bsuid("GB.0"), Bsuid("GB.1"))
    state = KnownPeople().deliver(last, first, Moved(30, P, Q)).people.get(CONTACT)
    assert state is not None
    assert state.addresses == Addresses(phone=Q)


def test_a_user_shown_at_the_number_after_the_person_left_it_does_not_go_with_the_person() -> None:
    """The next holder wrote before the change was reported."""
    next_holder = Message(30, P, Bsuid("GB.9"))
    world = KnownPeople().deliver(Message(1, P, Bsuid("GB.1")), next_holder, Moved(20, P, Q))
    again = Message(50, P, Bsuid("GB.9"))
    assert world.deliver(again).writer(again) != CONTACT


def test_the_next_holder_of_a_number_that_consonance_still_shows_is_not_the_contact() -> None:
    """Also where what Consonance showed last cannot be read any more."""
    next_holder = Message(30, P)
    world = KnownPeople().deliver(Moved(20, P, Q), next_holder, Edited("Ada Loewe"))
    world.snapshot = None
    world.deliver(Edited("Ada M. Loewe"))
    assert world.writer(next_holder) != CONTACT
    assert (world.phone(), world.phone(world.writer(next_holder))) == (Q, P)
    state = world.people.get(CONTACT)
    assert state is not None
    assert (state.display_name, state.addresses.wa_id) == ("Ada M. Loewe", None)


def test_a_changed_bsuid_that_is_reported_with_the_former_number_does_not_lead_back_to_it() -> None:
    """Meta's examples of one change: the note has both numbers, the ``user_id_update`` the former one alone."""
    note = Moved(20, P, Q, None, Bsuid("GB.2"))
    report = Moved(20, None, P, Bsuid("GB.1"), Bsuid("GB.2"))
    next_holder = Message(30, P)
    for updates in ((note, report), (report, note), (note, next_holder, report), (report, note, next_holder)):
        world = KnownPeople().deliver(*updates)
        state = world.people.get(CONTACT)
        assert state is not None
        assert (state.addresses.phone, state.addresses.bsuid) == (Q, "GB.2")
        assert all(world.writer(one) != CONTACT for one in updates if one is next_holder)


@pytest.mark.parametrize(
    ("updates", "number", "user"),
    [
        (
            (
                Moved(10, P, Q, Bsuid("GB.0"), Bsuid("GB.1")),
                Moved(30, R, P, Bsuid("GB.2"), Bsuid("GB.3")),
                Moved(20, None, Q, Bsuid("GB.1"), Bsuid("GB.2")),
                Moved(20, Q, R),
            ),
            P,
            "GB.3",
        ),
        ((Moved(10, P, Q), Moved(21, None, Q, Bsuid("GB.1"), Bsuid("GB.2")), Moved(20, Q, P)), P, "GB.2"),
        ((Message(5, P, Bsuid("GB.0")), Moved(10, P, Q), Moved(11, None, P, Bsuid("GB.0"), Bsuid("GB.1"))), Q, "GB.1"),
    ],
    ids=["an earlier report comes last", "a report of a second later comes first", "a report of a second later"],
)
def test_a_report_of_a_bsuid_changes_no_number(updates: tuple[Message | Moved, ...], number: Phone, user: str) -> None:
    state = KnownPeople().deliver(*updates).people.get(CONTACT)
    assert state is not None
    assert (state.addresses.phone, state.addresses.wa_id, state.addresses.bsuid) == (number, None, user)


def test_a_change_that_is_delivered_again_leaves_a_contact_alone_who_has_the_former_number_since() -> None:
    """It was a visitor's, who is known by a BSUID alone by now."""
    moved = Moved(20, R, None, None, Bsuid("GB.5"))
    world = KnownPeople().deliver(moved)
    heir = PersonObserved(
        person_id=PersonId("p-bea"), contact_id=ContactId(9), addresses=Addresses(phone=R), observed_at=NOW, version=1
    )
    world.people.put(heir)
    world.deliver(moved)
    assert world.people.get(heir.person_id) == heir


# ------------------------------------------------------------------ any order

STRANGER_NUMBERS = tuple(Phone(f"+4477009010{digit:02}") for digit in range(3))
NUMBERS = {"ada": (P, Q, R), "stranger": STRANGER_NUMBERS}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "stranger"]),
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from(["nothing", "beside", "report"]),
        st.sampled_from(["former", "new"]),
        st.sampled_from([-1, 0, 1]),
    ),
    min_size=2,
    max_size=7,
)
Step = tuple[str, int | None, str, str, int]


@dataclass(frozen=True)
class History:
    """The messages and moves of two people, in the order in which they happened. None takes a number that was the
    other's.

    ``returned`` are those who came back to a number that they had left. A user who is shown there in a report of its
    own may as well be the next one to have the number, so that their last BSUID is not always known.
    """

    updates: tuple[Message | Moved, ...]
    by: dict[Message, str]
    last: dict[str, Phone]
    returned: frozenset[str]

    @classmethod
    def of(cls, steps: list[Step]) -> "History":
        """A step is a message (None) or a move to one of the person's own numbers.

        WhatsApp shows BSUIDs beside numbers or not. It announces a changed one in the note of the changed number, or in
        a report of its own (``user_id_update``), which names the former number or the new one, and whose instant
        may be a second off.
        """
        at, user = {who: numbers[0] for who, numbers in NUMBERS.items()}, dict.fromkeys(NUMBERS, 0)
        had, returned = set(at.items()), set[str]()
        updates: list[Message | Moved] = []
        by: dict[Message, str] = {}
        for count, (who, number, shows, named, apart) in enumerate(steps, 1):
            second, former, bsuid = 10 * count, at[who], Bsuid(f"GB.{who}{user[who]}")
            if number is None:
                message = Message(second, former, None if shows == "nothing" else bsuid)
                updates.append(message)
                by[message] = who
            elif NUMBERS[who][number] != former:
                user[who] += 1
                at[who] = NUMBERS[who][number]
                returned.update({who} if (who, at[who]) in had else ())
                had.add((who, at[who]))
                bsuids = (bsuid, Bsuid(f"GB.{who}{user[who]}"))
                if shows == "report":
                    beside = former if named == "former" else at[who]
                    updates.append(Moved(second + apart, None, beside, *bsuids))
                updates.append(Moved(second, former, at[who], *(bsuids if shows == "beside" else ())))
        return cls(tuple(updates), by, at, frozenset(returned))


@settings(max_examples=1200)
@given(STEPS, st.data())
def test_in_any_order_each_message_is_its_writer_s_and_the_last_number_stays(
    steps: list[Step], data: st.DataObject
) -> None:
    """WhatsApp delivers in any order, and again; the contact is edited in Consonance meanwhile."""
    happened = History.of(steps)
    again = data.draw(st.lists(st.sampled_from(happened.updates), max_size=3)) if happened.updates else []
    updates: list[Message | Moved | Edited] = [*happened.updates, *again, Edited("Ada Loewe"), Edited("Ada M. Loewe")]
    world = KnownPeople().deliver(*data.draw(st.permutations(updates)))
    writers = {who: {world.writer(one) for one, by in happened.by.items() if by == who} for who in NUMBERS}
    assert writers["ada"] <= {CONTACT}
    assert len(writers["stranger"]) <= 1
    assert not writers["stranger"] & {CONTACT}
    assert world.phone() == happened.last["ada"]
    replaced = {update.former_bsuid for update in happened.updates if isinstance(update, Moved)} - {None}
    for who, person in (("ada", CONTACT), *(("stranger", one) for one in writers["stranger"])):
        state = world.people.get(person)
        assert state is not None
        assert who in happened.returned or state.addresses.bsuid not in replaced
    for stranger in writers["stranger"]:
        assert world.phone(stranger) == happened.last["stranger"]


@settings(max_examples=300)
@given(st.data())
def test_in_any_order_a_message_of_the_person_is_never_the_next_holder_s(data: st.DataObject) -> None:
    """The number is taken over at once. Before the change is known, the next holder's word may count for the person,
    but never the other way round, and not for good.
    """
    shown = data.draw(st.booleans())
    own, next_user = (Bsuid("GB.1"), Bsuid("GB.9")) if shown else (None, None)
    words = [Message(10, P, own), Message(20, P, own), Message(31, P, next_user), Message(40, P, next_user)]
    updates: list[Message | Moved] = [*words, Moved(20, P, Q)]
    world = KnownPeople().deliver(*data.draw(st.permutations(updates)))
    assert {world.writer(word) for word in words[:2]} == {CONTACT}
    assert world.phone() == Q
    later = Message(90, P, next_user)
    assert world.deliver(later).writer(later) != CONTACT


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_messages_from_three_numbers_and_two_changes_are_one_person_s(order: tuple[int, int, int]) -> None:
    words = [Message(10, P), Message(30, Q), Message(50, R)]
    changes = [Moved(20, P, Q), Moved(40, Q, R)]
    for notes in (changes, changes[::-1]):
        world = KnownPeople().deliver(*notes, *(words[place] for place in order))
        assert {world.writer(word) for word in words} == {CONTACT}
        assert world.phone() == R
