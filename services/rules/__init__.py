"""Decides about every question to a person: whom to ask or inform, of what, in which language, when, and when to stop.

In: consonance.events, contacts, whatsapp.messages, whatsapp.media, messages.events, writes.events.
Out: messages.requested, writes.requested, evidence.requested, decisions.
Keeps: works, people, consent, chains with their messages and questions, and what is due when.
"""
