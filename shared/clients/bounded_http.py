"""Answers over HTTP that are read no further than a limit: a neighbour's mistake must not fill our memory.

A module of its own because two services ask Consonance, each in its own way.
"""

import aiohttp

MOST_BYTES = 64 * 1024 * 1024
"""The contacts of a large house, all in one answer, are some 20 MB."""

_CHUNK = 64 * 1024


class BoundedResponse(aiohttp.ClientResponse):
    """To be given to a session as its ``response_class``."""

    async def read(self) -> bytes:
        """All of the body. Raises aiohttp.ClientPayloadError where it is larger than the limit."""
        if self._body is None:
            if (self.content_length or 0) > MOST_BYTES:
                self._refuse()
            parts, size = [], 0
            async for part in self.content.iter_chunked(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    self._refuse()
            self._body = b"".join(parts)
        return self._body

    def _refuse(self) -> None:
        self.close()
        raise aiohttp.ClientPayloadError(f"the answer is larger than {MOST_BYTES:,} bytes")
