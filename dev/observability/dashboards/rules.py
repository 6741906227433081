"""Rules: what is in force, what it decides and why; and one page for each owner of rules."""

from collections.abc import Sequence

from dev.observability.dashboards.common import number_panel, quantile
from dev.observability.panels import Dashboard, Kind, Panel, Query, Row
from dev.observability.rule_files import DashboardRule


def rules_dashboard() -> Dashboard:
    return Dashboard(
        "rules",
        "Stet / Rules",
        "Which rules are in force, what they decide and why, and whether the two engines agree.",
        [
            Row(
                "In force",
                [
                    Panel(
                        "Which revision is in force in which replica?",
                        "More than one revision outside a roll-out is an alert.",
                        "none",
                        [Query("max by (namespace, instance, revision, commit) (stet_rules_revision_info)", "replica")],
                        Kind.TABLE,
                        height=5,
                    ),
                    number_panel(
                        "Rules refused",
                        "Replicas whose source holds rules that do not pass; the earlier ones stay in force.",
                        "short",
                        "sum(stet_rulebook_refused)",
                        (1, 1),
                    ),
                    number_panel(
                        "Partitions behind",
                        "Not known to be decided by the revision in force; a switch takes seconds.",
                        "short",
                        "max(stet_rulebook_partitions_behind)",
                        (1, 12),
                    ),
                    number_panel(
                        "Age of the revision",
                        "Since the revision in force was activated.",
                        "s",
                        "max(stet_rules_revision_age_seconds)",
                    ),
                    number_panel(
                        "Disagreements",
                        "Answers in which evaluator and durable-rules differed, over the time shown. A bug of ours.",
                        "short",
                        "sum(increase(stet_second_engine_disagreements_total[$__range]))",
                        (1, 1),
                    ),
                    number_panel(
                        "Second engines running",
                        "Replicas in which durable-rules runs beside the evaluator; none on Python 3.13 and later.",
                        "short",
                        "sum(stet_second_engine_available)",
                    ),
                    number_panel(
                        "Source differs",
                        "1 while the source holds usable rules that are not in force.",
                        "short",
                        "max(stet_rulebook_differs)",
                        (1, 1),
                    ),
                    number_panel(
                        "Age of the source",
                        "Since the folder or bundle of the rules was last read.",
                        "s",
                        "max(stet_rulebook_source_age_seconds)",
                        (300, 900),
                    ),
                    number_panel(
                        "Canary turned back",
                        "1 while the newest canary is one that passed a bound.",
                        "short",
                        "max(stet_rulebook_canary_turned_back)",
                        (1, 1),
                    ),
                    number_panel(
                        "Events waiting",
                        "They name people, works or messages that are not known yet; at most two minutes each.",
                        "short",
                        "sum(max by (namespace) (stet_waiting_events))",
                        (100, 1000),
                    ),
                    number_panel(
                        "Chains set aside",
                        "They failed and wait for an operator.",
                        "short",
                        "sum(max by (namespace) (stet_chains_set_aside))",
                        (1, 5),
                    ),
                ],
            ),
            Row("Decisions", _decisions("")),
            Row(
                "On time",
                [
                    Panel(
                        "How long after its recording is an event decided?",
                        "Half and ninety-nine of a hundred; the promise is 30 seconds.",
                        "s",
                        [
                            Query(quantile(share, "stet_decision_delay_seconds"), name)
                            for share, name in ((0.5, "median"), (0.99, "p99"))
                        ],
                        limits=(10, 30),
                        empty_because="between two events there is no rate",
                    ),
                    Panel(
                        "How late are due steps, and how long do events wait?",
                        "Due steps wait for partitions to be read; events for people and works unknown yet.",
                        "s",
                        [
                            Query("max(stet_oldest_due_chain_age_seconds)", "oldest due step"),
                            Query("max(stet_oldest_waiting_event_age_seconds)", "oldest waiting event"),
                        ],
                        limits=(120, 300),
                    ),
                ],
            ),
        ],
    )


def _decisions(matcher: str) -> list[Panel]:
    """The panels of decisions, of all rules or of those that the matcher names."""
    inside = f"{{{matcher}}}" if matcher else ""
    return [
        Panel(
            "What do the rules decide, and why?",
            "Decisions over the time shown, by rule and reason. To send nothing is a decision too.",
            "short",
            [Query(f"sum by (rule, reason) (increase(stet_decisions_total{inside}[$__range])) > 0", "decisions")],
            Kind.TABLE,
        ),
        Panel(
            "How many decisions does each rule make?",
            "Decisions a second. A rule that falls silent has lost its events or its condition.",
            "ops",
            [Query(f"sum by (rule) (rate(stet_decisions_total{inside}[$__rate_interval]))", "{{rule}}")],
        ),
        Panel(
            "What do the rules ask of people?",
            "Messages over the time shown, by rule and verb.",
            "short",
            [
                Query(
                    f"sum by (rule, verb) (increase(stet_messages_requested_total{inside}[$__range]))",
                    "{{rule}}: {{verb}}",
                )
            ],
            Kind.BARS,
        ),
        Panel(
            "Who was not reached, and why?",
            "People that a step left out, over the time shown, by reason.",
            "short",
            [
                Query(
                    f"sum by (rule, reason) (increase(stet_recipients_excluded_total{inside}[$__range]))",
                    "{{rule}}: {{reason}}",
                )
            ],
            Kind.BARS,
            empty_because="in a good hour everybody is reached",
        ),
    ]


def owner_dashboard(owner: str, rules: Sequence[DashboardRule]) -> Dashboard:
    """A panel of answers or writes is there where one of the owner's rules has any."""
    names = [rule.name for rule in rules]
    inside = _inside(names)
    asking = [rule.name for rule in rules if rule.asks]
    writing = [rule.name for rule in rules if rule.writes]
    return Dashboard(
        f"rules-{owner}",
        f"Stet / Rules of {owner}",
        f"The rules that {owner} owns: {', '.join(names)}.",
        [
            Row("Questions", [_open_questions(inside), *([_answers(_inside(asking))] if asking else [])]),
            Row("Decisions", _decisions(_matcher(names))),
            Row(
                "What became of it",
                [
                    Panel(
                        "What became of the messages?",
                        "Steps in the lives of messages over the time shown, by rule and outcome.",
                        "short",
                        [
                            Query(
                                f"sum by (rule, outcome) (increase(stet_messages_total{inside}[$__range]))",
                                "{{rule}}: {{outcome}}",
                            )
                        ],
                        Kind.BARS,
                    ),
                    *([_writes(_inside(writing))] if writing else []),
                ],
            ),
        ],
        since="7d",
    )


def _matcher(names: Sequence[str]) -> str:
    return f'rule=~"{"|".join(names)}"'


def _inside(names: Sequence[str]) -> str:
    return f"{{{_matcher(names)}}}"


def _open_questions(inside: str) -> Panel:
    return Panel(
        "What is open, and since when?",
        "Questions that wait for an answer, and the age of the oldest, by rule.",
        "short",
        [
            Query(f"sum by (rule) (max by (namespace, rule) (stet_open_questions{inside}))", "open"),
            Query(f"max by (rule) (stet_oldest_open_question_age_seconds{inside})", "oldest, in seconds"),
        ],
        Kind.TABLE,
    )


def _answers(inside: str) -> Panel:
    answered = f"stet_answer_duration_seconds_bucket{inside}"
    return Panel(
        "How long do people take to answer?",
        "Median and nine of ten, over the time shown.",
        "s",
        [
            Query(
                f"histogram_quantile({share}, sum by (le, rule) (increase({answered}[$__range])))",
                f"{name} {{{{rule}}}}",
            )
            for share, name in ((0.5, "median"), (0.9, "p90"))
        ],
        Kind.BARS,
        empty_because="over the time shown no question was answered",
    )


def _writes(inside: str) -> Panel:
    return Panel(
        "What became of the writes?",
        "Writes to Consonance over the time shown, by rule and outcome.",
        "short",
        [
            Query(
                f"sum by (rule, outcome) (increase(stet_write_outcomes_total{inside}[$__range]))",
                "{{rule}}: {{outcome}}",
            )
        ],
        Kind.BARS,
        empty_because="over the time shown nothing was written",
    )
