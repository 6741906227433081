"""Decides every human question: who is told or asked what, in which language, at which hour, and whether still.

In: consonance.events, contacts, whatsapp.messages, whatsapp.media, messages.events, writes.events.
Out: messages.requested, writes.requested, evidence.requested, decisions.
Keeps: works, people, consent, chains with their messages and questions, and what is due when.
"""
