"""A proposed revision is tried: a shadow decides beside and is only counted; a canary decides for a stable share."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dev.postgres import login_of
from services.rules.conversation.context import Reason
from services.rules.conversation.decider import decider_of
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.recurrence import latest_occurrence, period_events
from services.rules.rollout.activations import Activation, Trial, TrialKind, in_share
from services.rules.rollout.differences import DifferenceKind, untried_rules
from services.rules.rollout.revisions import Engine, RevisionsInForce, RulebookRegistry, TrialDecider, TriedRevision
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from shared.contracts.envelope import Event
from shared.contracts.ids import ContactId, Line, Revision, RuleId, person_id_of_contact
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import BOOK, good_files
from tests.services.rules.rules_service import (
    NOW,
    TENANT,
    RulesUnderTest,
    person_observed,
    rules_under_test,
    text_message,
)

KEYS = [f"acme|works/{number}" for number in range(2000)]


def canary(share: float, *imprints: int) -> Trial:
    return Trial(1, TrialKind.CANARY, Revision("b"), None, share, imprints)


def test_a_canary_keeps_its_keys_and_gets_more_with_a_larger_share() -> None:
    tenth, half = ({key for key in KEYS if in_share(canary(share), key, lambda: None)} for share in (0.1, 0.5))
    assert tenth < half
    assert 0.07 < len(tenth) / len(KEYS) < 0.13
    assert all(in_share(canary(1), key, lambda: None) for key in KEYS)
    assert not any(in_share(canary(0), key, lambda: None) for key in KEYS)


def test_a_canary_of_imprints_is_for_their_works_alone() -> None:
    assert in_share(canary(0, 7, 9), KEYS[0], lambda: 9)
    assert not in_share(canary(1, 7, 9), KEYS[0], lambda: 8)
    assert not in_share(canary(1, 7, 9), KEYS[0], lambda: None)


RECURRING = Path(__file__).parents[1] / "language" / "recurring"


def force_of(kind: TrialKind, old: str, new: str) -> RevisionsInForce:
    """The recurring rules of the tests in force, and a revision tried for all in which ``old`` is ``new``."""
    files = good_files() | read_folder(RECURRING)
    changed = files | {"report.rule.yaml": files["report.rule.yaml"].replace(old, new)}
    active, tried = (
        Engine(decider_of(book, RulebookRegistry(book).of_revision, (b"key",)), None)
        for book in map(load_good, (files, changed))
    )
    trial = Trial(1, kind, tried.revision, None, 1.0, ())
    one = TriedRevision(trial, tried)
    is_canary = kind is TrialKind.CANARY
    activation = Activation(1, active.revision, None, NOW)
    return RevisionsInForce(activation, (trial,), active, *((None, one) if is_canary else (one, None)))


def facts_with_manager() -> Facts:
    facts, manager = Facts(TENANT), ContactId(40)
    person = person_id_of_contact(TENANT, manager)
    facts.set_person(
        PersonFacts(person_id=person, contact_id=manager, display_name="Mia", country="GB", reachable=True)
    )
    return facts


def load_good(files: Mapping[str, str]) -> Rulebook:
    book, faults = load(files)
    assert book is not None, faults
    return add_built_in_rules(book)


def period_of(in_force: RevisionsInForce, facts: Facts) -> Event:
    """The event of the newest period of the rule “report” as it is in force."""
    book = in_force.active.rulebook
    rule = book.rules[RuleId("report")]
    assert rule.every is not None
    occurrence = latest_occurrence(rule.every, book.calendar.office, NOW)
    assert occurrence is not None
    (event,) = period_events(book, rule, occurrence, facts, (), NOW)
    return event


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("say: report_due", "say: report_noted"),
        ("every: last working day", "every: 1st working day"),
        ("every: last working day of the quarter at 16:00", "on: rights.expiring"),
    ],
)
def test_a_recurring_rule_starts_by_the_revision_in_force_also_under_a_canary_for_all(old: str, new: str) -> None:
    in_force, facts = force_of(TrialKind.CANARY, old, new), facts_with_manager()
    decider = TrialDecider(in_force)
    engine, decision = decider.decide(period_of(in_force, facts), facts, NOW)
    assert engine is in_force.active
    (chain,) = (chain for chain in decision.changes.chains.values() if chain.rule == "report")
    assert (chain.revision, chain.messages[0].say) == (in_force.active.revision, "report_due")
    assert decider._judged == {}


@pytest.mark.parametrize(
    ("old", "new", "counted"),
    [
        ("after: 1 week", "after: 2 weeks", {DifferenceKind.MOVED}),
        ("severity: info", "severity: warning", set()),
        (
            "every: last working day of the quarter at 16:00",
            "on: rights.expiring",
            {DifferenceKind.NOT_STARTED, DifferenceKind.MESSAGE_LOST},
        ),
        ("every: last working day", "every: 1st working day", set()),
    ],
)
def test_a_shadow_judges_a_changed_recurring_rule_whenever_the_one_in_force_starts(
    old: str, new: str, counted: set[DifferenceKind]
) -> None:
    in_force, facts = force_of(TrialKind.SHADOW, old, new), facts_with_manager()
    decider = TrialDecider(in_force)
    decider.decide(period_of(in_force, facts), facts, NOW)
    assert decider._judged == {1: 1}
    assert {kind for _, rule, kind in decider._differing if rule == "report"} == counted


@pytest.mark.parametrize(
    ("old", "new", "by_shadow", "by_canary"),
    [
        ("after: 1 week", "after: 1 week", [], []),
        ("after: 1 week", "after: 2 weeks", [], ["report"]),
        ("every: last working day", "every: 1st working day", ["report"], ["report"]),
        ("every: last working day of the quarter at 16:00", "on: rights.expiring", [], []),
    ],
)
def test_the_recurring_rules_that_a_trial_does_not_show_are_known(
    old: str, new: str, by_shadow: list[str], by_canary: list[str]
) -> None:
    active, proposed = (one for one in force_of(TrialKind.SHADOW, old, new).rulebooks)
    assert untried_rules(TrialKind.SHADOW, active, proposed) == by_shadow
    assert untried_rules(TrialKind.CANARY, active, proposed) == by_canary
    without = replace(active, rules={name: rule for name, rule in active.rules.items() if name != "report"})
    assert set(untried_rules(TrialKind.SHADOW, without, active)) == {"report"}


def test_a_canary_without_the_recurring_rule_does_not_keep_it_from_starting() -> None:
    in_force, facts = force_of(TrialKind.CANARY, "", ""), facts_with_manager()
    assert in_force.canary is not None
    book = in_force.canary.engine.rulebook
    gone = replace(book, rules={name: rule for name, rule in book.rules.items() if name != "report"})
    engine = Engine(decider_of(gone, RulebookRegistry(gone).of_revision, (b"key",)), None)
    assert engine.decider.decide(period_of(in_force, facts), facts, NOW).reasons == (Reason.NOTHING_MATCHED,)
    canary = TriedRevision(in_force.canary.trial, engine)
    used, decision = TrialDecider(replace(in_force, canary=canary)).decide(period_of(in_force, facts), facts, NOW)
    assert used is in_force.active
    assert any(chain.rule == "report" for chain in decision.changes.chains.values())


@dataclass
class Trials:
    """One replica, whose new rules wait to be put into in_force or tried."""

    service: RulesUnderTest
    folder: Path
    capsys: pytest.CaptureFixture[str]

    async def propose(self, old: str, new: str) -> str:
        """Store a revision with this change of the rule of pitches, beside the one in force; returns it."""
        shutil.copytree(BOOK, self.folder, dirs_exist_ok=True)
        path = self.folder / "pitch" / "pitch.rule.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        for _ in range(2):
            await self.service.watcher.follow_source()
        return str(await self.service.pool.fetchval("select revision from rulebook_sources"))

    async def rollout(self, *arguments: str) -> int:
        change = () if arguments[0] == "status" else ("--yes", "--reason", "a trial")
        return await asyncio.to_thread(run_stet, "rules", "rollout", *arguments, *change)

    async def status(self) -> tuple[int, list[dict[str, Any]]]:
        self.capsys.readouterr()
        code = await self.rollout("status", "--format", "json")
        return code, [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    async def write(self, contact: int, text: str) -> None:
        message = text_message(contact, text, NOW, line=Line("acquisitions"))
        await self.service.receive(message)

    async def templates(self, contact: int) -> list[str]:
        person = person_observed(contact).person_id
        return [say for to, say in await self.service.requested() if to == person]

    async def revisions(self, contact: int) -> set[str]:
        """Those of the chains of the pitch of a person."""
        person = person_observed(contact).person_id
        chains = [chain for chain in await self.service.chains() if chain.rule == "pitch" and person in chain.subject]
        return {str(chain.revision) for chain in chains}


@pytest.fixture
async def trials(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Trials]:
    monkeypatch.setenv("STET_POSTGRES_DSN", login_of(postgres_database, "operator"))
    monkeypatch.setenv("STET_TENANT", TENANT)
    folder = Path(shutil.copytree(BOOK, tmp_path / "rules"))
    async with rules_under_test(postgres_database, NOW, folder) as service:
        service.watcher.is_manual = True
        await service.receive(*map(person_observed, (11, 12, 21, 22)))
        yield Trials(service, folder, capsys)


@pytest.mark.integration
async def test_trials_of_a_proposed_revision(trials: Trials) -> None:
    silent = await trials.propose("line: acquisitions", "line: elsewhere")
    assert await trials.rollout("shadow", silent[:10]) == 0
    await trials.write(11, "I have written a novel.")
    acted = await trials.templates(11)
    assert acted, "nothing follows from what a shadow decides"
    _, rows = await trials.status()
    assert {(row["rule"], row["difference"], row["count"]) for row in rows if row["kind"] == "difference"} == {
        ("pitch", "chain not started", 1),
        ("pitch", "message lost", 1),
        ("house-inbox-rights", "chain started", 1),
        ("house-inbox-rights", "message gained", 1),
    }
    assert await trials.rollout("abort", "shadow") == 0
    assert await trials.rollout("abort", "shadow") == 1, "it has ended"

    assert await trials.rollout("canary", silent, "--share", "100") == 0
    await trials.write(12, "So have I.")
    assert await trials.templates(12) == ["passed_on"], "the canary decides for its share"

    sooner = await trials.propose("20 hours", "10 hours")
    assert await trials.rollout("canary", sooner, "--share", "100", "--max-opt-outs", "0") == 0
    await trials.write(21, "A memoir.")
    assert await trials.templates(21) == acted
    assert await trials.revisions(21) == {sooner}
    await trials.write(11, "STOP")
    _, rows = await trials.status()
    assert next(row["result"] for row in rows if row["kind"] == "trial") is None, "the canary never wrote to them"
    await trials.write(21, "STOP")
    code, rows = await trials.status()
    newest = next(row for row in rows if row["kind"] == "trial")
    assert (newest["result"], newest["cause"], code) == ("turned_back", "opt_out: 1", 1)
    await trials.write(22, "Poems.")
    assert await trials.revisions(22) == await trials.revisions(11), "the acting revision decides again"

    assert await trials.rollout("shadow", sooner) == 0
    assert await trials.rollout("promote", sooner) == 0
    _, rows = await trials.status()
    assert next(row["result"] for row in rows if row["kind"] == "trial") == "promoted"
