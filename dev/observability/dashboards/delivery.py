"""Delivery: the way of messages through WhatsApp."""

from dev.observability.dashboards.common import NO_TROUBLE, number_panel, quantile
from dev.observability.panels import Dashboard, Kind, Panel, Query, Row


def delivery_dashboard() -> Dashboard:
    return Dashboard(
        "delivery",
        "Stet / Delivery",
        "The way of messages through WhatsApp: what was sent, delivered, read, refused, and what waits.",
        [
            Row(
                "Now",
                [
                    number_panel(
                        "Who sends?",
                        "Exactly one replica of the dispatcher leads and sends.",
                        "short",
                        'sum by (namespace) (stet_leader{task="sender"})',
                    ),
                    number_panel(
                        "Messages waiting",
                        "Messages that wait for a limit, a window or their turn.",
                        "short",
                        "sum(max by (namespace, lane) (stet_waiting_messages))",
                    ),
                    number_panel(
                        "Oldest waiting",
                        "Business time since the oldest waiting message was requested.",
                        "s",
                        "max(stet_oldest_waiting_message_age_seconds)",
                        (600, 3600),
                    ),
                    number_panel(
                        "Sends in flight", "Begun, with no committed outcome yet.", "short", "sum(stet_sends_in_flight)"
                    ),
                    number_panel(
                        "Oldest uncertain send",
                        "Business time since it began. From six hours on it is a ticket.",
                        "s",
                        "max(stet_oldest_uncertain_send_age_seconds)",
                        (3600, 21600),
                    ),
                    number_panel(
                        "Messages set aside",
                        "No loop reads them until an operator releases them.",
                        "short",
                        "sum(max by (namespace) (stet_messages_set_aside))",
                        (1, 1),
                    ),
                ],
            ),
            Row(
                "Messages",
                [
                    Panel(
                        "What became of the messages?",
                        "Steps in the lives of messages over the time shown, such as accepted, delivered, failed.",
                        "short",
                        [Query("sum by (outcome) (increase(stet_messages_total[$__range]))", "{{outcome}}")],
                        Kind.BARS,
                    ),
                    Panel(
                        "Why were messages not sent or not delivered?",
                        "Outcomes with a reason, over the time shown. The reasons are a closed set.",
                        "short",
                        [
                            Query(
                                'sum by (outcome, reason) (increase(stet_messages_total{reason!=""}[$__range])) > 0',
                                "number",
                            )
                        ],
                        Kind.TABLE,
                        empty_because="a message that is simply sent and read has no reason",
                    ),
                    Panel(
                        "How long does a message wait until WhatsApp has accepted it?",
                        "Nine of ten, with all waits. Budgets: critical 1 minute, normal 10, bulk 60.",
                        "s",
                        [Query(quantile(0.9, "stet_message_delay_seconds", "lane"), "{{lane}}")],
                        limits=(60, 600),
                        empty_because="between two messages there is no rate",
                    ),
                    Panel(
                        "How many messages wait, by lane?",
                        "A queue that grows is held by a limit of WhatsApp, a pause or a stopped line.",
                        "short",
                        [Query("sum by (lane) (max by (namespace, lane) (stet_waiting_messages))", "{{lane}}")],
                        stacked=True,
                    ),
                ],
            ),
            Row(
                "WhatsApp",
                [
                    Panel(
                        "How does WhatsApp answer our sends?",
                        "Requests a second, by outcome. no_answer is an uncertain send.",
                        "reqps",
                        [Query("sum by (outcome) (rate(stet_sends_total[$__rate_interval]))", "{{outcome}}")],
                    ),
                    Panel(
                        "Which errors does WhatsApp return?",
                        "Errors a second, by class.",
                        "reqps",
                        [
                            Query(
                                "sum by (error_class) (rate(stet_whatsapp_errors_total[$__rate_interval]))",
                                "{{error_class}}",
                            )
                        ],
                        empty_because=NO_TROUBLE,
                    ),
                    Panel(
                        "How long does WhatsApp take to answer?",
                        "Half and ninety-nine of a hundred requests.",
                        "s",
                        [
                            Query(quantile(share, "stet_whatsapp_request_duration_seconds"), name)
                            for share, name in ((0.5, "median"), (0.99, "p99"))
                        ],
                        limits=(2, 10),
                        empty_because="between two sends there is no rate",
                    ),
                    Panel(
                        "What does the planner decide?",
                        "send, wait or drop, with the reason: why a message does not leave now.",
                        "ops",
                        [
                            Query(
                                "sum by (action, reason) (rate(stet_planned_messages_total[$__rate_interval]))",
                                "{{action}} {{reason}}",
                            )
                        ],
                    ),
                ],
            ),
            Row(
                "What holds messages",
                [
                    Panel(
                        "What do messages wait for?",
                        "A template, a limit of the account, or the month's budget. The planner has all reasons.",
                        "short",
                        [
                            Query("max by (reason) (stet_template_waiting_messages)", "{{reason}}"),
                            Query("max by (reason) (stet_limited_messages)", "{{reason}}"),
                            Query("max(stet_budget_held_messages)", "budget"),
                        ],
                        stacked=True,
                    ),
                    Panel(
                        "How long has something been paused by an operator?",
                        "From a day on it is a ticket: what is paused may expire.",
                        "s",
                        [
                            Query("max by (kind) (stet_oldest_message_pause_age_seconds)", "{{kind}}"),
                            Query("max(stet_oldest_rule_pause_age_seconds)", "rule, or steps of the tenant"),
                        ],
                        limits=(43200, 86400),
                    ),
                    Panel(
                        "In which state are the templates?",
                        "As WhatsApp last reported each, and those that it moved to marketing.",
                        "short",
                        [
                            Query("max by (status) (stet_templates)", "{{status}}"),
                            Query("max(stet_templates_recategorised)", "moved to marketing"),
                        ],
                        Kind.BARS,
                    ),
                    Panel(
                        "How is the account's list of templates read?",
                        "Readings over the time shown. It is read every ten minutes.",
                        "short",
                        [Query("sum by (outcome) (increase(stet_template_readings_total[$__range]))", "{{outcome}}")],
                        Kind.BARS,
                    ),
                ],
            ),
            Row(
                "Cost",
                [
                    Panel(
                        "What has the month cost, and what may it cost?",
                        "In the currency of the rate card; 0 without a card or a budget. warning: 1 from its share on.",
                        "none",
                        [
                            Query("max(stet_month_cost_units)", "cost"),
                            Query("max(stet_month_budget_units)", "budget"),
                            Query("max(stet_month_unpriced_messages)", "messages without a price"),
                            Query("max(stet_budget_warning)", "warning"),
                        ],
                    ),
                    Panel(
                        "Which messages does WhatsApp charge for?",
                        "As its statuses said, over the time shown. stet cost has the sums.",
                        "short",
                        [
                            Query(
                                "sum by (category, pricing_type) (increase(stet_charged_messages_total[$__range]))",
                                "{{category}}: {{pricing_type}}",
                            )
                        ],
                        Kind.BARS,
                    ),
                ],
            ),
            Row(
                "Lines and coverage",
                [
                    Panel(
                        "Which lines are stopped?",
                        "1 while a line sends nothing until a person acts.",
                        "short",
                        [Query("max by (line) (stet_line_stopped)", "{{line}}")],
                        limits=(1, 1),
                        empty_because="a line appears when WhatsApp has once stopped it",
                        width=6,
                    ),
                    Panel(
                        "How does WhatsApp rate the number of each line?",
                        "1 for the quality last read, every ten minutes. YELLOW or RED: people block or report it.",
                        "short",
                        [Query("max by (line, quality) (stet_line_quality) > 0", "{{line}}: {{quality}}")],
                        width=6,
                    ),
                    Panel(
                        "What does Meta warn of?",
                        "Warnings of the last seven days, before a restriction. stet status has Meta's words.",
                        "short",
                        [Query("max(stet_account_warnings)", "warnings")],
                        limits=(1, 1),
                        width=6,
                    ),
                    Panel(
                        "Is the webhook covered?",
                        "gap open: silence proves nothing. catching up: the leader reads and does not send yet. unread "
                        "partitions: their people get nothing.",
                        "short",
                        [
                            Query("max(stet_webhook_gap_open)", "gap open"),
                            Query("sum(increase(stet_webhook_gaps_total[$__rate_interval]))", "gaps that opened"),
                            Query("max(stet_catching_up)", "catching up"),
                            Query("sum(stet_unread_partitions)", "unread partitions"),
                        ],
                        limits=(1, 1),
                        width=6,
                    ),
                ],
            ),
        ],
    )
