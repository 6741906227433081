"""Trials of a proposed revision: a shadow that decides beside the acting one, and a canary that decides for a share.

Nothing follows from what a shadow decides: only its differences are counted. A canary acts for a stable share of the
partition keys, or for imprints, and is turned back by itself once more was observed than its bounds allow.

To find differences, the proposed revision decides from the same facts about the same event or due step, with the live
chains as if they had begun under it. Only this one decision is compared. A chain whose rule has other steps in the
proposed revision cannot be judged at a later step.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

import orjson

from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision, Reason, RequestedMessage
from services.rules.conversation.document import Document
from services.rules.conversation.facts import Facts, Overlay
from services.rules.conversation.required_facts import is_opt_out
from services.rules.rollout.activations import QUERIES, Trial, TrialKind, in_share
from services.rules.rollout.revisions import Engine, RevisionsInForce, TriedRevision
from services.rules.rulebook.model import Rule, Rulebook
from services.rules.rulebook.periods import PeriodStarted
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, PersonId, Revision, RuleId, TenantId, derive_id
from shared.contracts.messages import AttachedDocument, MessageFailed, SendMessage, WithdrawMessage
from shared.contracts.whatsapp import MessageReceived
from shared.contracts.writes import RequestWrite
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import error_location, get_logger

log = get_logger()

# ------------------------------------------------------------------ differences

NO_RULE = ""
"""Stands for what no rule of a file does, as the answer to a stop word."""


class DifferenceKind(StrEnum):
    """``STEPS_CHANGED``: the rule of a chain that falls due has other steps, so that nothing can be said about it."""

    STARTED = "chain started"
    NOT_STARTED = "chain not started"
    ENDED = "chain ended"
    NOT_ENDED = "chain not ended"
    MESSAGE_GAINED = "message gained"
    MESSAGE_LOST = "message lost"
    MESSAGE_REWORDED = "message reworded"
    DOCUMENT_CHANGED = "message with another document"
    WRITE_GAINED = "write gained"
    WRITE_LOST = "write lost"
    WITHDRAWAL_GAINED = "withdrawal gained"
    WITHDRAWAL_LOST = "withdrawal lost"
    MOVED = "next step moved"
    STEPS_CHANGED = "steps changed"
    FAILED = "cannot decide"


DifferenceKey = tuple[RuleId | str, DifferenceKind]


@dataclass(frozen=True, slots=True)
class ProposedView:
    """How a proposed rulebook sees the facts: with the chains of the acting one as if they had begun under it.

    A chain whose rule is gone or has other steps stays as it is; ``same_steps`` are the other rules.
    """

    acting: Revision
    proposed: Revision
    same_steps: frozenset[RuleId]

    @classmethod
    def of(cls, acting: Rulebook, proposed: Rulebook) -> "ProposedView":
        same = (name for name, rule in acting.rules.items() if _has_same_steps(rule, proposed.rules.get(name)))
        return cls(acting.revision, proposed.revision, frozenset(same))

    def facts(self, facts: Facts) -> Facts:
        """A shallow copy, since a batch makes one for each event: a chain is converted only when it is read."""
        seen = copy(facts)
        seen.chains = _ChainsAsProposed(facts.chains, self)
        return seen

    def chain(self, chain: Chain) -> Chain:
        is_moved = chain.revision == self.acting and chain.rule in self.same_steps
        return chain.replace(revision=self.proposed) if is_moved else chain


class _ChainsAsProposed(Overlay[ChainId, Chain]):
    __slots__ = ("_view",)

    def __init__(self, chains: Mapping[ChainId, Chain], view: ProposedView) -> None:
        super().__init__(chains)
        self._view = view

    def __getitem__(self, key: ChainId) -> Chain:
        return self._view.chain(super().__getitem__(key))

    def get(self, key: ChainId, default: Any = None) -> Any:
        found = super().get(key)
        return default if found is None else self._view.chain(found)


def _has_same_steps(old: Rule, new: Rule | None) -> bool:
    return new is not None and _shape(old) == _shape(new)


def _shape(rule: Rule) -> tuple[object, ...]:
    return len(rule.until), *((step.verb, step.form, tuple(sorted(step.answers))) for step in rule.steps)


def untried_rules(kind: TrialKind, active: Rulebook, proposed: Rulebook) -> list[RuleId]:
    """The recurring rules of a proposed revision that its trial does not show, since periods start by the one in force.

    Under a canary these are all that are new or changed. A shadow judges a changed one whenever the old one starts, and
    misses those that start at other times or list something else.
    """

    def is_shown(rule: Rule, old: Rule | None) -> bool:
        if old is None or kind is TrialKind.CANARY:
            return rule == old
        return (rule.every, rule.listing) == (old.every, old.listing)

    recurring = (rule for rule in proposed.rules.values() if rule.every is not None)
    return sorted(rule.name for rule in recurring if not is_shown(rule, active.rules.get(rule.name)))


def judge_beside(acting: Decision, judge: Callable[[], Decision]) -> set[DifferenceKey]:
    """The differences of a shadow's decision; one that cannot be made is a difference itself, and stops nothing."""
    try:
        return compare_decisions(acting, judge())
    except Exception as error:  # noqa: BLE001 -- whatever a proposed revision does, the acting one goes on
        log.warning("trial.failed", about=acting.about, error=type(error).__name__, where=error_location(error))
        return {(NO_RULE, DifferenceKind.FAILED)}


def compare_decisions(acting: Decision, proposed: Decision) -> set[DifferenceKey]:
    """The differences of the proposed revision, once for each rule and kind."""
    old, new = _Outcome.of(acting), _Outcome.of(proposed)
    found: set[DifferenceKey] = set()
    for gained, lost, before, after in (
        (DifferenceKind.STARTED, DifferenceKind.NOT_STARTED, old.started, new.started),
        (DifferenceKind.ENDED, DifferenceKind.NOT_ENDED, old.ended, new.ended),
        (DifferenceKind.MESSAGE_GAINED, DifferenceKind.MESSAGE_LOST, set(old.messages), set(new.messages)),
        (DifferenceKind.WRITE_GAINED, DifferenceKind.WRITE_LOST, old.writes, new.writes),
        (DifferenceKind.WITHDRAWAL_GAINED, DifferenceKind.WITHDRAWAL_LOST, old.withdrawals, new.withdrawals),
    ):
        found.update((rule, gained) for rule, *_ in after - before)
        found.update((rule, lost) for rule, *_ in before - after)
    for key in old.messages.keys() & new.messages.keys():
        found.update((key[0], kind) for kind in _compare_contents(old.messages[key], new.messages[key]))
    moved = (old.due[chain] for chain in old.due.keys() & new.due.keys() if old.due[chain] != new.due[chain])
    found.update((rule, DifferenceKind.MOVED) for rule, _ in moved)
    return found


_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of a message as its person gets it; empty while the message is held, since it is not rendered yet."""

    wording: str = ""
    document: AttachedDocument | None = None


def _compare_contents(old: _Content, new: _Content) -> Iterator[DifferenceKind]:
    if old.wording != new.wording:
        yield DifferenceKind.MESSAGE_REWORDED
    if old.document != new.document and bool(old.wording) is bool(new.wording):
        yield DifferenceKind.DOCUMENT_CHANGED


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The effects of a decision, by what two revisions have in common: each key begins with a rule."""

    messages: dict[_Key, _Content] = field(default_factory=dict)
    writes: set[_Key] = field(default_factory=set)
    withdrawals: set[_Key] = field(default_factory=set)
    started: set[_Key] = field(default_factory=set)
    ended: set[_Key] = field(default_factory=set)
    due: dict[ChainId, tuple[str, datetime | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, decision: Decision) -> "_Outcome":
        facts = decision.changes
        chains = [facts.chains[ChainId(str(key))] for kind, key in facts.changed if kind == "chain"]
        rules: dict[str, str] = {message.message_id: chain.rule for chain in chains for message in chain.messages}
        planned: dict[_Key, _Content] = {(rule, message): _Content() for message, rule in rules.items()}
        return cls(
            messages=planned | dict(_requested(decision, rules)),
            writes={
                (effect.evidence.rule, effect.record, str(effect.input))
                for effect in decision.effects
                if isinstance(effect, RequestWrite)
            },
            withdrawals={
                (rules.get(effect.message_id, NO_RULE), effect.message_id)
                for effect in decision.effects
                if isinstance(effect, WithdrawMessage)
            },
            started=set(_chains_with(decision, Reason.STARTED)),
            ended=set(_chains_with(decision, Reason.UNTIL)),
            due={chain.chain_id: (chain.rule, chain.next_due) for chain in chains},
        )


def _requested(decision: Decision, rules: dict[str, str]) -> Iterator[tuple[_Key, _Content]]:
    for effect in decision.effects:
        if isinstance(effect, RequestedMessage):
            send = effect.send
            content = _Content(_wording(send), send.document)
            yield (rules.get(send.message_id, send.rule or NO_RULE), send.message_id), content


def _wording(send: SendMessage) -> str:
    return str((send.body, [button.title for button in send.buttons], send.template, send.lane))


def _chains_with(decision: Decision, reason: Reason) -> Iterator[_Key]:
    for verdict in decision.record.verdicts if decision.record is not None else ():
        if verdict.reason == reason:
            yield verdict.rule or NO_RULE, verdict.chain_id or ""


class ObservationKind(StrEnum):
    """The evidence against a canary: an opt-out of a person it wrote to, a failure, or engines that disagree."""

    OPT_OUT = "opt_out"
    FAILURE = "failure"
    DISAGREEMENT = "disagreement"


@dataclass(slots=True)
class TrialDecider:
    """Decides in one transaction by the revision that acts on each key, and keeps what was observed of the trials."""

    in_force: RevisionsInForce
    _judged: Counter[int] = field(default_factory=Counter)
    _differing: dict[tuple[int, str, str], tuple[int, str]] = field(default_factory=dict)
    _observed: dict[tuple[int, ObservationKind, str], dict[str, str]] = field(default_factory=dict)
    _opted_out: set[PersonId] = field(default_factory=set)
    _shadow_view: ProposedView | None = None

    def decide(self, event: Event, facts: Facts, now: datetime) -> tuple[Engine, Decision]:
        """The decision, and the engine that made it."""
        canary = self.in_force.canary
        if canary is not None:
            self._observe_event(canary, event, facts)
            if self._is_for_canary(canary, event, facts, now):
                return self._decide_by_canary(canary, event, facts, now)
        active, shadow = self.in_force.active, self.in_force.shadow
        decision = active.decider.decide(event, facts, now)
        if shadow is not None:
            judge = partial(shadow.engine.decider.decide, event, self._view(shadow).facts(facts), now)
            self._count(shadow.trial, judge_beside(decision, judge), event.id)
        return active, decision

    def _is_for_canary(self, canary: TriedRevision, event: Event, facts: Facts, now: datetime) -> bool:
        """Whether the canary decides. It never decides recurring rules, which are about no work and no person."""
        if isinstance(event.data, PeriodStarted):
            return False
        return in_share(canary.trial, event.partitionkey, partial(_imprint, event, facts, self.in_force.active, now))

    def decide_due(self, chain: Chain, facts: Facts, now: datetime) -> tuple[Engine, Decision]:
        """Decide the due steps of a chain; the canary does where the chain began under it."""
        canary = self.in_force.canary
        if canary is not None and canary.engine.revision == chain.revision:
            self._judged[canary.trial.number] += 1
            return canary.engine, canary.engine.decider.decide_due(chain, facts, now)
        active, shadow = self.in_force.active, self.in_force.shadow
        decision = active.decider.decide_due(chain, facts, now)
        if shadow is not None and chain.revision == active.revision:
            self._count(shadow.trial, self._judge_due(shadow, decision, chain, facts, now), decision.about)
        return active, decision

    def _judge_due(
        self, shadow: TriedRevision, decision: Decision, chain: Chain, facts: Facts, now: datetime
    ) -> set[DifferenceKey]:
        seen = self._view(shadow).facts(facts)
        as_begun = seen.chains[chain.chain_id]
        if as_begun.revision != shadow.engine.revision:
            return {(chain.rule, DifferenceKind.STEPS_CHANGED)}
        return judge_beside(decision, partial(shadow.engine.decider.decide_due, as_begun, seen, now))

    def _view(self, shadow: TriedRevision) -> ProposedView:
        if self._shadow_view is None:
            self._shadow_view = ProposedView.of(self.in_force.active.rulebook, shadow.engine.rulebook)
        return self._shadow_view

    def _decide_by_canary(
        self, canary: TriedRevision, event: Event, facts: Facts, now: datetime
    ) -> tuple[Engine, Decision]:
        """Let the canary decide. Where it fails, the failure is counted, and the acting revision decides."""
        self._judged[canary.trial.number] += 1
        decider, active = canary.engine.decider, self.in_force.active
        before = decider.matcher.disagreements
        try:
            decided = canary.engine, decider.decide(event, facts, now)
        except Exception as error:  # noqa: BLE001 -- whatever a proposed revision does, the acting one goes on
            log.warning("trial.failed", about=event.id, error=type(error).__name__, where=error_location(error))
            self._observe(canary.trial, ObservationKind.FAILURE, event.id, error=type(error).__name__)
            decided = active, active.decider.decide(event, facts, now)
        if decider.matcher.disagreements > before:
            self._observe(canary.trial, ObservationKind.DISAGREEMENT, event.id)
        return decided

    def _observe_event(self, canary: TriedRevision, event: Event, facts: Facts) -> None:
        """Observe an opt-out, or a message of one of the canary's chains that failed."""
        data = event.data
        if isinstance(data, MessageReceived) and is_opt_out(data):
            self._opted_out |= facts.ids_of_person(data.person_id, *data.shared_with)
        elif isinstance(data, MessageFailed):
            chains = (chain for chain, _ in facts.chains_of_message(data.message_id))
            if any(chain.revision == canary.engine.revision for chain in chains):
                self._observe(canary.trial, ObservationKind.FAILURE, event.id, code=str(data.code))

    def _count(self, trial: Trial, found: Iterable[DifferenceKey], about: str) -> None:
        """``about`` is the event, or the due instant of a chain."""
        self._judged[trial.number] += 1
        for rule, kind in found:
            count, _ = self._differing.get((trial.number, rule, kind), (0, ""))
            self._differing[trial.number, rule, kind] = count + 1, about

    def _observe(self, trial: Trial, kind: ObservationKind, about: str, **detail: str) -> None:
        self._observed[trial.number, kind, about] = detail

    async def save(self, connection: Connection, tenant: TenantId, now: datetime) -> None:
        """Save what was observed, and turn the canary back where that passes one of its bounds.

        ``now`` is machine time.
        """
        canary = self.in_force.canary
        if canary is not None and self._opted_out:
            rows = await connection.fetch(QUERIES.written_to, tenant, canary.engine.revision, sorted(self._opted_out))
            for row in rows:
                self._observe(canary.trial, ObservationKind.OPT_OUT, derive_id("opt_out", row["person_id"]))
        for trial, judged in sorted(self._judged.items()):
            await connection.execute(QUERIES.count_judged, trial, judged)
        if self._differing:
            counted = sorted((*key, *value) for key, value in self._differing.items())
            await connection.execute(QUERIES.count_differences, *_columns(counted), now)
        if self._observed:
            observed = sorted((*key, orjson.dumps(detail).decode()) for key, detail in self._observed.items())
            await connection.execute(QUERIES.observe_trial, *_columns(observed), now)
            await turn_back(connection, tenant, now)


async def observe_set_aside(connection: Connection, tenant: TenantId, chain: str, error: str, now: datetime) -> None:
    """Count a failed due step against the canary where its chain began under it. ``now`` is machine time."""
    if await connection.fetchval(QUERIES.observe_set_aside, tenant, chain, error, now):
        await turn_back(connection, tenant, now)


async def turn_back(connection: Connection, tenant: TenantId, now: datetime) -> None:
    """End the canary where more was observed than it may have; the acting revision decides on its keys again."""
    for row in await connection.fetch(QUERIES.turn_back, tenant, now):
        log.error("trial.ended", trial=row["number"], revision=row["revision"], cause=row["cause"])


def _imprint(event: Event, facts: Facts, active: Engine, now: datetime) -> object:
    return Document(event.data, facts, active.rulebook.calendar, now).get("work.imprint.id")


def _columns(rows: Iterable[tuple[object, ...]]) -> Iterator[list[object]]:
    return map(list, zip(*rows, strict=True))
