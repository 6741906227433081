"""What every service runs on: Kafka, PostgreSQL, the delivery promise, settings, health and telemetry."""
