"""The metrics of rules: what was decided, why, and how far behind the due chains and the waiting events are."""

from collections import Counter
from datetime import datetime
from typing import Any

from services.rules.conversation.context import ExcludedPerson, RequestedMessage, RequestedWrite
from services.rules.conversation.decider import Decision
from shared.runtime.telemetry import counter, gauge


class RulesMetrics:
    """Decisions are counted in memory until ``publish``, once a batch. Labels are closed sets."""

    def __init__(self) -> None:
        self._decisions = counter("stet_rules_decisions_total", "Decisions, by reason.", "reason")
        self._messages = counter("stet_rules_messages_requested_total", "Messages requested, by verb.", "verb")
        self._excluded = counter("stet_rules_people_excluded_total", "People excluded, by reason.", "reason")
        self._writes = counter("stet_rules_writes_requested_total", "Writes requested, by operation.", "operation")
        self._disagreements = counter(
            "stet_rules_shadow_disagreements_total", "Answers in which evaluator and durable-rules differed."
        )
        self._shadow = gauge("stet_rules_shadow_available", "Whether durable-rules runs beside the evaluator (1 or 0).")
        self._late = gauge("stet_rules_due_late_seconds", "Business time since the oldest due chain fell due.")
        self._set_aside = gauge("stet_rules_chains_set_aside", "Chains that failed and wait for an operator.")
        self._waiting = gauge("stet_rules_waiting_oldest_seconds", "Business time the oldest waiting event has waited.")
        self._counted: Counter[tuple[Any, str]] = Counter()  # by metric and label
        self._disagreements_seen = 0

    def count_silent(self, reason: str, times: int) -> None:
        self._counted[self._decisions, reason] += times

    def count(self, decision: Decision) -> None:
        for reason in decision.reasons:
            self._counted[self._decisions, reason] += 1
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                self._counted[self._messages, effect.verb] += 1
            elif isinstance(effect, ExcludedPerson):
                self._counted[self._excluded, effect.reason] += 1
            elif isinstance(effect, RequestedWrite):
                self._counted[self._writes, effect.request.input.operation] += 1

    def publish(self) -> None:
        for (metric, label), times in self._counted.items():
            metric.labels(label).inc(times)
        self._counted.clear()

    def set_shadow(self, *, available: bool) -> None:
        self._shadow.set(1 if available else 0)

    def set_disagreements(self, total: int) -> None:
        """``total`` counts since the start of the process."""
        self._disagreements.inc(total - self._disagreements_seen)
        self._disagreements_seen = total

    def set_backlog(
        self, now: datetime, *, oldest_due: datetime | None, oldest_waiting: datetime | None, set_aside: int
    ) -> None:
        """All instants are business time; None where nothing is due or waits."""
        self._late.set(max(0.0, (now - oldest_due).total_seconds()) if oldest_due else 0)
        self._waiting.set((now - oldest_waiting).total_seconds() if oldest_waiting else 0)
        self._set_aside.set(set_aside)
