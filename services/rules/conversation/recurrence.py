"""Recurring rules: when their periods start in the publisher's calendar, and the events that start a period."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from services.rules.conversation.chain import Chain
from services.rules.conversation.chain_messages import awaited_people
from services.rules.conversation.document import start_data
from services.rules.conversation.facts import Facts
from services.rules.conversation.recipients import parties_in
from services.rules.conversation.rendering import reference_code
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.model import DayKind, Every, Listing, PeriodUnit, Rule, Rulebook, StaffDirectory, Team
from services.rules.rulebook.periods import NOTHING_OPEN, OpenItem, OpenList, PeriodListed, PeriodStarted
from shared.clients.working_calendar import WorkingCalendar
from shared.contracts.envelope import Event
from shared.contracts.ids import ContactId, EventId, PersonId, RuleId, TenantId, derive_id, partition_key

SOURCE = "stet/rules"
_MOST_PERIODS = 800
"""Periods that are looked through for one with such a day: over two years of days."""

# ------------------------------------------------------------------ when


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The start of one period of a recurring rule."""

    period: str
    at: datetime


def latest_occurrence(every: Every, office: WorkingCalendar, now: datetime) -> Occurrence | None:
    """The newest start that is not ahead of ``now``."""
    return next((found for found in _occurrences(every, office, now, -1) if found.at <= now), None)


def next_occurrence(every: Every, office: WorkingCalendar, now: datetime) -> Occurrence | None:
    """The first start after ``now``."""
    return next((found for found in _occurrences(every, office, now, 1) if found.at > now), None)


def _occurrences(every: Every, office: WorkingCalendar, now: datetime, direction: int) -> Iterator[Occurrence]:
    """The starts of the period of ``now`` and of those after it, or before it (-1)."""
    first = _first_day(every.period, office.local_date(now))
    for _ in range(_MOST_PERIODS):
        day = _day_of(every, office, first)
        if day is not None:
            yield Occurrence(_name(every.period, first), office.instant_of(day, every.clock))
        one = _next_period(every.period, first) if direction > 0 else first - timedelta(days=1)
        first = _first_day(every.period, one)


def _first_day(period: PeriodUnit, day: date) -> date:
    match period:
        case PeriodUnit.DAY:
            return day
        case PeriodUnit.WEEK:
            return day - timedelta(days=day.weekday())
        case PeriodUnit.MONTH:
            return day.replace(day=1)
        case PeriodUnit.QUARTER:
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case PeriodUnit.YEAR:
            return day.replace(month=1, day=1)


_LONGER = {PeriodUnit.DAY: 1, PeriodUnit.WEEK: 7, PeriodUnit.MONTH: 31, PeriodUnit.QUARTER: 92, PeriodUnit.YEAR: 366}
"""Days that no period of its kind exceeds, and that the next one surely contains."""


def _next_period(period: PeriodUnit, first: date) -> date:
    """A day of the period after the one that begins on ``first``."""
    return first + timedelta(days=_LONGER[period])


def _day_of(every: Every, office: WorkingCalendar, first: date) -> date | None:
    end = _first_day(every.period, _next_period(every.period, first))
    days = (first + timedelta(days=n) for n in range((end - first).days))
    counted = [day for day in days if _is_counted(every.day, office, day)]
    place = every.place - 1 if every.place > 0 else len(counted) + every.place
    return counted[place] if 0 <= place < len(counted) else None


def _is_counted(kind: DayKind, office: WorkingCalendar, day: date) -> bool:
    match kind:
        case DayKind.DAY:
            return True
        case DayKind.WORKING_DAY:
            return office.is_working_day(day)
        case _:
            return day.weekday() == tuple(DayKind).index(kind)


def _name(period: PeriodUnit, first: date) -> str:
    match period:
        case PeriodUnit.DAY:
            return first.isoformat()
        case PeriodUnit.WEEK:
            year, week, _ = first.isocalendar()
            return f"{year}-W{week:02}"
        case PeriodUnit.MONTH:
            return f"{first:%Y-%m}"
        case PeriodUnit.QUARTER:
            return f"{first.year}-Q{(first.month + 2) // 3}"
        case PeriodUnit.YEAR:
            return str(first.year)


# ------------------------------------------------------------------ what starts


def period_events(
    book: Rulebook, rule: Rule, occurrence: Occurrence, facts: Facts, chains: Iterable[Chain], now: datetime
) -> list[Event]:
    """The events by which a recurring rule starts: one, or one for each awaited person. ``chains`` are open ones."""
    period, office = _PeriodOfRule(rule, occurrence, facts.tenant, now), book.calendar.office
    if rule.listing is None:
        return [period.event(PeriodStarted(rule=rule.name, period=occurrence.period, at=occurrence.at))]
    listed = list(_open_chains(book, rule.listing, facts, chains))
    if not rule.listing.each:
        everything = {chain.chain_id: chain for chain, _ in listed}
        return [period.listed(_open_list(office, tuple(everything.values())))]
    by_person: defaultdict[PersonId, list[Chain]] = defaultdict(list)
    for chain, person in listed:
        by_person[person].append(chain)
    return [period.listed(_open_list(office, theirs), person) for person, theirs in sorted(by_person.items())]


@dataclass(frozen=True, slots=True)
class _PeriodOfRule:
    rule: Rule
    occurrence: Occurrence
    tenant: TenantId
    now: datetime

    def listed(self, found: OpenList, person: PersonId | None = None) -> Event:
        at, period = self.occurrence.at, self.occurrence.period
        return self.event(PeriodListed(rule=self.rule.name, period=period, at=at, open=found, awaited=person), person)

    def event(self, data: PeriodStarted, person: PersonId | None = None) -> Event:
        """An event of the period, whose id follows from the rule, the period and the person, so that one period starts
        a rule once.
        """
        return Event(
            id=EventId(derive_id("period", self.tenant, data.rule, self.occurrence.period, person or "")),
            source=SOURCE,
            type=data.kind,
            time=self.occurrence.at,
            recordedtime=self.now,
            tenantid=self.tenant,
            partitionkey=period_key(self.tenant, data.rule),
            data=data,
        )


def period_key(tenant: TenantId, rule: RuleId) -> str:
    return partition_key(tenant, "rules", rule)


# ------------------------------------------------------------------ what is open

_MOST_ITEMS = 200
_LONGEST_SUMMARY = 240
"""Characters; a template's body has 1,024 in all."""
_BETWEEN = " · "


def _open_chains(
    book: Rulebook, listing: Listing, facts: Facts, chains: Iterable[Chain]
) -> Iterator[tuple[Chain, PersonId]]:
    """Each open chain with each person it awaits, the oldest first."""
    for chain in sorted(chains, key=lambda each: (each.started_at, each.chain_id)):
        if not chain.active or not _is_of(listing, chain.rule):
            continue
        for person_id in dict.fromkeys(facts.current_id(each) for each in _people_waited_for(chain)):
            if not listing.waits_for or not _roles(book, facts, chain, person_id).isdisjoint(listing.waits_for):
                yield chain, person_id


def _people_waited_for(chain: Chain) -> tuple[PersonId, ...]:
    """The person who has the matter, else those with an open question or an offer."""
    return awaited_people(chain) if chain.assignment is None else (chain.assignment.person_id,)


def _is_of(listing: Listing, rule: RuleId) -> bool:
    return rule in listing.rules if listing.rules else not rule.startswith(RESERVED_PREFIX)


def _roles(book: Rulebook, facts: Facts, chain: Chain, person: PersonId) -> frozenset[str | Team]:
    """The roles and teams for which a chain awaits a person, those of the people they stand in for included."""
    to_them = (m for m in chain.messages if facts.current_id(m.person_id) == person)
    ids = {person, *(facts.current_id(holder) for m in to_them if m.on_behalf_of for holder in m.holders)}
    named = parties_in(start_data(chain))
    parties = [(name, party) for name, party in named if facts.current_id(party.person_id) in ids]
    known = [each for each in map(facts.people.get, ids) if each is not None]
    return frozenset(
        (
            *(name for name, _ in parties),
            *(str(party.role) for _, party in parties),
            *(role for each in known for role in each.roles),
            *(role for each in known for role in _house_roles(book.people, each.contact_id)),
        )
    )


def people_of_list(chains: Collection[Chain]) -> frozenset[PersonId]:
    """The people who must be known for a list of these chains: those they wait for, and the parties of their events.

    A party may be named by an id that was merged into another one since.
    """
    parties = (party.person_id for chain in chains for _, party in parties_in(start_data(chain)))
    return frozenset((*(each for chain in chains for each in chain.people()), *parties))


def _house_roles(people: StaffDirectory, contact: ContactId | None) -> Iterator[str | Team]:
    """The roles and teams of people.yaml that a contact has."""
    for team, roles in people.teams.items():
        found = [role for role, contacts in roles.items() if contact in contacts]
        yield from found
        if found:
            yield Team(team)
    yield from (role for roles in people.imprints.values() for role, contacts in roles.items() if contact in contacts)


def _open_list(office: WorkingCalendar, chains: Sequence[Chain]) -> OpenList:
    if not chains:
        return OpenList()
    items = tuple(_item(office, chain) for chain in chains[:_MOST_ITEMS])
    return OpenList(count=len(chains), summary=_summary(items, len(chains)), since=items[0].since, items=items)


def _item(office: WorkingCalendar, chain: Chain) -> OpenItem:
    work = getattr(start_data(chain), "work", None)
    return OpenItem(
        chain_id=chain.chain_id,
        rule=chain.rule,
        reference=reference_code(chain.chain_id),
        title=None if work is None else work.title,
        since=office.local_date(chain.started_at),
    )


def _summary(items: Sequence[OpenItem], count: int) -> str:
    """``The Salt Road (K7M2Q) · Night Ferry (P3XRT) · +4``: one line, since a parameter has no more."""
    listed = ""
    for place, item in enumerate(items):
        text = f"{item.title} ({item.reference})" if item.title else item.reference
        longer = f"{listed}{_BETWEEN}{text}" if listed else text
        if len(longer) > _LONGEST_SUMMARY:
            return f"{listed}{_BETWEEN}+{count - place}" if listed else f"+{count}"
        listed = longer
    rest = count - len(items)
    return (f"{listed}{_BETWEEN}+{rest}" if rest else listed) or NOTHING_OPEN
