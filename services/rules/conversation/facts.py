"""The facts that decisions are based on: works, people, consent, rights and chains, as far as a batch needs them.

Deciding reads ``Facts`` and makes its changes on a draft of them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, cast

from services.rules.conversation.chain import IN_DISPATCHER, MAY_GO, Chain, ChainMessage
from services.rules.conversation.fact_values import (
    Absence,
    Consent,
    ConsentEntry,
    CountedMessages,
    FileReport,
    NoticeOutcome,
    PersonFacts,
    RecentStarts,
    RightsFacts,
    StrangersMessages,
    UnsolicitedMessages,
    WorkFacts,
)
from shared.contracts.envelope import EventData
from shared.contracts.ids import ChainId, MessageId, PersonId, Revision, RuleId, TenantId, Wamid, WorkId, WriteId

K = TypeVar("K")
V = TypeVar("V")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
EVERY_RULE = "*"
"""Stands for all rules in ``Facts.paused_rules``."""

_ALWAYS = datetime.max.replace(tzinfo=UTC)


class Overlay(MutableMapping[K, V]):
    """Changed values over a mapping that stays as it is. Nothing can be removed.

    ``read`` are the keys whose values were looked up in the mapping below, for the record of a decision.
    """

    __slots__ = ("_base", "changed", "read")

    def __init__(self, base: Mapping[K, V]) -> None:
        self._base = base
        self.changed: dict[K, V] | None = None  # most overlays of a decision are never written to
        self.read: set[K] = set()

    def __getitem__(self, key: K) -> V:
        if self.changed and key in self.changed:
            return self.changed[key]
        self.read.add(key)
        return self._base[key]

    def get(self, key: K, default: Any = None) -> Any:
        if self.changed and key in self.changed:
            return self.changed[key]
        self.read.add(key)
        return self._base.get(key, default)

    def __setitem__(self, key: K, value: V) -> None:
        if self.changed is None:
            self.changed = {}
        self.changed[key] = value

    def __delitem__(self, key: K) -> None:
        raise NotImplementedError(f"{key!r} cannot be removed from facts")

    def __contains__(self, key: object) -> bool:
        if self.changed is not None and key in self.changed:
            return True
        self.read.add(cast("K", key))
        return key in self._base

    def __iter__(self) -> Iterator[K]:
        yield from self._base
        yield from (key for key in self.changed or () if key not in self._base)

    def __len__(self) -> int:
        return len(self._base) + sum(key not in self._base for key in self.changed or ())


@dataclass(slots=True)
class Facts:
    """Facts in memory. A value that is missing here is unknown to rules.

    ``notices`` are requested messages that belong to no chain and may still go; ``notice_outcomes`` are those of which
    the dispatcher reported. ``message_expiries`` are of the messages just requested.
    ``consent_entries`` are what the ledger gets. ``file_reports`` are by file, those that came before its message.

    ``starts`` are by ``start_key`` of chains; they are kept with the chains, and not saved of their own. ``strangers``
    has one value, by the tenant.

    ``version`` counts changes of facts, not of chains. ``read_to`` gives the instant up to which every event that may
    change a chain has been applied. ``paused_rules`` are those an operator has paused, with EVERY_RULE where that is
    the tenant. ``read_instants`` are the instants that a draft was given by ``read_to``. ``chain_places`` order the
    chains as they were added. ``revisions`` are those of the rules that chains began with or were moved to.
    """

    tenant: TenantId
    works: MutableMapping[WorkId, WorkFacts] = field(default_factory=dict)
    people: MutableMapping[PersonId, PersonFacts] = field(default_factory=dict)
    consent: MutableMapping[PersonId, Consent] = field(default_factory=dict)
    unsolicited: MutableMapping[PersonId, UnsolicitedMessages] = field(default_factory=dict)
    absences: MutableMapping[PersonId, Absence] = field(default_factory=dict)
    counted: MutableMapping[PersonId, CountedMessages] = field(default_factory=dict)
    records: MutableMapping[str, RightsFacts] = field(default_factory=dict)
    file_reports: MutableMapping[str, FileReport] = field(default_factory=dict)
    starts: MutableMapping[str, RecentStarts] = field(default_factory=dict)
    strangers: MutableMapping[TenantId, StrangersMessages] = field(default_factory=dict)
    last_rule: MutableMapping[PersonId, RuleId | None] = field(default_factory=dict)
    acquisitions: MutableMapping[PersonId, str | None] = field(default_factory=dict)
    chains: MutableMapping[ChainId, Chain] = field(default_factory=dict)
    wamids: MutableMapping[Wamid, MessageId] = field(default_factory=dict)
    notices: MutableMapping[MessageId, PersonId] = field(default_factory=dict)
    notice_outcomes: dict[MessageId, NoticeOutcome] = field(default_factory=dict)
    message_expiries: dict[MessageId, datetime] = field(default_factory=dict)
    consent_entries: list[ConsentEntry] = field(default_factory=list)
    changed: set[tuple[str, object]] = field(default_factory=set)
    version: int = 0
    read_to: Callable[[Chain], datetime] = lambda _: _ALWAYS
    paused_rules: frozenset[str] = frozenset()
    chains_by_key: dict[object, dict[ChainId, None]] = field(default_factory=dict)
    merged: MutableMapping[PersonId, frozenset[PersonId]] = field(default_factory=dict)
    read_instants: dict[ChainId, datetime] = field(default_factory=dict)
    chain_places: dict[ChainId, int] = field(default_factory=dict)
    revisions: set[Revision] = field(default_factory=set)
    _base: "Facts | None" = None

    def __post_init__(self) -> None:
        if self._base is None:
            for person in self.people.values():
                self.add_person(person)
            for chain_id, chain in self.chains.items():
                self._place_chain(chain_id)
                self.revisions.add(chain.revision)

    def draft(self) -> "Facts":
        """A copy to decide on: what is changed in it leaves these facts as they are. A draft has no drafts."""
        instants: dict[ChainId, datetime] = {}
        overlays: dict[str, Any] = {name: Overlay(getattr(self, name)) for name in _TABLES}
        return Facts(
            self.tenant,
            **overlays,
            read_to=partial(_remember, self.read_to, instants),
            paused_rules=self.paused_rules,
            read_instants=instants,
            revisions=set(self.revisions),
            _base=self,
        )

    def chain_before(self, chain: ChainId) -> Chain | None:
        """A chain as it was when this draft was made."""
        return self._base.chains.get(chain) if self._base is not None else None

    def read_values(self) -> dict[str, dict[Any, Any]]:
        """The values of the facts below this draft that were looked up in it, by table; chains in their order there.

        Keys that were looked up and are unknown are left out. A person brings along the ids merged into theirs.
        """
        base, found = self._base, dict[str, dict[Any, Any]]()
        if base is None:
            return found
        for name in _READ_TABLES:
            read = cast("Overlay[Any, Any]", getattr(self, name)).read
            if name == "people":
                merged = cast("Overlay[Any, Any]", self.merged).read
                read = read.union(*(base.merged.get(person, _NO_PEOPLE) for person in merged))
            if not read:
                continue
            known = getattr(base, name)
            present = [key for key in read if key in known]
            if name == "chains" and len(present) > 1:
                present.sort(key=base.chain_places.__getitem__)
            if present:
                found[name] = {key: known[key] for key in present}
        return found

    def is_paused(self, rule: str) -> bool:
        """Whether no step of this rule may run and no held message leave; events and answers are applied as ever."""
        return bool(self.paused_rules) and (rule in self.paused_rules or EVERY_RULE in self.paused_rules)

    def apply_changes(self, draft: "Facts") -> None:
        """Take over everything that was changed in a draft of these facts."""
        for name in _TABLES:
            if changed := getattr(draft, name).changed:
                getattr(self, name).update(changed)
        for key, chains in draft.chains_by_key.items():
            self.chains_by_key.setdefault(key, {}).update(chains)
        for chain_id in draft.chain_places:
            self._place_chain(chain_id)
        self.revisions |= draft.revisions
        self.notice_outcomes.update(draft.notice_outcomes)
        self.consent_entries.extend(draft.consent_entries)
        self.changed |= draft.changed
        self.version += draft.version

    def add_person(self, person: PersonFacts) -> None:
        """Add a person as they are stored already."""
        known, this = self.people.get(person.person_id), frozenset((person.person_id,))
        if known is not None and known.merged_into is not None:
            self.merged[known.merged_into] = self.merged.get(known.merged_into, _NO_PEOPLE) - this
        if person.merged_into is not None:
            self.merged[person.merged_into] = self.merged.get(person.merged_into, _NO_PEOPLE) | this
        self.people[person.person_id] = person

    def current_id(self, person: PersonId) -> PersonId:
        """The id a person has now, after all merges."""
        return self._path(person)[-1]

    def current_person(self, person: PersonId) -> PersonFacts | None:
        """The person of this id, as they are known by the id they have now."""
        return self.people.get(self.current_id(person))

    def _path(self, person: PersonId) -> list[PersonId]:
        """This id, the id it was merged into, and so on."""
        path, known = [person], self.people.get(person)
        while known is not None and known.merged_into is not None and known.merged_into not in path:
            path.append(known.merged_into)
            known = self.people.get(known.merged_into)
        return path

    def ids_of_person(self, *people: PersonId) -> frozenset[PersonId]:
        """Every id these people have or had, as far as it is loaded."""
        if len(people) == 1 and self._has_one_id(people[0]):
            return frozenset(people)
        found: set[PersonId] = set()
        left = [self.current_id(person) for person in people]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left.extend(self.merged.get(one, ()))
        return frozenset(found)

    def _has_one_id(self, person: PersonId) -> bool:
        """Whether no merge concerns the person, which is true of nearly all people."""
        known = self.people.get(person)
        return (known is None or known.merged_into is None) and not self.merged.get(person)

    def opted_out(self, person: PersonId) -> bool:
        """Whether a STOP by any id of the person still counts.

        A START by another id ends it only if it came after both ids were known to be one person.
        """
        same = self.ids_of_person(person)
        return any(self._stopped(one, same) for one in same)

    def opted_in(self, person: PersonId) -> bool:
        """Whether the person asked for messages by any of their ids."""
        starts = [consent.opted_in_at for consent in self.consents_of(person) if consent.opted_in_at is not None]
        return any(not self.has_lapsed(person, at) for at in starts)

    def has_lapsed(self, person: PersonId, at: datetime) -> bool:
        """Whether an opt-in given ``at`` that instant no longer counts, since another WhatsApp account was seen for any
        id of the person.
        """
        return any(consent.lapsed_since(at) for consent in self.consents_of(person))

    def is_wrong_person(self, person: PersonId) -> bool:
        """Whether a message from an address of the person said that the address is not theirs."""
        return any(consent.is_wrong_person for consent in self.consents_of(person))

    def consents_of(self, person: PersonId) -> Iterator[Consent]:
        """The consent of each id of the person, where one is known; looked up one by one as they are asked for."""
        known = map(self.consent.get, self.ids_of_person(person))
        return (consent for consent in known if consent is not None)

    def _stopped(self, one: PersonId, same: Collection[PersonId]) -> bool:
        consent = self.consent.get(one)
        if consent is None or consent.opted_out_at is None or not consent.opted_out:
            return False
        starts = ((other, self.consent[other].opted_in_at) for other in same if other in self.consent)
        return not any(
            at is not None
            and at > consent.opted_out_at
            and at >= self._joined_at(one, other)
            and not self.has_lapsed(one, at)
            for other, at in starts
        )

    def _joined_at(self, *people: PersonId) -> datetime:
        """Since when all these ids are known to be one person."""
        known = (self.people.get(one) for person in people for one in self._path(person))
        return max((one.merged_at for one in known if one is not None and one.merged_at is not None), default=_LONG_AGO)

    def chains_with_tags(self, tags: Iterable[str]) -> list[Chain]:
        """Chains with any of these tags, in the order they were added."""
        return self._chains_by(("tag", tag) for tag in tags)

    def chains_depending_on(self, tags: Iterable[str]) -> list[Chain]:
        """Chains whose messages that have not gone are judged by the facts of these tags, ended ones too."""
        return self._chains_by(("fact", tag) for tag in tags)

    def active_chain(self, rule: RuleId, subject: str) -> Chain | None:
        """The one active chain of a rule and subject; a closing one does not count."""
        return next((c for c in self.active_chains(rule, subject) if not c.admits_another), None)

    def active_chains(self, rule: RuleId, subject: str) -> list[Chain]:
        """The active chains of a rule and subject: one that gathers events, and those whose messages have been sent.

        The index may still hold a chain under a former subject, from before its person was merged; such a chain is left
        out.
        """
        return [c for c in self._chains_by([(rule, subject)]) if c.active and c.subject == subject]

    def chains_of(self, person: PersonId) -> list[Chain]:
        """Live chains that wrote to this person, oldest first."""
        mine = (c for c in self._chains_by([("person", person)]) if c.live and person in c.people())
        return sorted(mine, key=lambda c: (c.started_at, c.chain_id))

    def ended_chains_of(self, person: PersonId) -> list[Chain]:
        """Ended chains that have messages to this person that may still go."""
        ended = (c for c in self._chains_by([("person", person)]) if not c.live)
        return [c for c in ended if any(m.person_id == person and m.delivery in MAY_GO for m in c.messages)]

    def chains_with_unsent(self, people: Collection[PersonId]) -> list[Chain]:
        """Chains, also ended ones, with messages to these people that the dispatcher has or may have, oldest first."""
        found = self._chains_by(("person", person) for person in sorted(people))
        waiting = (c for c in found if any(m.person_id in people and m.delivery in IN_DISPATCHER for m in c.messages))
        return sorted(waiting, key=lambda c: (c.started_at, c.chain_id))

    def add_notice(self, message: MessageId, person: PersonId) -> None:
        self.notices[message] = person
        self.changed.add(("notice", message))

    def chain_of_message(self, message: MessageId) -> tuple[Chain, ChainMessage] | None:
        """The chain of a message; of a digest, that of its first item."""
        return next(iter(self.chains_of_message(message)), None)

    def chains_of_message(self, message: MessageId) -> list[tuple[Chain, ChainMessage]]:
        """The chains that a message belongs to; a digest has items of several chains."""
        chains = self._chains_by([("message", message)])
        found = [(chain, each) for chain in chains for each in chain.messages_sent_as(message)]
        return sorted(found, key=lambda one: (one[0].started_at, one[0].chain_id))

    def set_counted(self, person: PersonId, counted: CountedMessages) -> None:
        self.counted[person] = counted
        self.changed.add(("counted", person))

    def chains_that_wrote(self, work: WorkId) -> list[Chain]:
        """Chains that may have asked for writes to the metadata of this work, ended ones too.

        Writes that were kept without their work are found by the tag of their chain, while it lives.
        """
        return self._chains_by([("written", work), ("tag", work_tag(work))])

    def chain_of_write(self, write: WriteId) -> Chain | None:
        return next(iter(self._chains_by([("write", write)])), None)

    def add_chain(self, chain: Chain) -> None:
        """Add a chain as it is stored already; it is found by its tags, people, messages and writes."""
        self.chains[chain.chain_id] = chain
        self.revisions.add(chain.revision)
        self._place_chain(chain.chain_id)
        for key in _search_keys(chain):
            self.chains_by_key.setdefault(key, {})[chain.chain_id] = None

    def remove_chain(self, chain: Chain) -> None:
        """Remove a chain that no later event can concern. Long runs in virtual time use it to keep memory small."""
        self.chains.pop(chain.chain_id, None)
        self.chain_places.pop(chain.chain_id, None)
        for key in _search_keys(chain):
            if (found := self.chains_by_key.get(key)) is not None:
                found.pop(chain.chain_id, None)
                if not found:
                    del self.chains_by_key[key]

    def _place_chain(self, chain_id: ChainId) -> None:
        if chain_id not in self.chain_places:
            self.chain_places[chain_id] = next(reversed(self.chain_places.values()), -1) + 1

    def _chains_by(self, keys: Iterable[object]) -> list[Chain]:
        found: dict[ChainId, None] = {}
        for key in keys:
            if self._base is not None and (chains := self._base.chains_by_key.get(key)):
                found.update(chains)
            if chains := self.chains_by_key.get(key):
                found.update(chains)
        return [self.chains[chain_id] for chain_id in found]

    def set_work(self, work: WorkFacts) -> None:
        self.works[work.state.work.work_id] = work
        self._mark_changed("work", work.state.work.work_id)

    def set_person(self, person: PersonFacts) -> None:
        self.add_person(person)
        self._mark_changed("person", person.person_id)

    def allows_marketing(self, person: PersonId) -> bool:
        """Whether the person has opted in to marketing by any id, and opted out by none since."""
        known = list(self.consents_of(person))
        agreed = [each.marketing_in_at for each in known if each.marketing_in_at]
        given = max((at for at in agreed if not self.has_lapsed(person, at)), default=None)
        refused = max((each.marketing_out_at for each in known if each.marketing_out_at), default=None)
        return given is not None and (refused is None or refused < given) and not self.opted_out(person)

    def enter_consent(self, entry: ConsentEntry) -> None:
        """Take over a changed consent, with its entry in the ledger."""
        self.consent[entry.person_id] = entry.consent
        self.consent_entries.append(entry)
        self._mark_changed("consent", entry.person_id)

    def set_unsolicited(self, person: PersonId, messages: UnsolicitedMessages) -> None:
        self.unsolicited[person] = messages
        self.changed.add(("unsolicited", person))

    def set_strangers(self, messages: StrangersMessages) -> None:
        self.strangers[self.tenant] = messages
        self.changed.add(("strangers", self.tenant))

    def set_absence(self, person: PersonId, absence: Absence) -> None:
        self.absences[person] = absence
        self._mark_changed("absence", person)

    def set_rights_record(self, record_id: str, record: RightsFacts) -> None:
        self.records[record_id] = record
        self._mark_changed("record", record_id)

    def add_file_report(self, report: FileReport) -> None:
        """Keep the report on a file until the message with that file is read."""
        self.file_reports[report.file_id] = report
        self.changed.add(("file_report", report.file_id))

    def set_last_rule(self, person: PersonId, rule: RuleId | None) -> None:
        """The rule that last wrote to a person; its owner gets their unsolicited messages. None for a former id."""
        if self.last_rule.get(person) != rule:
            self.last_rule[person] = rule
            self.changed.add(("last_rule", person))

    def set_acquisition(self, person: PersonId, reference: str | None) -> None:
        """The person's open submission, by our reference."""
        self.acquisitions[person] = reference
        self._mark_changed("acquisition", person)

    def forget_moved_submission(self, person: PersonId, reference: str) -> None:
        """Forget that a former id of the person had this submission, so that no undone merge gives it back."""
        for one in sorted(self.ids_of_person(person)):
            known = self.people.get(one)
            if known is not None and known.moved_submission == reference:
                self.set_person(known.replace(moved_submission=None))

    def _mark_changed(self, kind: str, key: object) -> None:
        self.version += 1
        self.changed.add((kind, key))

    def set_chain(self, chain: Chain) -> None:
        self.add_chain(chain)
        self.changed.add(("chain", chain.chain_id))


_TABLES = (
    "works", "people", "consent", "unsolicited", "absences", "counted", "records", "file_reports", "starts",
    "strangers", "last_rule", "acquisitions", "chains", "wamids", "notices", "merged",
)  # fmt: skip
"""The attributes of ``Facts`` that a draft has overlays of."""

_READ_TABLES = tuple(name for name in _TABLES if name != "merged")
"""Those that a decision is repeated from: ``merged`` follows from the people."""

_NO_PEOPLE: frozenset[PersonId] = frozenset()


def _remember(read_to: Callable[[Chain], datetime], instants: dict[ChainId, datetime], chain: Chain) -> datetime:
    """The answer of ``read_to``, kept in ``instants``: the earliest for each chain."""
    found = read_to(chain)
    instants[chain.chain_id] = min(found, instants.get(chain.chain_id, found))
    return found


def work_tag(work: WorkId) -> str:
    """The tag of chains that are about this work."""
    return f"work.work_id={work}"


def file_tag(file_id: str) -> str:
    """The tag of the chain whose form has this file: at a shared address the report on it may name another person."""
    return f"file_id={file_id}"


def file_tags(chain: Chain) -> frozenset[str]:
    """The tags of the files in the form that is being filled."""
    form = chain.form
    if form is None or form.over:
        return frozenset()
    return frozenset(file_tag(media.file_id) for media in form.attachments if media.file_id is not None)


def fact_tags(data: EventData) -> frozenset[str]:
    """The tags of the facts that conditions on an event read beside it: of its work, and of its rights record."""
    work, record = getattr(data, "work", None), getattr(data, "rights_record_id", None)
    works = () if work is None else (work_tag(work.work_id),)
    return frozenset(works if record is None else (*works, f"rights_record_id={record}"))


def _search_keys(chain: Chain) -> Iterator[object]:
    """The keys a chain is found by."""
    yield chain.rule, chain.subject
    yield from (("tag", tag) for tag in (*chain.tags, *file_tags(chain)))
    yield from (("fact", tag) for tag in chain.depends_on)
    yield from (("message", message.message_id) for message in chain.messages)
    yield from (("message", message.digest) for message in chain.messages if message.digest is not None)
    yield from (("write", write.write_id) for write in chain.writes)
    yield from (("written", write.work_id) for write in chain.writes if write.work_id is not None)
    yield from (("person", person) for person in chain.people())
