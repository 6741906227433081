"""Platform: the processes, what they use, and their database."""

from dev.observability.dashboards.common import NO_TROUBLE, REPLICAS, quantile
from dev.observability.panels import Dashboard, Kind, Panel, Query, Row


def platform_dashboard() -> Dashboard:
    return Dashboard(
        "platform",
        "Stet / Platform",
        "The processes: what runs where, what it uses, who leads, what was restarted, and which secret is refused.",
        [
            Row(
                "What runs",
                [
                    Panel(
                        "Which version runs where?",
                        "Every replica that is scraped, with its version and commit.",
                        "none",
                        [Query("max by (namespace, service, instance, version, commit) (stet_build_info)", "replica")],
                        Kind.TABLE,
                        height=7,
                    ),
                    Panel(
                        "Who leads?",
                        "Over all replicas exactly 1 for each task: the relay of a service, and the sender.",
                        "short",
                        [Query("sum by (namespace, service, task) (stet_leader)", "{{service}}: {{task}}")],
                        height=7,
                    ),
                    Panel(
                        "What was restarted, and which loops meet errors?",
                        "Over the time shown. A task that fails is started again; a loop goes on after an error.",
                        "short",
                        [
                            Query(
                                "sum by (service, task) (increase(stet_task_restarts_total[$__range])) > 0",
                                "restarts of a task",
                            ),
                            Query(
                                "sum by (service, loop) (increase(stet_loop_errors_total[$__range])) > 0",
                                "errors of a loop",
                            ),
                            Query(
                                "sum by (service, hop) (increase(stet_audit_failed_runs_total[$__range])) > 0",
                                "failed audits",
                            ),
                            Query(
                                "sum by (service, loop, reason) (increase(stet_rows_set_aside_total[$__range])) > 0",
                                "rows set aside",
                            ),
                            Query(
                                "sum by (service, reason) (increase(stet_writes_deferred_total[$__range])) > 0",
                                "writes deferred",
                            ),
                        ],
                        Kind.TABLE,
                        height=6,
                        empty_because=NO_TROUBLE,
                    ),
                    Panel(
                        "Which secrets are refused?",
                        "1 while the other side takes the secret no more, or no signature fits it.",
                        "short",
                        [Query("max by (service, secret) (stet_secret_refused)", "{{service}}: {{secret}}")],
                        limits=(1, 1),
                        height=6,
                    ),
                ],
            ),
            Row(
                "What it uses",
                [
                    Panel(
                        "How much processor time does each replica use?",
                        "Cores.",
                        "short",
                        [
                            Query(
                                "sum by (service, instance) (rate(process_cpu_seconds_total[$__rate_interval]))",
                                "{{service}} {{instance}}",
                            )
                        ],
                    ),
                    Panel(
                        "How much memory does each replica hold?",
                        "Resident memory. It is flat, also while a neighbour is away.",
                        "bytes",
                        [
                            Query(
                                "max by (service, instance) (process_resident_memory_bytes)", "{{service}} {{instance}}"
                            )
                        ],
                    ),
                    Panel(
                        "How many file descriptors are open?",
                        "As a share of the limit. Every connection is one.",
                        "percentunit",
                        [
                            Query(
                                "max by (service, instance) (process_open_fds)"
                                " / max by (service, instance) (process_max_fds)",
                                "{{service}} {{instance}}",
                            )
                        ],
                        limits=(0.6, 0.8),
                    ),
                    Panel(
                        "How many connections does the public port hold, and why does it drop some?",
                        "Open connections, and those dropped in a second by reason.",
                        "short",
                        [
                            Query("sum(stet_open_connections)", "open"),
                            Query(
                                "sum by (reason) (rate(stet_connections_dropped_total[$__rate_interval]))",
                                "dropped: {{reason}}",
                            ),
                        ],
                    ),
                    Panel(
                        "How much of request bodies is held in memory?",
                        "Over all replicas of ingest. At STET_LISTEN_BODY_BYTES of a replica it drops connections.",
                        "bytes",
                        [Query("sum(stet_request_body_bytes)", "bodies")],
                    ),
                ],
            ),
            Row(
                "Database",
                [
                    Panel(
                        "What share of the connections to PostgreSQL is in use?",
                        "By replica. At 1 every further query waits.",
                        "percentunit",
                        [
                            Query(
                                'sum by (service, instance) (stet_database_pool_connections{state="in_use"})'
                                " / sum by (service, instance) (stet_database_pool_max_connections)",
                                "{{service}} {{instance}}",
                            )
                        ],
                        limits=(0.8, 0.95),
                    ),
                    Panel(
                        "How long does a query take?",
                        "Ninety-nine of a hundred, by service.",
                        "s",
                        [Query(quantile(0.99, "stet_database_query_duration_seconds", "service"), "{{service}}")],
                        limits=(0.5, 5),
                    ),
                    Panel(
                        "How long does Kafka take to acknowledge a round of the outbox?",
                        "Ninety-nine of a hundred rounds, by service.",
                        "s",
                        [Query(quantile(0.99, "stet_outbox_round_duration_seconds", "service"), "{{service}}")],
                        limits=(1, 10),
                        empty_because="between two rounds there is no rate",
                    ),
                    Panel(
                        "Are health checks answered well?",
                        "Requests a second to /readyz by status. 503 names the failing check in its body.",
                        "reqps",
                        [
                            Query(
                                "sum by (service, status) (rate("
                                'stet_http_requests_total{route="/readyz"}[$__rate_interval]))',
                                "{{service}} {{status}}",
                            )
                        ],
                    ),
                ],
            ),
        ],
        REPLICAS,
    )
