"""The lengths and counts that WhatsApp accepts in a message, for the service that renders it and the one that sends it.

Sources and the limits of other kinds of message: docs/reference/whatsapp.md, "Sending".
"""

TEXT_LENGTH = 4096
BODY_LENGTH = 1024
"""Characters of the body of a message with buttons, and of a template's body after it is filled in."""
BUTTONS = 3
BUTTON_TITLE_LENGTH = 20
BUTTON_PAYLOAD_LENGTH = 128
"""Of a template's quick reply. Meta documents no maximum; this length is known to pass."""
