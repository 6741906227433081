"""People who are away: what they write about it, and how their questions and hand-overs move to stand-ins."""

from collections.abc import Iterable
from dataclasses import replace as replace_context
from datetime import date, datetime, timedelta

from msgspec.structs import replace

from services.rules.conversation import outbound
from services.rules.conversation.absence_text import AbsenceText, Leave, read_absence
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, HandoverOffer, earlier
from services.rules.conversation.chain_messages import declined_offers
from services.rules.conversation.completion import continue_unclaimed, exclude_person
from services.rules.conversation.context import DecisionContext, ExcludedPerson, ExclusionReason, Reason
from services.rules.conversation.fact_values import Absence, PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.handover import OFFER_BUTTONS, repeat_offers
from services.rules.conversation.outbound import MessageDraft, send_notice, send_to_recipient
from services.rules.conversation.people import is_staff, staff_people
from services.rules.conversation.question_lookup import has_answered
from services.rules.conversation.recipients import (
    Cover,
    Recipient,
    exclusion_reason,
    find_cover,
    is_excepted,
    is_on_leave,
    next_absence,
    resolve_recipients,
)
from services.rules.rulebook.built_in import TO_COVER
from services.rules.rulebook.model import Addressees, Rulebook, Verb
from shared.contracts.ids import PersonId, Wamid
from shared.contracts.whatsapp import MessageKind, MessageReceived

# ------------------------------------------------------------------ what a member of staff writes


def read_notice(context: DecisionContext, message: MessageReceived) -> AbsenceText | None:
    """The statement of a member of staff about being away or back; None for anything else, and for other people."""
    found = stated_absence(context.rulebook, context.facts, message)
    person = context.facts.current_person(message.person_id)
    if found == "back" and (person is None or not (is_on_leave(context, person) or _was_away_lately(context, person))):
        return None
    return found


_LATELY = timedelta(days=7)


def _was_away_lately(context: DecisionContext, person: PersonFacts) -> bool:
    """Whether an announced leave is over for some days: its person may say “back” on the first day after it."""
    written = context.facts.absences.get(person.person_id)
    last = None if written is None else written.on(context.today)
    return last is not None and last.returned_on is None and timedelta() < context.today - last.last <= _LATELY


def stated_absence(book: Rulebook, facts: Facts, message: MessageReceived) -> AbsenceText | None:
    """The same, whether or not the person is away now."""
    person = facts.current_person(message.person_id)
    if message.message_kind is not MessageKind.TEXT or message.shared_with or person is None:
        return None
    if not is_staff(book, person):
        return None
    return read_absence(message.text, _written_on(book, message), lambda: _colleagues(book, facts, person.person_id))


def _written_on(book: Rulebook, message: MessageReceived) -> date:
    """The day on which it was written, from which “Monday” counts: after an outage it may be read days later."""
    return book.calendar.office.local_date(message.at)


def _colleagues(book: Rulebook, facts: Facts, person: PersonId) -> dict[PersonId, str]:
    known = map(facts.people.get, staff_people(book, facts.tenant))
    return {one.person_id: one.display_name for one in known if one is not None and one.person_id != person}


def is_new_notice(context: DecisionContext, message: MessageReceived, notice: AbsenceText) -> bool:
    """Whether a notice says something that is not kept yet; “away till Monday” may be written each day until then."""
    if not isinstance(notice, Leave):
        return notice == "back"
    written = context.facts.absences.get(context.facts.current_id(message.person_id))
    known = written.from_day(context.today) if written is not None else ()
    same = (one for one in known if (one.last, one.covered_by) == (notice.last, notice.cover))
    return all(notice.first < one.first for one in same)


def apply_notice(context: DecisionContext, message: MessageReceived, notice: AbsenceText, *, answer: bool) -> None:
    """Keep what was understood and tell the person so; their running chains move to the stand-in."""
    person, facts = context.facts.current_id(message.person_id), context.facts
    written = facts.absences.get(person)
    known = None if written is None else written.on(context.today)
    if notice == "back":
        context.add_reason(Reason.RETURNED)
        today = _written_on(context.rulebook, message)
        before = known or Absence(first=today, last=today)
        facts.set_absence(person, before.returned(today, message.message_id))
        _reply(context, message, "absence_over", {}, answer=answer)
        return
    context.add_reason(Reason.AWAY)
    if not isinstance(notice, Leave):
        _reply(context, message, "absence_unclear", {}, answer=answer)
        return
    absence = _absence(notice, known, message.message_id)
    facts.set_absence(person, absence if known is None else _with_others(absence, known, context.today))
    cover = _cover_during(context, person, notice) if notice.cover is not None else None
    days: dict[str, object] = {"first_day": notice.first, "last_day": notice.last}
    if cover is None:
        _reply(context, message, "absence_uncovered", days, answer=answer)
    else:
        _reply(context, message, "absence_noted", {**days, "cover": cover.display_name}, answer=answer)


def _cover_during(context: DecisionContext, person: PersonId, notice: Leave) -> PersonFacts | None:
    """The one to whom it goes on the first day that lies ahead: the colleague named may be away, too."""
    first = context.rulebook.calendar.office.start_of_day(notice.first)
    then = replace_context(context, now=max(first, context.now), _cached=None)
    cover = find_cover(then, person, None, "")
    return None if cover is None or cover.person_id is None else context.facts.people.get(cover.person_id)


def _absence(notice: Leave, known: Absence | None, evidence: Wamid) -> Absence:
    """An announced leave. An earlier leave that a return has ended stays ended, also one of people.yaml."""
    before = known.returned_on if known is not None else None
    returned = min(before, notice.first - timedelta(days=1)) if before is not None else None
    return Absence(
        first=notice.first, last=notice.last, covered_by=notice.cover, returned_on=returned, evidence=evidence
    )


def _with_others(new: Absence, known: Absence, today: date) -> Absence:
    """The new leave among those known that are not over, and that it does not meet."""
    others = [one for one in known.from_day(today) if one.last < new.first or new.last < one.first]
    *before, last = sorted((*others, new), key=lambda one: one.first)
    for one in reversed(before):
        last = one.replace(following=last)
    return last


def _reply(
    context: DecisionContext, message: MessageReceived, say: str, words: dict[str, object], *, answer: bool
) -> None:
    if answer:
        send_notice(context, message, say, words=words)


def announce_cover(context: DecisionContext, chain: Chain, team: Addressees, draft: MessageDraft) -> Chain:
    """Tell a team that a colleague is away. The absent colleague gets no message, and the one who covers gets a
    template of its own.
    """
    document = context.document(chain)
    absent, cover = document.sender, _cover_by(context, document.sender, str(document.get("message_id")))
    told = {absent, cover} if TO_COVER in context.rulebook.templates else {absent}
    for recipient in resolve_recipients(context, chain, team).recipients:
        if recipient.person.person_id == cover and cover in told:
            chain = send_to_recipient(context, chain, recipient, replace(draft, say=TO_COVER))
    return outbound.send_draft(context, chain, team, draft, without=[one for one in told if one is not None])


def _cover_by(context: DecisionContext, absent: PersonId | None, message: str) -> PersonId | None:
    """The colleague who covers by a person's notice; None where a later notice has replaced it."""
    written = context.facts.absences.get(absent) if absent is not None else None
    leaves = written.from_day(context.today) if written is not None else ()
    return next((one.covered_by for one in leaves if one.evidence == message), None)


# ------------------------------------------------------------------ running chains


def absence_due(context: DecisionContext, chain: Chain) -> datetime | None:
    """When the next absence begins of a person whose answer is awaited."""
    due = None
    if context.rulebook.people.stands_in or context.facts.absences:
        for person in {message.person_id for message in _open_messages(chain)} | _assigned(chain):
            if (day := next_absence(context, person)) is not None:
                due = earlier(due, context.rulebook.calendar.office.start_of_day(day))
    return due


def reroute_absent(context: DecisionContext, chain: Chain) -> Chain:
    """Move the open questions and hand-overs of people who are away to those who cover for them.

    Without a stand-in, the person is left out, and the answers of the others, or the next step, must be enough. A
    closing chain, which waits for its writes or for the morning of a last message, moves its held messages only.
    """
    if not chain.live or not (context.rulebook.people.stands_in or context.facts.absences):
        return chain
    for message in _open_messages(chain):
        if chain.live and (cover := _cover_of(context, message)) is not None:
            chain = _move(context, chain, chain.message(message.message_id) or message, cover)
    return _reassign(context, chain)


def _open_messages(chain: Chain) -> Iterable[ChainMessage]:
    """The messages that wait for an answer, and those still held for working hours; the first to a person first.

    A matter that a person has taken is not offered to others.
    """
    declined = declined_offers(chain)
    for message in chain.messages:
        if has_answered(chain, message) or message.reply or message.closed or message.role in _WITHOUT_STAND_IN:
            continue
        if message.led_on:
            continue
        if message.verb is Verb.HAND_OVER and chain.assignment is not None:
            continue
        held = message.delivery is DeliveryState.HELD
        if held or (message.open and message.message_id not in declined):
            yield message


_WITHOUT_STAND_IN = frozenset({"sender", "told"})
"""The roles of people who wrote themselves, or are told of something they know: they have no stand-in."""


def _cover_of(context: DecisionContext, message: ChainMessage) -> Cover | None:
    cover = find_cover(context, message.person_id, None, message.role or "")
    is_own = cover is not None and cover.person_id == message.person_id
    return None if is_own else cover


def _move(context: DecisionContext, chain: Chain, message: ChainMessage, cover: Cover) -> Chain:
    if message.closed or message.delivery is DeliveryState.WITHDRAWN:
        return chain
    chain = _close(context, chain, message)
    reason = ExclusionReason.ABSENT
    if message.verb is not Verb.REMIND:
        context.effects.append(ExcludedPerson(chain.chain_id, message.person_id, reason))
    chain = chain.exclude(message.step, {message.person_id: str(reason)})
    if message.verb is Verb.REMIND:
        return chain
    chain, reached = _send_to_cover(context, chain, message, cover)
    if message.verb is Verb.HAND_OVER:
        return _move_offer(context, chain, message, cover.person_id if reached else None)
    return chain if reached or not message.is_question else exclude_person(context, chain, message, reason)


def _close(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    chain = outbound.withdraw_messages(
        context, chain, str(ExclusionReason.ABSENT), lambda m: m.message_id == message.message_id
    )
    current = chain.message(message.message_id) or message
    return chain.with_message(current.replace(closed=True))


def _send_to_cover(context: DecisionContext, chain: Chain, message: ChainMessage, cover: Cover) -> tuple[Chain, bool]:
    """Send the same message to the stand-in, or let the one they have stand for both people. False where no person is
    reached.

    A stand-in who has answered already gives no second answer: those of the others, or the next step, must do.
    """
    if cover.person_id is None or has_answered(chain, message.replace(person_id=cover.person_id)):
        return chain, False
    person = context.facts.people.get(cover.person_id)
    reason = exclusion_reason(context, person, cover.person_id, message.role or "")
    step = context.rule_of(chain).steps[message.step]
    if person is not None and message.answer is None and is_excepted(context, chain, step, person, message.role):
        reason = ExclusionReason.UNLESS
    if person is None or reason is not None:
        left_out = reason or ExclusionReason.UNKNOWN_PERSON
        context.effects.append(ExcludedPerson(chain.chain_id, cover.person_id, left_out))
        return chain.exclude(message.step, {cover.person_id: str(left_out)}), False
    absent = Recipient(person, message.role or "", message.holders[0], message.holders[1:])
    same = next((m for m in _open_messages(chain) if m.person_id == cover.person_id and _is_same(m, message)), None)
    if same is not None:
        both = Recipient(person, absent.role, same.on_behalf_of, same.also_for).merged(absent)
        return chain.with_message(same.replace(on_behalf_of=both.on_behalf_of, also_for=both.also_for)), True
    is_of_answer = message.answer is not None and message.verb is not Verb.ASK
    key = f"cover.{message.message_id if is_of_answer else message.person_id}"
    draft = MessageDraft(
        message.verb, message.say, message.step, message.answer, key, message.occurrence, message.buttons,
        words=message.words,
    )  # fmt: skip
    return send_to_recipient(context, chain, absent, draft), True


def _is_same(one: ChainMessage, other: ChainMessage) -> bool:
    first, second = ((m.step, m.answer, m.say, m.buttons, m.words) for m in (one, other))
    return first == second


def _move_offer(context: DecisionContext, chain: Chain, message: ChainMessage, cover: PersonId | None) -> Chain:
    """Let the offer be one to the stand-in; without a stand-in, the absent person counts as having declined."""
    offers = []
    for offer in chain.handovers:
        if offer.step == message.step and message.person_id in offer.people:
            people = tuple(dict.fromkeys(cover or one if one == message.person_id else one for one in offer.people))
            declined = offer.declined if cover else (*offer.declined, message.person_id)
            offer = offer.replace(people=people, declined=declined)  # noqa: PLW2901
        offers.append(offer)
    chain = chain.replace(handovers=tuple(offers))
    return chain if cover else continue_unclaimed(context, chain, message.step)


def _assigned(chain: Chain) -> set[PersonId]:
    return {chain.assignment.person_id} if chain.assignment is not None else set()


def _reassign(context: DecisionContext, chain: Chain) -> Chain:
    """Offer the matter that an absent person has taken to the stand-in, else to those whose offer was withdrawn."""
    assignment = chain.assignment
    if assignment is None or not chain.active:
        return chain
    offered = [m for m in chain.messages if m.person_id == assignment.person_id and m.verb is Verb.HAND_OVER]
    role = next((m.role for m in offered if m.role), "")
    cover = find_cover(context, assignment.person_id, None, role or "")
    if cover is None or not cover.absent or not offered:
        return chain
    last = offered[-1]
    context.effects.append(ExcludedPerson(chain.chain_id, assignment.person_id, ExclusionReason.ABSENT))
    chain = chain.give_back(context.now).exclude(last.step, {assignment.person_id: str(ExclusionReason.ABSENT)})
    for message in chain.messages:
        if message.person_id == assignment.person_id and message.open:
            chain = _close(context, chain, message)
    offer = last.replace(buttons=OFFER_BUTTONS)
    chain, reached = _send_to_cover(context, chain, offer, cover)
    if reached and cover.person_id is not None:
        people = (cover.person_id,)
        moved = HandoverOffer(step=last.step, answer=last.answer, people=people, at=context.now)
        chain = chain.decline_offer(last.step, assignment.person_id)  # awaited no more
        return chain.replace(handovers=(*chain.handovers, moved))
    return _move_offer(context, repeat_offers(context, chain, last.step), last, None)
