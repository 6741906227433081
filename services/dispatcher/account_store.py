"""The WhatsApp account as the dispatcher knows it: its templates, its limits, and the time its webhooks cover.

The leader has a copy of the limits, and one of the templates. Both read the tables from time to time, and plan again
what waits for something that changed.
"""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.dispatcher.account_limits import AccountLimits, LimitReport, StoredLimit, limits_in_force
from services.dispatcher.rate_limits import NUMBER_RATE_LIMIT, PORTFOLIO_PERIOD, RateLimit, RateUsage
from services.dispatcher.releases import PortionedRelease
from services.dispatcher.templates import (
    GONE_STATUSES,
    NOTHING_KNOWN,
    KnownTemplate,
    TemplateKey,
    TemplateKnowledge,
    TemplateReport,
    known_state,
    merge_accounts,
)
from services.dispatcher.throttles import Throttles
from services.dispatcher.whatsapp_client import NumberReport
from shared.contracts.topics import PARTITIONS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.telemetry import get_logger

log = get_logger()

QUERIES = load_queries(__file__, "account_store.sql")
TEMPLATES_CHANNEL = "stet_dispatcher_templates"
"""Notifies the leader that templates have changed."""


@dataclass(frozen=True, slots=True)
class CoverageSpan:
    """Machine time over which the webhooks of every account are complete."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class AccountStore:
    """The accounts and their numbers, the gaps in the webhooks, and how far evidence is read.

    The tables ``account_templates``, ``account_limits``, ``line_quality`` and ``webhook_coverage``.
    """

    tenant: str

    async def save_template(self, connection: Connection, account: str, report: TemplateReport) -> None:
        """Save what Meta reports of a template, and notify the leader, which plans again what waits for it."""
        await self._save_reports(connection, account, [report])
        await connection.execute("select pg_notify($1, '')", TEMPLATES_CHANNEL)

    async def save_listing(
        self, connection: Connection, account: str, listed: Sequence[TemplateReport], began: datetime
    ) -> None:
        """The complete list of the account's templates, as read since ``began`` (business time)."""
        await self._save_reports(connection, account, listed)
        names, languages = [report.name for report in listed], [report.language for report in listed]
        columns = (began, names, languages, GONE_STATUSES)
        await connection.execute(QUERIES.mark_missing_templates, self.tenant, account, *columns)
        await connection.execute(QUERIES.save_template_reading, self.tenant, account, began, len(listed))
        await connection.execute("select pg_notify($1, '')", TEMPLATES_CHANNEL)

    async def load_templates(self, connection: Connection) -> Mapping[str, TemplateKnowledge]:
        """Everything known of templates, by account."""
        templates = defaultdict[str, dict[TemplateKey, KnownTemplate]](dict)
        for row in await connection.fetch(QUERIES.load_templates, self.tenant):
            known = KnownTemplate(known_state(row["status"]), row["category"], row["reported_at"])
            templates[row["account"]][row["name"], row["language"]] = known
        listed = {row["account"] for row in await connection.fetch(QUERIES.listed_accounts, self.tenant)}
        return {one: TemplateKnowledge(templates[one], one in listed) for one in {*templates, *listed}}

    async def count_templates(self, connection: Connection) -> tuple[dict[str, int], int]:
        """How many templates are in each of Meta's states, and how many Meta has moved to marketing."""
        rows = await connection.fetch(QUERIES.count_templates, self.tenant)
        return {row["status"]: row["templates"] for row in rows}, sum(row["recategorised"] for row in rows)

    async def waiting_for_templates(self, connection: Connection) -> dict[str, int]:
        """How many messages wait for a template, by reason."""
        rows = await connection.fetch(QUERIES.waiting_for_templates, self.tenant)
        return {row["reason"]: row["messages"] for row in rows}

    async def waiting_for_limits(self, connection: Connection) -> dict[str, int]:
        """How many messages wait for a limit or a restriction of the account, by reason."""
        rows = await connection.fetch(QUERIES.waiting_for_limits, self.tenant)
        return {row["reason"]: row["messages"] for row in rows}

    async def _save_reports(self, connection: Connection, account: str, reports: Sequence[TemplateReport]) -> None:
        await connection.execute(QUERIES.adopt_templates, self.tenant, account)
        rows = [
            (
                report.name, report.language, report.at, report.status, report.category, report.previous_category,
                report.quality, report.reason,
            )
            for report in reports
        ]  # fmt: skip
        if rows:
            columns = map(list, zip(*rows, strict=True))
            await connection.execute(QUERIES.save_template_reports, self.tenant, account, *columns)

    async def save_quality(self, connection: Connection | Pool, line: str, report: NumberReport, at: datetime) -> None:
        await connection.execute(QUERIES.save_quality, self.tenant, line, report.quality, at, report.throughput)

    async def load_qualities(self, connection: Connection | Pool) -> dict[str, str]:
        """Meta's word for the quality of the number of each line, as far as it was read."""
        return {row["line"]: row["quality"] for row in await connection.fetch(QUERIES.load_qualities, self.tenant)}

    async def save_limits(
        self, connection: Connection | Pool, account: str, at: datetime, limits: Sequence[LimitReport]
    ) -> None:
        """``at`` is Meta's time, or that of a reading."""
        columns = zip(*((one.kind.value, one.name, one.value, one.until) for one in limits), strict=True)
        await connection.execute(QUERIES.save_account_limits, self.tenant, account, at, *map(list, columns))

    async def load_limits(self, connection: Connection) -> list[StoredLimit]:
        rows = await connection.fetch(QUERIES.load_account_limits, self.tenant)
        return [StoredLimit(**row) for row in rows]

    async def count_warnings(self, connection: Connection | Pool, now: datetime) -> int:
        """The warnings of Meta that are shown: it may restrict an account next."""
        count: int = await connection.fetchval(QUERIES.count_warnings, self.tenant, now)
        return count

    def release_of_limited(self) -> PortionedRelease:
        """The release that plans again the messages that wait for a limit or a restriction."""
        return PortionedRelease(QUERIES.release_limited, self.tenant)

    def release_for_templates(self) -> PortionedRelease:
        """The release that plans again the messages that wait for a template, or for its throttle."""
        return PortionedRelease(QUERIES.release_for_templates, self.tenant)

    async def people_outside_windows(self, connection: Connection, since: datetime) -> list[tuple[str, datetime]]:
        """People to whom a template may have gone, and when the last one did (business time); longest ago first."""
        return [tuple(row) for row in await connection.fetch(QUERIES.people_outside_windows, self.tenant, since)]

    async def save_coverage(self, connection: Connection, account: str, since: datetime, until: datetime) -> None:
        await connection.execute(QUERIES.save_coverage, self.tenant, account, since, until, machine_now())

    async def save_gap(self, connection: Connection, account: str, since: datetime) -> None:
        await connection.execute(QUERIES.save_gap, self.tenant, account, since)

    async def covered_span(self, connection: Connection) -> CoverageSpan | None:
        row = await connection.fetchrow(QUERIES.covered_span, self.tenant)
        return CoverageSpan(row["since"], row["until"]) if row["since"] is not None else None

    async def caught_up_to(self, connection: Connection) -> datetime | None:
        """The business instant up to which every topic that can prove a send is read; None while that is unknown."""
        topics = [WHATSAPP_STATUSES.name, WHATSAPP_MESSAGES.name]
        instant: datetime | None = await connection.fetchval(QUERIES.caught_up_to, topics, len(topics) * PARTITIONS)
        return instant


# ------------------------------------------------------------------ the leader's copies

FetchDisplayNumber = Callable[[str], Awaitable[str | None]]
"""Asks WhatsApp for the digits of a line's display number; None where it does not say."""

_LIMITS_SECONDS = 1.0
_RETRY_SECONDS = 60.0
_JUDGE_SECONDS = 60.0  # between two looks at all who wait, while refusals give places back one by one
_TEMPLATES_SECONDS = 60.0  # a notification is lost where the connection was


class ReportedLimits:
    """The limits that WhatsApp reported: read every second, and applied where they changed.

    ``lines`` are those whose rate no setting gives.

    Reports on other accounts than ``own_accounts`` concern other products of the same app; None where settings do not
    name the accounts of all lines.
    """

    def __init__(
        self,
        store: AccountStore,
        usage: RateUsage,
        lines: Collection[str],
        fetch_display_number: FetchDisplayNumber,
        own_accounts: Collection[str] | None = None,
    ) -> None:
        self._own_accounts = own_accounts
        self.current = AccountLimits()
        self._store = store
        self._release = store.release_of_limited()
        self._usage = usage
        self._lines = lines
        self._fetch_display_number = fetch_display_number
        self._display_numbers: dict[str, str] = {}
        self._rows: list[StoredLimit] | None = None
        self._read_at = 0.0
        self._asked_at = 0.0
        self._judged_at = 0.0

    async def refresh(self, connection: Connection, business: datetime) -> None:
        """Once a second: read the limits; where they changed, apply them and plan the waiting messages again."""
        now = time.monotonic()
        if self._rows is None or now - self._read_at >= _LIMITS_SECONDS:
            await self._read(connection, business, now)
        if now - self._judged_at >= _JUDGE_SECONDS and self._usage.portfolio.take_freed():
            self._plan_again(business, now)
        await self._release.go_on(connection)

    async def _read(self, connection: Connection, business: datetime, now: float) -> None:
        rows = [
            row
            for row in await self._store.load_limits(connection)
            if self._own_accounts is None or row.account in self._own_accounts
        ]
        self._read_at = now
        if rows != self._rows:
            limits = limits_in_force(rows)
            if self._rows is None or limits != self.current:
                await self._apply(connection, limits, business)
            self._rows = rows
        await self._set_rates(now)

    async def _apply(self, connection: Connection, limits: AccountLimits, business: datetime) -> None:
        portfolio = self._usage.portfolio
        if limits.messaging is not None and portfolio.limit is None:
            since = business - PORTFOLIO_PERIOD - timedelta(minutes=1)
            for person_id, at in await self._store.people_outside_windows(connection, since):
                portfolio.record(person_id, min(at, business))
        if self._rows is not None or limits != AccountLimits():
            log.info(
                "limits.learned",
                people=limits.messaging,
                throughput=sorted(limits.throughput.values()),
                restrictions=sorted(kind.value for _, kind in limits.restrictions),
            )
        portfolio.limit = limits.messaging
        self.current = limits
        self._plan_again(business, time.monotonic())

    def _plan_again(self, business: datetime, now: float) -> None:
        """Plan the waiting messages again: the instants promised to their people follow from the limit of before."""
        self._judged_at = now
        self._usage.portfolio.forget_promises()
        self._release.begin(business)

    async def _set_rates(self, now: float) -> None:
        if not self.current.throughput:
            return
        for line in self._lines:
            per_second = await self._throughput(line, now)
            if per_second is not None and per_second != self._usage.limits.number(line).count:
                log.info("rate.changed", line=line, per_second=per_second)
                self._usage.set_rate(line, RateLimit(per_second, NUMBER_RATE_LIMIT.per))

    async def _throughput(self, line: str, now: float) -> int | None:
        """The throughput of a line, found by its display number; the only report counts for the only line."""
        reported = self.current.throughput
        if len(self._lines) == 1 and len(reported) == 1:
            return next(iter(reported.values()))
        if line not in self._display_numbers and now - self._asked_at > _RETRY_SECONDS:
            for unknown in self._lines:
                if number := await self._fetch_display_number(unknown):
                    self._display_numbers[unknown] = number
            self._asked_at = now
        return reported.get(self._display_numbers.get(line, ""))


@dataclass(slots=True)
class TemplateCache:
    """The leader's copy of what Meta says of templates, read again after a notification and once a minute.

    Where it changes, every message that waits for a template is planned again, because its fallback may be usable now.
    WhatsApp may also refuse a template in answer to a send, before anything is reported of it; that throttles the
    template, and a later report that it is usable ends the throttle.

    ``accounts``: the WhatsApp business account of each line, where settings name it.
    """

    store: AccountStore
    throttles: Throttles
    accounts: Mapping[str, str] = field(default_factory=dict)
    known: TemplateKnowledge = NOTHING_KNOWN
    """Of any account."""
    _by_account: Mapping[str, TemplateKnowledge] = field(default_factory=dict, init=False)
    _read_at: float | None = field(default=None, init=False)
    _is_released: bool = field(default=False, init=False)
    _release: PortionedRelease = field(init=False)

    def __post_init__(self) -> None:
        self._release = self.store.release_for_templates()

    def start(self) -> None:
        """Called when this replica becomes the leader; an earlier leader may not have released everything."""
        self.read_and_release()

    def expire(self, *_: object) -> None:
        """Read again at the next refresh, since the tables have changed; a listener of PostgreSQL's NOTIFY."""
        self._read_at = None

    def read_and_release(self) -> None:
        """Read again, and plan all waiting messages again even if the copy then has not changed.

        Called where a message was held for a state that this copy does not have: that state may end before it is read.
        """
        self.expire()
        self._is_released = False

    def of(self, line: str) -> TemplateKnowledge:
        """The templates of the account that the line belongs to."""
        return self._of_account(self.accounts.get(line, ""))

    def _of_account(self, account: str) -> TemplateKnowledge:
        """The templates of an account; of all accounts together where no name is given."""
        return self._by_account.get(account, NOTHING_KNOWN) if account else self.known

    async def refresh(self, connection: Connection, business: datetime) -> None:
        now, before = time.monotonic(), self._by_account
        if self._read_at is None or now - self._read_at >= _TEMPLATES_SECONDS:
            self._read_at = now  # before the query: what comes while it runs is read by the next
            self._by_account = await self.store.load_templates(connection)
            self.known = merge_accounts(self._by_account.values())
        has_ended = self.throttles.end_of_usable_templates(self._of_account)
        if has_ended or not self._is_released or _deciding_states(self._by_account) != _deciding_states(before):
            self._is_released = True
            self._release.begin(business)
        await self._release.go_on(connection)

    async def is_behind(self, connection: Connection) -> bool:
        """Whether a message waits although its template is usable by the tables, as the next refresh will find."""
        is_releasing = self._release.is_under_way or not self._is_released
        return is_releasing or await self.store.load_templates(connection) != self._by_account


def _deciding_states(accounts: Mapping[str, TemplateKnowledge]) -> Mapping[str, object]:
    return {account: knowledge.deciding_states() for account, knowledge in accounts.items()}
