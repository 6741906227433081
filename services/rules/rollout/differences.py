"""The differences between what a proposed revision decides and what the acting one does.

The proposed revision decides from the same facts about the same event or due step, with the live chains as if they had
begun under it. Only this one decision is compared. A chain whose rule has other steps in the proposed revision cannot
be judged at a later step.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision, Reason, RequestedMessage
from services.rules.conversation.facts import Facts, Overlay
from services.rules.rollout.activations import TrialKind
from services.rules.rulebook.model import Rule, Rulebook
from shared.contracts.ids import ChainId, Revision, RuleId
from shared.contracts.messages import AttachedDocument, SendMessage, WithdrawMessage
from shared.contracts.writes import RequestWrite
from shared.runtime.telemetry import error_location, get_logger

log = get_logger()

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

    Under a canary these are all that are new or changed. A shadow judges a changed rule whenever the old one starts. It
    misses rules that start at other times, or that list something else.
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
