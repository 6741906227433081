"""Dashboards and alerts, described once in Python: ``python -m dev.observability`` writes deploy/observability/."""
