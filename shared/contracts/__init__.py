"""The contracts between services: ids, errors, the envelope, and every kind of event and command."""
