"""Files of inbound messages: fetched from WhatsApp, checked, and kept in the file store."""
