"""Every error Stet raises on purpose. An error's branch says what the caller does next.

StetError
├── Unprocessable    the record can never be handled        → park it, go on
│   ├── Malformed    it does not parse
│   ├── NewerKind    only a newer version knows its kind
│   └── Refused      another system refuses it, and will again
├── Unavailable      a dependency cannot be used now        → repeat later
│   └── Throttled    it asked for a pause of a given length
└── Misconfigured    a setting is wrong                     → do not start
"""

from datetime import timedelta


class StetError(Exception):
    """The root; catch a branch instead."""


class Unprocessable(StetError):
    """The record or request can never be handled; ``reason`` is the word it is parked under."""

    reason = "unprocessable"

    def __init__(self, sentence: str, *, reason: str | None = None) -> None:
        super().__init__(sentence)
        if reason is not None:
            self.reason = reason


class Malformed(Unprocessable):
    """The record does not parse."""

    reason = "malformed"


class NewerKind(Unprocessable):
    """The kind of the record is unknown here; a newer version will understand it when it is replayed."""

    reason = "newer_kind"


class Refused(Unprocessable):
    """Another system refuses the record, and will refuse it again."""

    reason = "refused"


class Unavailable(StetError):
    """A dependency cannot be used now; the same call may succeed later."""


class Throttled(Unavailable):
    """The dependency asked for a pause of ``wait``."""

    def __init__(self, sentence: str, *, wait: timedelta) -> None:
        super().__init__(sentence)
        self.wait = wait


class Misconfigured(StetError):
    """The process cannot start as it is set up; ``setting`` is the setting to correct, and ``sentence`` says how."""

    def __init__(self, setting: str, sentence: str) -> None:
        super().__init__(f"{setting}: {sentence}")
        self.setting = setting
        self.sentence = sentence
