"""Flows: what the jobs of the publisher asked, what was answered and written, and how long it took."""

from dev.observability.dashboards.common import quantile
from dev.observability.panels import Dashboard, Kind, Panel, Query, Row

_OF_FLOW = "* on (rule) group_left (flow) stet:rule_info"
_QUESTIONS = 'verb=~"ask|hand_over|collect"'


def _by_flow(inside: str) -> str:
    return f"sum by (flow) ({inside} {_OF_FLOW})"


def _quantile(share: float) -> str:
    counted = "sum by (le, rule) (increase(stet_answer_duration_seconds_bucket[$__range]))"
    return f"histogram_quantile({share}, sum by (le, flow) ({counted} {_OF_FLOW}))"


def flows_dashboard() -> Dashboard:
    asked = f"sum by (rule) (increase(stet_messages_requested_total{{{_QUESTIONS}}}[$__range]))"
    answered = "sum by (rule) (increase(stet_answer_duration_seconds_count[$__range]))"
    written = 'sum by (rule) (increase(stet_write_outcomes_total{outcome=~"verified|already_applied"}[$__range]))'
    open_now = "max by (namespace, rule) (stet_open_questions)"
    oldest = "max by (rule) (stet_oldest_open_question_age_seconds)"
    return Dashboard(
        "flows",
        "Stet / Flows",
        "The jobs of the publisher, one folder of rules each: what was asked, answered, written, how fast.",
        [
            Row(
                "The jobs",
                [
                    Panel(
                        "What was asked, answered and written, and what is open?",
                        "Over the time shown, by folder of rules. A job that only tells people something asks nothing.",
                        "short",
                        [
                            Query(
                                _by_flow("sum by (rule) (increase(stet_messages_requested_total[$__range]))"),
                                "messages",
                            ),
                            Query(_by_flow(asked), "asked"),
                            Query(_by_flow(answered), "answered"),
                            Query(_by_flow(written), "written"),
                            Query(_by_flow(open_now), "open now"),
                        ],
                        Kind.TABLE,
                        width=12,
                        height=10,
                    ),
                    Panel(
                        "How long do people take to answer?",
                        "Median and the time within which nine of ten answer, over the time shown, for questions "
                        "that were answered.",
                        "s",
                        [
                            Query(_quantile(0.5), "median {{flow}}"),
                            Query(_quantile(0.9), "p90 {{flow}}"),
                        ],
                        Kind.BARS,
                        width=12,
                        height=10,
                    ),
                ],
            ),
            Row(
                "Over time",
                [
                    Panel(
                        "How many questions wait for an answer?",
                        "One for each chain and person; reminders are not counted.",
                        "short",
                        [Query(_by_flow(open_now), "{{flow}}")],
                        stacked=True,
                    ),
                    Panel(
                        "How old is the oldest unanswered question?",
                        "Business time since it was first asked. Rules remind and escalate within days.",
                        "s",
                        [Query(f"max by (flow) ({oldest} {_OF_FLOW})", "{{flow}}")],
                        limits=(14 * 86400, 21 * 86400),
                    ),
                    Panel(
                        "By what were replies joined to their question?",
                        "button, quote, code, form and only_question found it; several, shared, unknown_quote and "
                        "nothing did not, and a colleague reads the message.",
                        "short",
                        [Query("sum by (path) (increase(stet_replies_total[$__range]))", "{{path}}")],
                        Kind.BARS,
                    ),
                    Panel(
                        "What became of the writes to Consonance?",
                        "conflict: Consonance changed meanwhile, and people are told. manual: a person enters it.",
                        "short",
                        [
                            Query(
                                "sum by (operation) (increase(stet_writes_requested_total[$__range]))",
                                "{{operation}}: requested",
                            ),
                            Query(
                                "sum by (operation, outcome) (increase(stet_write_outcomes_total[$__range]))",
                                "{{operation}}: {{outcome}}",
                            ),
                        ],
                        Kind.BARS,
                    ),
                ],
            ),
            Row("Writes", _writes()),
        ],
        since="7d",
    )


def _writes() -> list[Panel]:
    return [
        Panel(
            "How long does a reply take to reach Consonance?",
            "From the request of a write to its verified outcome; the promise is 60 seconds.",
            "s",
            [
                Query(quantile(share, "stet_write_duration_seconds"), name)
                for share, name in ((0.5, "median"), (0.99, "p99"))
            ],
            limits=(30, 60),
            empty_because="between two writes there is no rate",
        ),
        Panel(
            "How many writes wait, and how many stand behind a manual task?",
            "Pending writes are due or read again later. A manual task holds back later writes of its record.",
            "short",
            [
                Query("sum(max by (namespace) (stet_pending_writes))", "pending"),
                Query("sum(max by (namespace) (stet_blocked_writes))", "behind a manual task"),
                Query("sum(max by (namespace, operation) (stet_open_manual_tasks)) or vector(0)", "manual tasks"),
            ],
        ),
        Panel(
            "Is writing paused, and why?",
            "down: Consonance is away; unreadable: it shows no record; throttled: too many requests; "
            "key_refused: put a valid key in place.",
            "short",
            [Query("max by (reason) (stet_writes_paused)", "{{reason}}")],
            limits=(1, 1),
        ),
        Panel(
            "How does Consonance answer us?",
            "Requests by what came back, reads and writes together.",
            "reqps",
            [
                Query(
                    "sum by (kind, outcome) (rate(stet_consonance_requests_total[$__rate_interval]))",
                    "{{kind}}: {{outcome}}",
                )
            ],
        ),
        Panel(
            "How long does Consonance take to answer?",
            "Ninety-nine of a hundred requests, reads and writes apart.",
            "s",
            [Query(quantile(0.99, "stet_consonance_request_duration_seconds", "kind"), "{{kind}}")],
            limits=(2, 10),
            empty_because="between two requests there is no rate",
        ),
        Panel(
            "How old is the oldest write that is not done?",
            "A pending one is a page from half an hour on, a manual task a ticket from two days on.",
            "s",
            [
                Query("max(stet_oldest_pending_write_age_seconds)", "pending"),
                Query("max by (operation) (stet_oldest_manual_task_age_seconds)", "manual task: {{operation}}"),
            ],
            limits=(1800, 172800),
        ),
        Panel(
            "Which operations does this Consonance offer?",
            "1 where it offers an operation of the mapping; of the others each write becomes a task for a person.",
            "short",
            [Query("max by (operation) (stet_operation_supported)", "{{operation}}")],
            Kind.BARS,
        ),
    ]
