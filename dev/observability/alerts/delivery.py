"""Alerts of what leaves: messages to WhatsApp, and writes to Consonance."""

from dev.observability.alerts.definition import Alert, AlertSeverity, Example, steady

DELIVERY_ALERTS = [
    Alert(
        "StetLineStopped",
        AlertSeverity.PAGE,
        "max by (namespace, line) (stet_line_stopped) > 0",
        "2m",
        "The line {{ $labels.line }} sends nothing",
        "WhatsApp has blocked or restricted the number, or a person stopped it. It needs a person to send again.",
        "delivery",
        steady('stet_line_stopped{service="dispatcher", line="main"}', "1", "0"),
    ),
    Alert(
        "StetTemplateUnusable",
        AlertSeverity.TICKET,
        "max by (namespace, reason) (stet_template_waiting_messages) > 0",
        "10m",
        "{{ $value }} messages wait for a template: {{ $labels.reason }}",
        "Meta has paused, rejected or moved it, or does not have it. People outside the window get nothing meanwhile.",
        "delivery",
        steady('stet_template_waiting_messages{service="dispatcher", reason="template_rejected"}', "3", "0"),
    ),
    Alert(
        "StetTemplateRecategorised",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_templates_recategorised) > 0",
        "5m",
        "Meta has moved {{ $value }} templates to marketing",
        "They go only to people who consented to marketing, and each costs more. Others wait.",
        "delivery",
        steady('stet_templates_recategorised{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetPeopleBraked",
        AlertSeverity.TICKET,
        'sum by (namespace) (increase(stet_decisions_total{reason="braked"}[1h])) > 20',
        "5m",
        "More than twenty messages of people were kept without an answer in an hour",
        "Somebody, or a machine, writes more than the brake in limits.yaml answers.",
        "delivery",
        steady('stet_decisions_total{service="rules", rule="none", reason="braked"}', "0+1", "0+0.1", after="2h"),
    ),
    Alert(
        "StetStrangersBraked",
        AlertSeverity.TICKET,
        'sum by (namespace) (increase(stet_decisions_total{reason="strangers_braked"}[1h])) > 0',
        "5m",
        "Strangers write more than all of them together are answered",
        "Their messages are kept without an answer until fewer come. People in Consonance are answered as ever.",
        "delivery",
        steady('stet_decisions_total{service="rules", rule="none", reason="strangers_braked"}', "0+1", "7", after="2h"),
    ),
    Alert(
        "StetBudgetNearlySpent",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_budget_warning) > 0",
        "5m",
        "The messages of this month have cost most of its budget",
        "Once it is spent, messages that are not critical wait for the next month or a higher budget.",
        "delivery",
        steady('stet_budget_warning{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetBudgetSpent",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_budget_held_messages) > 0",
        "5m",
        "{{ $value }} messages wait because the month's budget is spent",
        "Critical messages and answers that cost nothing go on. Others wait, and are dropped at their expiry.",
        "delivery",
        steady('stet_budget_held_messages{service="dispatcher"}', "3", "0"),
    ),
    Alert(
        "StetPriceUnknown",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_month_unpriced_messages) > 0",
        "1h",
        "The rate card has no price for {{ $value }} messages of this month",
        "They are in no sum, so the budget holds nothing because of them, and stet cost shows too little.",
        "delivery",
        steady('stet_month_unpriced_messages{service="dispatcher"}', "3", "0", after="2h"),
    ),
    Alert(
        "StetAccountLimited",
        AlertSeverity.TICKET,
        'max by (namespace, reason) (stet_limited_messages{reason="portfolio_limit"}) > 0\n'
        'or max by (namespace, reason) (stet_limited_messages{reason="account_restricted"}) > 0',
        "15m",
        "{{ $value }} messages wait for a limit of the WhatsApp account: {{ $labels.reason }}",
        "Meta restricts the account, or as many people as it allows in a day were written to.",
        "delivery",
        steady('stet_limited_messages{service="dispatcher", reason="account_restricted"}', "3", "0"),
    ),
    Alert(
        "StetMessagesWaiting",
        AlertSeverity.PAGE,
        'max by (namespace, lane) (stet_oldest_waiting_message_age_seconds{lane="critical"}) > <10m>\n'
        'or max by (namespace, lane) (stet_oldest_waiting_message_age_seconds{lane="normal"}) > <2h>\n'
        'or max by (namespace, lane) (stet_oldest_waiting_message_age_seconds{lane="bulk"}) > <1d>',
        "5m",
        "A message of the lane {{ $labels.lane }} has waited far beyond its budget",
        "It is not accepted, so the promise does not count it yet. A limit, a pause or a stopped line holds it.",
        "delivery",
        steady('stet_oldest_waiting_message_age_seconds{service="dispatcher", lane="critical"}', "0+60", "5"),
    ),
    Alert(
        "StetCatchingUp",
        AlertSeverity.PAGE,
        "max by (namespace) (stet_catching_up) > 0",
        "5m",
        "The dispatcher still reads what came before its start",
        "It sends nothing until then. A partition that cannot be read holds it: backlog.unread in the log names it.",
        "delivery",
        steady('stet_catching_up{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetSendsRefused",
        AlertSeverity.TICKET,
        'sum by (namespace) (rate(stet_sends_total{outcome="error"}[30m]))\n'
        "  > 0.2 * sum by (namespace) (rate(stet_sends_total[30m]))\n"
        'and sum by (namespace) (increase(stet_sends_total{outcome="error"}[30m])) >= 5',
        "10m",
        "WhatsApp refuses more than a fifth of the sends",
        "A template was paused or rejected, a number is limited, or the account has a problem.",
        "delivery",
        (
            Example(
                {
                    'stet_sends_total{service="dispatcher", outcome="error"}': "0+5",
                    'stet_sends_total{service="dispatcher", outcome="accepted"}': "0+5",
                }
            ),
            Example(
                {
                    'stet_sends_total{service="dispatcher", outcome="error"}': "0+1",
                    'stet_sends_total{service="dispatcher", outcome="accepted"}': "0+50",
                }
            ),
        ),
        also_silent=(  # one person of two has no WhatsApp
            Example(
                {
                    'stet_sends_total{service="dispatcher", outcome="error"}': "0x40 1+0",
                    'stet_sends_total{service="dispatcher", outcome="accepted"}': "0x40 1+0",
                }
            ),
        ),
    ),
    Alert(
        "StetSendUncertain",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_oldest_uncertain_send_age_seconds) > <6h>",
        "10m",
        "A send has been uncertain for more than six hours",
        "Nothing proves or disproves that WhatsApp took it. A question is not sent again without evidence.",
        "delivery",
        steady('stet_oldest_uncertain_send_age_seconds{service="dispatcher"}', "30000", "60"),
    ),
    Alert(
        "StetMessagesSetAside",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_messages_set_aside) > 0",
        "5m",
        "{{ $value }} messages are set aside in the dispatcher",
        "No loop reads them until an operator releases them.",
        "delivery",
        steady('stet_messages_set_aside{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetPausedLong",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_oldest_message_pause_age_seconds or stet_oldest_rule_pause_age_seconds) > <1d>",
        "10m",
        "Something has been paused by an operator for more than a day",
        "What is paused holds its messages, and those that expire meanwhile are dropped.",
        "delivery",
        steady('stet_oldest_rule_pause_age_seconds{service="rules"}', "90000", "3600"),
    ),
]

WRITE_ALERTS = [
    Alert(
        "StetWritesPaused",
        AlertSeverity.PAGE,
        "max by (namespace, reason) (stet_writes_paused) > 0",
        "15m",
        "Nothing is written to Consonance: {{ $labels.reason }}",
        "Consonance is away, throttles us or refuses the key. Replies wait; none is lost.",
        "flows",
        steady('stet_writes_paused{service="writeback", reason="down"}', "1", "0"),
    ),
    Alert(
        "StetWritesPending",
        AlertSeverity.PAGE,
        "max by (namespace) (stet_oldest_pending_write_age_seconds) > <30m>",
        "5m",
        "A write has not been settled for half an hour",
        "It has not succeeded at all, so the promise does not count it yet.",
        "flows",
        steady('stet_oldest_pending_write_age_seconds{service="writeback"}', "0+60", "5"),
    ),
    Alert(
        "StetManualTaskOpen",
        AlertSeverity.TICKET,
        "max by (namespace, operation) (stet_oldest_manual_task_age_seconds) > <2d>",
        "1h",
        "A manual task ({{ $labels.operation }}) has waited for a person for more than two days",
        "A person has answered, and Consonance can only be changed by hand. Later writes of the record wait behind it.",
        "flows",
        steady(
            'stet_oldest_manual_task_age_seconds{service="writeback", operation="set_status"}',
            "200000",
            "3600",
            after="3h",
        ),
    ),
]
