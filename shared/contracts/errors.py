"""Every error Stet raises on purpose. An error's branch says what the caller does next.

StetError
├── Unprocessable              the message is at fault          → park it, go on
│   ├── Malformed        it does not parse
│   ├── NewerKind        it is of a kind a newer version writes
│   └── Refused          the far side said no, and will again
├── Unavailable        the world is at fault            → same message, later
│   └── Throttled        … and it told us when
└── Misconfigured      we are at fault                  → do not start
"""

from datetime import timedelta


class StetError(Exception):
    """The root; catch a branch instead."""


class Unprocessable(StetError):
    """The message itself can never be handled; ``reason`` is the word it is parked under."""

    reason = "unfit"

    def __init__(self, sentence: str, *, reason: str | None = None) -> None:
        super().__init__(sentence)
        if reason is not None:
            self.reason = reason


class Malformed(Unprocessable):
    """It does not parse."""

    reason = "malformed"


class NewerKind(Unprocessable):
    """Its kind is unknown here; a newer version will understand it when it is replayed."""

    reason = "newer_kind"


class Refused(Unprocessable):
    """The far side said no, and will say no again."""

    reason = "refused"


class Unavailable(StetError):
    """The world is at fault; the same message may succeed later."""


class Throttled(Unavailable):
    """The far side asked for a pause of ``wait``."""

    def __init__(self, sentence: str, *, wait: timedelta) -> None:
        super().__init__(sentence)
        self.wait = wait


class Misconfigured(StetError):
    """We are at fault; the process does not start, and ``setting`` says where to look."""

    def __init__(self, setting: str, sentence: str) -> None:
        super().__init__(f"{setting}: {sentence}")
        self.setting = setting
        self.sentence = sentence
