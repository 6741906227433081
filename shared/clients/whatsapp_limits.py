"""The limits of a WhatsApp message, for the service that renders it and the one that sends it.

All limits known to this project, with the page each is from: docs/reference/whatsapp.md.
"""

import re

TEXT_LENGTH = 4096
"""Characters of a message without buttons.
https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages"""

BODY_LENGTH = 1024
"""Characters of the body of a message with buttons, and of a template's body after it is filled in.
https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates"""

BUTTONS = 3
BUTTON_TITLE_LENGTH = 20
"""Of the reply buttons of one message, whose titles differ.
https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/interactive-reply-buttons-messages"""

BUTTON_PAYLOAD_LENGTH = 128
"""Of a template's quick reply. Meta documents no maximum; this length is known to pass."""

LIST_ROWS = 10
"""Of a list message, in all its sections.
https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/interactive-list-messages"""

DOCUMENT_MEGABYTES = 100
"""Other media are smaller. https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media"""

CAPTION_LENGTH = 1024
"""Characters of the text beneath a document. https://developers.facebook.com/docs/whatsapp/cloud-api/messages/document-messages"""

FILE_NAME_LENGTH = 240
"""Of a document. Meta documents no maximum; this length is known to pass."""

UPLOAD_DAYS = 30
"""How long WhatsApp keeps an uploaded file, under an id that its number alone may use.
https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media"""

TEMPLATE_NAME = re.compile(r"[a-z0-9_]+")
"""https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates"""
