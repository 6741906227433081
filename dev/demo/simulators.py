"""A stack as the demo sees it: the control APIs of both simulators, and ingest's development route."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import aiohttp
import orjson

from dev.layout import Neighbours, StackAddresses
from dev.virtual_clock import VirtualClock
from shared.contracts.errors import StetError
from shared.runtime.clock import Clock

_TIMEOUT = aiohttp.ClientTimeout(total=30)


class CallRefused(StetError):
    """A simulator or ingest refused a call of the demo."""


class DemoStack(Protocol):
    """A stack with a development clock: processes of this machine, or pods of a cluster."""

    @property
    def layout(self) -> StackAddresses: ...

    @property
    def neighbours(self) -> Neighbours: ...

    @property
    def clock(self) -> Clock | None: ...

    @property
    def virtual_clock(self) -> VirtualClock: ...


def development_clock(stack: DemoStack) -> Clock:
    """Raises RuntimeError for a stack on the real clock."""
    if stack.clock is None:
        raise RuntimeError("the stack runs on the real clock; give it a development clock")
    return stack.clock


@dataclass(frozen=True)
class Simulators:
    """``whatsapp_url`` and ``consonance_url`` end in the simulators' control paths."""

    session: aiohttp.ClientSession
    whatsapp_url: str
    consonance_url: str
    ingest_url: str

    @classmethod
    def of(cls, addresses: StackAddresses, session: aiohttp.ClientSession) -> Self:
        return cls(
            session,
            whatsapp_url=f"{addresses.whatsapp_url}/_simulator",
            consonance_url=f"{addresses.consonance_url.removesuffix('/graphql')}/_simulator",
            ingest_url=addresses.health_url("ingest"),
        )

    async def poll(self) -> int:
        """Let ingest poll Consonance now; returns how many events it published. Raises CallRefused."""
        return int((await self._call("POST", f"{self.ingest_url}/development/poll"))["events"])

    async def whatsapp(self, path: str, body: object = None) -> Any:
        """Raises CallRefused."""
        return await self._call("GET" if body is None else "POST", f"{self.whatsapp_url}/{path}", body)

    async def consonance(self, path: str, body: object = None, method: str = "POST") -> Any:
        """Raises CallRefused."""
        return await self._call("GET" if body is None else method, f"{self.consonance_url}/{path}", body)

    async def _call(self, method: str, url: str, body: object = None) -> Any:
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(method, url, data=data, timeout=_TIMEOUT) as response:
            content = await response.read()
            if not response.ok:
                text = content.decode(errors="replace")
                raise CallRefused(f"{method} {url} was answered {response.status}: {text}")
        return orjson.loads(content)
