"""The environment of a bench: a broker and a database of its own, migrated, and processes that end with it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import psutil

from dev.layout import ROOT, Layout, preparation
from dev.ports import LOOPBACK, free_ports
from dev.processes import Child, Command, ProcessFailed
from dev.stack import Stack, StackOptions

READY_SECONDS = 60
_POLL_SECONDS = 0.01

Seconds = Mapping[str, float]
"""CPU seconds by process."""


@dataclass
class BenchEnvironment:
    """``database`` is a connection of the superuser."""

    stack: Stack
    database: Any
    _children: list[Child] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return self.stack.layout

    @property
    def kafka(self) -> str:
        return self.stack.neighbours.kafka_bootstrap

    async def start_service(self, name: str, **settings: str) -> Child:
        """Starts a real service; returns when it is ready."""
        command = self.layout.service(name, self.stack.neighbours, {"STET_CONSONANCE_POLL_SECONDS": "0", **settings})
        return await self._start(command, self.layout.ready_url(name))

    async def start_beside(self, name: str, port: int, settings: Mapping[str, str]) -> Child:
        """Starts one more process of a service that listens, at a port of its own; returns when it is ready."""
        health = free_port()
        own = {"STET_LISTEN_PORT": str(port), "STET_HEALTH_PORT": str(health), "STET_CONSONANCE_POLL_SECONDS": "0"}
        command = self.layout.service(name, self.stack.neighbours, {**own, **settings})
        return await self._start(replace(command, name=f"{name}-{port}"), f"http://{LOOPBACK}:{health}/readyz")

    async def start_tool(self, module: str, *arguments: str, port: int | None = None) -> Child:
        """Starts a process of the bench; where it listens on ``port``, returns when it answers there."""
        listens = () if port is None else ("--port", str(port))
        argv = (sys.executable, "-m", f"bench.{module}", *listens, *arguments)
        command = Command(f"bench-{module}", argv, environment_variables())
        return await self._start(command, f"http://{LOOPBACK}:{port}/readyz" if port else None)

    async def stop(self, child: Child) -> None:
        self._children.remove(child)
        await child.stop()

    async def stop_all(self) -> None:
        await asyncio.gather(*(child.stop() for child in self._children))

    async def _start(self, command: Command, ready_url: str | None) -> Child:
        child = Child(command, self.layout.folder)
        self._children.append(child)
        await child.start()
        if ready_url is None:
            return child
        async with aiohttp.ClientSession() as session:
            await child.wait_until(lambda: _answers(session, ready_url), READY_SECONDS)
        return child


@asynccontextmanager
async def bench_environment(clock: datetime | None = None) -> AsyncIterator[BenchEnvironment]:
    async with Stack.open("bench", clock, StackOptions(services=(), simulators=())) as stack:
        for tool in (
            preparation("topics", stack.neighbours, "topics", "create"),
            preparation("migrate", stack.neighbours, "migrate"),
        ):
            await Child(tool, stack.layout.folder).run()
        database = await asyncpg.connect(stack.neighbours.postgres_dsn)
        environment = BenchEnvironment(stack, database)
        try:
            yield environment
        finally:
            await environment.stop_all()
            database.terminate()


async def run_tool(module: str, *arguments: str) -> dict[str, Any]:
    """Runs a process of the bench to its end and returns the JSON that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"bench.{module}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | dict(environment_variables()),
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise ProcessFailed(
            f"bench.{module}", f"ended with code {process.returncode}", Path("(its standard error)"), ""
        )
    measured: dict[str, Any] = orjson.loads(output)
    return measured


def cpu_seconds(pids: Mapping[str, int]) -> Seconds:
    """The CPU of each process and its children since they began, also of those that have ended: PostgreSQL's sessions
    end with their client.
    """
    return {name: _seconds_of(psutil.Process(pid)) for name, pid in pids.items()}


def _seconds_of(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system + one.children_user + one.children_system for one in times))


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def environment_variables() -> Mapping[str, str]:
    return {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def suspended(*children: Child) -> Iterator[None]:
    """Stops the processes for the length of the block, so that work can queue up before them."""
    for child in children:
        os.kill(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGCONT)


async def wait_until_reached(
    read: Callable[[], Awaitable[int]], target: int, *children: Child, seconds: float = 120, poll: float = _POLL_SECONDS
) -> None:
    """Polls ``read`` until it returns ``target`` or more. Raises ProcessFailed when time or a process ends first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (value := await read()) < target:
        for child in children:
            child.check()
        if loop.time() > deadline:
            raise ProcessFailed("bench", f"reached {value} of {target} within {seconds:.0f} s", Path("-"), "")
        await asyncio.sleep(poll)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.ok
    return False
