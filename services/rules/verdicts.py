"""Counting decisions, so that an operator sees why things happen or do not. Labels are closed sets."""

from functools import cache

from services.rules.decide import Decision
from services.rules.desk import LeftOut, Said, Wrote
from shared.telemetry import counter


class Verdicts:
    def __init__(self) -> None:
        self._reasons = counter("stet_rules_decisions_total", "Decisions, by reason", "reason")
        self._reason = cache(self._reasons.labels)
        self._said = counter("stet_rules_messages_total", "Messages decided, by verb", "verb")
        self._left_out = counter("stet_rules_left_out_total", "People left out, by reason", "reason")
        self._writes = counter("stet_rules_writes_total", "Writes asked for, by operation", "operation")

    def stayed(self, reason: str, times: int) -> None:
        self._reason(reason).inc(times)

    def count(self, decision: Decision) -> None:
        for reason in decision.reasons:
            self.stayed(reason, 1)
        for effect in decision.effects:
            if isinstance(effect, Said):
                self._said.labels(effect.verb).inc()
            elif isinstance(effect, LeftOut):
                self._left_out.labels(effect.reason).inc()
            elif isinstance(effect, Wrote):
                self._writes.labels(effect.request.input.operation).inc()
