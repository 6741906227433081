"""The events of recurring rules: a period began, perhaps with the list of what is open then.

No service sends them: rules makes one when a rule with ``every`` is due. The list is a copy, so that a chain says the
same however long it runs, and a decision can be made again from its event alone.
"""

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

from shared.contracts.envelope import EventData
from shared.contracts.ids import ChainId, PersonId, RuleId
from shared.contracts.values import Instant, NonEmptyStr, Value

NOTHING_OPEN = "—"


class OpenItem(Value):
    """A chain that awaits a person; ``reference`` is what its messages call it."""

    chain_id: ChainId
    rule: RuleId
    reference: NonEmptyStr
    title: str | None = None
    since: date


class OpenList(Value):
    """Rules name it ``open.count``, ``open.summary`` (one line, the oldest titles first) and ``open.since``.

    ``items`` are the oldest of what is open.
    """

    count: int = 0
    summary: NonEmptyStr = NOTHING_OPEN
    since: date | None = None
    items: tuple[OpenItem, ...] = ()


class PeriodStarted(EventData):
    """A time of a rule with ``every`` has come.

    ``period`` is a day (2027-03-01), a week (2027-W09), a month (2027-03), a quarter (2027-Q1) or a year.
    """

    kind: ClassVar[str] = "stet.period.started.v1"
    rule: RuleId
    period: NonEmptyStr
    at: Instant


class PeriodListed(PeriodStarted):
    """A time of a rule with ``every`` and ``list`` has come.

    ``awaited`` is the person whose list it is, where each has one.
    """

    kind: ClassVar[str] = "stet.period.listed.v1"
    open: OpenList = OpenList()
    awaited: PersonId | None = None


PERIOD_STARTED = "period.started"
PERIOD_LISTED = "period.listed"
PERIODS: Mapping[str, type[PeriodStarted]] = {PERIOD_STARTED: PeriodStarted, PERIOD_LISTED: PeriodListed}
"""By the names under which rules see them."""
