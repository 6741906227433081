"""Ingest: turns input from WhatsApp and Consonance into events, and identifies people.

Reads: ``GET/POST /whatsapp/webhook``, ``POST /consonance/events``, Consonance's GraphQL API.
Writes: ``whatsapp.messages``, ``whatsapp.statuses``, ``whatsapp.account``, ``contacts``, ``consonance.events``.
Stores: people and their addresses, snapshots of Consonance, and the coverage of the webhook.
"""
