"""The dispatcher owns the provider: how fast, through which window or template, and whether a message arrived.

Reads      messages.requested · whatsapp.messages · whatsapp.statuses · whatsapp.account · contacts
Publishes  messages.events, and sends to the WhatsApp Cloud API
Keeps      people and their addresses · customer service windows · messages and every attempt · early
           statuses · how complete the webhooks are · template states · throttles
"""
