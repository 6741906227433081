"""Alerts of the processes, and of the broker and the database below them."""

from dev.observability.alerts.definition import Alert, AlertSeverity, Example, steady

_EVERY_SERVICE = ("ingest", "rules", "dispatcher", "writeback")
_WORKLOAD = "app_kubernetes_io_component"
"""The label of a PodMonitor by which ingest-web and ingest-poll are told apart; elsewhere nothing has it."""

_OF_STET = "and on (namespace, service, instance) last_over_time(stet_build_info[1h])"
"""Only of our processes: whatever a ServiceMonitor scrapes has a label ``service`` too."""

_WHERE_STET_RUNS = "and on (namespace) group by (namespace) (last_over_time(stet_build_info[1d]))"
"""Not of another broker or database that the same Prometheus scrapes."""


def _absent_services() -> str:
    by = f"group by (namespace, service, {_WORKLOAD})"
    never = "\n".join(f'or on (service) absent(stet_build_info{{service="{service}"}})' for service in _EVERY_SERVICE)
    return f"({by} (last_over_time(stet_build_info[1d])) unless {by} (stet_build_info))\n{never}"


def _builds(*services: str, **labels: str) -> dict[str, str]:
    more = "".join(f', {name}="{value}"' for name, value in labels.items())
    return {f'stet_build_info{{service="{service}", version="1"{more}}}': "1" for service in services}


def _ingest(web: str, poll: str) -> dict[str, str]:
    """Both workloads of ingest, and one replica of each other service; all series last a day."""
    found = _builds("rules", "dispatcher", "writeback", namespace="stet")
    for workload, values in (("ingest-web", web), ("ingest-poll", poll)):
        found |= dict.fromkeys(_builds("ingest", namespace="stet", **{_WORKLOAD: workload}), values)
    return found


def _of_brokers(metric: str) -> tuple[Example, Example]:
    """A broker beside Stet has trouble; then one of another product."""
    here = _builds("rules", namespace="stet")
    return Example(here | {f'{metric}{{namespace="stet"}}': "3"}), Example(
        here | {f'{metric}{{namespace="shop"}}': "3"}
    )


_STARTED = 'process_start_time_seconds{service="rules", instance="a"}'

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
        "No replica of {{ or $labels.app_kubernetes_io_component $labels.service }} is scraped",
        "It has no metrics port: it is not running, does not start, or Prometheus cannot reach it.",
        "platform",
        (Example(_builds("ingest", "rules", "dispatcher")), Example(_builds(*_EVERY_SERVICE))),
        also_fires=(Example(_ingest(web="1x10 _", poll="1")), Example(_ingest(web="1", poll="1x10 _"))),
        also_silent=(Example(_ingest(web="1", poll="1")),),
    ),
    Alert(
        "StetNotReady",
        AlertSeverity.PAGE,
        'sum by (namespace, service, instance) (rate(stet_http_requests_total{route="/readyz", status="503"}[3m])) > 0',
        "5m",
        "{{ $labels.service }} at {{ $labels.instance }} answers /readyz with 503",
        "A check of the service fails; the answer of /readyz names it, mostly the broker or the database.",
        "platform",
        steady('stet_http_requests_total{service="rules", route="/readyz", status="503"}', "0+6", "4+0"),
        also_silent=(  # a roll-out, in which one replica after the other starts
            Example(
                {
                    f'stet_http_requests_total{{service="rules", route="/readyz", status="503", instance="{one}"}}': (
                        f"_x{47 + one} 0 6+0"
                    )
                    for one in range(12)
                }
            ),
        ),
    ),
    Alert(
        "StetProcessRestarting",
        AlertSeverity.TICKET,
        f"max by (namespace, service) (changes(process_start_time_seconds[1h]) {_OF_STET}) > 3",
        "0s",
        "A process of {{ $labels.service }} started more than three times in an hour",
        "It ends by itself or is killed, for memory for example; its last lines of log say which.",
        "platform",
        (
            Example(_builds("rules", instance="a") | {_STARTED: "0+60"}),
            Example(_builds("rules", instance="a") | {_STARTED: "60+0"}),
        ),
        also_silent=(Example({_STARTED: "0+60"}),),  # of another product
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
        f"max by (namespace, service, instance) (process_open_fds / process_max_fds {_OF_STET}) > 0.8",
        "10m",
        "{{ $labels.service }} at {{ $labels.instance }} has four fifths of its file descriptors open",
        "At the limit it accepts no connection and opens none. A connection is a descriptor.",
        "platform",
        (
            Example(
                _builds("ingest")
                | {'process_open_fds{service="ingest"}': "900", 'process_max_fds{service="ingest"}': "1024"}
            ),
            Example(
                _builds("ingest")
                | {'process_open_fds{service="ingest"}': "90", 'process_max_fds{service="ingest"}': "1024"}
            ),
        ),
        also_silent=(Example({'process_open_fds{service="shop"}': "900", 'process_max_fds{service="shop"}': "1024"}),),
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
        '  < max by (namespace) (cnpg_collector_sync_replicas{value="expected"})\n'
        f"{_WHERE_STET_RUNS}",
        "5m",
        "PostgreSQL has fewer synchronous standbys than it needs",
        "With dataDurability required, commits wait when none is left. Only where CloudNativePG runs the database.",
        "platform",
        (
            Example(
                _builds("rules", namespace="stet")
                | {
                    'cnpg_collector_sync_replicas{namespace="stet", value="observed", pod="a"}': "0",
                    'cnpg_collector_sync_replicas{namespace="stet", value="expected", pod="a"}': "1",
                }
            ),
            Example(
                _builds("rules", namespace="stet")
                | {
                    f'cnpg_collector_sync_replicas{{namespace="stet", value="{one}", pod="a"}}': "1"
                    for one in ("observed", "expected")
                }
            ),
        ),
        also_silent=(
            Example(
                _builds("rules", namespace="stet")
                | {
                    'cnpg_collector_sync_replicas{namespace="shop", value="observed", pod="a"}': "0",
                    'cnpg_collector_sync_replicas{namespace="shop", value="expected", pod="a"}': "1",
                }
            ),
        ),
    ),
    Alert(
        "StetKafkaUnderReplicated",
        AlertSeverity.TICKET,
        f"sum by (namespace) (kafka_server_replicamanager_underreplicatedpartitions) > 0\n{_WHERE_STET_RUNS}",
        "15m",
        "Kafka has partitions with fewer replicas than configured",
        "A broker is away or slow; another one away, and writes stop. Only where Strimzi runs the broker.",
        "platform",
        _of_brokers("kafka_server_replicamanager_underreplicatedpartitions"),
    ),
    Alert(
        "StetKafkaUnderMinIsr",
        AlertSeverity.PAGE,
        f"sum by (namespace) (kafka_server_replicamanager_underminisrpartitioncount) > 0\n{_WHERE_STET_RUNS}",
        "2m",
        "Kafka takes no writes to some partitions",
        "They have fewer replicas in sync than min.insync.replicas: webhooks are answered 503 and outboxes grow.",
        "platform",
        _of_brokers("kafka_server_replicamanager_underminisrpartitioncount"),
    ),
]
