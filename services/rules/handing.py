"""Handing over: offered to people with Take and Not me, until one has it, or it is left with the owner team."""

from dataclasses import dataclass, field
from datetime import datetime

from services.rules import speak
from services.rules.catalogue import HOUSE_ROLES
from services.rules.chain import Chain, Ending, HandedOver, Outgoing, StepStatus
from services.rules.desk import Desk
from services.rules.ending import close
from services.rules.guards import has_come
from services.rules.recipients import Recipient, resolve
from services.rules.rulebook import Step, Verb
from services.rules.speak import Speech, say_to
from services.rules.terms import Team, Who
from shared.contracts.ids import PersonId
from shared.contracts.values import format_instant

TAKE = ("take", "not_me")
FINISH = ("done", "give_back")


@dataclass(frozen=True, slots=True)
class Offer:
    """What is handed over: by a step, or by an ``answer`` to one; ``key`` tells two offers of one answer apart."""

    who: Who
    step: int
    say: str = "to_take"
    answer: str | None = None
    key: str = ""
    words: dict[str, str] = field(default_factory=dict)


def hand_over(desk: Desk, chain: Chain, offer: Offer) -> Chain:
    """Offer it to people, Take or Not me; nobody has it until somebody takes it.

    What a person said is offered to the owner team, then to the inbox, where nobody else can be given it. What a step
    hands over is not: the owner team hears that it could be given to nobody.
    """
    before = {m.message_id for m in chain.outgoing}
    occurrence = chain.steps[offer.step].occurrence
    speech = Speech(Verb.HAND_OVER, offer.say, offer.step, offer.answer, offer.key, occurrence, TAKE, words=offer.words)
    for who in (offer.who,) if offer.answer is None else (offer.who, owners(desk, chain), _inbox(desk)):
        chain = speak.speak(desk, chain, who, speech)
        people = tuple(m.person_id for m in chain.outgoing if m.message_id not in before)
        if people:
            handed = HandedOver(step=offer.step, answer=offer.answer, people=people, at=desk.now)
            return chain.replace(handed_over=(*chain.handed_over, handed), unclaimed=False)
    return nobody_has_it(desk, chain, offer.step)


def nobody_has_it(desk: Desk, chain: Chain, step: int) -> Chain:
    """The owner team, else the inbox, hears so, unless a step to come offers it to others or tells the house."""
    if chain.unclaimed or any(_goes_on(chain, each) for each in desk.rule_of(chain).steps):
        return chain
    team = {recipient.person.person_id for recipient in resolve(desk, chain, owners(desk, chain)).recipients}
    if team and team <= {person for handed in chain.handed_over for person in handed.declined}:
        return chain  # they have just said so themselves
    speech = Speech(Verb.TELL, "left_with_owner", step, "idle", "nobody_has_it")
    for who in (owners(desk, chain), _inbox(desk)):
        known = len(chain.outgoing)
        chain = speak.speak(desk, chain, who, speech)
        if len(chain.outgoing) > known:
            break
    return chain.replace(unclaimed=True)


def _goes_on(chain: Chain, step: Step) -> bool:
    if chain.steps[step.index].status is not StepStatus.PENDING:
        return False
    told = step.tell.who if step.tell is not None else step.who if step.verb is Verb.TELL else ()
    return step.verb is Verb.HAND_OVER or any(isinstance(who, Team) or who in HOUSE_ROLES for who in told)


def _inbox(desk: Desk) -> Who:
    return (Team(desk.book.people.inbox),)


def owners(desk: Desk, chain: Chain) -> Who:
    return (Team(desk.rule_of(chain).owner),)


def idle_at(desk: Desk, chain: Chain) -> datetime | None:
    """When whoever has it, or was offered it last with no step to follow, has been idle for ``taken_for``."""
    if chain.taken is not None:
        return _idle_after(desk, chain.taken.at, (chain.taken.person_id,))
    waiting = chain.handed_over[-1] if chain.handed_over else None
    if waiting is None or any(not s.over for s in chain.steps):
        return None
    return _idle_after(desk, waiting.at, waiting.people)


def _idle_after(desk: Desk, since: datetime, people: tuple[PersonId, ...]) -> datetime:
    span = desk.book.tenant.taken_for
    calendars = [speak.hours(desk, p) for i in people if (p := desk.world.people.get(i)) is not None]
    return max(c.add(since, span) for c in calendars or [desk.book.calendar.office])


def remind_taker(desk: Desk, chain: Chain) -> Chain:
    if not chain.active:
        return chain
    if not has_come(desk, chain, idle_at(desk, chain)):
        return chain
    holder = chain.taken or chain.handed_over[-1]
    if holder.reminded:
        return left_with_owner(desk, chain)
    people = (chain.taken.person_id,) if chain.taken else chain.handed_over[-1].people
    last = {m.person_id: m for m in chain.outgoing if m.verb is Verb.HAND_OVER and m.person_id in people}
    for outgoing in last.values():
        chain = _remind_of(desk, chain, outgoing, FINISH if chain.taken else TAKE, f"idle.{format_instant(holder.at)}")
    if chain.taken is not None:
        return chain.replace(taken=chain.taken.replace(at=desk.now, reminded=True))
    handed = chain.handed_over[-1].replace(at=desk.now, reminded=True)
    return chain.replace(handed_over=(*chain.handed_over[:-1], handed))


def _remind_of(desk: Desk, chain: Chain, outgoing: Outgoing, buttons: tuple[str, ...], key: str) -> Chain:
    person = desk.world.people.get(outgoing.person_id)
    if person is None:
        return chain
    say = "taken" if buttons == FINISH else outgoing.say
    speech = Speech(Verb.REMIND, say, outgoing.step, outgoing.answer or "idle", key, outgoing.occurrence, buttons)
    return say_to(desk, chain, Recipient(person, "owner"), speech)


def left_with_owner(desk: Desk, chain: Chain) -> Chain:
    step = chain.handed_over[-1].step
    speech = Speech(Verb.TELL, "left_with_owner", step, "idle", "left_with_owner")
    return close(desk, speak.speak(desk, chain, owners(desk, chain), speech), Ending.LEFT_WITH_OWNER)
