"""Randomness that repeats: every draw follows from the seed and a name, so concurrency cannot change an outcome."""

import base64
import hashlib
from typing import Literal, NamedTuple

_WHOLE = 1 << 64
_WAMID_IDS = {"in": (20, b"\x12"), "out": (18, b"\x11")}  # digits of the id, and what marks the direction

Direction = Literal["in", "out"]


class Chance(NamedTuple):
    seed: int

    def _digest(self, *names: object) -> bytes:
        spelled = "\0".join(map(str, (self.seed, *names)))
        return hashlib.blake2b(spelled.encode(), digest_size=24).digest()

    def draw(self, *names: object) -> float:
        """At least 0, less than 1."""
        return int.from_bytes(self._digest(*names)[:8], "big") / _WHOLE

    def happens(self, probability: float, *names: object) -> bool:
        return probability > 0 and self.draw(*names) < probability

    def whole(self, digits: int, *names: object) -> str:
        """A number of exactly so many digits (at most 20), as text."""
        return str(int.from_bytes(self._digest(*names), "big"))[:digits].ljust(digits, "7")

    def wamid(self, direction: Direction, count: int, number: str) -> str:
        """A wamid like Meta's: base64 of the person's number without a plus, the direction, and an id in hex."""
        length, mark = _WAMID_IDS[direction]
        own = (count.to_bytes(4, "big") + self._digest("wamid", direction, count)).hex().upper()[:length]
        body = b"\x1c\x18" + _measured(number) + b"\x15\x02\x00" + mark + b"\x18" + _measured(own) + b"\x00"
        return "wamid." + base64.b64encode(body).decode()


def _measured(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
