"""The instants that the times of steps mean in one calendar. Pure: no chain, no facts and no clock."""

from datetime import date, datetime

from services.rules.rulebook.model import After, At
from shared.clients.working_calendar import TimeUnit, WorkingCalendar
from shared.contracts.values import is_plausible_date, is_plausible_instant

_WHOLE_DAYS = frozenset({TimeUnit.DAYS, TimeUnit.WEEKS, TimeUnit.WORKING_DAYS})


def add_duration(base: datetime, timing: After, calendar: WorkingCalendar) -> datetime:
    """The instant that lies so long ``after`` another; on its day at the clock time, where the timing has one."""
    if timing.clock is None:
        return calendar.add(base, timing.duration)
    return calendar.instant_of(calendar.day_after(base, timing.duration), timing.clock)


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
