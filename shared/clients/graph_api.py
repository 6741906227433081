"""The HTTP session of a client of Meta's Graph API, for calls other than sends, and its answers.

The session carries the account's token, keeps no cookies, and is opened and closed with the client.
"""

from typing import Self

import aiohttp

_LONGEST_ANSWER = 64 * 1024  # bytes; Meta's own have some hundred


async def read_answer(content: aiohttp.StreamReader) -> bytes:
    """The body of an answer, in however many parts it arrives; of a very long one the beginning."""
    answer = bytearray()
    while (room := _LONGEST_ANSWER - len(answer)) > 0 and (part := await content.read(room)):
        answer += part
    return bytes(answer)


class GraphApiClient:
    """An async context; ``session`` may be used within it."""

    def __init__(self, token: str, timeout: aiohttp.ClientTimeout) -> None:
        self._token = token
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}"}
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "open it first"  # noqa: S101 -- a fault of this code, not of the input
        return self._session
