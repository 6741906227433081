"""What crosses services: ids, errors, the envelope, and every kind of event and command, each said once."""
