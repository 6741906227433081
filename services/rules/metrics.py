"""The metrics of rules: what was decided, why, and how far behind the due chains and the waiting events are."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import Counter

from services.rules.conversation.context import (
    AnsweredQuestion,
    Decision,
    ExcludedPerson,
    ExclusionReason,
    GivenReply,
    HeldStrangers,
    Observation,
    Reason,
    RequestedMessage,
)
from services.rules.conversation.question_lookup import ReplyPath, UnclearQuestion
from services.rules.rulebook.model import Verb
from shared.contracts.ids import Revision
from shared.contracts.writes import RequestWrite, WriteOperation
from shared.runtime.build import UNKNOWN
from shared.runtime.clock import machine_now
from shared.runtime.metrics import DELAYS, NO_RULE, RULE, Metrics, Replicas, add_tally, label, rule_label

_ANSWER_DELAYS = tuple(
    timedelta(**{unit: number}).total_seconds()
    for unit, numbers in {"minutes": (1, 5, 15, 30), "hours": (1, 2, 4, 8, 12), "days": (1, 2, 3, 5, 7, 14)}.items()
    for number in numbers
)

_metrics = Metrics.of("rules")
_reason = label("reason", Reason)
_REVISION = _metrics.gauge(
    "stet_rules_revision_info",
    "Always 1: the rulebook in force in this replica.",
    label("revision", description="of the content of the rule files"),
    label("commit", description="the commit that they come from, else `unknown`"),
    replicas=Replicas.SUM,
)
_REVISION_AGE = _metrics.gauge(
    "stet_rules_revision_age_seconds", "Machine time since the revision in force was activated."
)
_SOURCE_AGE = _metrics.gauge(
    "stet_rulebook_source_age_seconds", "Machine time since the source of the rules was last read."
)
_SOURCE_REFUSED = _metrics.gauge(
    "stet_rulebook_refused", "1 while the source holds rules that are refused, and the earlier ones stay in force."
)
_SOURCE_DIFFERS = _metrics.gauge(
    "stet_rulebook_differs", "1 while the source holds usable rules other than those in force."
)
_PARTITIONS_BEHIND = _metrics.gauge(
    "stet_rulebook_partitions_behind", "Partitions that are not known to be decided by the revision in force."
)
_CANARY_TURNED_BACK = _metrics.gauge(
    "stet_rulebook_canary_turned_back",
    "1 while the newest canary of the rules is one that passed a bound and was ended.",
)
_DECISIONS = _metrics.counter("stet_decisions_total", "Decisions: one for each rule and reason.", RULE, _reason)
_DECISION_DELAY = _metrics.histogram(
    "stet_decision_delay_seconds", "Time from the recording of an event by ingest to its decision.", buckets=DELAYS
)
_REQUESTED_MESSAGES = _metrics.counter(
    "stet_messages_requested_total", "Messages requested from dispatcher.", RULE, label("verb", Verb)
)
_EXCLUDED = _metrics.counter(
    "stet_recipients_excluded_total",
    "People that a step of a rule did not reach.",
    RULE,
    label("reason", ExclusionReason),
)
_REQUESTED_WRITES = _metrics.counter(
    "stet_writes_requested_total", "Writes requested from writeback.", RULE, label("operation", WriteOperation)
)
_REPLIES = _metrics.counter(
    "stet_replies_total",
    "Messages of people, by how the question that they answer was found, or why none was found.",
    label("path", (*ReplyPath, *UnclearQuestion)),
)
_ANSWER_DURATION = _metrics.histogram(
    "stet_answer_duration_seconds",
    "Time from the first request of a question to a person until their final answer.",
    RULE,
    buckets=_ANSWER_DELAYS,
)
_OPEN_QUESTIONS = _metrics.gauge(
    "stet_open_questions",
    "Questions that wait for an answer: one for each chain and person, reminders not counted.",
    RULE,
)
_OLDEST_QUESTION_AGE = _metrics.gauge(
    "stet_oldest_open_question_age_seconds", "Time since the oldest open question was first requested.", RULE
)
_OLDEST_DUE_AGE = _metrics.gauge("stet_oldest_due_chain_age_seconds", "Time since the oldest due chain fell due.")
_CHAINS_SET_ASIDE = _metrics.gauge("stet_chains_set_aside", "Chains that failed and wait for an operator.")
_WAITING_EVENTS = _metrics.gauge("stet_waiting_events", "Events that wait for a person, a work or a message.")
_OLDEST_WAITING_AGE = _metrics.gauge(
    "stet_oldest_waiting_event_age_seconds", "Time since the oldest waiting event began to wait."
)
_SECOND_ENGINE_AVAILABLE = _metrics.gauge(
    "stet_second_engine_available", "1 where durable-rules runs beside the evaluator, else 0.", replicas=Replicas.SUM
)
_DISAGREEMENTS = _metrics.counter(
    "stet_second_engine_disagreements_total", "Answers in which the evaluator and durable-rules differed."
)
_OLDEST_PAUSE_AGE = _metrics.gauge(
    "stet_oldest_rule_pause_age_seconds",
    "Time since the oldest pause of a rule or of the tenant began; 0 where there is none.",
)


@dataclass(frozen=True, slots=True)
class OpenQuestions:
    """The open questions of one rule; ``oldest`` is when the first of them was requested (business time)."""

    rule: str
    questions: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """Instants are business time, ``oldest_pause`` machine time; None where nothing is due, waits or is paused."""

    oldest_due: datetime | None
    waiting: int
    oldest_waiting: datetime | None
    set_aside: int
    oldest_pause: datetime | None
    questions: Sequence[OpenQuestions]


@dataclass(slots=True)
class DecisionTally:
    """The decisions of one transaction, counted once it is committed.

    ``silent`` are the events from which nothing follows, by the reason and the revision; ``delays`` the seconds from
    the recording of an event to its decision.
    """

    silent: dict[tuple[str, Revision], list[str]] = field(default_factory=lambda: defaultdict(list))
    delays: list[float] = field(default_factory=list)
    _counted: dict[Counter, Tally[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(Tally))
    _answers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def _add_observations(self, observations: Iterable[Observation]) -> None:
        for one in observations:
            match one:
                case GivenReply(path):
                    self._counted[_REPLIES][path,] += 1
                case AnsweredQuestion(rule, waited):
                    self._answers[rule_label(rule)].append(waited.total_seconds())
                case HeldStrangers():
                    pass  # counted by its reason

    def add(self, decision: Decision) -> None:
        counted = self._counted
        if decision.observations:
            self._add_observations(decision.observations)
        for verdict in decision.record.verdicts if decision.record is not None else ():
            counted[_DECISIONS][rule_label(verdict.rule), verdict.reason] += 1
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                counted[_REQUESTED_MESSAGES][rule_label(effect.send.rule), effect.verb] += 1
            elif isinstance(effect, ExcludedPerson):
                chain = decision.changes.chains.get(effect.chain_id)
                counted[_EXCLUDED][rule_label(chain.rule if chain else None), effect.reason] += 1
            elif isinstance(effect, RequestWrite):
                counted[_REQUESTED_WRITES][rule_label(effect.evidence.rule), effect.input.operation] += 1

    def publish(self) -> None:
        for (reason, _), events in self.silent.items():
            self._counted[_DECISIONS][NO_RULE, reason] += len(events)
        for metric, tally in self._counted.items():
            add_tally(metric, tally)
        for rule, waited in self._answers.items():
            _ANSWER_DURATION.labels(rule).observe_all(waited)
        _DECISION_DELAY.observe_all(self.delays)


class RulesMetrics:
    """The gauges of a process, and its disagreements."""

    def __init__(self) -> None:
        self._disagreements_seen = 0
        self._revision: tuple[str, str] | None = None
        self._rules: set[str] = set()  # whose questions are shown, with 0 where none is open

    def set_revision(self, revision: str, commit: str | None, rules: Iterable[str]) -> None:
        labels = (revision, commit or UNKNOWN)
        if self._revision == labels:
            return
        if self._revision is not None:
            _REVISION.remove(*self._revision)
        _REVISION.labels(*labels).set(1)
        self._revision = labels
        self._rules.update(map(rule_label, rules))
        for rule in self._rules:  # or Prometheus would not see the first of them: a series has to begin with 0
            _DECISIONS.labels(rule, Reason.STARTED)
            _DECISIONS.labels(rule, Reason.TOO_MANY_STARTS)
            _ANSWER_DURATION.labels(rule)
        for reason in (Reason.BRAKED, Reason.STRANGERS_BRAKED):
            _DECISIONS.labels(NO_RULE, reason)

    def set_rollout(
        self,
        *,
        age: float,
        source_age: float,
        is_refused: bool,
        differs: bool,
        partitions_behind: int,
        turned_back: bool,
    ) -> None:
        """Ages are seconds of machine time."""
        _REVISION_AGE.set(age)
        _SOURCE_AGE.set(source_age)
        _SOURCE_REFUSED.set(is_refused)
        _SOURCE_DIFFERS.set(differs)
        _PARTITIONS_BEHIND.set(partitions_behind)
        _CANARY_TURNED_BACK.set(turned_back)

    def set_second_engine(self, *, available: bool) -> None:
        _SECOND_ENGINE_AVAILABLE.set(available)

    def set_disagreements(self, total: int) -> None:
        """``total`` counts since the start of the process."""
        _DISAGREEMENTS.inc(total - self._disagreements_seen)
        self._disagreements_seen = total

    def set_backlog(self, now: datetime, backlog: Backlog) -> None:
        """``now`` is business time."""
        _OLDEST_DUE_AGE.set(_age(backlog.oldest_due, now))
        _WAITING_EVENTS.set(backlog.waiting)
        _OLDEST_WAITING_AGE.set(_age(backlog.oldest_waiting, now))
        _CHAINS_SET_ASIDE.set(backlog.set_aside)
        _OLDEST_PAUSE_AGE.set(_age(backlog.oldest_pause, machine_now()))
        questions, ages = Tally[str](), dict[str, float]()
        for one in backlog.questions:
            rule = rule_label(one.rule)
            questions[rule] += one.questions
            ages[rule] = max(ages.get(rule, 0.0), _age(one.oldest, now))
        self._rules.update(questions)
        for rule in self._rules:
            _OPEN_QUESTIONS.labels(rule).set(questions[rule])
            _OLDEST_QUESTION_AGE.labels(rule).set(ages.get(rule, 0.0))


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since is not None else 0.0
