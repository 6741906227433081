"""Alerts of the processes, and of the broker and the database below them."""

from dev.observability.alerts.definition import Alert, AlertSeverity, Example, steady

_EVERY_SERVICE = ("ingest", "rules", "dispatcher", "writeback")


def _absent_services() -> str:
    seen = "group by (namespace, service) (last_over_time(stet_build_info[1d]))"
    never = "\n".join(f'or absent(stet_build_info{{service="{service}"}})' for service in _EVERY_SERVICE)
    return f"({seen} unless group by (namespace, service) (stet_build_info))\n{never}"


def _builds(*services: str) -> dict[str, str]:
    return {f'stet_build_info{{service="{service}", version="1"}}': "1" for service in services}


PROCESS_ALERTS = [
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
        steady('stet_http_requests_total{service="rules", route="/readyz", status="503"}', "0+6", "4+0"),
    ),
    Alert(
        "StetProcessRestarting",
        AlertSeverity.TICKET,
        'max by (namespace, service) (changes(process_start_time_seconds{service!=""}[1h])) > 3',
        "0s",
        "A process of {{ $labels.service }} started more than three times in an hour",
        "It ends by itself or is killed, for memory for example; its last lines of log say which.",
        "platform",
        steady('process_start_time_seconds{service="rules", instance="a"}', "0+60", "60+0"),
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
        steady('stet_task_restarts_total{service="rules", task="relay"}', "0+1", "3+0"),
    ),
    Alert(
        "StetLoopErrors",
        AlertSeverity.TICKET,
        "sum by (namespace, service, loop) (increase(stet_loop_errors_total[15m])) > 10",
        "5m",
        "The loop {{ $labels.loop }} of {{ $labels.service }} meets errors",
        "It goes on after each error, but what it does is late or undone; loop.failed in the log has the place.",
        "platform",
        steady('stet_loop_errors_total{service="dispatcher", loop="claims"}', "0+2", "9+0"),
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
        steady('stet_secret_refused{service="dispatcher", secret="STET_WHATSAPP_TOKEN"}', "1", "0"),
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

REPLICATION_ALERTS = [
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
        steady('kafka_server_replicamanager_underreplicatedpartitions{pod="a"}', "3", "0"),
    ),
    Alert(
        "StetKafkaUnderMinIsr",
        AlertSeverity.PAGE,
        "sum by (namespace) (kafka_server_replicamanager_underminisrpartitioncount) > 0",
        "2m",
        "Kafka takes no writes to some partitions",
        "They have fewer replicas in sync than min.insync.replicas: webhooks are answered 503 and outboxes grow.",
        "platform",
        steady('kafka_server_replicamanager_underminisrpartitioncount{pod="a"}', "1", "0"),
    ),
]
