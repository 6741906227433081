"""The control APIs of both simulators, and ingest's development route, as the demo calls them."""

from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from shared.contracts.errors import StetError

_TIMEOUT = aiohttp.ClientTimeout(total=30)

Json = dict[str, Any]


class Refused(StetError):
    """A simulator or ingest would not do what the demo asked of it."""


@dataclass(frozen=True)
class Outside:
    """``whatsapp`` and ``consonance`` end in the simulators' control paths."""

    session: aiohttp.ClientSession
    whatsapp: str
    consonance: str
    ingest: str

    async def poll(self) -> int:
        """Let ingest look at Consonance now; returns how many events it told."""
        return int((await self._call("POST", f"{self.ingest}/development/poll"))["events"])

    async def at_whatsapp(self, path: str, body: object = None) -> Any:
        return await self._call("GET" if body is None else "POST", f"{self.whatsapp}/{path}", body)

    async def in_consonance(self, path: str, body: object = None, method: str = "POST") -> Any:
        return await self._call("GET" if body is None else method, f"{self.consonance}/{path}", body)

    async def _call(self, method: str, url: str, body: object = None) -> Any:
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(method, url, data=data, timeout=_TIMEOUT) as answer:
            said = await answer.read()
            if not answer.ok:
                raise Refused(f"{method} {url} was answered {answer.status}: {said.decode(errors='replace')}")
        return orjson.loads(said)
