"""Chance that can be repeated: every draw follows from the seed and a name, so concurrency cannot change an outcome."""

import base64
import hashlib
from typing import NamedTuple

_WHOLE = 1 << 64


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

    def wamid(self, direction: str, count: int) -> str:
        """Shaped like Meta's (base64 after a dot, padding and all), but without the phone number Meta's contain."""
        body = b"\x1c\x18" + count.to_bytes(8, "big") + self._digest(direction, count)
        return "wamid." + base64.b64encode(body).decode()
