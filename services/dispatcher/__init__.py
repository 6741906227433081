"""The dispatcher owns the provider: how fast, through which window or template, and did it arrive.

In    messages.requested · whatsapp.messages · whatsapp.statuses · whatsapp.account · contacts
Out   messages.events · sends to the WhatsApp Cloud API
Keeps people and their addresses · customer service windows · the queue and ledger of messages · every attempt ·
      statuses that came before their receipt · what the webhook stream is known to have carried · template states
"""
