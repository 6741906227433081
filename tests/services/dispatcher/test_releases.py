"""Held messages go on in portions: bounded, in order, each once, and to the end whichever leader does it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest

import bench.backlog
from services.dispatcher.account_store import AccountStore, ReportedLimits, TemplateCache
from services.dispatcher.budget import Budget, ChargeStore
from services.dispatcher.pauses import OperatorPauses
from services.dispatcher.rate_limits import PORTFOLIO_PERIOD, RateUsage, SendLimits
from services.dispatcher.releases import PORTION
from services.dispatcher.store import MessageStore
from services.dispatcher.templates import TemplateReport
from services.dispatcher.throttles import Throttles
from shared.contracts.messages import Lane
from shared.runtime.postgres import Connection, connect, load_queries

pytestmark = pytest.mark.integration

_TENANT, _NOW = "t", datetime(2027, 3, 3, 10, tzinfo=UTC)
_LATER = _NOW + timedelta(hours=1)
_HELD = 2 * PORTION + 300
_IN_ORDER = "select not_before < $1 from messages where state = 'waiting' order by sequence"

Refresh = Callable[[Connection, datetime], Awaitable[None]]
"""A look of a leader, which releases a portion."""


def _pauses() -> Refresh:
    return OperatorPauses(MessageStore(_TENANT)).refresh


def _budget() -> Refresh:
    return Budget(ChargeStore(_TENANT, ZoneInfo("UTC")), None, None).refresh


def _templates() -> Refresh:
    return TemplateCache(AccountStore(_TENANT), Throttles()).refresh


def _limits() -> Refresh:
    return _learned(RateUsage(SendLimits())).refresh


def _learned(usage: RateUsage) -> ReportedLimits:
    async def no_number(_: str) -> str | None:
        return None

    return ReportedLimits(AccountStore(_TENANT), usage, [], no_number)


_RELEASES = pytest.mark.parametrize(
    ("reason", "new_leader"),
    [
        ("paused_by_operator", _pauses),
        ("budget_spent", _budget),
        ("portfolio_limit", _limits),
        ("template_throttled", _templates),
        ("template_rejected", _templates),
    ],
)


@pytest.fixture
async def held(postgres_database: str) -> AsyncIterator[Connection]:
    """A queue of which every message is held for an hour."""
    owner = await asyncpg.connect(postgres_database)
    insert = load_queries(bench.backlog.__file__, "backlog.sql").insert_waiting
    await owner.execute(insert, _TENANT, _NOW - timedelta(minutes=1), 1, _HELD, 500)
    await owner.close()
    connection = await connect(postgres_database, "dispatcher")
    yield connection
    await connection.close()


async def _hold_all(connection: Connection, reason: str) -> None:
    await connection.execute("update messages set not_before = $1, reason = $2", _LATER, reason)


async def _released(connection: Connection) -> int:
    """How many are; none of them stands behind one that is held."""
    are_due = [row[0] for row in await connection.fetch(_IN_ORDER, _LATER)]
    assert are_due == sorted(are_due, reverse=True)
    return sum(are_due)


@_RELEASES
async def test_a_portion_is_bounded_and_all_are_released_in_their_order(
    held: Connection, reason: str, new_leader: Callable[[], Refresh]
) -> None:
    await _hold_all(held, reason)
    refresh, released = new_leader(), []
    for _ in range(4):
        await refresh(held, _NOW)
        released.append(await _released(held))
    assert released == [PORTION, 2 * PORTION, _HELD, _HELD]
    assert await held.fetchval("select count(*) from messages where reason is null and not_before = $1", _NOW) == _HELD


@_RELEASES
async def test_a_leader_that_follows_one_that_died_between_portions_releases_the_rest_and_nothing_twice(
    held: Connection, reason: str, new_leader: Callable[[], Refresh]
) -> None:
    await _hold_all(held, reason)
    await new_leader()(held, _NOW)
    first, refresh = await _released(held), new_leader()
    for _ in range(3):
        await refresh(held, _NOW + timedelta(minutes=1))
    assert (first, await _released(held)) == (PORTION, _HELD)
    assert await held.fetchval("select count(*) from messages where not_before = $1", _NOW) == PORTION


async def test_a_pause_during_a_release_holds_what_is_not_released_yet(held: Connection) -> None:
    await _hold_all(held, "paused_by_operator")
    pauses = OperatorPauses(MessageStore(_TENANT))
    await pauses.refresh(held, _NOW)
    await held.execute("insert into pauses values ($1, 'tenant', '', $2, 'an operator', 'a reason')", _TENANT, _NOW)
    pauses._read_at = 0.0
    for _ in range(3):
        await pauses.refresh(held, _NOW - timedelta(minutes=2))  # nothing is due then that would be held anew
    assert await _released(held) == PORTION


async def _held_for_templates(held: Connection) -> TemplateCache:
    """A leader that has released everything once, and whose messages wait for their template since."""
    templates = TemplateCache(AccountStore(_TENANT), Throttles())
    await templates.refresh(held, _NOW)
    await _hold_all(held, "template_rejected")
    return templates


async def _report(held: Connection, templates: TemplateCache, report: TemplateReport) -> list[int]:
    """How many messages are released after each of some looks that follow the report."""
    await templates.store.save_template(held, "a", report)
    templates.expire()
    released = []
    for _ in range(4):
        await templates.refresh(held, _NOW)
        released.append(await _released(held))
    return released


async def test_all_that_wait_for_a_template_are_planned_anew_when_another_template_is_usable(held: Connection) -> None:
    """It may be their fallback."""
    templates = await _held_for_templates(held)
    released = await _report(held, templates, TemplateReport("plain_v1", "en", _NOW, status="APPROVED"))
    assert released == [PORTION, 2 * PORTION, _HELD, _HELD]


async def test_a_report_that_changes_no_state_releases_nothing(held: Connection) -> None:
    templates = await _held_for_templates(held)
    approved = TemplateReport("plain_v1", "en", _NOW, status="APPROVED")
    await _report(held, templates, approved)
    await _hold_all(held, "template_rejected")
    again = TemplateReport("plain_v1", "en", _LATER, status="APPROVED", quality="YELLOW")
    assert await _report(held, templates, again) == [0, 0, 0, 0]


async def test_messages_held_for_a_state_that_ended_before_a_read_are_released(held: Connection) -> None:
    """The row of the template said so while the leader planned, and its copy never knew it."""
    templates = await _held_for_templates(held)
    templates.read_and_release()
    for _ in range(3):
        await templates.refresh(held, _NOW)
    assert await _released(held) == _HELD


async def test_a_limit_that_is_reported_again_releases_nothing(held: Connection) -> None:
    await held.execute("insert into account_limits values ($1, 'a', 'messaging', '', 1, null, $2)", _TENANT, _NOW)
    limits = _learned(RateUsage(SendLimits()))
    for _ in range(4):
        await limits.refresh(held, _NOW)
    await _hold_all(held, "portfolio_limit")
    await held.execute("update account_limits set reported_at = $1", _LATER)
    limits._read_at = 0.0
    await limits.refresh(held, _NOW)
    assert await _released(held) == 0


async def test_a_place_that_is_given_back_goes_to_one_who_waits(held: Connection) -> None:
    usage = RateUsage(SendLimits())
    limits = _learned(usage)
    await held.execute("insert into account_limits values ($1, 'a', 'messaging', '', 1, null, $2)", _TENANT, _NOW)
    for _ in range(4):
        await limits.refresh(held, _NOW)
    usage.portfolio.reserve("w1", _NOW)
    assert usage.portfolio.free_at("p1", Lane.NORMAL, _NOW) > _NOW
    await _hold_all(held, "portfolio_limit")
    usage.portfolio.settle("w1", counts=False)
    limits._judged_at = 0.0
    for _ in range(4):
        await limits.refresh(held, _NOW)
    assert (await _released(held), usage.portfolio.free_at("p1", Lane.NORMAL, _NOW)) == (_HELD, _NOW)


async def test_another_limit_promises_places_to_those_who_wait_anew(held: Connection) -> None:
    """Waiting messages are judged again; the places that were promised before are not taken."""
    usage = RateUsage(SendLimits())
    limits = _learned(usage)
    await held.execute("insert into account_limits values ($1, 'a', 'messaging', '', 2, null, $2)", _TENANT, _NOW)
    await limits.refresh(held, _NOW)
    for number in range(2):
        usage.portfolio.record(f"w{number}", _NOW + timedelta(minutes=number))
    first = usage.portfolio.free_at("p1", Lane.NORMAL, _LATER)
    await held.execute("update account_limits set value = 1")
    limits._read_at = 0.0
    await limits.refresh(held, _LATER)
    again = usage.portfolio.free_at("p1", Lane.NORMAL, _LATER)
    assert (first, again) == (_NOW + PORTFOLIO_PERIOD, _NOW + timedelta(minutes=1) + PORTFOLIO_PERIOD)
