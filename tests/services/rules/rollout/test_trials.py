"""A proposed revision is tried: a shadow decides beside and is only counted; a canary decides for a stable share."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dev.postgres import login_of
from services.rules.rollout.activations import Trial, TrialKind, in_share
from shared.contracts.ids import Line, Revision
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import BOOK
from tests.services.rules.rules_service import TENANT, RulesUnderTest, person_observed, rules_under_test, text_message

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
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


@dataclass
class Trials:
    """One replica, whose new rules wait to be put into force or tried."""

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
            await self.service.watcher.look()
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
