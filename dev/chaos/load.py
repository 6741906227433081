"""The load of a run: changes in Consonance and unasked messages, several a second until ``ending`` is set."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from dev.chaos.population import ChaosPerson, ChaosWork, Population
from dev.chaos.recorder import RunLog
from dev.chaos.scripted_replies import scripts, visitor
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import MetadataField

_PAUSE_SECONDS = 0.2  # between two actions, on average
_BURST = 50  # notices at once
_SCRIPTS_AT_ONCE = 5_000


@dataclass
class LoadGenerator:
    """Once ``ending`` is set, it finishes the current action and returns."""

    population: Population
    seed: int
    journal: RunLog
    consonance: str
    whatsapp: str
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    _session: aiohttp.ClientSession | None = None
    _number: int = 0
    _confirming: set[int] = field(default_factory=set)
    _open_requests: list[str] = field(default_factory=list)
    _open_blocks: list[tuple[str, int]] = field(default_factory=list)
    _visitors: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        """Give the simulator the scripted replies of all people."""
        async with aiohttp.ClientSession() as self._session:
            replies = scripts(self.population, self.seed)
            for start in range(0, len(replies), _SCRIPTS_AT_ONCE):
                await self._call_whatsapp("scripts", replies[start : start + _SCRIPTS_AT_ONCE])

    async def run(self) -> None:
        chance = random.Random(f"{self.seed}/driver")
        actions, weights = zip(*self._actions(), strict=True)
        async with aiohttp.ClientSession() as self._session:
            while not self.ending.is_set():
                await chance.choices(actions, weights)[0](chance)
                with suppress(TimeoutError):
                    async with asyncio.timeout(chance.expovariate(1 / _PAUSE_SECONDS)):
                        await self.ending.wait()

    def _actions(self) -> list[tuple[Callable[[random.Random], Awaitable[None]], int]]:
        return [
            (self._notice, 60), (self._rights, 36), (self._metadata, 20), (self._block, 16), (self._unblock, 8),
            (self._change_request, 8), (self._statement, 8), (self._pitch, 8), (self._follow_up, 4),
            (self._edit, 2), (self._words, 4), (self._burst, 1),
        ]  # fmt: skip

    # ------------------------------------------------------------------ Consonance

    async def _notice(self, chance: random.Random) -> None:
        await self._push("work.stage_changed", **self._stage_changed(self._work(chance)))

    async def _burst(self, chance: random.Random) -> None:
        """Many at once, so that the numbers' rates are reached."""
        events = [
            {"type": "work.stage_changed", "data": self._stage_changed(self._work(chance)), "id": self._name("evt")}
            for _ in range(_BURST)
        ]
        self.journal.note("burst", events=[event["id"] for event in events])
        await self._call_consonance("POST", "push_batch", {"events": events})

    def _stage_changed(self, work: ChaosWork) -> dict[str, Any]:
        return {
            "work": work.id, "to_stage": self._name("N"), "to_stage_key": "typesetting",
            "changed_at": datetime.now(UTC).isoformat(),  # noqa: TID251 -- the load's own clock
        }  # fmt: skip

    async def _rights(self, chance: random.Random) -> None:
        work, holder, name = self._work(chance), self._awake(chance), self._name("R")
        self.journal.note("rights", request=name, holder=holder.contact)
        await self._call_consonance(
            "POST", "rights_requests",
            {"request_id": name, "work_id": work.id, "rights_holder": holder.contact, "respond_by": _respond_by()},
        )  # fmt: skip
        self._open_requests.append(name)

    async def _change_request(self, chance: random.Random) -> None:
        """New terms or a cancellation: the question is no longer valid."""
        if not self._open_requests:
            return
        name = self._open_requests.pop(_recent(chance, len(self._open_requests)))
        change: dict[str, Any] = {"status": "cancelled"}
        if chance.random() < 0.3:
            change = {"terms": _terms(f"with a new print run, {name}")}
        self.journal.note("request_ended", request=name)
        await self._call_consonance("PATCH", f"rights_requests/{name}", change)

    async def _metadata(self, chance: random.Random) -> None:
        """One confirmation for each work in a run: a second would assume a value that may be about to change."""
        work = self._work(chance)
        if work.id in self._confirming:
            return
        self._confirming.add(work.id)
        name, quorum = self._name("M"), chance.choice(("first", "all", "all"))
        item = {
            "item_id": f"I-{name}", "field": "subtitle", "level": "work", "target_ids": [work.id],
            "current_value": work.subtitle, "current_hash": canonical_hash(MetadataField.SUBTITLE, work.subtitle),
            "proposed_value": f"As {name} has it",
        }  # fmt: skip
        people = chance.sample(self.population.awake, chance.choice((1, 2, 2, 3)))
        await self._push(
            "metadata.confirmation_requested", work=work.id, request_id=name, items=[item], quorum=quorum,
            confirmers=[{"contact_id": one.contact, "role": "author"} for one in people], respond_by=_respond_by(),
        )  # fmt: skip

    async def _edit(self, chance: random.Random) -> None:
        """Change a subtitle that may be under confirmation."""
        if self._confirming:
            work = chance.choice(sorted(self._confirming))
            name = self._name("E")
            self.journal.note("edit", work=work, subtitle=f"As {name} has it")
            await self._call_consonance("PATCH", f"works/{work}", {"subtitle": f"As {name} has it"})

    async def _block(self, chance: random.Random) -> None:
        work, name = self._work(chance), self._name("B")
        owner, first, second = chance.sample(self.population.awake, 3)
        await self._push(
            "work.blocked", work=work.id, block_id=name, cause="late_file", detail="it is late", blocking="printing",
            owner={"contact_id": owner.contact, "role": "production_lead"},
            escalation=[
                {"contact_id": first.contact, "role": "escalation_1"},
                {"contact_id": second.contact, "role": "escalation_2"},
            ],
            severity="critical" if chance.random() < 0.3 else "warning",
            since=datetime.now(UTC).isoformat(),  # noqa: TID251 -- the load's own clock
        )  # fmt: skip
        self._open_blocks.append((name, work.id))

    async def _unblock(self, chance: random.Random) -> None:
        if self._open_blocks:
            name, work = self._open_blocks.pop(_recent(chance, len(self._open_blocks)))
            await self._push(
                "work.unblocked", work=work, block_id=name, resolved_by={"type": "user", "id": "11"}
            )  # fmt: skip

    async def _statement(self, chance: random.Random) -> None:
        """For a sleeper: the message is held until the morning."""
        payee, name = chance.choice(self.population.sleepers), self._name("S")
        await self._push(
            "royalty.statement_ready", statement_id=name, batch_id="B-1", currency="GBP", has_payment=True,
            ack_required=True, period={"from": "2026-01-01", "to": "2026-06-30"},
            payee={"contact_id": payee.contact, "role": "author"},
            document={
                "doc_id": f"D-{name}", "kind": "statement", "title": "Statement", "mime": "application/pdf",
                "sensitivity": "confidential",
            },
        )  # fmt: skip

    # ------------------------------------------------------------------ WhatsApp

    async def _pitch(self, _: random.Random) -> None:
        self._number += 1
        registration, answers = visitor(self._number, self.seed)
        await self._call_whatsapp("people", registration)
        await self._call_whatsapp("scripts", answers)
        self._visitors.append(registration["id"])
        await self._send(
            registration["id"], line="acquisitions", text=f"I have written a book, by {registration['name']}"
        )

    async def _follow_up(self, chance: random.Random) -> None:
        if self._visitors[:-3]:
            name = chance.choice(self._visitors[:-3])
            await self._send(name, line="acquisitions", text=f"One more thing, {self._name('W')}")

    async def _words(self, chance: random.Random) -> None:
        await self._send(self._awake(chance).digits, line="main", text=f"By the way, {self._name('W')}")

    # ------------------------------------------------------------------ calls

    async def _push(self, kind: str, **data: Any) -> None:
        event = self._name("evt")
        self.journal.note("push", event=event, type=kind)
        await self._call_consonance("POST", "push", {"type": kind, "id": event, "data": data})

    async def _send(self, who: str, **message: Any) -> None:
        await self._call_whatsapp("inbound", {"from": who, **message})

    async def _call_consonance(self, method: str, path: str, body: object) -> Any:
        return await self._call(method, f"{self.consonance}/_simulator/{path}", body)

    async def _call_whatsapp(self, path: str, body: object) -> Any:
        return await self._call("POST", f"{self.whatsapp}/_simulator/{path}", body)

    async def _call(self, method: str, url: str, body: object) -> Any:
        if self._session is None:
            raise RuntimeError("the load is not running")
        async with self._session.request(method, url, data=orjson.dumps(body)) as answer:
            content = orjson.loads(await answer.read())
            if not answer.ok:
                raise RuntimeError(f"{url} answered {answer.status}: {content}")
            return content

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number:06d}"

    def _work(self, chance: random.Random) -> ChaosWork:
        """Some works are far busier than others."""
        works = list(self.population.works.values())
        return works[min(int(chance.expovariate(4) * len(works)), len(works) - 1)]

    def _awake(self, chance: random.Random) -> ChaosPerson:
        people = self.population.awake
        return people[min(int(chance.expovariate(3) * len(people)), len(people) - 1)]


def _recent(chance: random.Random, count: int) -> int:
    """An index near the end: something begun a moment ago."""
    return max(0, count - 1 - int(chance.expovariate(0.25)))


def _respond_by() -> str:
    return (date.today() + timedelta(days=20)).isoformat()  # noqa: DTZ011 -- any day far enough ahead


def _terms(summary: str) -> dict[str, Any]:
    return {"summary": summary, "territory": "world", "languages": ["eng"], "exclusivity": "non_exclusive"}
