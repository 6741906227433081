"""Clients of outside systems, and their rules, that two services use."""
