"""``stet status``: one screen that says what runs, what waits, and what needs a person.

It reads the tables of all services, the broker's ends, and the metrics of replicas where their addresses are given.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from socket import SOCK_STREAM
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table
from rich.text import Text

from ops.command_line import ExitCode, Format, OutputFormat, age_of, console, print_json, printable
from ops.command_settings import OperatorSettings, cause_of, load_command_settings, run
from ops.database import operator_pool
from ops.environment import current_stack
from ops.findings import date_of
from ops.topic_reader import Position, kept_ranges
from services.dispatcher.reasons import MessageReason
from shared.contracts.errors import Misconfigured
from shared.contracts.topics import CONSUMED, SERVICES
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, Pool, advisory_lock_key, load_queries

QUERIES = load_queries(__file__, "status.sql")
_LATE = timedelta(minutes=1)  # a due chain waits for its partitions; the loop itself takes less than a second
_SLOW_OUTBOX = timedelta(seconds=30)
STALE_POLL = timedelta(minutes=30)  # as the alert StetPollStale has it
OPEN_GAP = timedelta(minutes=30)  # as the alert StetWebhookGapOpen has it
LATE_WRITE = timedelta(minutes=30)  # as the alert StetWritesPending has it
_MOST_SKEW = timedelta(seconds=10)  # a page takes seconds under load, and its date is in whole ones
_RUNBOOKS = "docs/operations/runbooks"
_METRICS_TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class StatusLine:
    """``since`` is the oldest of what is counted. ``wrong``: an operator should look at it; ``hint`` says how."""

    area: str
    name: str
    value: int | str
    since: datetime | None = None
    wrong: bool = False
    hint: str = ""

    def fields(self) -> dict[str, Any]:
        return {
            "area": self.area,
            "name": self.name,
            "value": self.value,
            "since": self.since,
            "wrong": self.wrong,
            "hint": self.hint,
        }


# ------------------------------------------------------------------ metrics of running replicas


@dataclass(frozen=True, slots=True)
class ReplicaMetrics:
    """Read from the ``/metrics`` of health ports. ``samples``: name, labels and value of each, over all replicas.

    ``away``: the addresses that did not answer, with the name that they stand for, and why. ``ahead``: by how much the
    clock of each other one is ahead of this machine's.
    """

    asked: int = 0
    samples: Sequence[tuple[str, Mapping[str, str], float]] = ()
    away: Mapping[str, str] = field(default_factory=dict)
    ahead: Mapping[str, timedelta] = field(default_factory=dict)

    def values(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        return ((labels, value) for sample, labels, value in self.samples if sample == name)

    def total(self, name: str) -> float:
        return sum(value for _, value in self.values(name))


async def fetch_metrics(named: Mapping[str, str]) -> ReplicaMetrics:
    """Ask all at once; one that does not answer is named, and the others count.

    ``named`` has the name of a service, or "", for each address.
    """
    replicas = await asyncio.gather(*map(_replicas_of, named))
    urls = [url for urls in replicas for url in urls]
    names = [
        name or _host_of(given, urls) for (given, name), urls in zip(named.items(), replicas, strict=True) for _ in urls
    ]
    async with aiohttp.ClientSession(timeout=_METRICS_TIMEOUT) as session:
        pages = await asyncio.gather(*(_fetch_page(session, url) for url in urls), return_exceptions=True)
    samples, away, ahead = [], {}, {}
    for name, url, page in zip(names, urls, pages, strict=True):
        replica = f"{name} {url}".lstrip()
        if isinstance(page, BaseException):
            away[replica] = cause_of(page)
        else:
            text, ahead[replica] = page
            samples += [
                (sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            ]
    return ReplicaMetrics(len(urls), samples, away, ahead)


async def _replicas_of(url: str) -> list[str]:
    """The address of each replica that a name stands for, as that of a headless Service; else the address itself.

    A certificate would be for the name, so an address with TLS stays as it is.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return [url]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 80, type=SOCK_STREAM)
    except OSError:
        return [url]  # asking it says what is wrong
    hosts = dict.fromkeys(address[0] for *_, address in found)
    return [urlunsplit(parts._replace(netloc=_netloc(str(host), parts.port))) for host in hosts]


def _host_of(given: str, replicas: Sequence[str]) -> str:
    """The name that stands for these addresses; nothing where it is the address itself."""
    return "" if list(replicas) == [given] else urlsplit(given).hostname or ""


def _netloc(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


async def _fetch_page(session: aiohttp.ClientSession, url: str) -> tuple[str, timedelta]:
    """The page, and by how much the clock of its server is ahead; nothing where it sends no date."""
    async with session.get(f"{url.rstrip('/').removesuffix('/metrics')}/metrics") as answer:
        answer.raise_for_status()
        theirs = date_of(answer.headers)
        return await answer.text(), timedelta() if theirs is None else theirs - machine_now()


# ------------------------------------------------------------------ the command


def _check_addresses(urls: list[str] | None) -> list[str] | None:
    for url in urls or ():
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port or brackets
            is_address = False
        if not is_address:
            raise typer.BadParameter(f"“{printable(url)}” is no address; write http://health-rules:9090")
    return urls


MetricsUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        callback=_check_addresses,
        metavar="URL",
        envvar="STET_METRICS",
        help="A health address; of a name, each replica that it stands for. May be repeated (a stack's are known).",
    ),
]


def status_command(metrics: MetricsUrls = None, output: Format = OutputFormat.TEXT) -> None:
    """Show what is open, overdue, left out, parked, uncertain, paused, and what needs a person.

    Ends with 1 where something is wrong or waits for an operator; each such line says which command helps.
    """
    settings = load_command_settings(OperatorSettings)
    stack = current_stack()
    of_stack = {url: name for name, url in stack.health_urls.items()} if stack else {}
    urls = dict.fromkeys(metrics, "") if metrics else of_stack

    async def command() -> int:
        async with operator_pool(settings) as pool:
            lines = await status_lines(pool, settings, urls)
        if output is OutputFormat.JSON:
            print_json([line.fields() for line in lines])
        else:
            _print(settings, lines)
        return ExitCode.FINDINGS if any(line.wrong for line in lines) else ExitCode.FINE

    run(command())


async def status_lines(pool: Pool, settings: OperatorSettings, metrics_urls: Mapping[str, str]) -> list[StatusLine]:
    now = settings.clock().now()
    replicas, lag = await asyncio.gather(fetch_metrics(metrics_urls), _lag_lines(pool, settings))
    async with pool.acquire() as connection:
        return [
            *await _pause_lines(connection, settings.tenant),
            *await _question_lines(connection, settings.tenant, now),
            *await _message_lines(connection, settings.tenant),
            *await _throttle_lines(connection, settings.tenant, now),
            *await _write_lines(connection, settings.tenant, now),
            *await _source_lines(connection, settings.tenant),
            *await _store_lines(connection),
            *lag,
            *await _leader_lines(connection, settings.tenant),
            *await _revision_lines(connection, settings.tenant, replicas),
            *replica_lines(replicas),
        ]


async def _pause_lines(connection: Connection, tenant: str) -> list[StatusLine]:
    rows = await connection.fetch(QUERIES.pauses, tenant)
    return [
        StatusLine(
            *("paused", f"{row['kind']} {row['name']}", f"by {row['who']}: {row['reason']}", row["since"]),
            wrong=True,
            hint=f"stet resume {row['kind']}{'' if row['kind'] == 'tenant' else ' ' + row['name']} --reason …",
        )
        for row in rows
    ]


async def _question_lines(connection: Connection, tenant: str, now: datetime) -> list[StatusLine]:
    questions = await connection.fetchrow(QUERIES.open_questions, tenant)
    chains = await connection.fetchrow(QUERIES.chains, tenant, now - _LATE)
    aside = await connection.fetchrow(QUERIES.set_aside_chains, tenant)
    waiting = await connection.fetchrow(QUERIES.waiting_events, tenant)
    handovers = await connection.fetchrow(QUERIES.handovers, tenant)
    left_out = await connection.fetchval(QUERIES.left_out, tenant)
    late = waiting["oldest"] is not None and now - waiting["oldest"] > timedelta(minutes=3)
    return [
        StatusLine("questions", "open", questions["count"], questions["oldest"]),
        StatusLine("questions", "waiting for a colleague to take them", handovers["count"], handovers["oldest"]),
        StatusLine("questions", "people left out", left_out, hint="stet why PERSON"),
        StatusLine("chains", "running", chains["live"]),
        _problem("chains", "overdue", chains["overdue"], chains["oldest_overdue"], "is every partition read? see lag"),
        StatusLine("chains", "due but paused", chains["paused"], chains["oldest_paused"]),
        _problem("chains", "set aside", aside["count"], aside["oldest"], "stet chains list"),
        StatusLine(
            *("events", "waiting for a person or work", waiting["count"], waiting["oldest"]),
            wrong=late,
            hint="is Consonance polled? see sources" if late else "",
        ),
    ]


async def _message_lines(connection: Connection, tenant: str) -> list[StatusLine]:
    row = await connection.fetchrow(QUERIES.messages, tenant)
    return [
        StatusLine("messages", "waiting", row["waiting"], row["oldest_waiting"]),
        StatusLine("messages", "held by a pause", row["paused"], row["oldest_paused"]),
        StatusLine("messages", "marketing that Meta would not deliver", row["marketing"], row["oldest_marketing"]),
        StatusLine("messages", "in flight", row["in_flight"]),
        _problem("messages", "uncertain", row["uncertain"], row["oldest_uncertain"], "stet sends list"),
        _problem("messages", "set aside", row["set_aside"], None, "docs/runbook.md, “set something aside”"),
        *(
            _problem("messages", words, held["count"], held["oldest"], f"{_RUNBOOKS}/{page}.md")
            for held in await connection.fetch(QUERIES.held_messages, tenant, list(_HELD))
            for words, page in [_HELD[held["reason"]]]
        ),
    ]


_HELD: Mapping[str, tuple[str, str]] = {
    MessageReason.BUDGET_SPENT: ("held by the month's budget", "StetBudgetSpent"),
    MessageReason.ACCOUNT_RESTRICTED: ("held by a restriction of the account", "StetAccountLimited"),
    MessageReason.PORTFOLIO_LIMIT: ("held by the limit of people a day", "StetAccountLimited"),
    MessageReason.TEMPLATE_MISSING: ("waiting for a template that the account does not have", "StetTemplateUnusable"),
    MessageReason.TEMPLATE_PENDING: ("waiting for a template that Meta reviews", "StetTemplateUnusable"),
    MessageReason.TEMPLATE_REJECTED: ("waiting for a template that Meta rejected", "StetTemplateUnusable"),
    MessageReason.TEMPLATE_PAUSED: ("waiting for a template that Meta paused", "StetTemplateUnusable"),
    MessageReason.TEMPLATE_DISABLED: ("waiting for a template that Meta disabled", "StetTemplateUnusable"),
    MessageReason.TEMPLATE_RECATEGORISED: ("waiting for a template that became marketing", "StetTemplateRecategorised"),
}
"""The conditions that a person has to end, with their pages of the runbook; they are counted as waiting, too."""


async def _throttle_lines(connection: Connection, tenant: str, now: datetime) -> list[StatusLine]:
    throttles = await connection.fetch(QUERIES.throttles, tenant, now)
    templates = await connection.fetch(QUERIES.templates, tenant)
    qualities = await connection.fetch(QUERIES.qualities, tenant)
    limits = await connection.fetch(QUERIES.messaging_limits, tenant)
    restrictions = await connection.fetch(QUERIES.restrictions, tenant, now)
    warnings = await connection.fetch(QUERIES.account_warnings, tenant, now)
    return [
        *map(_restriction_line, restrictions),
        *(
            StatusLine("whatsapp", f"account {row['account']} warned", row["name"], row["reported_at"], True, _WARNED)
            for row in warnings
        ),
        *(
            StatusLine(
                "whatsapp",
                f"people a day, account {row['account']}",
                "unlimited" if row["value"] is None else row["value"],
                row["reported_at"],
            )
            for row in limits
        ),
        *(
            StatusLine("whatsapp", f"quality of line {row['line']}", row["quality"], row["since"], True, _LOW_QUALITY)
            for row in qualities
        ),
        *map(_throttle_line, throttles),
        *map(_template_line, templates),
    ]


def _template_line(row: Any) -> StatusLine:
    """One that Meta approved is listed for its category: it was moved to marketing."""
    is_moved = row["category"] == "MARKETING" and row["state"] in {"APPROVED", "FLAGGED", "REINSTATED"}
    state = f"moved from {row['previous_category']} to MARKETING" if is_moved else row["state"]
    since = row["categorised_at"] if is_moved else row["reported_at"]
    hint = f"stet templates status{f', {_RUNBOOKS}/StetTemplateRecategorised.md' if is_moved else ''}"
    return StatusLine("whatsapp", f"template {row['name']} {row['language']}", state, since, True, hint)


def _restriction_line(row: Any) -> StatusLine:
    until = f"until {row['until']:%Y-%m-%d %H:%M}Z" if row["until"] else "without an end"
    hint = f"{_RUNBOOKS}/StetAccountLimited.md"
    return StatusLine("whatsapp", f"{row['name']} of account {row['account']}", until, row["reported_at"], True, hint)


_LOW_QUALITY = f"{_RUNBOOKS}/StetLineQualityLow.md"
_WARNED = f"{_RUNBOOKS}/StetAccountWarned.md"


def _throttle_line(row: Any) -> StatusLine:
    """One that a person must end is tried again at ``until``; any other ends then."""
    stopped = row["needs_operator"]
    until = f"{'next try' if stopped else 'until'} {row['until']:%Y-%m-%d %H:%M:%S}Z, code {row['code']}"
    return StatusLine(
        "whatsapp",
        f"{_throttled(row)} {'stopped' if stopped else 'throttled'}",
        until,
        wrong=stopped or row["scope"] == "template",
        hint=_throttle_hint(row),
    )


def _throttle_hint(row: Any) -> str:
    """A template waits because WhatsApp refused it: it is missing, paused, rejected or against a policy."""
    if row["scope"] == "template":
        return f"{_RUNBOOKS}/StetTemplateUnusable.md"
    if not row["needs_operator"]:
        return ""
    return f"{_RUNBOOKS}/{'StetSecretRefused' if row['scope'] == 'account' else 'StetLineStopped'}.md"


def _throttled(row: Any) -> str:
    match row["scope"]:
        case "pair":
            who = "a person" if row["count"] == 1 else f"{row['count']} people"
            return f"{who} of line {row['subject']}"
        case "marketing":
            return "marketing to a person" if row["count"] == 1 else f"marketing to {row['count']} people"
        case "number":
            return f"line {row['subject']}"
        case "template":
            return f"template {row['subject']} {row['detail']}"
        case scope:
            return f"{scope} {row['subject']}".strip()


async def _write_lines(connection: Connection, tenant: str, now: datetime) -> list[StatusLine]:
    row = await connection.fetchrow(QUERIES.writes, tenant)
    tasks = await connection.fetchrow(QUERIES.tasks, tenant)
    late = row["oldest_queued"] is not None and now - row["oldest_queued"] > LATE_WRITE
    hint = f"{_RUNBOOKS}/StetWritesPending.md" if late else ""
    return [
        StatusLine("writes", "waiting", row["queued"], row["oldest_queued"], wrong=late, hint=hint),
        StatusLine("writes", "in flight", row["in_flight"]),
        StatusLine("writes", "behind a task", row["behind_tasks"]),
        _problem("writes", "tasks for a person", tasks["count"], tasks["oldest"], "stet tasks list"),
    ]


async def _source_lines(connection: Connection, tenant: str) -> list[StatusLine]:
    webhooks = await connection.fetch(QUERIES.webhook, tenant)
    polls = await connection.fetch(QUERIES.polls, tenant)
    return [
        *map(_webhook_line, webhooks),
        *map(_poll_line, polls),
    ]


def _webhook_line(row: Any) -> StatusLine:
    """A gap follows each start of ingest and closes by itself; one that stays open needs a person."""
    since = row["gap_since"]
    wrong = since is not None and machine_now() - since > OPEN_GAP
    hint = f"{_RUNBOOKS}/StetWebhookGapOpen.md" if wrong else ""
    return StatusLine("sources", "WhatsApp webhook", "gap open" if since else "complete", since, wrong=wrong, hint=hint)


def _poll_line(row: Any) -> StatusLine:
    """A pass that neither ends nor begins again: Consonance is away, or the replica that polls is gone."""
    completed = row["completed_at"] is not None
    since = row["completed_at"] if completed else row["started_at"]
    stale = machine_now() - since > STALE_POLL
    hint = f"{_RUNBOOKS}/StetPollStale.md" if stale else ""
    name, value = f"{row['entity']} polled", "last complete" if completed else "under way"
    return StatusLine("sources", name, value, since, wrong=stale, hint=hint)


async def _store_lines(connection: Connection) -> list[StatusLine]:
    lines = []
    for service in SERVICES:
        parked = await connection.fetchrow(QUERIES.parked.replace("SCHEMA", service))
        outbox = await connection.fetchrow(QUERIES.outbox.replace("SCHEMA", service))
        stuck = outbox["oldest"] is not None and machine_now() - outbox["oldest"] > _SLOW_OUTBOX
        help_parked = f"stet parked list --service {service}"
        lines.append(_problem("parked", service, parked["count"], parked["oldest"], help_parked))
        lines.append(
            StatusLine(
                *("outbox", service, outbox["count"], outbox["oldest"]),
                wrong=stuck,
                hint=f"stet topics check, {_RUNBOOKS}/StetOutboxStuck.md" if stuck else "",
            )
        )
    return sorted(lines, key=lambda line: line.area != "parked")


async def _lag_lines(pool: Pool, settings: OperatorSettings) -> list[StatusLine]:
    try:
        kept = await kept_ranges(settings)
    except Misconfigured as error:
        return [StatusLine("lag", "not known", str(error), wrong=True)]
    behind = await lag_by_service(pool, kept)
    lost = await read_beyond_the_end(pool, kept)
    if lost:  # what was published and read since the ends were asked for looks the same
        ends = await kept_ranges(settings)
        lost = [one for one in lost if one[3] > ends[one[2]].stop]
    named = dict.fromkeys(f"{topic} in {service}" for service, topic, _, _ in lost)
    return [
        *(StatusLine("lag", service, records) for service, records in behind.items()),
        *(StatusLine("lag", name, "ends before what was read", wrong=True, hint=_LOST_TOPIC) for name in named),
    ]


_LOST_TOPIC = "docs/runbook.md, “A topic was lost”"


async def read_beyond_the_end(pool: Pool, kept: Mapping[Position, range]) -> list[tuple[str, str, Position, int]]:
    """Each partition that a service has read further than it goes: its topic was lost, and is another one now.

    The service, the topic, the partition and the next offset.
    """
    found = []
    for service in (service for service in SERVICES if CONSUMED[service]):
        for row in await pool.fetch(QUERIES.progress.replace("SCHEMA", service)):
            at = (row["topic"], row["partition"])
            if at in kept and row["next_offset"] > kept[at].stop:
                found.append((service, row["topic"], at, row["next_offset"]))
    return found


async def lag_by_service(pool: Pool, kept: Mapping[Position, range]) -> dict[str, int]:
    """Records that each consuming service has not applied yet, of those that the topics still have."""
    behind = {}
    for service in (service for service in SERVICES if CONSUMED[service]):
        rows = await pool.fetch(QUERIES.progress.replace("SCHEMA", service))
        read = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        names = {topic.name for topic in CONSUMED[service]}
        left = (
            kept_range.stop - max(read.get(at, 0), kept_range.start)
            for at, kept_range in kept.items()
            if at[0] in names
        )
        behind[service] = sum(max(0, records) for records in left)
    return behind


async def _leader_lines(connection: Connection, tenant: str) -> list[StatusLine]:
    """The poll counts where it has run: a publisher whose systems push everything has none."""
    polls = await connection.fetch(QUERIES.polls, tenant)
    locks = {
        "sender": f"stet/dispatcher/portfolio/{tenant}",
        **({"poll": f"stet/ingest/poll/{tenant}"} if polls else {}),
        **{f"{task} of {service}": f"stet/{service}/{task}" for task in ("relay", "audit") for service in SERVICES},
    }
    lines = []
    for name, lock in locks.items():
        key = advisory_lock_key(lock) & 0xFFFF_FFFF_FFFF_FFFF
        holders = await connection.fetchval(QUERIES.lock_holders, key >> 32, key & 0xFFFF_FFFF)
        shown = "held" if holders else "not held"
        hint = "" if holders else f"{_RUNBOOKS}/StetLeaderCount.md"
        lines.append(StatusLine("leader", name, shown, wrong=not holders, hint=hint))
    return lines


async def _revision_lines(connection: Connection, tenant: str, replicas: ReplicaMetrics) -> list[StatusLine]:
    row = await connection.fetchrow(QUERIES.revisions)
    seen = {labels.get("revision", "") for labels, _ in replicas.values("stet_rules_revision_info")}
    lines = [StatusLine("rules", "revision in force", row["revision"] if row else "none", row and row["activated_at"])]
    if len(seen) > 1:
        shown = ", ".join(sorted(seen))
        lines.append(StatusLine("rules", "replicas disagree", shown, wrong=True, hint="a rollout, or a replica is old"))
    lines += map(_trial_line, await connection.fetch(QUERIES.trials, tenant))
    held = await connection.fetch(QUERIES.held_revisions, tenant)
    return lines + [
        StatusLine("rules", "revision that waits for a promotion", one["revision"], hint="stet rules rollout status")
        for one in held
    ]


def _trial_line(row: Any) -> StatusLine:
    if row["ended_at"] is None:
        return StatusLine("rules", f"{row['kind']} under way", row["revision"], row["started_at"])
    hint = f"stet rules rollout status, {_RUNBOOKS}/StetCanaryTurnedBack.md"
    value = f"{row['revision']}, {row['cause'].replace('_', '-')}"
    return StatusLine("rules", f"{row['kind']} turned back", value, row["ended_at"], wrong=True, hint=hint)


def replica_lines(replicas: ReplicaMetrics) -> list[StatusLine]:
    lines = [
        StatusLine("replicas", url, f"away: {why}", wrong=True, hint=f"{_RUNBOOKS}/StetServiceAbsent.md")
        for url, why in replicas.away.items()
    ]
    for replica, ahead in replicas.ahead.items():
        if abs(ahead) > _MOST_SKEW:
            behind = "ahead of" if ahead > timedelta() else "behind"
            value = f"{abs(ahead).total_seconds():.0f} s {behind} the clock of this machine"
            lines.append(StatusLine("clock", replica, value, wrong=True, hint="synchronise both machines by NTP"))
    if replicas.asked:
        lines.append(StatusLine("replicas", "answering", f"{replicas.asked - len(replicas.away)} of {replicas.asked}"))
    paused = {labels.get("reason", "?") for labels, value in replicas.values("stet_writes_paused") if value}
    hint = f"{_RUNBOOKS}/StetWritesPaused.md"
    lines += [StatusLine("writes", "writing to Consonance paused", reason, wrong=True, hint=hint) for reason in paused]
    disagreements = int(replicas.total("stet_second_engine_disagreements_total"))
    if disagreements:
        lines.append(
            _problem("rules", "engines disagree", disagreements, None, "report the rule: second_engine.disagreed")
        )
    lines += _budget_lines(replicas)
    refused = [labels.get("secret", "?") for labels, value in replicas.values("stet_secret_refused") if value]
    unusable = int(replicas.total("stet_rulebook_refused"))
    if unusable:
        lines.append(_problem("rules", "replicas refuse their source", unusable, None, "stet rules rollout status"))
    blocked = int(replicas.total("stet_outbox_blocked_topics"))
    if blocked:
        lines.append(_problem("outbox", "topics that Kafka refuses", blocked, None, "stet topics check"))
    page = f"{_RUNBOOKS}/StetSecretRefused.md"
    lines += [StatusLine("secrets", secret, "refused", wrong=True, hint=page) for secret in sorted({*refused})]
    return lines


def _budget_lines(replicas: ReplicaMetrics) -> list[StatusLine]:
    """The spending that the leader of the dispatcher counts; nothing where no budget is set."""
    budget, spent, warned = (
        max((value for _, value in replicas.values(name)), default=0)
        for name in ("stet_month_budget_units", "stet_month_cost_units", "stet_budget_warning")
    )
    if not budget:
        return []
    hint = f"stet cost, {_RUNBOOKS}/StetBudgetNearlySpent.md" if warned else ""
    return [StatusLine("budget", "spent this month", f"{spent:.2f} of {budget:.2f}", wrong=bool(warned), hint=hint)]


def _problem(area: str, name: str, count: int, since: datetime | None, hint: str) -> StatusLine:
    return StatusLine(area, name, count, since, wrong=bool(count), hint=hint if count else "")


# ------------------------------------------------------------------ the screen


def _print(settings: OperatorSettings, lines: Sequence[StatusLine]) -> None:
    """A line for each area; what is wrong is said again below, with what helps."""
    screen = console()
    now = settings.clock().now()
    screen.print(Text(f"{settings.tenant}  {now:%Y-%m-%d %H:%M:%S}Z", "bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for area in dict.fromkeys(line.area for line in lines):
        parts = [_part(line, now) for line in lines if line.area == area]
        table.add_row(Text(area, "bold"), Text(", ").join(parts))
    screen.print(table)
    wrong = [line for line in lines if line.wrong]
    screen.print(_verdict(wrong))
    for line in wrong:
        hint = f": {line.hint}" if line.hint else ""
        screen.print(Text(f"- {line.area}, {line.name}, {line.value}{hint}"), overflow="fold")


def _part(line: StatusLine, now: datetime) -> Text:
    age = f" ({age_of(line.since, now)})" if line.since else ""
    return Text(f"{line.name} {line.value}{age}", "bold red" if line.wrong else "")


def _verdict(wrong: Sequence[StatusLine]) -> Text:
    if not wrong:
        return Text("nothing needs an operator", "green")
    return Text("to look at:", "bold red")
