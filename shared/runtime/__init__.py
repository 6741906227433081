"""The runtime of every service: Kafka, PostgreSQL, exactly-once effects, settings, health and telemetry."""

from shared.runtime import structlog_without_rich as structlog_without_rich
