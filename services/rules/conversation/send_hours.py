"""When a message may be requested and may leave, and when it expires: the hours of its person's calendar, and the caps.

Also the instant that an ``at`` time has in one calendar. The caps of limits.yaml say how many messages one person gets,
in calendar days and weeks of that person's time zone.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache

from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.fact_values import CountedMessage, CountedMessages, PersonFacts
from services.rules.conversation.people import is_staff, working_hours
from services.rules.rulebook.model import At, Cap, CapPeriod, Rulebook
from shared.clients.working_calendar import Duration, TimeUnit, WorkingCalendar
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.messages import OpenSpan
from shared.contracts.values import is_plausible_date, is_plausible_instant

_WHOLE_DAYS = frozenset({TimeUnit.DAYS, TimeUnit.WEEKS, TimeUnit.WORKING_DAYS})

_MOST_OPEN_HOURS = 40
"""Days whose hours a message names; one that waits longer stays until it expires."""

AWAITED_FOR = timedelta(hours=1)
"""How long a person waits for the answer to what they wrote or tapped, which comes at any hour until then."""

OpenSpans = tuple[OpenSpan, ...]
"""The spans in which a message may leave, the earliest first; without any, it may leave at any hour."""


@lru_cache(maxsize=4096)
def next_opening(calendar: WorkingCalendar, now: datetime) -> datetime:
    """``now`` in open hours, else the next opening. A batch is decided at one instant, so it is asked for again."""
    return calendar.next_open(now)


@lru_cache(maxsize=4096)
def expiry(calendar: WorkingCalendar, now: datetime, within: Duration) -> datetime:
    """When a message that is requested ``now`` is given up; working time counts by the person's calendar."""
    return calendar.add(now, within)


@lru_cache(maxsize=4096)
def hours_until(calendar: WorkingCalendar, now: datetime, until: datetime) -> OpenSpans:
    """The open hours that begin before ``until``; none where no opening does."""
    return tuple(
        OpenSpan(opens=opens, closes=closes) for opens, closes in calendar.open_hours(now, until, _MOST_OPEN_HOURS)
    )


def reply_hours(calendar: WorkingCalendar, written: datetime, now: datetime, until: datetime) -> OpenSpans:
    """Any hour while a person waits for the reply to what they have ``written``, then their own hours."""
    awaited = OpenSpan(opens=written, closes=written + AWAITED_FOR)
    if awaited.closes <= now:
        return hours_until(calendar, now, until)
    later = hours_until(calendar, awaited.closes, until)
    if later and later[0].opens == awaited.closes:
        return (OpenSpan(opens=written, closes=later[0].closes), *later[1:])
    return (awaited, *later)


def written_at(context: DecisionContext) -> datetime:
    """When the person wrote what is replied to; never later than now."""
    return context.now if context.written_at is None else min(context.written_at, context.now)


def passes_quiet_hours(context: DecisionContext, chain: Chain, book: Rulebook, person: PersonFacts) -> bool:
    """Whether, by this rulebook, the severity of the chain lets its messages reach this member of staff at any hour."""
    return book.tenant.staff_pass is context.severity(chain) and is_staff(book, person)


def goes_at_any_hour(context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts) -> bool:
    """A reply does, and a message to staff that is severe enough; neither counts for a cap."""
    return message.reply or passes_quiet_hours(context, chain, context.rulebook, person)


def is_open(context: DecisionContext, person: PersonFacts) -> bool:
    """Whether it is now within the hours in which the person may be written to."""
    return next_opening(working_hours(context.rulebook, person), context.now) <= context.now


def hours_of_message(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts, until: datetime
) -> OpenSpans:
    """The hours of a message that is requested now and expires at ``until``."""
    if passes_quiet_hours(context, chain, context.rulebook, person):
        return ()
    calendar = working_hours(context.rulebook, person)
    if message.reply:
        return reply_hours(calendar, written_at(context), context.now, until)
    return hours_until(calendar, context.now, until)


def hours_of_waiting(
    context: DecisionContext, chain: Chain, message: ChainMessage, book: Rulebook, person: PersonFacts
) -> OpenSpans:
    """The hours from now on of a message that was requested before, by a rulebook and what is known of its person."""
    if message.digest is None and passes_quiet_hours(context, chain, book, person):
        return ()
    calendar, now = working_hours(book, person), context.now
    until = _end_of_waiting(calendar, now, book)
    if message.reply and message.requested_at is not None:
        return reply_hours(calendar, message.requested_at, now, until)
    return hours_until(calendar, now, until)


def hours_of_waiting_notice(context: DecisionContext, person: PersonFacts) -> OpenSpans:
    """The hours from now on of a message that belongs to no chain."""
    calendar = working_hours(context.rulebook, person)
    return hours_until(calendar, context.now, _end_of_waiting(calendar, context.now, context.rulebook))


def _end_of_waiting(calendar: WorkingCalendar, now: datetime, book: Rulebook) -> datetime:
    """After the message's expiry, and after the next opening: without any hours it could leave at any."""
    return max(expiry(calendar, now, book.tenant.send_within), next_opening(calendar, now) + timedelta(minutes=1))


def expiry_of(context: DecisionContext, message: ChainMessage) -> datetime:
    """When the dispatcher gives up a message that was requested."""
    person = context.facts.people.get(message.person_id)
    calendar = context.rulebook.calendar.office if person is None else working_hours(context.rulebook, person)
    return expiry(calendar, message.requested_at or context.now, context.rulebook.tenant.send_within)


# ------------------------------------------------------------------ caps

_KEPT = timedelta(days=9)
"""Longer than any period, in any zone."""


def is_below_caps(context: DecisionContext, person: PersonFacts) -> bool:
    """Whether one more message to this person stays within every cap."""
    return not _full_caps(context, person)


def next_time_below_caps(context: DecisionContext, person: PersonFacts) -> datetime:
    """The first open hour of the person in which no cap is full any more."""
    calendar, full = working_hours(context.rulebook, person), _full_caps(context, person)
    today = calendar.local_date(context.now)
    starts = max((_next_start(cap, today) for cap in full), default=today)
    return calendar.next_open(max(calendar.start_of_day(starts), context.now))


def count_message(context: DecisionContext, person: PersonId, message: MessageId) -> None:
    """Count a message for the caps of its person, from now on."""
    known = context.facts.counted.get(person, CountedMessages())
    recent = tuple(one for one in known.messages if one.at > context.now - _KEPT)
    counted = (*recent, CountedMessage(message_id=message, at=context.now))
    context.facts.set_counted(person, CountedMessages(messages=counted, version=known.version))


def uncount_message(context: DecisionContext, message: MessageId, *people: PersonId) -> None:
    """Count a message no longer, since it never left; ``people`` are the ids of its receiver, then and now."""
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


# ------------------------------------------------------------------ the instant of an “at” time


def moment_of(value: object, timing: At, calendar: WorkingCalendar) -> datetime | None:
    """The instant of an ``at`` time; the beginning of the day where it is a day without a time.

    ``value`` is that of the field which the timing names; None where it is no date.
    """
    if (day := _day(value, timing, calendar)) is not None:
        return calendar.start_of_day(day) if timing.clock is None else calendar.instant_of(day, timing.clock)
    instant = _instant(value, calendar)
    if instant is None or timing.duration is None:
        return instant
    return calendar.add(instant, timing.duration, timing.sign or 1)


def _instant(value: object, calendar: WorkingCalendar) -> datetime | None:
    """A date is over when the office closes on it."""
    if isinstance(value, datetime):
        return value if is_plausible_instant(value) else None
    return calendar.closing(value) if isinstance(value, date) and is_plausible_date(value) else None


def _day(value: object, timing: At, calendar: WorkingCalendar) -> date | None:
    """The day so many days before or after a date, or the day of a clock time; None for an instant of its own.

    Messages of a day without a clock time are held until their people's opening hours.
    """
    if isinstance(value, datetime):
        day = calendar.local_date(value) if timing.clock is not None and is_plausible_instant(value) else None
    else:
        day = value if isinstance(value, date) and is_plausible_date(value) else None
    if day is None or (timing.duration is None and timing.clock is None):
        return None
    if timing.duration is None:
        return day
    return calendar.shift_date(day, timing.duration, timing.sign) if timing.duration.unit in _WHOLE_DAYS else None


def lapse_of(value: object, timing: At, calendar: WorkingCalendar) -> datetime | None:
    """The instant from which an ``at`` time has passed; for a day without a time, when the office opens on that day."""
    day = None if timing.clock is not None else _day(value, timing, calendar)
    return moment_of(value, timing, calendar) if day is None else calendar.opening(day)
