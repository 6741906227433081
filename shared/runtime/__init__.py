"""The runtime of every service: Kafka, PostgreSQL, exactly-once effects, settings, health and telemetry."""
