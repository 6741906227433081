"""Alerts of what comes in, and of the records between the services."""

from dev.observability.alerts.definition import Alert, AlertSeverity, Example, steady

_POLLER = 'stet_leader{service="ingest", task="poll"}'
_NO_POLLER = (
    'group by (namespace) (last_over_time(stet_leader{task="poll"}[7d]))'
    ' unless group by (namespace) (stet_leader{task="poll"})'
)
"""Only a process that polls has this series; one that only receives says 0 for the age of the snapshot."""

_PARKED = "max by (namespace, service, reason) (stet_parked_records)"
_PARKED_BEFORE = (
    "(sum by (namespace, service) (max by (namespace, service, reason) (stet_parked_records offset 10m))\n"
    "    or 0 * max by (namespace, service) (stet_outbox_records offset 10m))"
)
"""0 where none was parked; nothing where the service was not scraped."""


def _parked(records: str, others: str = "0+0") -> dict[str, str]:
    parked, outbox = 'stet_parked_records{service="rules", reason="invalid"}', 'stet_outbox_records{service="rules"}'
    return {parked: records, outbox: others}


INGEST_ALERTS = [
    Alert(
        "StetWebhookGapOpen",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_webhook_gap_open) > 0",
        "30m",
        "The coverage of the webhook has had a gap for half an hour",
        "While it is open, no silence of WhatsApp proves that a message was not sent: uncertain sends stay uncertain.",
        "delivery",
        steady('stet_webhook_gap_open{service="ingest"}', "1", "0"),
    ),
    Alert(
        "StetPollStale",
        AlertSeverity.TICKET,
        f"max by (namespace) (stet_snapshot_age_seconds) > <30m>\nor ({_NO_POLLER})",
        "10m",
        "Consonance has not been read completely for half an hour",
        "Changes that only the poll sees are not known yet. The log says poll.failed, or the polling replica is gone.",
        "pipeline",
        steady('stet_snapshot_age_seconds{service="ingest"}', "0+60", "40", after="2h"),
        also_fires=(Example({_POLLER: "1x10 _", 'stet_snapshot_age_seconds{service="ingest"}': "0"}, after="2h"),),
        also_silent=(Example({'stet_snapshot_age_seconds{service="ingest"}': "0"}, after="2h"),),
    ),
    Alert(
        "StetMediaNotFetched",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_media_waiting_age_seconds) > <1h>",
        "5m",
        "A file that somebody sent has not been fetched for an hour",
        "WhatsApp deletes it seven days after the message. The log says media.retried with the reason.",
        "pipeline",
        steady('stet_media_waiting_age_seconds{service="ingest"}', "0+60", "40", after="2h"),
    ),
    Alert(
        "StetDocumentNotSent",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_document_waiting_age_seconds) > <1h>",
        "5m",
        "A document that goes with a message has not been fetched for an hour",
        "Its messages wait, and expire in the end. The log says document.retried with the reason.",
        "pipeline",
        steady('stet_document_waiting_age_seconds{service="dispatcher"}', "0+60", "40", after="2h"),
    ),
    Alert(
        "StetDocumentRefused",
        AlertSeverity.TICKET,
        'sum by (namespace, outcome) (increase(stet_documents_total{outcome!~"ready|retried"}[1h])) > 0',
        "0m",
        "A document that goes with a message can never be had: {{ $labels.outcome }}",
        "Its messages were dropped, and their rules went on without them. The log says document.settled.",
        "pipeline",
        steady('stet_documents_total{service="dispatcher", outcome="document_missing"}', "0+1", "0", after="2h"),
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
        steady('stet_connections_dropped_total{service="ingest", reason="too_many_connections"}', "0+5", "50+0"),
    ),
]

PIPELINE_ALERTS = [
    Alert(
        "StetConsumerLagging",
        AlertSeverity.PAGE,
        "max by (namespace, service, topic) (stet_consumer_lag_seconds) > <5m>",
        "2m",
        "{{ $labels.service }} has not read {{ $labels.topic }} to its end for more than five minutes",
        "It is slower than what comes in, or it stands still: the broker or the database is away, or a batch fails.",
        "pipeline",
        steady('stet_consumer_lag_seconds{service="rules", topic="consonance.events"}', "0+60", "2"),
    ),
    Alert(
        "StetOutboxStuck",
        AlertSeverity.PAGE,
        "max by (namespace, service) (stet_oldest_outbox_record_age_seconds) > <2m>",
        "2m",
        "Records of {{ $labels.service }} have waited for Kafka for more than two minutes",
        "What the service decided does not leave: Kafka is away, refuses a topic, or no replica holds the relay.",
        "pipeline",
        steady('stet_oldest_outbox_record_age_seconds{service="rules"}', "0+60", "1"),
    ),
    Alert(
        "StetOutboxTopicBlocked",
        AlertSeverity.PAGE,
        "sum by (namespace, service) (stet_outbox_blocked_topics) > 0",
        "2m",
        "Kafka refuses a topic that {{ $labels.service }} writes",
        "The topic is missing or the service may not write it. Its records wait; other topics go on.",
        "pipeline",
        steady('stet_outbox_blocked_topics{service="rules"}', "1", "0"),
    ),
    Alert(
        "StetRecordsParked",
        AlertSeverity.TICKET,
        "max by (namespace, service, reason) (stet_parked_records) > 0",
        "10m",
        "{{ $value }} records are parked in {{ $labels.service }}: {{ $labels.reason }}",
        "Each could not be handled and waits for a person who replays or discards it.",
        "pipeline",
        steady('stet_parked_records{service="rules", reason="invalid"}', "1", "0"),
    ),
    Alert(
        "StetRecordsParkedFast",
        AlertSeverity.PAGE,
        f"sum by (namespace, service) ({_PARKED})\n  - {_PARKED_BEFORE} > 50",
        "0s",
        "{{ $labels.service }} parks many records",
        "More than fifty in ten minutes: a sender has changed its format, or a release is at fault.",
        "pipeline",
        (Example(_parked("0+10")), Example(_parked("60+0"))),
        also_fires=(Example(_parked("_x55 60+0")),),  # all of them between two scrapes
        also_silent=(Example(_parked("_x55 60+0", others="_x55 0+0")),),  # old ones, after an outage
    ),
    Alert(
        "StetParkedRecordOld",
        AlertSeverity.TICKET,
        "max by (namespace, service) (stet_oldest_parked_record_age_seconds) > <3d>",
        "10m",
        "A record has been parked in {{ $labels.service }} for more than three days",
        "Parked records are kept for ninety days; after that replaying it is not possible.",
        "pipeline",
        steady('stet_oldest_parked_record_age_seconds{service="rules"}', "300000", "600"),
    ),
    Alert(
        "StetErasureLate",
        AlertSeverity.TICKET,
        "max by (namespace, service) (stet_oldest_open_erasure_age_seconds) > <22h>",
        "10m",
        "The erasure of a person in {{ $labels.service }} is not complete after 22 hours",
        "It is promised within a day. Something still holds the person's data, and is under way.",
        "pipeline",
        steady('stet_oldest_open_erasure_age_seconds{service="rules"}', "80000", "40000"),
    ),
    Alert(
        "StetEventsWaiting",
        AlertSeverity.TICKET,
        "max by (namespace) (stet_oldest_waiting_event_age_seconds) > <10m>",
        "5m",
        "An event has waited for an unknown person, work or message for ten minutes",
        "Events that name something unknown wait until the poll brings it, at most two minutes.",
        "pipeline",
        steady('stet_oldest_waiting_event_age_seconds{service="rules"}', "0+60", "30"),
    ),
]
