"""How many messages one person gets: the caps of limits.yaml, in calendar days and weeks of that person's time zone."""

from datetime import date, datetime, timedelta

from services.rules.conversation.context import DecisionContext
from services.rules.conversation.fact_values import CountedMessage, CountedMessages, PersonFacts
from services.rules.conversation.people import working_hours
from services.rules.rulebook.model import Cap, CapPeriod
from shared.contracts.ids import MessageId, PersonId

_KEPT = timedelta(days=9)
"""Longer than any period, in any zone."""


def has_room(context: DecisionContext, person: PersonFacts) -> bool:
    """Whether one more message to this person stays within every cap."""
    return not _full_caps(context, person)


def next_room(context: DecisionContext, person: PersonFacts) -> datetime:
    """The first open hour of the person in which no cap is full any more."""
    calendar, full = working_hours(context.rulebook, person), _full_caps(context, person)
    today = calendar.local_date(context.now)
    starts = max((_next_start(cap, today) for cap in full), default=today)
    return calendar.next_open(max(calendar.start_of_day(starts), context.now))


def count_message(context: DecisionContext, person: PersonId, message: MessageId) -> None:
    known = context.facts.counted.get(person, CountedMessages())
    recent = tuple(one for one in known.messages if one.at > context.now - _KEPT)
    counted = (*recent, CountedMessage(message_id=message, at=context.now))
    context.facts.set_counted(person, CountedMessages(messages=counted, version=known.version))


def uncount_message(context: DecisionContext, message: MessageId, *people: PersonId) -> None:
    """A message that never left takes no room; ``people`` are the ids of its receiver, then and now."""
    for person in dict.fromkeys(people):
        known = context.facts.counted.get(person, CountedMessages())
        others = tuple(one for one in known.messages if one.message_id != message)
        if len(others) < len(known.messages):
            context.facts.set_counted(person, CountedMessages(messages=others, version=known.version))


def _full_caps(context: DecisionContext, person: PersonFacts) -> list[Cap]:
    caps = context.rulebook.tenant.caps
    counted = context.facts.counted.get(person.person_id)
    if not caps or counted is None:
        return []
    calendar = working_hours(context.rulebook, person)
    days, today = [calendar.local_date(one.at) for one in counted.messages], calendar.local_date(context.now)
    return [cap for cap in caps if sum(period_start(cap, day) == period_start(cap, today) for day in days) >= cap.count]


def period_start(cap: Cap, day: date) -> date:
    """The first day of the period of this day."""
    return day if cap.per is CapPeriod.DAY else day - timedelta(days=day.weekday())


def _next_start(cap: Cap, day: date) -> date:
    return period_start(cap, day) + timedelta(days=1 if cap.per is CapPeriod.DAY else 7)
