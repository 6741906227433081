"""A real ingest process for the webhooks."""

from tests.services.ingest.conftest import post, running_ingest

__all__ = ["post", "running_ingest"]
