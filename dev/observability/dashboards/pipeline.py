"""Pipeline: what comes in, how far it is read, what waits to leave, what could not be handled."""

from dev.observability.dashboards.common import NO_TROUBLE, REPLICAS, quantile
from dev.observability.panels import Dashboard, Kind, Panel, Query, Row


def _files() -> list[Panel]:
    return [
        Panel(
            "How many files wait, and how long has the oldest?",
            "received: to be fetched from WhatsApp; sent: to be uploaded. From an hour on it is a ticket.",
            "s",
            [
                Query("max(stet_media_waiting_age_seconds)", "received: oldest"),
                Query("max(stet_document_waiting_age_seconds)", "sent: oldest"),
                Query("max(stet_media_files_waiting)", "received: files"),
                Query("max(stet_documents_waiting)", "sent: files"),
            ],
            limits=(1800, 3600),
        ),
        Panel(
            "What became of the files?",
            "received: those of people; sent: documents that go with messages, and how they reached WhatsApp.",
            "short",
            [
                Query("sum by (outcome) (increase(stet_media_files_total[$__range]))", "received: {{outcome}}"),
                Query("sum by (outcome) (increase(stet_documents_total[$__range]))", "sent: {{outcome}}"),
                Query("sum by (outcome) (increase(stet_document_uploads_total[$__range]))", "WhatsApp: {{outcome}}"),
            ],
            Kind.BARS,
        ),
    ]


def pipeline_dashboard() -> Dashboard:
    return Dashboard(
        "pipeline",
        "Stet / Pipeline",
        "What comes in, how far it is read, what waits to leave, and what could not be handled.",
        [
            Row(
                "What comes in",
                [
                    Panel(
                        "How are requests to ingest answered?",
                        "Requests a second at the public port, by route and status. 5xx is refused, and sent again.",
                        "reqps",
                        [
                            Query(
                                "sum by (route, status) (rate(stet_http_requests_total"
                                '{route=~"/whatsapp/webhook|/consonance/events"}[$__rate_interval]))',
                                "{{route}} {{status}}",
                            )
                        ],
                    ),
                    Panel(
                        "How long until a webhook is durable in Kafka?",
                        "Half and ninety-nine of a hundred webhooks.",
                        "s",
                        [
                            Query(quantile(share, "stet_webhook_publish_duration_seconds"), name)
                            for share, name in ((0.5, "median"), (0.99, "p99"))
                        ],
                        limits=(1, 5),
                        empty_because="between two webhooks there is no rate",
                    ),
                    Panel(
                        "What kinds of updates arrive?",
                        "Updates a second, of WhatsApp and of Consonance.",
                        "ops",
                        [Query("sum by (kind) (rate(stet_updates_received_total[$__rate_interval]))", "{{kind}}")],
                        stacked=True,
                    ),
                    Panel(
                        "Which requests were rejected?",
                        "By endpoint and reason, over the time shown. signature is a stranger or a wrong secret.",
                        "short",
                        [
                            Query(
                                "sum by (endpoint, reason) (increase(stet_requests_rejected_total[$__range])) > 0",
                                "requests",
                            )
                        ],
                        Kind.TABLE,
                        empty_because=NO_TROUBLE,
                    ),
                    Panel(
                        "How long does ingest take to answer?",
                        "Ninety-nine of a hundred requests, by route.",
                        "s",
                        [
                            Query(
                                "histogram_quantile(0.99, sum by (le, route) (rate("
                                'stet_http_request_duration_seconds_bucket{route=~"/whatsapp/webhook|/consonance/events"}'
                                "[$__rate_interval])))",
                                "{{route}}",
                            )
                        ],
                        limits=(1, 5),
                        empty_because="between two requests there is no rate",
                    ),
                    Panel(
                        "How often was Consonance polled, and what did that bring?",
                        "Over the time shown. A poll that failed is tried again.",
                        "short",
                        [
                            Query("sum by (outcome) (increase(stet_polls_total[$__range]))", "polls: {{outcome}}"),
                            Query("sum(increase(stet_polled_events_total[$__range]))", "events"),
                        ],
                        Kind.BARS,
                    ),
                ],
            ),
            Row("Files", _files()),
            Row(
                "How far it is read",
                [
                    Panel(
                        "How many records are not read yet?",
                        "By service and topic, over all replicas. It falls to 0.",
                        "short",
                        [Query("sum by (service, topic) (stet_consumer_lag_records)", "{{service}}: {{topic}}")],
                        limits=(1000, 10000),
                    ),
                    Panel(
                        "How long ago was a topic read to its end?",
                        "From five minutes on it is an alert: the consumer is too slow or stands still.",
                        "s",
                        [Query("max by (service, topic) (stet_consumer_lag_seconds)", "{{service}}: {{topic}}")],
                        limits=(60, 300),
                    ),
                    Panel(
                        "How many records are read?",
                        "Records a second, by service.",
                        "ops",
                        [Query("sum by (service) (rate(stet_records_read_total[$__rate_interval]))", "{{service}}")],
                    ),
                    Panel(
                        "How long does a batch take?",
                        "Ninety-nine of a hundred batches, from their records to their commit.",
                        "s",
                        [Query(quantile(0.99, "stet_batch_duration_seconds", "service"), "{{service}}")],
                        limits=(5, 30),
                        empty_because="between two batches there is no rate",
                    ),
                ],
            ),
            Row(
                "What waits to leave",
                [
                    Panel(
                        "How many records wait in an outbox?",
                        "They leave when Kafka acknowledges them. Counted up to 10,000.",
                        "short",
                        [Query("max by (namespace, service) (stet_outbox_records)", "{{service}}")],
                        limits=(1000, 10000),
                    ),
                    Panel(
                        "How old is the oldest record of an outbox?",
                        "Seconds, when all is well. From two minutes on it is an alert.",
                        "s",
                        [Query("max by (namespace, service) (stet_oldest_outbox_record_age_seconds)", "{{service}}")],
                        limits=(30, 120),
                    ),
                    Panel(
                        "How many records leave?",
                        "Records a second that Kafka acknowledged, by service.",
                        "ops",
                        [
                            Query(
                                "sum by (service) (rate(stet_outbox_records_relayed_total[$__rate_interval]))",
                                "{{service}}",
                            )
                        ],
                    ),
                    Panel(
                        "How many topics does Kafka refuse?",
                        "Their records wait, and the others leave. Each is an alert.",
                        "short",
                        [Query("sum by (service) (stet_outbox_blocked_topics)", "{{service}}")],
                        limits=(1, 1),
                    ),
                ],
            ),
            Row(
                "What could not be handled",
                [
                    Panel(
                        "What is parked, and why?",
                        "Records that wait for a person, by service and reason.",
                        "short",
                        [Query("max by (namespace, service, reason) (stet_parked_records) > 0", "records")],
                        Kind.TABLE,
                        empty_because=NO_TROUBLE,
                    ),
                    Panel(
                        "How old is the oldest parked record?",
                        "Parked records are kept for ninety days.",
                        "s",
                        [Query("max by (namespace, service) (stet_oldest_parked_record_age_seconds)", "{{service}}")],
                        limits=(86400, 259200),
                    ),
                ],
            ),
        ],
        REPLICAS,
    )
