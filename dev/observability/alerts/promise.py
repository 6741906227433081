"""Alerts of the promises that use up what may fail of them, and of the audit that looks for gaps."""

from dev.observability.alerts.definition import Alert, AlertSeverity, Example, steady
from dev.observability.promises import PAGE_RATES, PROMISES, TICKET_RATES, BurnRate, Promise, burn_expression

_PROMISE_ALERTS = {
    "webhook_accepted": (
        "StetWebhookNotAccepted",
        "Webhooks of WhatsApp are answered 5xx",
        "WhatsApp sends them again for days, so nothing is lost yet, but answers of people come late.",
    ),
    "decided_in_time": (
        "StetDecisionsLate",
        "Events are decided later than 30 seconds after they were recorded",
        "Rules are behind: people are asked, reminded or called off too late.",
    ),
    "sent_in_time": (
        "StetMessagesLate",
        "Messages of the lane {{ $labels.lane }} are accepted by WhatsApp later than their budget",
        "Recipients get their messages late; critical ones have one minute, normal ones ten, bulk an hour.",
    ),
    "written_in_time": (
        "StetRepliesWrittenLate",
        "Replies are in Consonance later than 60 seconds after they were given",
        "People have answered, and Consonance does not show it yet.",
    ),
}

_PROMISE_SERIES = {
    "webhook_accepted": (
        'stet_http_requests_total{service="ingest", route="/whatsapp/webhook", status="200"}',
        'stet_http_requests_total{service="ingest", route="/whatsapp/webhook", status="503"}',
    ),
    "decided_in_time": (
        'stet_decision_delay_seconds_bucket{service="rules", le="30.0"}',
        'stet_decision_delay_seconds_count{service="rules"}',
    ),
    "sent_in_time": (
        'stet_message_delay_seconds_bucket{service="dispatcher", lane="critical", le="60.0"}',
        'stet_message_delay_seconds_count{service="dispatcher", lane="critical"}',
    ),
    "written_in_time": (
        'stet_write_duration_seconds_bucket{service="writeback", operation="set_status", le="60.0"}',
        'stet_write_duration_seconds_count{service="writeback", operation="set_status"}',
    ),
}


def promise_alerts() -> list[Alert]:
    pages = [_promise_alert(promise, AlertSeverity.PAGE, PAGE_RATES) for promise in PROMISES]
    return pages + [_promise_alert(promise, AlertSeverity.TICKET, TICKET_RATES) for promise in PROMISES]


def _promise_alert(promise: Promise, severity: AlertSeverity, rates: tuple[BurnRate, ...]) -> Alert:
    name, summary, description = _PROMISE_ALERTS[promise.name]
    budget = f"The objective is {promise.objective:.1%} of 30 days; this pace uses up what may fail before its time."
    return Alert(
        name,
        severity,
        burn_expression(promise, rates),
        "2m" if severity is AlertSeverity.PAGE else "15m",
        summary,
        f"{description} {budget}",
        "promise",
        _promise_examples(promise, severity),
    )


def _promise_examples(promise: Promise, severity: AlertSeverity) -> tuple[Example, Example]:
    """Of 40 events in each interval, half break the promise for a page, a tenth for a ticket, and none when silent."""
    kept, counted = _PROMISE_SERIES[promise.name]
    broken = 20 if severity is AlertSeverity.PAGE else 4
    interval, after = ("1m", "2h") if severity is AlertSeverity.PAGE else ("5m", "30h")
    total = broken if promise.name == "webhook_accepted" else 40
    quiet = 0 if promise.name == "webhook_accepted" else 40
    fires = Example({kept: f"0+{40 - broken}", counted: f"0+{total}"}, after, interval)
    return fires, Example({kept: "0+40", counted: f"0+{quiet}"}, after, interval)


AUDIT_ALERTS = [
    Alert(
        "StetAuditGap",
        AlertSeverity.PAGE,
        "max by (namespace, service, hop) (stet_audit_gaps) > 0",
        "5m",
        "The audit of {{ $labels.service }} found {{ $value }} gaps: {{ $labels.hop }}",
        "Something was taken over and has no end in time. stet audit lists each gap with its reason and its subject.",
        "promise",
        steady('stet_audit_gaps{service="rules", hop="decision"}', "1", "0"),
    ),
    Alert(
        "StetAuditNotRunning",
        AlertSeverity.TICKET,
        "time() - max by (namespace, service, hop) (last_over_time(stet_audit_last_run_timestamp_seconds[1d])) > <30m>",
        "5m",
        "The audit of {{ $labels.service }} has not run for half an hour: {{ $labels.hop }}",
        "No replica audits, a run fails, or its query does not find the gap that is planted to prove it.",
        "promise",
        steady('stet_audit_last_run_timestamp_seconds{service="rules", hop="decision"}', "60+0", "0+60", "2h"),
    ),
]
