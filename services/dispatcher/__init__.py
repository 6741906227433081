"""Sends messages to WhatsApp within its rules (rates, windows, templates), and finds out which of them arrived.

Reads      messages.requested · whatsapp.messages · whatsapp.statuses · whatsapp.account · contacts
Publishes  messages.events, and sends to the WhatsApp Cloud API
Keeps      people and their addresses · customer service windows · messages and every attempt · early
           statuses · the coverage of the webhook · template states · throttles
"""
