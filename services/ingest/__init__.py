"""Ingest: what the outside says, made into events; who people are.

In: ``GET/POST /whatsapp/webhook``, ``POST /consonance/events``, Consonance's GraphQL API.
Out: ``whatsapp.messages``, ``whatsapp.statuses``, ``whatsapp.account``, ``contacts``, ``consonance.events``.
Keeps: people and their addresses, what Consonance last said, how far its webhook has been whole.
"""
