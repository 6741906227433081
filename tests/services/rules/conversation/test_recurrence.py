"""When a period of a recurring rule starts, that it starts once, and what it lists."""

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from services.rules.conversation.chain import Chain, Ending
from services.rules.conversation.facts import Facts
from services.rules.conversation.recurrence import (
    Occurrence,
    latest_occurrence,
    next_occurrence,
    people_of_list,
    period_events,
)
from services.rules.polling import PollingLoops
from services.rules.rulebook.model import NOWHERE, Every, Listing, Location, Rule, Team
from services.rules.rulebook.periods import OpenList, PeriodListed, PeriodStarted
from services.rules.rulebook.times import read_every
from services.rules.rulebook.yaml_nodes import ScalarNode
from shared.clients.public_holidays import MONDAY_TO_FRIDAY
from shared.clients.working_calendar import WorkingCalendar
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, Line, MessageId, PersonId, RuleId
from tests.services.rules.conversation.test_amendments import asked, observe
from tests.services.rules.conversation.test_consent import Word, at, decider, said
from tests.services.rules.conversation.test_merges import ASKED, FIRST, SECOND, facts_after, taken_by_a_colleague
from tests.services.rules.rulebooks import BOOK
from tests.services.rules.rules_service import (
    TENANT,
    golden_event,
    person_observed,
    person_of,
    rules_under_test,
    work_observed,
)

LONDON = WorkingCalendar("Europe/London", "GB", "ENG", time(9), time(18), MONDAY_TO_FRIDAY)
RECURRING = Path(__file__).parents[1] / "language" / "recurring"

WORK = {"work_id": 61417, "title": "The Salt Road"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "now", "period", "at"),
    [
        ("monday at 09:00", "2027-03-03T10:00", "2027-W10", "2027-03-08T09:00"),
        ("monday at 09:00", "2027-03-08T08:59", "2027-W10", "2027-03-08T09:00"),
        ("monday at 09:00", "2027-03-08T09:00", "2027-W11", "2027-03-15T09:00"),
        ("monday at 09:00", "2027-03-22T10:00", "2027-W13", "2027-03-29T08:00"),  # summer time, and a holiday
        ("sunday at 01:30", "2027-03-22T10:00", "2027-W12", "2027-03-28T01:30"),  # the clock skips it
        ("working day at 09:00", "2027-03-25T10:00", "2027-03-30", "2027-03-30T08:00"),  # over Easter
        ("day at 09:00", "2027-03-25T10:00", "2027-03-26", "2027-03-26T09:00"),
        ("1st working day of the month at 09:00", "2027-04-20T10:00", "2027-05", "2027-05-04T08:00"),
        ("last working day of the month at 16:00", "2027-12-31T17:00", "2028-01", "2028-01-31T16:00"),
        ("2nd tuesday of the month at 10:00", "2027-03-09T10:00", "2027-04", "2027-04-13T09:00"),
        ("1st monday of the quarter at 10:00", "2027-03-09T10:00", "2027-Q2", "2027-04-05T09:00"),
        ("last day of the year at 10:00", "2027-03-09T10:00", "2027", "2027-12-31T10:00"),
        ("5th friday of the month at 10:00", "2027-02-01T10:00", "2027-04", "2027-04-30T09:00"),  # February has four
        ("last working day of the week at 12:00", "2027-03-22T10:00", "2027-W12", "2027-03-25T12:00"),
    ],
)
def test_the_next_period_starts_by_the_calendar_of_the_house(every: str, now: str, period: str, at: str) -> None:
    found = next_occurrence(_every(every), LONDON, utc(now))
    assert found is not None
    assert (found.period, found.at) == (period, utc(at))


@pytest.mark.parametrize(
    ("every", "now", "at"),
    [
        ("monday at 09:00", "2027-03-08T09:00", "2027-03-08T09:00"),
        ("monday at 09:00", "2027-03-08T08:59", "2027-03-01T09:00"),
        ("monday at 09:00", "2027-04-04T10:00", "2027-03-29T08:00"),
        ("1st working day of the month at 09:00", "2027-05-03T23:00", "2027-04-01T08:00"),
        ("last day of the year at 10:00", "2027-03-09T10:00", "2026-12-31T10:00"),
        ("1st monday of the quarter at 10:00", "2027-03-09T10:00", "2027-01-04T10:00"),
        ("1st day of the quarter at 10:00", "2027-06-30T10:00", "2027-04-01T09:00"),
    ],
)
def test_the_latest_period_is_the_newest_that_has_started(every: str, now: str, at: str) -> None:
    found = latest_occurrence(_every(every), LONDON, utc(now))
    assert found is not None
    assert found.at == utc(at)


def test_after_the_latest_start_comes_the_next() -> None:
    for text in ("monday at 09:00", "working day at 18:30", "last working day of the month at 00:00"):
        now = utc("2027-03-03T10:00")
        for _ in range(40):
            following = next_occurrence(_every(text), LONDON, now)
            assert following is not None
            assert latest_occurrence(_every(text), LONDON, following.at) == following
            before = latest_occurrence(_every(text), LONDON, following.at - timedelta(seconds=1))
            assert before is not None
            assert before.at <= now
            now = following.at


def test_a_list_of_what_awaits_a_role_has_that_of_a_person_whose_ids_were_merged() -> None:
    story = asked()
    book, facts = story.simulation.decider.rulebook, story.simulation.facts
    asking = next(rule for rule in book.rules.values() if rule.name == "rights-approval")
    listing = Listing(("rights_holder",), (asking.name,), each=True)
    rule = replace(asking, listing=listing)
    occurrence = Occurrence("2027-W10", story.simulation.now)

    def listed() -> list[tuple[PersonId, int]]:
        events = period_events(book, rule, occurrence, facts, [story.chain], story.simulation.now)
        lists = (event.data for event in events if isinstance(event.data, PeriodListed))
        return [(each.awaited, each.open.count) for each in lists if each.awaited is not None]

    assert listed() == [(story.person(812), 1)]
    observe(story, 812, merged_into=story.person(900))
    assert listed() == [(story.person(900), 1)]
    assert story.person(812) in people_of_list([story.chain])  # whom the chain's event names


def _every(text: str) -> Every:
    return read_every(ScalarNode(Location("a.rule.yaml", 1, 1), text, text))


@pytest.mark.integration
async def test_a_period_starts_once_for_all_replicas_and_after_a_standstill(
    postgres_database: str, tmp_path: Path
) -> None:
    shutil.copytree(BOOK, tmp_path, dirs_exist_ok=True)
    shutil.copytree(RECURRING, tmp_path / "recurring")
    async with rules_under_test(postgres_database, utc("2027-03-03T10:00"), tmp_path) as service:
        await service.receive(
            *map(person_observed, (11, 22, 40, 41, 801, 802, 812, 900)), work_observed((812, "rights_holder"))
        )
        asked = golden_event("consonance.rights.approval_requested.v1", respond_by="2027-09-01", work=WORK)
        await service.receive(asked)
        assert (await service.waiting(), await service.requested()) == (0, [(person_of(900), "permission_request")])
        replicas = [PollingLoops(service.rules, service.pool, service.clock, tick=0.01) for _ in range(3)]

        async def pass_time(by: timedelta) -> int:
            service.clock.at += by
            started = await asyncio.gather(*(replica._start_periods_once() for replica in replicas))
            return sum(started)

        async def lists() -> list[str]:
            return [person for person, say in await service.requested() if say == "open_permissions"]

        assert await pass_time(timedelta()) == 0
        assert await pass_time(timedelta(days=20)) == 1  # two Mondays were missed: the newest counts
        assert await lists() == [person_of(40), person_of(41)]
        assert await pass_time(timedelta(hours=1)) == 0
        replicas = [PollingLoops(service.rules, service.pool, service.clock, tick=0.01)]
        assert await pass_time(timedelta()) == 0  # a process that has just begun
        assert await pass_time(timedelta(days=7)) == 1
        assert len(await lists()) == 4


@pytest.mark.integration
async def test_the_next_period_meets_the_chain_of_the_one_before(postgres_database: str, tmp_path: Path) -> None:
    shutil.copytree(BOOK, tmp_path, dirs_exist_ok=True)
    shutil.copytree(RECURRING, tmp_path / "recurring")
    report = tmp_path / "recurring" / "report.rule.yaml"
    weekly = report.read_text().replace("last working day of the quarter at 16:00", "monday at 16:00\nabout: rule")
    report.write_text(weekly.replace("after: 1 week", "after: 4 weeks"))
    async with rules_under_test(postgres_database, utc("2027-03-03T10:00"), tmp_path) as service:
        await service.receive(*map(person_observed, (40, 41)))
        for _ in range(3):
            await service.loops._start_periods_once()
            service.clock.at += timedelta(days=7)
        (chain,) = [chain for chain in await service.chains() if chain.rule == "report"]
        assert b"2027-W11" in bytes(chain.event)


# ------------------------------------------------------------------ what is listed


def begun(facts: Facts, listing: Listing | None, chains: Iterable[Chain] | None = None) -> list[Event]:
    """The events by which a recurring rule begins a period; the chains of the facts are open, or those given."""
    rule = Rule(RuleId("weekly"), "rights", {}, ("period.listed",), (), NOWHERE, listing=listing)
    occurrence = Occurrence("2027-W10", utc("2027-03-08T09:00"))
    open_ones = facts.chains.values() if chains is None else chains
    return period_events(decider().rulebook, rule, occurrence, facts, open_ones, utc("2027-03-08T09:01"))


def listed(facts: Facts, *waits_for: str | Team, chains: Iterable[Chain] | None = None) -> OpenList:
    """The chains of a list of all rules that await one of these roles or teams."""
    (event,) = begun(facts, Listing(waits_for), chains)
    assert isinstance(event.data, PeriodListed)
    return event.data.open


def test_a_period_has_one_event_or_one_for_each_awaited_person_and_the_same_ids_each_time() -> None:
    facts = facts_after([ASKED])
    (chain,) = facts.chains.values()
    (question,) = chain.messages
    other = chain.replace(chain_id=ChainId("a1"), messages=(question.replace(person_id=SECOND),))
    chains = [other, chain, other.replace(chain_id=ChainId("a2"))]
    events = begun(facts, Listing(each=True), chains)
    found = [(one.data.awaited, one.data.open.count) for one in events if isinstance(one.data, PeriodListed)]
    assert found == sorted([(question.person_id, 1), (SECOND, 2)])
    (plain,) = begun(facts, None, chains)
    assert plain.data == PeriodStarted(rule=RuleId("weekly"), period="2027-W10", at=utc("2027-03-08T09:00"))
    ids = [event.id for event in (*events, plain)]
    assert len(set(ids)) == 3
    assert ids == [event.id for event in (*begun(facts, Listing(each=True), chains), *begun(facts, None, chains))]
    assert {event.partitionkey for event in (*events, plain)} == {f"{TENANT}/rules/weekly"}


def test_a_list_has_the_open_chains_of_its_rules_and_without_any_those_that_are_not_stet_s_own() -> None:
    facts = facts_after([ASKED])
    (chain,) = facts.chains.values()
    own = chain.replace(chain_id=ChainId("a3"), rule=RuleId("house-inbox-rights"))
    chains = [chain, own, chain.replace(chain_id=ChainId("a4")).close(Ending.ANSWERED)]
    counts = []
    for rules in ((), (chain.rule,), (own.rule, chain.rule), (RuleId("another"),)):
        (event,) = begun(facts, Listing(rules=rules), chains)
        assert isinstance(event.data, PeriodListed)
        counts.append(event.data.open.count)
    assert counts == [1, 1, 2, 0]


def test_a_chain_is_listed_by_the_roles_and_teams_of_the_people_whom_it_awaits() -> None:
    facts = facts_after([ASKED])
    assert [listed(facts, who).count for who in ("rights_holder", "author", Team("rights"))] == [1, 0, 0]
    assert listed(facts, "author", "rights_holder").count == 1
    facts, _ = taken_by_a_colleague()
    who = ("rights_holder", "rights_manager", Team("rights"), Team("finance"))
    assert [listed(facts, each).count for each in who] == [0, 1, 1, 0]


def test_a_chain_that_awaits_a_stand_in_is_listed_by_the_role_of_the_person_they_stand_in_for() -> None:
    facts = facts_after([ASKED])
    (chain,) = facts.chains.values()
    (question,) = chain.messages
    agent = person_of(61)
    to_agent = question.replace(person_id=agent, on_behalf_of=question.person_id, message_id=MessageId("to-agent"))
    assert listed(facts, "rights_holder", chains=[chain.replace(messages=(to_agent,))]).count == 1
    without = chain.replace(messages=(to_agent.replace(on_behalf_of=None),))
    assert listed(facts, "rights_holder", chains=[without]).count == 0


def test_a_list_shows_the_oldest_titles_in_one_line_and_how_many_more_there_are() -> None:
    facts = facts_after([ASKED])
    (chain,) = facts.chains.values()
    for many in (1, 3, 40, 300):
        chains = [chain.replace(chain_id=ChainId(f"{n:03}"), started_at=at(n)) for n in range(many)]
        found = listed(facts, chains=reversed(chains))
        *shown, last = found.summary.split(" · ")
        assert (found.count, found.since) == (many, at(0).date())
        assert [item.chain_id for item in found.items] == [each.chain_id for each in chains[:200]]
        assert shown == [f"The Salt Road ({item.reference})" for item in found.items[: len(shown)]]
        assert len(found.summary) <= 248
        assert last == (f"+{many - len(shown)}" if many > 3 else f"The Salt Road ({found.items[-1].reference})")


def test_a_list_of_nothing_and_one_of_chains_without_a_title_say_so() -> None:
    assert listed(facts_after([])) == OpenList()
    facts = facts_after([said(Word(FIRST, "A history of tide mills", 1)).replace(line=Line("acquisitions"))])
    found = listed(facts)
    assert found.summary == found.items[0].reference
    assert found.items[0].title is None
