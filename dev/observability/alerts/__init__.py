"""Every alert, in the groups that Prometheus evaluates together.

``page`` wakes a person, ``ticket`` waits for the working day. An expression writes an age as ``<6h>``: see
dev/observability/durations.py.
"""

from dev.observability.alerts.definition import AlertGroup
from dev.observability.alerts.delivery import DELIVERY_ALERTS, WRITE_ALERTS
from dev.observability.alerts.pipeline import INGEST_ALERTS, PIPELINE_ALERTS
from dev.observability.alerts.platform import PROCESS_ALERTS, REPLICATION_ALERTS
from dev.observability.alerts.promise import AUDIT_ALERTS, promise_alerts
from dev.observability.alerts.rules import RULES_ALERTS

ALERT_GROUPS = (
    AlertGroup("stet-promise", promise_alerts()),
    AlertGroup("stet-processes", PROCESS_ALERTS),
    AlertGroup("stet-ingest", INGEST_ALERTS),
    AlertGroup("stet-pipeline", PIPELINE_ALERTS),
    AlertGroup("stet-rules", RULES_ALERTS),
    AlertGroup("stet-delivery", DELIVERY_ALERTS),
    AlertGroup("stet-writes", WRITE_ALERTS),
    AlertGroup("stet-audit", AUDIT_ALERTS),
    AlertGroup("stet-replication", REPLICATION_ALERTS),
)

ALERTS = tuple(alert for group in ALERT_GROUPS for alert in group.alerts)
