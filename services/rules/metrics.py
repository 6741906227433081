"""Counting decisions, so that an operator sees why things happen or do not. Labels are closed sets."""

from collections import Counter
from typing import Any

from services.rules.conversation.context import ExcludedPerson, RequestedMessage, RequestedWrite
from services.rules.conversation.decider import Decision
from shared.runtime.telemetry import counter


class RulesMetrics:
    """What is counted is kept until ``tell``, once a batch."""

    def __init__(self) -> None:
        self._reasons = counter("stet_rules_decisions_total", "Decisions, by reason", "reason")
        self._said = counter("stet_rules_messages_total", "Messages decided, by verb", "verb")
        self._left_out = counter("stet_rules_left_out_total", "People left out, by reason", "reason")
        self._writes = counter("stet_rules_writes_total", "Writes asked for, by operation", "operation")
        self._counted: Counter[tuple[Any, str]] = Counter()  # by metric and label

    def stayed(self, reason: str, times: int) -> None:
        self._counted[self._reasons, reason] += times

    def count(self, decision: Decision) -> None:
        for reason in decision.reasons:
            self._counted[self._reasons, reason] += 1
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                self._counted[self._said, effect.verb] += 1
            elif isinstance(effect, ExcludedPerson):
                self._counted[self._left_out, effect.reason] += 1
            elif isinstance(effect, RequestedWrite):
                self._counted[self._writes, effect.request.input.operation] += 1

    def tell(self) -> None:
        for (metric, label), times in self._counted.items():
            metric.labels(label).inc(times)
        self._counted.clear()
