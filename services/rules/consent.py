"""Who may be written to: STOP and START, and what becomes of both when two ids turn out to be one person.

The stricter word counts, at once and for every id and chain of the person.
"""

from collections.abc import Collection

from services.rules import forms, speak
from services.rules.advance import advance
from services.rules.desk import Desk, Reason
from services.rules.quorum import leave_out
from services.rules.rulebook import Verb
from services.rules.speak import house_message
from services.rules.world import Consent, Person
from shared.contracts.ids import PersonId
from shared.contracts.messages import WithdrawMessage
from shared.contracts.whatsapp import IdentityChange, IdentityChanged, MessageReceived


def stop(desk: Desk, message: MessageReceived) -> None:
    """From now on nothing but the confirmation: unsent messages are taken back, chains go on without them.

    It is the address that says so, for everybody who is reached there.
    """
    desk.judged(Reason.OPTED_OUT)
    writers = (message.person_id, *message.shared_with)
    before = desk.world.opted_out(message.person_id)
    for person in writers:
        known = desk.world.consent.get(person, Consent())
        _keep(desk, person, known.stopped(message.at, message.message_id))
    if desk.world.opted_out(message.person_id) and not before:
        house_message(desk, message, "stopped", last_word=True)
    _leave_all(desk, writers)


def start(desk: Desk, message: MessageReceived, *, answer: bool = True) -> None:
    desk.judged(Reason.OPTED_IN)
    for person in (message.person_id, *message.shared_with):
        known = desk.world.consent.get(person, Consent())
        _keep(desk, person, known.started(message.at, message.message_id))
    if answer:
        house_message(desk, message, "started")


def merged(desk: Desk, person: PersonId) -> None:
    """The person may just have turned out to be somebody who stopped, or whom they had stopped for."""
    if desk.world.current(person) != person:
        _leave_all(desk, (person,))


def before_known(desk: Desk, known: Person | None) -> None:
    """Ids that will no longer be one person keep what counted for both."""
    if known is None or known.merged_into is None or not desk.world.opted_out(known.person_id):
        return
    same = desk.world.same_as(known.person_id)
    stops = [consent for one in same if (consent := desk.world.consent.get(one)) and consent.opted_out_at]
    last = max(stops, key=lambda consent: consent.opted_out_at or desk.now)
    for one in (known.person_id, desk.world.current(known.person_id)):
        before = desk.world.consent.get(one, Consent())
        _keep(desk, one, before.replace(opted_out_at=last.opted_out_at, opted_in_at=None, evidence=last.evidence))


def identity_changed(desk: Desk, changed: IdentityChanged) -> None:
    """A changed BSUID may be another person: an opt-in lapses, an opt-out stays."""
    consent = desk.world.consent.get(changed.person_id, Consent())
    if changed.change is IdentityChange.BSUID and consent.opted_in_at is not None:
        _keep(desk, changed.person_id, consent.replace(opted_in_at=None))
    desk.judged(Reason.FACTS_KEPT)


def _keep(desk: Desk, person: PersonId, consent: Consent) -> None:
    if desk.world.consent.get(person) != consent:
        desk.world.keep_consent(person, consent)


def _leave_all(desk: Desk, people: Collection[PersonId]) -> None:
    """Every chain of those who stopped, by whatever id it knows them."""
    for person in sorted(desk.world.same_as(*people)):
        if desk.world.opted_out(person):
            _take_back(desk, person)
            _leave_chains(desk, person)


def _take_back(desk: Desk, person: PersonId) -> None:
    """What is unsent of chains that have ended, and of what the house said without one."""
    for ended in desk.world.ended_chains_of(person):
        desk.keep(speak.withdraw(desk, ended, str(Reason.OPTED_OUT), lambda m: m.person_id == person, replies=True))
    for message, receiver in desk.world.loose.items():
        if receiver == person and message not in desk.spoken:
            desk.withdraw(WithdrawMessage(message_id=message, person_id=person, reason=str(Reason.OPTED_OUT)))


def _leave_chains(desk: Desk, person: PersonId) -> None:
    for found in desk.world.chains_of(person):
        chain = speak.withdraw(desk, found, str(Reason.OPTED_OUT), lambda m: m.person_id == person, replies=True)
        mine = [m for m in chain.outgoing if m.person_id == person]
        for outgoing in mine:
            chain = chain.with_message(outgoing.replace(closed=True))
        if chain.form is not None and chain.form.person_id == person:
            chain = forms.abandon(chain)
        last = next((m for m in reversed(mine) if m.answer is None or m.verb is Verb.COLLECT), None)
        if last is not None and chain.active:
            chain = leave_out(desk, chain, last, Reason.OPTED_OUT)
        desk.keep(advance(desk, chain))
