"""Every alert: its expression, the text a person on call reads, and one series that fires it and one that does not.

``page`` wakes a person, ``ticket`` waits for the working day. An expression writes an age as ``<6h>``: see
dev/observability/durations.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dev.observability.promises import PAGE_RATES, PROMISES, TICKET_RATES, BurnRate, Promise, burn_expression


class AlertSeverity(StrEnum):
    """How soon a person must look."""

    PAGE = "page"
    TICKET = "ticket"
    NONE = "none"


@dataclass(frozen=True)
class Example:
    """Series with a value (``1``), or a first value and its growth (``0+60``) each ``interval``; judged ``after``."""

    series: Mapping[str, str]
    after: str = "1h"
    interval: str = "1m"


@dataclass(frozen=True)
class Alert:
    """``holds`` is how long the expression is true before the alert fires; ``dashboard`` the page to open first.

    ``examples`` are series that fire it, and series that do not: none for the dead man's switch, which always fires.
    """

    name: str
    severity: AlertSeverity
    expression: str
    holds: str
    summary: str
    description: str
    dashboard: str
    examples: tuple[Example, Example | None]

    @property
    def fires(self) -> Example:
        return self.examples[0]

    @property
    def silent(self) -> Example | None:
        return self.examples[1]


@dataclass(frozen=True)
class AlertGroup:
    """Alerts that Prometheus evaluates together."""

    name: str
    alerts: Sequence[Alert] = field(default_factory=tuple)


def _steady(series: str, firing: str, silent: str, after: str = "1h") -> tuple[Example, Example]:
    """One series with a constant value, or another notation such as ``0+1``, that fires and that does not."""
    return Example({series: firing}, after), Example({series: silent}, after)


# ------------------------------------------------------------------ the promise

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


def _promise_alerts() -> list[Alert]:
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


# ------------------------------------------------------------------ the processes

_EVERY_SERVICE = ("ingest", "rules", "dispatcher", "writeback")


def _absent_services() -> str:
    seen = "group by (namespace, service) (last_over_time(stet_build_info[1d]))"
    never = "\n".join(f'or absent(stet_build_info{{service="{service}"}})' for service in _EVERY_SERVICE)
    return f"({seen} unless group by (namespace, service) (stet_build_info))\n{never}"


def _builds(*services: str) -> dict[str, str]:
    return {f'stet_build_info{{service="{service}", version="1"}}': "1" for service in services}


_PROCESS_ALERTS = [
    Alert(
        "StetWatchdog",
        AlertSeverity.NONE,
        "vector(1)",
        "0s",
        "This alert always fires",
        "A dead man's switch: the receiver raises the alarm when it hears it no more, as then no alert arrives.",
        "platform",
        (Example({}), None),
    ),
    Alert(
        "StetServiceAbsent",
        AlertSeverity.PAGE,
        _absent_services(),
        "3m",
        "No replica of {{ $labels.service }} is scraped",
        "The service has no ready metrics port: it is not running, does not start, or Prometheus cannot reach it.",
        "platform",
        (Example(_builds("ingest", "rules", "dispatcher")), Example(_builds(*_EVERY_SERVICE))),
    ),
    Alert(
        "StetNotReady",
        AlertSeverity.PAGE,
        'sum by (namespace, service) (rate(stet_http_requests_total{route="/readyz", status="503"}[5m])) > 0',
        "5m",
        "{{ $labels.service }} answers /readyz with 503",
        "A check of the service fails; the answer of /readyz names it, mostly the broker or the database.",
        "platform",
        _steady('stet_http_requests_total{service="rules", route="/readyz", status="503"}', "0+6", "4+0"),
    ),
    Alert(
        "StetProcessRestarting",
        AlertSeverity.TICKET,
        'max by (namespace, service) (changes(process_start_time_seconds{service!=""}[1h])) > 3',
        "0s",
        "A process of {{ $labels.service }} started more than three times in an hour",
        "It ends by itself or is killed, for memory for example; its last lines of log say which.",
        "platform",
        _steady('process_start_time_seconds{service="rules", instance="a"}', "0+60", "60+0"),
    ),
    Alert(
        "StetVersionSkew",
        AlertSeverity.TICKET,
        "count by (namespace) (group by (namespace, version, commit) (stet_build_info)) > 1",
        "1h",
        "Replicas of two versions run side by side",
        "A roll-out takes minutes. One that stays half done leaves the old version serving.",
        "platform",
        (
            Example(
                {
                    'stet_build_info{service="rules", version="1", commit="a"}': "1",
                    'stet_build_info{service="ingest", version="2", commit="b"}': "1",
                },
                after="2h",
            ),
            Example(
                {
                    'stet_build_info{service="rules", version="1", commit="a"}': "1",
                    'stet_build_info{service="ingest", version="1", commit="a"}': "1",
                },
                after="2h",
            ),
        ),
    ),
    Alert(
        "StetTaskRestarting",
        AlertSeverity.TICKET,
        "sum by (namespace, service, task) (increase(stet_task_restarts_total[1h])) > 2",
        "0s",
        "The task {{ $labels.task }} of {{ $labels.service }} was restarted more than twice in an hour",
        "A task of the process fails again and again; task.restarted in the log has the error and the place.",
        "platform",
        _steady('stet_task_restarts_total{service="rules", task="relay"}', "0+1", "3+0"),
    ),
    Alert(
        "StetLoopErrors",
        AlertSeverity.TICKET,
        "sum by (namespace, service, loop) (increase(stet_loop_errors_total[15m])) > 10",
        "5m",
        "The loop {{ $labels.loop }} of {{ $labels.service }} meets errors",
        "It goes on after each error, but what it does is late or undone; loop.failed in the log has the place.",
        "platform",
        _steady('stet_loop_errors_total{service="dispatcher", loop="claims"}', "0+2", "9+0"),
    ),
    Alert(
        "StetLeaderCount",
        AlertSeverity.PAGE,
        "sum by (namespace, service, task) (stet_leader) != 1",
        "3m",
        "{{ $labels.service }} has {{ $value }} leaders for {{ $labels.task }} instead of one",
        "Without a leader nothing is relayed or sent; the lock in PostgreSQL decides who leads.",
        "platform",
        (
            Example({f'stet_leader{{service="dispatcher", task="sender", instance="{one}"}}': "0" for one in "ab"}),
            Example(
                {
                    'stet_leader{service="dispatcher", task="sender", instance="a"}': "1",
                    'stet_leader{service="dispatcher", task="sender", instance="b"}': "0",
                }
            ),
        ),
    ),
    Alert(
        "StetFileDescriptorsLow",
        AlertSeverity.TICKET,
        'max by (namespace, service, instance) (process_open_fds{service!=""} / process_max_fds{service!=""}) > 0.8',
        "10m",
        "{{ $labels.service }} at {{ $labels.instance }} has four fifths of its file descriptors open",
        "At the limit it accepts no connection and opens none. A connection is a descriptor.",
        "platform",
        (
            Example({'process_open_fds{service="ingest"}': "900", 'process_max_fds{service="ingest"}': "1024"}),
            Example({'process_open_fds{service="ingest"}': "90", 'process_max_fds{service="ingest"}': "1024"}),
        ),
    ),
    Alert(
        "StetSecretRefused",
        AlertSeverity.PAGE,
        "max by (namespace, service, secret) (stet_secret_refused) > 0",
        "5m",
        "{{ $labels.secret }} of {{ $labels.service }} is refused",
        "The other side takes the secret no more, or no signature of the last ten minutes fits it.",
        "platform",
        _steady('stet_secret_refused{service="dispatcher", secret="STET_WHATSAPP_TOKEN"}', "1", "0"),
    ),
    Alert(
        "StetDatabasePoolExhausted",
        AlertSeverity.TICKET,
        'sum by (namespace, service, instance) (stet_database_pool_connections{state="in_use"})\n'
        "  >= 0.95 * sum by (namespace, service, instance) (stet_database_pool_max_connections)",
        "5m",
        "All database connections of {{ $labels.service }} at {{ $labels.instance }} are in use",
        "Further queries wait for one. Slow queries or a slow disk are the usual reason, not too few connections.",
        "platform",
        (
            Example(
                {
                    'stet_database_pool_connections{service="rules", state="in_use"}': "10",
                    'stet_database_pool_max_connections{service="rules"}': "10",
                }
            ),
            Example(
                {
                    'stet_database_pool_connections{service="rules", state="in_use"}': "3",
                    'stet_database_pool_max_connections{service="rules"}': "10",
                }
            ),
        ),
    ),
]

# ------------------------------------------------------------------ what comes in

_INGEST_ALERTS = [
    Alert(
        "StetWebhookGapOpen",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_webhook_gap_open) > 0",
        "30m",
        "The coverage of the webhook has had a gap for half an hour",
        "While it is open, no silence of WhatsApp proves that a message was not sent: uncertain sends stay uncertain.",
        "delivery",
        _steady('stet_webhook_gap_open{service="ingest"}', "1", "0"),
    ),
    Alert(
        "StetPollStale",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_snapshot_age_seconds) > <30m>\n"
        "or (group by (namespace) (last_over_time(stet_snapshot_age_seconds[1d]))"
        " unless group by (namespace) (stet_snapshot_age_seconds))",
        "10m",
        "Consonance has not been read completely for half an hour",
        "Changes that only the poll sees are not known yet. The log says polls.failed or the polling replica is gone.",
        "pipeline",
        _steady('stet_snapshot_age_seconds{service="ingest"}', "0+60", "40", after="2h"),
    ),
    Alert(
        "StetMediaNotFetched",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_media_waiting_age_seconds) > <1h>",
        "5m",
        "A file that somebody sent has not been fetched for an hour",
        "WhatsApp deletes it seven days after the message. The log says media.retried with the reason.",
        "pipeline",
        _steady('stet_media_waiting_age_seconds{service="ingest"}', "0+60", "40", after="2h"),
    ),
    Alert(
        "StetDocumentNotSent",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_document_waiting_age_seconds) > <1h>",
        "5m",
        "A document that goes with a message has not been fetched for an hour",
        "Its messages wait, and expire in the end. The log says document.retried with the reason.",
        "pipeline",
        _steady('stet_document_waiting_age_seconds{service="dispatcher"}', "0+60", "40", after="2h"),
    ),
    Alert(
        "StetDocumentRefused",
        AlertSeverity.TICKET,
        'sum by (namespace, outcome) (increase(stet_documents_total{outcome!~"ready|retried"}[1h])) > 0',
        "0m",
        "A document that goes with a message can never be had: {{ $labels.outcome }}",
        "Its messages were dropped, and their rules went on without them. The log says document.settled.",
        "pipeline",
        _steady('stet_documents_total{service="dispatcher", outcome="document_missing"}', "0+1", "0", after="2h"),
    ),
    Alert(
        "StetConnectionsDropped",
        AlertSeverity.TICKET,
        "sum by (namespace, reason) (increase("
        'stet_connections_dropped_total{reason=~"too_many_connections|body_memory_full"}[10m])) > 20',
        "5m",
        "The public port of ingest drops connections: {{ $labels.reason }}",
        "A limit of the port is used up, by strangers or by honest traffic. Signed webhooks have their own share.",
        "pipeline",
        _steady('stet_connections_dropped_total{service="ingest", reason="too_many_connections"}', "0+5", "50+0"),
    ),
]

# ------------------------------------------------------------------ the pipeline

_PIPELINE_ALERTS = [
    Alert(
        "StetConsumerLagging",
        AlertSeverity.PAGE,
        "max by (namespace, service, topic) (stet_consumer_lag_seconds) > <5m>",
        "2m",
        "{{ $labels.service }} has not read {{ $labels.topic }} to its end for more than five minutes",
        "It is slower than what comes in, or it stands still: the broker or the database is away, or a batch fails.",
        "pipeline",
        _steady('stet_consumer_lag_seconds{service="rules", topic="consonance.events"}', "0+60", "2"),
    ),
    Alert(
        "StetOutboxStuck",
        AlertSeverity.PAGE,
        "max by (namespace, service) (stet_oldest_outbox_record_age_seconds) > <2m>",
        "2m",
        "Records of {{ $labels.service }} have waited for Kafka for more than two minutes",
        "What the service decided does not leave: Kafka is away, refuses a topic, or no replica holds the relay.",
        "pipeline",
        _steady('stet_oldest_outbox_record_age_seconds{service="rules"}', "0+60", "1"),
    ),
    Alert(
        "StetOutboxTopicBlocked",
        AlertSeverity.PAGE,
        "sum by (namespace, service) (stet_outbox_blocked_topics) > 0",
        "2m",
        "Kafka refuses a topic that {{ $labels.service }} writes",
        "The topic is missing or the service may not write it. Its records wait; other topics go on.",
        "pipeline",
        _steady('stet_outbox_blocked_topics{service="rules"}', "1", "0"),
    ),
    Alert(
        "StetRecordsParked",
        AlertSeverity.TICKET,
        "max by (namespace, service, reason) (stet_parked_records) > 0",
        "10m",
        "{{ $value }} records are parked in {{ $labels.service }}: {{ $labels.reason }}",
        "Each could not be handled and waits for a person who replays or discards it.",
        "pipeline",
        _steady('stet_parked_records{service="rules", reason="invalid"}', "1", "0"),
    ),
    Alert(
        "StetRecordsParkedFast",
        AlertSeverity.PAGE,
        "sum by (namespace, service) (increase(stet_records_parked_total[10m])) > 50",
        "0s",
        "{{ $labels.service }} parks many records",
        "More than fifty in ten minutes: a sender has changed its format, or a release is at fault.",
        "pipeline",
        _steady('stet_records_parked_total{service="rules", reason="invalid"}', "0+10", "60+0"),
    ),
    Alert(
        "StetParkedRecordOld",
        AlertSeverity.TICKET,
        "max by (namespace, service) (stet_oldest_parked_record_age_seconds) > <3d>",
        "10m",
        "A record has been parked in {{ $labels.service }} for more than three days",
        "Parked records are kept for ninety days; after that replaying it is not possible.",
        "pipeline",
        _steady('stet_oldest_parked_record_age_seconds{service="rules"}', "300000", "600"),
    ),
    Alert(
        "StetErasureLate",
        AlertSeverity.TICKET,
        "max by (namespace, service) (stet_oldest_open_erasure_age_seconds) > <22h>",
        "10m",
        "The erasure of a person in {{ $labels.service }} is not complete after 22 hours",
        "It is promised within a day. Something still holds the person's data, and is under way.",
        "pipeline",
        _steady('stet_oldest_open_erasure_age_seconds{service="rules"}', "80000", "40000"),
    ),
    Alert(
        "StetEventsWaiting",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_oldest_waiting_event_age_seconds) > <10m>",
        "5m",
        "An event has waited for an unknown person, work or message for ten minutes",
        "Events that name something unknown wait until the poll brings it, at most two minutes.",
        "pipeline",
        _steady('stet_oldest_waiting_event_age_seconds{service="rules"}', "0+60", "30"),
    ),
]

# ------------------------------------------------------------------ rules

_RULES_ALERTS = [
    Alert(
        "StetRevisionSkew",
        AlertSeverity.TICKET,
        "count by (namespace) (group by (namespace, revision) (stet_rules_revision_info)) > 1",
        "15m",
        "Replicas of rules work with different revisions of the rules",
        "The same event may be decided in two ways. A roll-out of new rules takes minutes.",
        "rules",
        (
            Example({f'stet_rules_revision_info{{service="rules", revision="{one}"}}': "1" for one in "ab"}),
            Example(
                {f'stet_rules_revision_info{{service="rules", revision="a", instance="{one}"}}': "1" for one in "ab"}
            ),
        ),
    ),
    Alert(
        "StetRulesRefused",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_rulebook_refused) > 0",
        "5m",
        "New rules do not pass the check and are refused",
        "The earlier rules stay in force, so nothing is decided wrongly; what the change was for does not happen.",
        "rules",
        _steady('stet_rulebook_refused{service="rules"}', "1", "0"),
    ),
    Alert(
        "StetCanaryTurnedBack",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_rulebook_canary_turned_back) > 0",
        "1m",
        "The canary of new rules passed a bound and was ended",
        "The rules in force decide on everything again; chains that began under the canary go on as they began.",
        "rules",
        _steady('stet_rulebook_canary_turned_back{service="rules"}', "1", "0"),
    ),
    Alert(
        "StetRulesSourceUnread",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_rulebook_source_age_seconds) > <15m>",
        "5m",
        "The source of the rules has not been read for a quarter of an hour",
        "The folder or bundle is away: changed rules do not arrive. Those in force go on.",
        "rules",
        _steady('stet_rulebook_source_age_seconds{service="rules"}', "0+60", "2"),
    ),
    Alert(
        "StetRulesNotInForce",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_rulebook_differs) > 0",
        "1d",
        "The rules of the source have not been in force for a day",
        "They wait for an operator, an operator put others into force, or a replica reads an older source.",
        "rules",
        _steady('stet_rulebook_differs{service="rules"}', "1", "0", after="26h"),
    ),
    Alert(
        "StetPartitionsBehind",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_rulebook_partitions_behind) > 0",
        "10m",
        "Partitions are not known to be decided by the revision in force",
        "A switch takes seconds. A batch that does not end, or a replica of an older version, keeps the old rules.",
        "rules",
        _steady('stet_rulebook_partitions_behind{service="rules"}', "3", "0"),
    ),
    Alert(
        "StetQuestionUnanswered",
        AlertSeverity.TICKET,
        "max by (namespace, rule) (stet_oldest_open_question_age_seconds) > <21d>",
        "1h",
        "A question of {{ $labels.rule }} has been open for three weeks",
        "Rules remind and escalate within days. What is still open after three weeks was left by everybody.",
        "flows",
        _steady(
            'stet_oldest_open_question_age_seconds{service="rules", rule="rights-approval"}',
            "2000000",
            "86400",
            after="3h",
        ),
    ),
    Alert(
        "StetChainsLate",
        AlertSeverity.PAGE,
        "max by (namespace) (stet_oldest_due_chain_age_seconds) > <5m>",
        "2m",
        "A due step of a chain is more than five minutes late",
        "Reminders and escalations do not go out: a partition is not read to the due time, or rules are slow.",
        "rules",
        _steady('stet_oldest_due_chain_age_seconds{service="rules"}', "0+60", "2"),
    ),
    Alert(
        "StetChainsSetAside",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_chains_set_aside) > 0",
        "5m",
        "{{ $value }} chains are set aside",
        "Their due step failed. Nobody is reminded by them until a person retries them.",
        "rules",
        _steady('stet_chains_set_aside{service="rules"}', "1", "0"),
    ),
    Alert(
        "StetRuleStartsItself",
        AlertSeverity.TICKET,
        'sum by (namespace, rule) (increase(stet_decisions_total{reason="too_many_starts"}[1h])) > 0',
        "0s",
        "The rule {{ $labels.rule }} was kept from starting again and again",
        "It has started about one subject as often as it may. Its own writes may bring the event that starts it.",
        "rules",
        _steady('stet_decisions_total{service="rules", rule="a", reason="too_many_starts"}', "0+1", "2+0"),
    ),
    Alert(
        "StetShadowDisagreement",
        AlertSeverity.TICKET,
        "sum by (namespace) (increase(stet_shadow_disagreements_total[1d])) > 0",
        "0s",
        "The evaluator and durable-rules gave different answers",
        "The answer of the evaluator was used. One of the two is wrong: report the rule that shadow.disagreed names.",
        "rules",
        _steady('stet_shadow_disagreements_total{service="rules"}', "0+1", "2+0"),
    ),
]

# ------------------------------------------------------------------ delivery

_DELIVERY_ALERTS = [
    Alert(
        "StetLineStopped",
        AlertSeverity.PAGE,
        "max by (namespace, line) (stet_line_stopped) > 0",
        "2m",
        "The line {{ $labels.line }} sends nothing",
        "WhatsApp has blocked or restricted the number, or a person stopped it. It needs a person to send again.",
        "delivery",
        _steady('stet_line_stopped{service="dispatcher", line="main"}', "1", "0"),
    ),
    Alert(
        "StetTemplateUnusable",
        AlertSeverity.TICKET,
        "sum by (namespace, reason) (stet_template_waiting_messages) > 0",
        "10m",
        "{{ $value }} messages wait for a template: {{ $labels.reason }}",
        "Meta has paused, rejected or moved it, or does not have it. People outside the window get nothing meanwhile.",
        "delivery",
        _steady('stet_template_waiting_messages{service="dispatcher", reason="template_rejected"}', "3", "0"),
    ),
    Alert(
        "StetTemplateRecategorised",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_templates_recategorised) > 0",
        "5m",
        "Meta has moved {{ $value }} templates to marketing",
        "They go only to people who consented to marketing, and each costs more. Others wait.",
        "delivery",
        _steady('stet_templates_recategorised{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetPeopleBraked",
        AlertSeverity.TICKET,
        'sum by (namespace) (increase(stet_decisions_total{reason="braked"}[1h])) > 20',
        "5m",
        "More than twenty messages of people were kept without an answer in an hour",
        "Somebody, or a machine, writes more than the brake in limits.yaml answers.",
        "delivery",
        _steady('stet_decisions_total{service="rules", rule="none", reason="braked"}', "0+1", "0+0.1", after="2h"),
    ),
    Alert(
        "StetBudgetNearlySpent",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_budget_warning) > 0",
        "5m",
        "The messages of this month have cost most of its budget",
        "Once it is spent, messages that are not critical wait for the next month or a higher budget.",
        "delivery",
        _steady('stet_budget_warning{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetBudgetSpent",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_budget_held_messages) > 0",
        "5m",
        "{{ $value }} messages wait because the month's budget is spent",
        "Critical messages and answers that cost nothing go on. Others wait, and are dropped at their expiry.",
        "delivery",
        _steady('stet_budget_held_messages{service="dispatcher"}', "3", "0"),
    ),
    Alert(
        "StetPriceUnknown",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_month_unpriced_messages) > 0",
        "1h",
        "The rate card has no price for {{ $value }} messages of this month",
        "They are in no sum, so the budget holds nothing because of them, and stet cost shows too little.",
        "delivery",
        _steady('stet_month_unpriced_messages{service="dispatcher"}', "3", "0", after="2h"),
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
        _steady('stet_limited_messages{service="dispatcher", reason="account_restricted"}', "3", "0"),
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
        _steady('stet_oldest_waiting_message_age_seconds{service="dispatcher", lane="critical"}', "0+60", "5"),
    ),
    Alert(
        "StetCatchingUp",
        AlertSeverity.PAGE,
        "max by (namespace) (stet_catching_up) > 0",
        "5m",
        "The dispatcher still reads what came before its start",
        "It sends nothing until then. A partition that cannot be read holds it: backlog.unread in the log names it.",
        "delivery",
        _steady('stet_catching_up{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetSendsRefused",
        AlertSeverity.TICKET,
        'sum by (namespace) (rate(stet_sends_total{outcome="error"}[30m]))\n'
        "  > 0.2 * sum by (namespace) (rate(stet_sends_total[30m]))",
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
    ),
    Alert(
        "StetSendUncertain",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_oldest_uncertain_send_age_seconds) > <6h>",
        "10m",
        "A send has been uncertain for more than six hours",
        "Nothing proves or disproves that WhatsApp took it. A question is not sent again without evidence.",
        "delivery",
        _steady('stet_oldest_uncertain_send_age_seconds{service="dispatcher"}', "30000", "60"),
    ),
    Alert(
        "StetMessagesSetAside",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_messages_set_aside) > 0",
        "5m",
        "{{ $value }} messages are set aside in the dispatcher",
        "No loop reads them until an operator releases them.",
        "delivery",
        _steady('stet_messages_set_aside{service="dispatcher"}', "1", "0"),
    ),
    Alert(
        "StetPausedLong",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_oldest_message_pause_age_seconds or stet_oldest_rule_pause_age_seconds) > <1d>",
        "10m",
        "Something has been paused by an operator for more than a day",
        "What is paused holds its messages, and those that expire meanwhile are dropped.",
        "delivery",
        _steady('stet_oldest_rule_pause_age_seconds{service="rules"}', "90000", "3600"),
    ),
]

# ------------------------------------------------------------------ writes

_WRITE_ALERTS = [
    Alert(
        "StetWritesPaused",
        AlertSeverity.PAGE,
        "max by (namespace, reason) (stet_writes_paused) > 0",
        "15m",
        "Nothing is written to Consonance: {{ $labels.reason }}",
        "Consonance is away, throttles us or refuses the key. Replies wait; none is lost.",
        "flows",
        _steady('stet_writes_paused{service="writeback", reason="down"}', "1", "0"),
    ),
    Alert(
        "StetWritesPending",
        AlertSeverity.PAGE,
        "max by (namespace) (stet_oldest_pending_write_age_seconds) > <30m>",
        "5m",
        "A write has not been settled for half an hour",
        "It has not succeeded at all, so the promise does not count it yet.",
        "flows",
        _steady('stet_oldest_pending_write_age_seconds{service="writeback"}', "0+60", "5"),
    ),
    Alert(
        "StetManualTaskOpen",
        AlertSeverity.TICKET,
        "max by (namespace, operation) (stet_oldest_manual_task_age_seconds) > <2d>",
        "1h",
        "A manual task ({{ $labels.operation }}) has waited for a person for more than two days",
        "A person has answered, and Consonance can only be changed by hand. Later writes of the record wait behind it.",
        "flows",
        _steady(
            'stet_oldest_manual_task_age_seconds{service="writeback", operation="set_status"}',
            "200000",
            "3600",
            after="3h",
        ),
    ),
]

# ------------------------------------------------------------------ the audit

_AUDIT_ALERTS = [
    Alert(
        "StetAuditGap",
        AlertSeverity.PAGE,
        "max by (namespace, service, hop) (stet_audit_gaps) > 0",
        "5m",
        "The audit of {{ $labels.service }} found {{ $value }} gaps: {{ $labels.hop }}",
        "Something was taken over and has no end in time. stet audit lists each gap with its reason and its subject.",
        "promise",
        _steady('stet_audit_gaps{service="rules", hop="decision"}', "1", "0"),
    ),
    Alert(
        "StetAuditNotRunning",
        AlertSeverity.TICKET,
        "time() - max by (namespace, service, hop) (stet_audit_last_run_timestamp_seconds) > <30m>",
        "5m",
        "The audit of {{ $labels.service }} has not run for half an hour: {{ $labels.hop }}",
        "No replica audits, a run fails, or its query does not find the gap that is planted to prove it.",
        "promise",
        _steady('stet_audit_last_run_timestamp_seconds{service="rules", hop="decision"}', "60+0", "0+60", "2h"),
    ),
]

# ------------------------------------------------------------------ broker and database

_REPLICATION_ALERTS = [
    Alert(
        "StetPostgresStandbyMissing",
        AlertSeverity.PAGE,
        'max by (namespace) (cnpg_collector_sync_replicas{value="observed"})\n'
        '  < max by (namespace) (cnpg_collector_sync_replicas{value="expected"})',
        "5m",
        "PostgreSQL has fewer synchronous standbys than it needs",
        "With dataDurability required, commits wait when none is left. Only where CloudNativePG runs the database.",
        "platform",
        (
            Example(
                {
                    'cnpg_collector_sync_replicas{value="observed", pod="a"}': "0",
                    'cnpg_collector_sync_replicas{value="expected", pod="a"}': "1",
                }
            ),
            Example(
                {f'cnpg_collector_sync_replicas{{value="{one}", pod="a"}}': "1" for one in ("observed", "expected")}
            ),
        ),
    ),
    Alert(
        "StetKafkaUnderReplicated",
        AlertSeverity.TICKET,
        "sum by (namespace) (kafka_server_replicamanager_underreplicatedpartitions) > 0",
        "15m",
        "Kafka has partitions with fewer replicas than configured",
        "A broker is away or slow; another one away, and writes stop. Only where Strimzi runs the broker.",
        "platform",
        _steady('kafka_server_replicamanager_underreplicatedpartitions{pod="a"}', "3", "0"),
    ),
    Alert(
        "StetKafkaUnderMinIsr",
        AlertSeverity.PAGE,
        "sum by (namespace) (kafka_server_replicamanager_underminisrpartitioncount) > 0",
        "2m",
        "Kafka takes no writes to some partitions",
        "They have fewer replicas in sync than min.insync.replicas: webhooks are answered 503 and outboxes grow.",
        "platform",
        _steady('kafka_server_replicamanager_underminisrpartitioncount{pod="a"}', "1", "0"),
    ),
]

ALERT_GROUPS = (
    AlertGroup("stet-promise", _promise_alerts()),
    AlertGroup("stet-processes", _PROCESS_ALERTS),
    AlertGroup("stet-ingest", _INGEST_ALERTS),
    AlertGroup("stet-pipeline", _PIPELINE_ALERTS),
    AlertGroup("stet-rules", _RULES_ALERTS),
    AlertGroup("stet-delivery", _DELIVERY_ALERTS),
    AlertGroup("stet-writes", _WRITE_ALERTS),
    AlertGroup("stet-audit", _AUDIT_ALERTS),
    AlertGroup("stet-replication", _REPLICATION_ALERTS),
)

ALERTS = tuple(alert for group in ALERT_GROUPS for alert in group.alerts)
