"""The stack of a run: one broker, one database, both simulators, and two replicas of every service, on the real clock.

A process that ends is started again, as an orchestrator would; only fault injection ends one on purpose.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from dev.chaos.balancer import Backend, load_balancer
from dev.kafka import EmbeddedKafka
from dev.layout import SERVICES, SIMULATORS, Layout, Neighbours, preparation
from dev.ports import free_ports
from dev.postgres import EmbeddedPostgres
from dev.processes import Child, Command, ProcessFailed, end_leftovers, family_of
from dev.stack import RUN, locked
from dev.templates import register_templates

REPLICAS = 2
DISK_MIB = 768
_READY_SECONDS = 90
_POLL_SECONDS = 0.1
_RESTART_SECONDS = 1.0  # before a process that ended by itself is started again
PER_SECOND = 40
"""Messages of one number that the provider takes in a second. The dispatcher gets a lower rate: inbound counts too."""

_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "ingest": {
        "STET_CONSONANCE_POLL_SECONDS": "8",
        "STET_CONSONANCE_POLLED": '["work.observed","metadata.changed"]',
        "STET_WHATSAPP_HEARTBEAT_SECONDS": "2",
        "STET_WHATSAPP_REDELIVERY_SECONDS": "12",
    },
    "rules": {},
    "dispatcher": {
        "STET_SEND_TIMEOUT_SECONDS": "4",
        "STET_UNPROVEN_AFTER_SECONDS": "20",
        "STET_WHATSAPP_RATES": '{"main":20,"acquisitions":20}',
    },
    "writeback": {"STET_CONSONANCE_TIMEOUT": "4", "STET_CONSONANCE_EFFECT_SECONDS": "4"},
}


@dataclass(frozen=True)
class UnexpectedExit:
    """A process that ended without being killed."""

    name: str
    at: float
    code: int
    last_log_line: str


@dataclass
class ChaosStack:
    """``down`` are the killed processes not started again yet; ``ended`` those that ended by themselves."""

    folder: Path
    layout: Layout
    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres
    disk: Path | None
    children: dict[str, Child] = field(default_factory=dict)
    ready_urls: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    ended: list[UnexpectedExit] = field(default_factory=list)

    @property
    def neighbours(self) -> Neighbours:
        return Neighbours(self.kafka.bootstrap, self.postgres.dsn)

    def replicas(self, service: str) -> list[str]:
        return [f"{service}-{number}" for number in range(REPLICAS)]

    def child(self, name: str) -> Child:
        known = {"kafka": self.kafka.child, "postgres": self.postgres.child}
        return known.get(name) or self.children[name]

    async def kill(self, name: str) -> None:
        self.down.add(name)
        with suppress(psutil.NoSuchProcess):
            await self.child(name).kill()

    async def start(self, name: str) -> None:
        """Start it; returns when it is ready."""
        await self._begin(name)
        await self.until_ready(name)

    async def bring_back(self, name: str) -> None:
        """Start a killed process, as often as needed: its neighbours may be disrupted before it is ready."""
        while True:
            try:
                if not self.child(name).alive:
                    await self._begin(name)
                await self.until_ready(name)
            except ProcessFailed:
                await self._note_if_ended(name)
            else:
                break
        self.down.discard(name)

    async def not_ready(self) -> list[str]:
        async with aiohttp.ClientSession() as session:
            return [name for name, url in self.ready_urls.items() if not await _answers(session, url)]

    async def _note_if_ended(self, name: str) -> None:
        child = self.child(name)
        if not child.alive:
            self.ended.append(UnexpectedExit(name, time.time(), await child.ended(), _last_log_line(child)))
            await child.stop()
            await asyncio.sleep(_RESTART_SECONDS)

    async def _begin(self, name: str) -> None:
        if name in ("kafka", "postgres"):
            await (self.kafka if name == "kafka" else self.postgres).start()
        else:
            await self.child(name).start()

    async def until_ready(self, name: str) -> None:
        url = self.ready_urls.get(name)
        if url is None:
            return
        async with aiohttp.ClientSession() as session:
            await self.child(name).wait_until(lambda: _answers(session, url), _READY_SECONDS)

    def freeze(self, name: str) -> None:
        _signal_family(self.child(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        _signal_family(self.child(name), signal.SIGCONT)

    async def restart_ended(self) -> None:
        """Run for ever: start processes that ended by themselves again, and note it."""
        while True:
            for name in [*self.children, "postgres", "kafka"]:
                if name not in self.down and not self.child(name).alive:
                    await self._note_if_ended(name)
                    with suppress(ProcessFailed):
                        await self._begin(name)
            await asyncio.sleep(_POLL_SECONDS)


def _last_log_line(child: Child) -> str:
    return child.tail(1)[-300:]


def _signal_family(child: Child, number: signal.Signals) -> None:
    """All processes of the child: a database stands still only when all its processes do."""
    for process in family_of(child.pid):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.ok
    return False


@asynccontextmanager
async def open_chaos_stack(
    name: str, records: Path, rules: Path, prepare: Callable[[], None], report: Callable[[str], None]
) -> AsyncIterator[ChaosStack]:
    """Start everything and wait until it is ready; it ends with the block, and its data is removed, not its logs.

    ``prepare`` writes ``rules`` just before the services start.
    """
    folder = RUN / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        await end_leftovers(folder)
        async with AsyncExitStack() as exit_stack:
            disk = exit_stack.enter_context(_disk(folder / "data"))
            (folder / "logs").mkdir(exist_ok=True)
            layout = Layout(folder)
            postgres = EmbeddedPostgres(folder / "data" / "postgres", folder)
            stack = ChaosStack(folder, layout, EmbeddedKafka(folder / "data" / "kafka", folder), postgres, disk)
            exit_stack.push_async_callback(_stop, stack)
            report("starting Kafka, PostgreSQL and the simulators")
            await _start_neighbours(stack, records)
            report("creating topics and migrating the database")
            await _prepare(stack)
            prepare()
            await exit_stack.enter_async_context(_services(stack, rules, report))
            yield stack


@contextmanager
def _disk(data: Path) -> Iterator[Path | None]:
    """A file system of limited size for PostgreSQL, where this user may mount one; else none, and no full disk."""
    place = data / "postgres"
    while place.is_mount() and _mount("umount", "-l", str(place)):
        pass
    for remains in (data, data.parent / "logs"):
        shutil.rmtree(remains, ignore_errors=True)
    place.mkdir(parents=True)
    limited = _mount("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "stet", str(place))
    try:
        yield place if limited else None
    finally:
        if limited:
            _mount("umount", "-l", str(place))
        shutil.rmtree(data, ignore_errors=True)


def _mount(*command: str) -> bool:
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


async def _start_neighbours(stack: ChaosStack, records: Path) -> None:
    arguments = {"whatsapp": (f"--per-second={PER_SECOND}",), "consonance": (f"--extra-records={records}",)}
    for name in SIMULATORS:
        stack.children[name] = Child(stack.layout.simulator(name, arguments[name]), stack.folder)
        stack.ready_urls[name] = stack.layout.ready_url(name)
    await asyncio.gather(stack.kafka.start(), stack.postgres.start(), *(stack.start(name) for name in SIMULATORS))


async def _prepare(stack: ChaosStack) -> None:
    tools = (
        preparation("topics", stack.neighbours, "topics", "create"),
        preparation("migrate", stack.neighbours, "migrate"),
    )
    await asyncio.gather(*(Child(tool, stack.folder).run() for tool in tools))


@asynccontextmanager
async def _services(stack: ChaosStack, rules: Path, report: Callable[[str], None]) -> AsyncIterator[None]:
    backends = []
    for service in SERVICES:
        for name in stack.replicas(service):
            health, listen = free_ports(2)
            own = {
                **_SETTINGS[service], "STET_HEALTH_PORT": str(health), "STET_INSTANCE": name,
                "STET_LISTEN_PORT": str(listen), "STET_RULES_DIR": str(rules),
            }  # fmt: skip
            command = stack.layout.service(service, stack.neighbours, own)
            stack.children[name] = Child(_named(command, name), stack.folder)
            stack.ready_urls[name] = f"http://127.0.0.1:{health}/readyz"
            backends += [Backend(listen, stack.ready_urls[name])] if service == "ingest" else []
    port = int(stack.layout.ingest_url.rpartition(":")[2])
    async with load_balancer(port, backends):
        report("starting " + ", ".join(f"{REPLICAS} × {service}" for service in SERVICES))
        await register_templates(stack.layout.whatsapp_url, rules)
        await asyncio.gather(*(stack.start(name) for service in SERVICES for name in stack.replicas(service)))
        restarting = asyncio.ensure_future(stack.restart_ended())
        try:
            yield
        finally:
            restarting.cancel()


def _named(command: Command, name: str) -> Command:
    return Command(name, command.argv, command.environment)


async def _stop(stack: ChaosStack) -> None:
    """The services first; frozen processes are resumed to receive the signal."""
    simulators, services = set(SIMULATORS), [name for name in stack.children if name not in SIMULATORS]
    for name in [*stack.children, "kafka", "postgres"]:
        with suppress(Exception):
            stack.resume(name)
    for names in (services, simulators, ("kafka", "postgres")):
        await asyncio.gather(*(stack.child(name).stop() for name in names))
