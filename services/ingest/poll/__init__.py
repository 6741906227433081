"""Polls Consonance: reads works and contacts, compares them with their last snapshots, publishes the differences."""
