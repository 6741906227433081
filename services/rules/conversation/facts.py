"""What rules knows when it decides: works, people, consent, records and the chains that may be concerned.

A ``World`` is the part of that a batch can touch, in memory; deciding reads it, and what was decided is added to it.

What events teach: the facts beside an event that later ones are judged by.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.rules.conversation.chain import Chain, ChainMessage
from shared.contracts import consonance
from shared.contracts.consonance import AcquisitionStatus, ApprovalRequested, Exclusivity, RightType, WorkObserved
from shared.contracts.contacts import PLACEHOLDER_NAME, PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import (
    ChainId,
    ContactId,
    MessageId,
    PersonId,
    RuleId,
    TenantId,
    Wamid,
    WorkId,
    WriteId,
)
from shared.contracts.values import Instant, Value

_EVER = datetime.min.replace(tzinfo=UTC)


class PersonFacts(Value):
    """A person without their addresses: rules only needs to know that there is one."""

    person_id: PersonId
    contact_id: ContactId | None = None
    display_name: str
    country: str | None = None
    language: str | None = None
    zone: str | None = None
    roles: tuple[str, ...] = ()
    reachable: bool
    erased: bool = False
    version: int = 0
    merged_into: PersonId | None = None
    merged_at: Instant | None = None

    @classmethod
    def of(cls, seen: PersonObserved, zone: str | None) -> "PersonFacts":
        """``zone`` is the person's own, or the one their country and number hint at."""
        return cls(
            person_id=seen.person_id,
            contact_id=seen.contact_id,
            display_name=seen.display_name or PLACEHOLDER_NAME,
            country=seen.country,
            language=seen.language,
            zone=zone,
            roles=tuple(seen.roles),
            erased=seen.erased,
            version=seen.version,
            reachable=bool(seen.addresses.phone or seen.addresses.bsuid),
            merged_into=seen.merged_into,
            merged_at=seen.observed_at if seen.merged_into else None,
        )


class Consent(Value):
    """The ledger of one person id: the last opt-out and opt-in, with the message that proves it.

    A person may have been known by several ids; whether they may be written to is ``World.opted_out``.
    """

    opted_out_at: Instant | None = None
    opted_in_at: Instant | None = None
    evidence: Wamid | None = None

    @property
    def opted_out(self) -> bool:
        if self.opted_out_at is None:
            return False
        return self.opted_in_at is None or self.opted_in_at <= self.opted_out_at

    def stopped(self, at: datetime, evidence: Wamid | None) -> "Consent":
        """In whatever order they are heard, the last word of each kind counts."""
        newer = self.opted_out_at is None or self.opted_out_at < at
        return self.replace(opted_out_at=at, evidence=evidence) if newer else self

    def started(self, at: datetime, evidence: Wamid | None) -> "Consent":
        newer = self.opted_in_at is None or self.opted_in_at < at
        return self.replace(opted_in_at=at, evidence=evidence) if newer else self


class MessageFingerprint(Value):
    """What an unasked message said, as hashes of its words, and the chain it answered, if any."""

    words: tuple[int, ...]
    about: ChainId | None = None
    at: Instant


class UnsolicitedMessages(Value):
    """What a person lately wrote that nobody had asked for; ``brake`` counts and bounds it."""

    answered: tuple[Instant, ...] = ()
    started: tuple[Instant, ...] = ()
    said: tuple[MessageFingerprint, ...] = ()
    told_at: Instant | None = None


class WorkFacts(Value):
    """The last full state of a work, and what is open on it."""

    state: WorkObserved
    blocks: tuple[str, ...] = ()


class RightsFacts(Value):
    status: str | None = None
    needs_signature: bool = False
    open_requests: tuple[str, ...] = ()


_ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Facts:
    """Facts in memory. Missing means: not known to rules, not merely not loaded.

    ``notices`` are requested messages that belong to no chain and whose outcome is unknown; ``notice_outcomes`` are
    those whose outcome became known, with WhatsApp's id. ``version`` counts changes of facts, not of chains.
    ``read_to`` gives the instant up to which every event that may change a chain has been applied.
    """

    tenant: TenantId
    works: dict[WorkId, WorkFacts] = field(default_factory=dict)
    people: dict[PersonId, PersonFacts] = field(default_factory=dict)
    consent: dict[PersonId, Consent] = field(default_factory=dict)
    unsolicited: dict[PersonId, UnsolicitedMessages] = field(default_factory=dict)
    records: dict[str, RightsFacts] = field(default_factory=dict)
    last_rule: dict[PersonId, RuleId] = field(default_factory=dict)
    acquisitions: dict[PersonId, str | None] = field(default_factory=dict)
    chains: dict[ChainId, Chain] = field(default_factory=dict)
    wamids: dict[Wamid, MessageId] = field(default_factory=dict)
    changed: set[tuple[str, object]] = field(default_factory=set)
    notices: dict[MessageId, PersonId] = field(default_factory=dict)
    notice_outcomes: dict[MessageId, Wamid | None] = field(default_factory=dict)
    version: int = 0
    read_to: Callable[[Chain], datetime] = lambda _: _ALWAYS
    _chains_by_key: dict[object, dict[ChainId, None]] = field(default_factory=dict)
    _merged: dict[PersonId, set[PersonId]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for person in self.people.values():
            self.add_person(person)

    def add_person(self, person: PersonFacts) -> None:
        """As it is kept already."""
        known = self.people.get(person.person_id)
        if known is not None and known.merged_into is not None:
            self._merged.get(known.merged_into, set()).discard(person.person_id)
        if person.merged_into is not None:
            self._merged.setdefault(person.merged_into, set()).add(person.person_id)
        self.people[person.person_id] = person

    def current(self, person: PersonId) -> PersonId:
        """The id a person is known by now, whatever they were merged into."""
        return self._path(person)[-1]

    def _path(self, person: PersonId) -> list[PersonId]:
        """From one id to what it was merged into, and so on."""
        path, known = [person], self.people.get(person)
        while known is not None and known.merged_into is not None and known.merged_into not in path:
            path.append(known.merged_into)
            known = self.people.get(known.merged_into)
        return path

    def ids_of_person(self, *people: PersonId) -> frozenset[PersonId]:
        """Every id these people are or were known by, as far as it is loaded."""
        found: set[PersonId] = set()
        left = [self.current(person) for person in people]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left.extend(self._merged.get(one, ()))
        return frozenset(found)

    def opted_out(self, person: PersonId) -> bool:
        """Whether the person, by any of their ids, said STOP and has not come back since.

        Who comes back by one id is back for what they stopped by another only once it was known that both are the same.
        """
        same = self.ids_of_person(person)
        return any(self._stopped(one, same) for one in same)

    def _stopped(self, one: PersonId, same: Collection[PersonId]) -> bool:
        consent = self.consent.get(one)
        if consent is None or consent.opted_out_at is None or not consent.opted_out:
            return False
        starts = ((other, self.consent[other].opted_in_at) for other in same if other in self.consent)
        return not any(
            at is not None and at > consent.opted_out_at and at >= self._joined_at(one, other) for other, at in starts
        )

    def _joined_at(self, *people: PersonId) -> datetime:
        """Since when all of these are known to be one person."""
        known = (self.people.get(one) for person in people for one in self._path(person))
        return max((one.merged_at for one in known if one is not None and one.merged_at is not None), default=_EVER)

    def chains_with_tags(self, tags: Iterable[str]) -> list[Chain]:
        """Chains with any of these tags, in the order they came."""
        return self._chains_by(("tag", tag) for tag in tags)

    def active_chain(self, rule: RuleId, subject: str) -> Chain | None:
        """The one live chain of a rule and subject; a closing one only waits for its writes and hinders nobody."""
        return next((c for c in self._chains_by([(rule, subject)]) if c.active), None)

    def chains_of(self, person: PersonId) -> list[Chain]:
        """Live chains that wrote to this person, oldest first."""
        mine = (c for c in self._chains_by([("person", person)]) if c.live and person in c.people())
        return sorted(mine, key=lambda c: (c.started_at, c.chain_id))

    def ended_chains_of(self, person: PersonId) -> list[Chain]:
        """Ended chains that wrote to this person, as far as something of theirs is unsent."""
        return [c for c in self._chains_by([("person", person)]) if not c.live and person in c.people()]

    def add_notice(self, message: MessageId, person: PersonId) -> None:
        self.notices[message] = person
        self.changed.add(("notice", message))

    def chain_of_message(self, message: MessageId) -> tuple[Chain, ChainMessage] | None:
        for chain in self._chains_by([("message", message)]):
            if (found := chain.message(message)) is not None:
                return chain, found
        return None

    def chain_of_write(self, write: WriteId) -> Chain | None:
        return next(iter(self._chains_by([("write", write)])), None)

    def add_chain(self, chain: Chain) -> None:
        """As it is kept already; whoever looks for it by what it holds now finds it."""
        self.chains[chain.chain_id] = chain
        for key in _search_keys(chain):
            self._chains_by_key.setdefault(key, {})[chain.chain_id] = None

    def _chains_by(self, keys: Iterable[object]) -> list[Chain]:
        found = dict.fromkeys(chain_id for key in keys for chain_id in self._chains_by_key.get(key, ()))
        return [self.chains[chain_id] for chain_id in found]

    def set_work(self, work: WorkFacts) -> None:
        self.works[work.state.work.work_id] = work
        self._mark_changed("work", work.state.work.work_id)

    def set_person(self, person: PersonFacts) -> None:
        self.add_person(person)
        self._mark_changed("person", person.person_id)

    def set_consent(self, person: PersonId, consent: Consent) -> None:
        self.consent[person] = consent
        self._mark_changed("consent", person)

    def set_unsolicited(self, person: PersonId, messages: UnsolicitedMessages) -> None:
        """No fact that rules lean on."""
        self.unsolicited[person] = messages
        self.changed.add(("unsolicited", person))

    def set_rights_record(self, record_id: str, record: RightsFacts) -> None:
        self.records[record_id] = record
        self._mark_changed("record", record_id)

    def set_last_rule(self, person: PersonId, rule: RuleId) -> None:
        """Which rule last wrote to a person, for what they write back unasked."""
        if self.last_rule.get(person) != rule:
            self.last_rule[person] = rule
            self.changed.add(("last_rule", person))

    def set_acquisition(self, person: PersonId, reference: str | None) -> None:
        """The person's open submission, by our reference."""
        self.acquisitions[person] = reference
        self._mark_changed("acquisition", person)

    def _mark_changed(self, kind: str, key: object) -> None:
        self.version += 1
        self.changed.add((kind, key))

    def set_chain(self, chain: Chain) -> None:
        self.add_chain(chain)
        self.changed.add(("chain", chain.chain_id))


def _search_keys(chain: Chain) -> Iterator[object]:
    """In a world of hundreds of chains each event looks for a few of them."""
    yield chain.rule, chain.subject
    yield from (("tag", tag) for tag in chain.tags)
    yield from (("message", outgoing.message_id) for outgoing in chain.messages)
    yield from (("write", writing.write_id) for writing in chain.writes)
    yield from (("person", person) for person in chain.people())


def apply_event(facts: Facts, event: Event) -> None:
    """What an event teaches, before anything is judged by it."""
    fold = _APPLIERS.get(type(event.data))
    if fold is not None:
        fold(facts, event.data)


def updates_facts(data: EventData) -> bool:
    """Whether an event changes what is known, or may tell of a write of our own."""
    return type(data) in _APPLIERS or isinstance(data, consonance.MetadataChanged)


def _apply_work(facts: Facts, data: consonance.WorkObserved) -> None:
    blocks = known.blocks if (known := facts.works.get(data.work.work_id)) else ()
    facts.set_work(WorkFacts(state=data, blocks=blocks))


def _apply_status(facts: Facts, data: consonance.RightsStatusChanged) -> None:
    record = facts.records.get(data.rights_record_id, RightsFacts())
    facts.set_rights_record(data.rights_record_id, record.replace(status=data.to))


def _apply_acquisition(facts: Facts, data: consonance.AcquisitionStatusChanged) -> None:
    if data.to in _CLOSED_ACQUISITION:
        facts.set_acquisition(data.submitter.person_id, None)


_CLOSED_ACQUISITION = frozenset({AcquisitionStatus.REJECTED, AcquisitionStatus.WITHDRAWN, AcquisitionStatus.CONTRACTED})


def _apply_block(facts: Facts, data: consonance.WorkBlocked | consonance.WorkUnblocked) -> None:
    work = facts.works.get(data.work.work_id)
    if work is None:
        return
    others = tuple(block for block in work.blocks if block != data.block_id)
    blocks = (*others, data.block_id) if isinstance(data, consonance.WorkBlocked) else others
    facts.set_work(work.replace(blocks=blocks))


def _apply_request(facts: Facts, data: consonance.ApprovalRequested) -> None:
    record = _without_request(facts.records.get(data.rights_record_id, RightsFacts()), data.request_id)
    signed = needs_signature(data)
    opened = (*record.open_requests, data.request_id)
    facts.set_rights_record(data.rights_record_id, record.replace(open_requests=opened, needs_signature=signed))


def _apply_withdrawal(facts: Facts, data: consonance.RequestWithdrawn) -> None:
    for record_id, record in list(facts.records.items()):
        if data.request_id in record.open_requests:
            facts.set_rights_record(record_id, _without_request(record, data.request_id))


def needs_signature(request: ApprovalRequested) -> bool:
    """An exclusive licence or assignment needs a signed writing: docs/reference/consonance.md, 5."""
    exclusive = request.terms.exclusivity is Exclusivity.EXCLUSIVE
    return request.requires_signature or exclusive or request.right_type is RightType.ASSIGNMENT


def _without_request(record: RightsFacts, request: str) -> RightsFacts:
    others = tuple(r for r in record.open_requests if r != request)
    return record.replace(open_requests=others)


_APPLIERS: Mapping[type[EventData], Callable[[Facts, Any], None]] = {
    consonance.WorkObserved: _apply_work,
    consonance.WorkBlocked: _apply_block,
    consonance.WorkUnblocked: _apply_block,
    consonance.ApprovalRequested: _apply_request,
    consonance.RequestWithdrawn: _apply_withdrawal,
    consonance.RightsStatusChanged: _apply_status,
    consonance.AcquisitionStatusChanged: _apply_acquisition,
}
