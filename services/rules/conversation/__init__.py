"""Decisions: chains, their recipients, and the messages and writes that follow. Pure: no database, no clock."""
