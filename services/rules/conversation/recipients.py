"""Resolves the people that a rule addresses, with a reason for everyone who is excluded.

A role is looked up as a party field of the event, then among the event's parties, then among the people of the work,
then in people.yaml (by imprint first); then stand-ins are applied. A person is a recipient once for each step.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cache
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import fields as fields_of

from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.chain_messages import reached_people, unanswered_people
from services.rules.conversation.context import DecisionContext, ExclusionReason
from services.rules.conversation.document import Document
from services.rules.conversation.fact_values import Absence, PersonFacts
from services.rules.conversation.people import is_staff, language_of
from services.rules.identity_cache import cached_by_identity
from services.rules.matching.conditions import names_recipient
from services.rules.rulebook.model import Addressees, Condition, ContactBasis, StandIn, Step, Team
from shared.contracts.envelope import EventData
from shared.contracts.ids import ContactId, PersonId, person_id_of_contact
from shared.contracts.vocabulary import PartyRef

_ALREADY_ADMITTED = frozenset({"sender", "unanswered", "told", "awaited"})
"""These people wrote first, or were resolved in a role before, stand-ins included."""


class Recipient(Struct, frozen=True):
    """``role`` is why the person is addressed; ``on_behalf_of`` the person they stand in for, ``also_for`` others.

    They include the person, where the person is addressed in their own right too.
    """

    person: PersonFacts
    role: str
    on_behalf_of: PersonId | None = None
    also_for: tuple[PersonId, ...] = ()

    @property
    def holders(self) -> tuple[PersonId, ...]:
        return (self.on_behalf_of or self.person.person_id, *self.also_for)

    def merged(self, other: "Recipient") -> "Recipient":
        """One recipient in place of two for the same person."""
        holders = tuple(dict.fromkeys((*self.holders, *other.holders)))
        if holders == (self.person.person_id,):
            return self
        return Recipient(self.person, self.role, holders[0], holders[1:])


@dataclass(slots=True)
class ResolvedRecipients:
    recipients: list[Recipient] = field(default_factory=list)
    left_out: dict[str, ExclusionReason] = field(default_factory=dict)

    def add(self, recipient: Recipient) -> None:
        """Add a person once: one who stands in for several gets one message that stands for all of them."""
        if self.left_out.get(recipient.person.person_id) is ExclusionReason.UNLESS:
            del self.left_out[recipient.person.person_id]  # it does not hold for them in this role
        for index, known in enumerate(self.recipients):
            if known.person.person_id == recipient.person.person_id:
                self.recipients[index] = known.merged(recipient)
                return
        self.recipients.append(recipient)

    def add_excepted(self, person: PersonId) -> None:
        """Leave a person out by the step's ``unless``, if it holds in every role in which they are addressed."""
        if all(known.person.person_id != person for known in self.recipients):
            self.left_out.setdefault(person, ExclusionReason.UNLESS)


class _Candidate(Struct, frozen=True):
    person_id: PersonId
    contact_id: ContactId | None
    role: str


def resolve_recipients(
    context: DecisionContext,
    chain: Chain,
    who: Addressees,
    *,
    sender: PersonId | None = None,
    step: Step | None = None,
) -> ResolvedRecipients:
    """All people that ``who`` addresses and who may be written to now, and why the others may not.

    Where the ``unless`` of ``step`` names ``recipient``, it is judged for each person before consent and address.
    """

    def is_left_out(person: PersonFacts, role: str) -> bool:
        return step is not None and is_excepted(context, chain, step, person, role)

    excepted = is_left_out if step is not None and judged_for_each(step) is not None else None
    resolved = ResolvedRecipients()
    document = context.document(chain)
    for name in who:
        meant = _candidates(context, chain, document, name, sender)
        if not meant and not isinstance(name, Team) and name not in _ALREADY_ADMITTED:
            resolved.left_out.setdefault(name, ExclusionReason.UNKNOWN_ROLE)
        for one in (_known_by_now(context, candidate) for candidate in meant):
            if name == "told" and _is_away(context, one.person_id):
                resolved.left_out[one.person_id] = ExclusionReason.ABSENT
            else:
                _add_candidate(context, one, resolved, excepted, is_admitted=name in _ALREADY_ADMITTED)
    return resolved


def owner_team(context: DecisionContext, chain: Chain) -> Addressees:
    """The team that owns the rule of a chain."""
    return (Team(context.rule_of(chain).owner),)


def _known_by_now(context: DecisionContext, meant: _Candidate) -> _Candidate:
    """An event may name a person by an id that was merged into another since."""
    current = context.facts.current_id(meant.person_id)
    return meant if current == meant.person_id else _Candidate(current, meant.contact_id, meant.role)


def _is_away(context: DecisionContext, person: PersonId) -> bool:
    """Whether a person who was reached is away now; their stand-in was reached in their place."""
    cover = find_cover(context, person, None, "told")
    return cover is not None and cover.absent


def _candidates(
    context: DecisionContext, chain: Chain, document: Document, name: str | Team, sender: PersonId | None
) -> list[_Candidate]:
    if isinstance(name, Team):
        return list(_team(context, name.name))
    match name:
        case "sender":
            person = sender or document.sender
            return [_Candidate(person, None, name)] if person else []
        case "unanswered":
            return [_Candidate(person, None, name) for person in unanswered_people(chain)]
        case "told":
            return [_Candidate(person, None, name) for person in reached_people(chain)]
        case "awaited":
            person = getattr(document.data, "awaited", None)
            return [_Candidate(context.facts.current_id(person), None, name)] if person else []
        case _:
            return _by_role(context, document, name)


def _by_role(context: DecisionContext, document: Document, role: str) -> list[_Candidate]:
    parties = parties_in(document.data) if _party_fields(type(document.data)) else ()
    found = [party for name, party in parties if name == role] or [p for _, p in parties if p.role == role]
    if not found and (work := document.work) is not None:
        found = [person for person in work.state.people if person.role == role]
    if not found and role == "affected":
        found = list(_of_milestone(context, document))
    if found:
        return [_Candidate(p.person_id, p.contact_id, str(p.role)) for p in found]
    return list(_from_people_file(context, document, role))


def _of_milestone(context: DecisionContext, document: Document) -> Iterator[PartyRef]:
    roles = context.rulebook.people.milestones.get(str(document.get("milestone_key")), ())
    people = document.work.state.people if document.work else ()
    yield from (person for person in people if person.role in roles)


def _from_people_file(context: DecisionContext, document: Document, role: str) -> Iterator[_Candidate]:
    people = context.rulebook.people
    imprint = people.imprints.get(document.get("work.imprint.id"), {})
    contacts = imprint.get(role) or next((team[role] for team in people.teams.values() if role in team), ())
    yield from (_Candidate(person_id_of_contact(context.tenant, contact), contact, role) for contact in contacts)


def _team(context: DecisionContext, team: str) -> Iterator[_Candidate]:
    for role, contacts in context.rulebook.people.teams.get(team, {}).items():
        yield from (_Candidate(person_id_of_contact(context.tenant, contact), contact, role) for contact in contacts)


def _add_candidate(
    context: DecisionContext,
    meant: _Candidate,
    resolved: ResolvedRecipients,
    excepted: Callable[[PersonFacts, str], bool] | None,
    *,
    is_admitted: bool,
) -> None:
    known = context.facts.people.get(meant.person_id)
    if known is not None and known.erased:
        resolved.left_out[meant.person_id] = ExclusionReason.ERASED
        return
    cover = None if is_admitted else find_cover(context, meant.person_id, meant.contact_id, meant.role)
    if cover is not None and (cover.absent or cover.person_id is None):
        resolved.left_out[meant.person_id] = ExclusionReason.ABSENT
    if cover is not None and cover.person_id is None:
        return
    person_id = cover.person_id if cover is not None and cover.person_id is not None else meant.person_id
    person = context.facts.people.get(person_id)
    if person is not None and excepted is not None and excepted(person, meant.role):
        resolved.add_excepted(person_id)
        return
    is_reply = is_admitted and meant.role == "sender"
    reason = exclusion_reason(context, person, person_id, meant.role, is_admitted=is_admitted, is_reply=is_reply)
    if reason is not None or person is None:
        resolved.left_out[person_id] = reason or ExclusionReason.UNKNOWN_PERSON
        return
    resolved.add(Recipient(person, meant.role, meant.person_id if cover else None))


# ------------------------------------------------------------------ the ``unless`` of a step, for each person

WITHOUT_ROLE = frozenset({"sender", "unanswered", "told", "awaited", "owner"})
"""The words in place of a role for people whom the chain has written to, or who wrote to it, before."""


def judged_for_each(step: Step) -> Condition | None:
    """The ``unless`` of a step if it is judged for each person; None where it is judged for the whole step."""
    return step.unless if step.unless is not None and names_recipient(step.unless) else None


def is_excepted(context: DecisionContext, chain: Chain, step: Step, person: PersonFacts, role: str | None) -> bool:
    """Whether the step leaves this person out by its ``unless``."""
    condition = judged_for_each(step)
    if condition is None:
        return False
    return context.holds(condition, chain, _values_of_recipient(context, chain, person, role))


def _values_of_recipient(
    context: DecisionContext, chain: Chain, person: PersonFacts, role: str | None
) -> Mapping[str, Any]:
    return {
        "person_id": person.person_id,
        "country": person.country,
        "subdivision": person.subdivision,
        "language": language_of(context.rulebook, person).replace("-", "_"),
        "role": _role_before(chain, person.person_id) if role in WITHOUT_ROLE else role,
        "roles": person.roles,
        "staff": is_staff(context.rulebook, person),
    }


def _role_before(chain: Chain, person: PersonId) -> str | None:
    """The role in which the chain has addressed the person first; None for one it knows by their own message only."""
    roles = (message.role for message in chain.messages if message.person_id == person)
    return next((role for role in roles if role and role not in WITHOUT_ROLE), None)


def skips_everyone(chain: Chain, step: int) -> bool:
    """Whether all the people that the step left out are left out by its ``unless``: it is skipped, as by any other."""
    reasons = set(chain.steps[step].left_out.values())
    return reasons == {ExclusionReason.UNLESS}


# ------------------------------------------------------------------ stand-ins


class Cover(Struct, frozen=True):
    """``person_id``: the stand-in; None where there is none now. ``absent``: the other is away for some days only."""

    person_id: PersonId | None
    absent: bool


def find_cover(context: DecisionContext, person_id: PersonId, contact: ContactId | None, role: str) -> Cover | None:
    """The one who stands in today, directly or through others; None for a person who needs no stand-in.

    A person's own notice of being away counts before people.yaml.
    """
    one, found, seen = person_id, None, {person_id}
    while (following := _next_cover(context, one, contact, role)) is not None:
        absent = following.absent if found is None else found.absent
        if following.person_id is None or following.person_id in seen:
            return Cover(None, absent)
        found = Cover(following.person_id, absent)
        one, contact = following.person_id, None
        seen.add(one)
    return found


def _next_cover(context: DecisionContext, person_id: PersonId, contact: ContactId | None, role: str) -> Cover | None:
    today, written = context.today, _written_absence(context, person_id)
    if written is not None and written.covers(today):
        return Cover(written.covered_by, absent=True)
    rules = context.rulebook.people.stands_in
    if not rules:
        return None
    known = context.facts.people.get(person_id)
    absent = contact or (known.contact_id if known else None)
    returned = written.returned_on if written is not None else None
    rule = next((rule for rule in rules if rule.absent == absent and _applies(rule, role, today, returned)), None)
    return None if rule is None else Cover(person_id_of_contact(context.tenant, rule.who), absent=rule.dated)


def _written_absence(context: DecisionContext, person_id: PersonId) -> Absence | None:
    """The absence that a person wrote of, as it counts today."""
    written = context.facts.absences.get(person_id)
    return None if written is None else written.on(context.today)


def _applies(rule: StandIn, role: str, today: date, returned: date | None) -> bool:
    if rule.dated and returned is not None and (rule.first or date.min) <= returned:
        return False
    in_time = (rule.first is None or rule.first <= today) and (rule.last is None or today <= rule.last)
    return in_time and (not rule.roles or role in rule.roles)


def is_on_leave(context: DecisionContext, person: PersonFacts) -> bool:
    """Whether the person is away now or later, for some days, in any role."""
    today, written = context.today, _written_absence(context, person.person_id)
    if written is not None and any(written.from_day(today)):
        return True
    returned = written.returned_on if written is not None else None
    return any(
        rule.absent == person.contact_id and rule.dated and today <= (rule.last or today)
        for rule in context.rulebook.people.stands_in
        if returned is None or (rule.first or date.min) > returned
    )


def next_absence(context: DecisionContext, person_id: PersonId) -> date | None:
    """The first day after today on which the person is known to be away, or others stand in."""
    known, written = context.facts.people.get(person_id), context.facts.absences.get(person_id)
    days = [one.first for one in written.from_day(context.today)] if written is not None else []
    if known is not None and known.contact_id is not None:
        days += [
            rule.first for rule in context.rulebook.people.stands_in if rule.absent == known.contact_id and rule.first
        ]
    return min((day for day in days if day > context.today), default=None)


# ------------------------------------------------------------------ who may be written to


def exclusion_reason(
    context: DecisionContext,
    person: PersonFacts | None,
    person_id: PersonId,
    role: str,
    *,
    is_admitted: bool = False,
    is_reply: bool = False,
) -> ExclusionReason | None:
    """Why this person may not be written to now, or None. ``is_admitted``: no ground is needed any more.

    ``is_reply``: the message answers one from this address, so it may go even where the address belongs to another
    person.
    """
    if person is None:
        return ExclusionReason.UNKNOWN_PERSON
    if person.erased:
        return ExclusionReason.ERASED
    if not person.reachable:
        return ExclusionReason.NO_ADDRESS
    if context.facts.opted_out(person_id):
        return ExclusionReason.OPTED_OUT
    if not is_reply and context.facts.is_wrong_person(person_id):
        return ExclusionReason.WRONG_PERSON
    return None if is_admitted else _consent_missing(context, person, person_id, role)


def _consent_missing(
    context: DecisionContext, person: PersonFacts, person_id: PersonId, role: str
) -> ExclusionReason | None:
    """Why there is no ground to write to this person first."""
    ground = find_ground(context, person, person_id, role)
    return ground if isinstance(ground, ExclusionReason) else None


class ContactGround(StrEnum):
    """The ground on which a person may be written to first: their own opt-in, or what the house declares."""

    OPT_IN = "opt_in"
    STAFF = "staff"
    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"


def find_ground(
    context: DecisionContext, person: PersonFacts, person_id: PersonId, role: str
) -> ContactGround | ExclusionReason:
    """The ground for messages to this person in a role, or why there is none. An opt-in by any of their ids counts."""
    if context.facts.is_wrong_person(person_id):
        return ExclusionReason.WRONG_PERSON
    if context.facts.opted_in(person_id):
        return ContactGround.OPT_IN
    if is_staff(context.rulebook, person):
        return ContactGround.STAFF
    match context.rulebook.tenant.basis.get(role):
        case ContactBasis.CONTRACT:
            return ContactGround.CONTRACT
        case ContactBasis.LEGITIMATE_INTEREST:
            return ContactGround.LEGITIMATE_INTEREST
        case ContactBasis.OPT_IN | None:
            return ExclusionReason.NO_CONSENT


# ------------------------------------------------------------------ people of a chain, and of an event


def people_in(data: EventData) -> Iterator[PersonId]:
    """Every person an event names."""
    return (party.person_id for _, party in parties_in(data)) if _party_fields(type(data)) else iter(())


@cached_by_identity(most=2048)
def parties_in(data: EventData) -> tuple[tuple[str, PartyRef], ...]:
    """The parties of an event with the fields they are in; rules ask one event for several roles."""
    fields = [(name, getattr(data, name)) for name in _party_fields(type(data))]
    named = ((name, party) for name, value in fields for party in (value if isinstance(value, tuple) else (value,)))
    return tuple((name, party) for name, party in named if party is not None)


@cache
def _party_fields(model: type[EventData]) -> tuple[str, ...]:
    return tuple(info.name for info in fields_of(model) if _mentions_party(info.type))


def _mentions_party(annotation: Any) -> bool:
    return annotation is PartyRef or any(_mentions_party(part) for part in get_args(annotation))


def inbox_team(context: DecisionContext) -> Addressees:
    return (Team(context.rulebook.people.inbox),)


def receiver_of_offer(person: PersonFacts, offer: ChainMessage) -> Recipient:
    """The person who had an offer, as one who gets it again or is reminded of it: in the same role and place."""
    return Recipient(person, offer.role or "owner", offer.on_behalf_of, offer.also_for)
