"""The WhatsApp account as the dispatcher knows it: its templates, its limits, and the time its webhooks cover."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.dispatcher.account_limits import LimitReport, StoredLimit
from services.dispatcher.releases import PortionedRelease
from services.dispatcher.templates import (
    GONE_STATUSES,
    KnownTemplate,
    TemplateKey,
    TemplateKnowledge,
    TemplateReport,
    known_state,
)
from services.dispatcher.whatsapp_client import NumberReport
from shared.contracts.topics import PARTITIONS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries(__file__, "account_store.sql")


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

    async def save_template(self, connection: Connection, account: str, report: TemplateReport, notify: str) -> None:
        """Save what Meta reports of a template, and notify the leader, which plans anew what waits for it."""
        await self._save_reports(connection, account, [report])
        await connection.execute("select pg_notify($1, '')", notify)

    async def save_listing(
        self, connection: Connection, account: str, listed: Sequence[TemplateReport], began: datetime, notify: str
    ) -> None:
        """The complete list of the account's templates, as read since ``began`` (business time)."""
        await self._save_reports(connection, account, listed)
        names, languages = [report.name for report in listed], [report.language for report in listed]
        columns = (began, names, languages, GONE_STATUSES)
        await connection.execute(QUERIES.mark_missing_templates, self.tenant, account, *columns)
        await connection.execute(QUERIES.save_template_reading, self.tenant, account, began, len(listed))
        await connection.execute("select pg_notify($1, '')", notify)

    async def load_templates(self, connection: Connection) -> Mapping[str, TemplateKnowledge]:
        """By account."""
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
        await connection.execute(QUERIES.save_coverage, self.tenant, account, since, until)

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
