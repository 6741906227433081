"""A complete Stet on this machine: broker, database, both simulators and the four services, each in its own process.

A broker or a database named by STET_KAFKA_BOOTSTRAP or STET_POSTGRES_DSN is used instead of an embedded one. The files
of a stack are in ``.run/<name>/``: its logs stay when it ends, its data does not.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import aiohttp

from dev.kafka import EmbeddedKafka
from dev.layout import ROOT, SERVICES, SIMULATORS, Layout, Neighbours, preparation
from dev.postgres import EmbeddedPostgres, give_passwords
from dev.processes import Child, Command, end_leftovers
from dev.templates import register_templates
from dev.virtual_clock import VirtualClock
from shared.contracts.errors import Misconfigured
from shared.runtime.clock import DevelopmentClock

RUN = ROOT / ".run"
_READY_SECONDS = 60
_DEFAULT_NAME = "default"

ReportStep = Callable[[str], None]


@dataclass(frozen=True)
class StackOptions:
    """Differences from an ordinary stack: fewer processes, more settings by service, more arguments by simulator.

    ``ready_seconds`` is how long a process may take to be ready.
    """

    services: tuple[str, ...] = SERVICES
    simulators: tuple[str, ...] = SIMULATORS
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ready_seconds: float = _READY_SECONDS

    def with_settings(self, service: str, settings: Mapping[str, str]) -> "StackOptions":
        """These options with more settings of one service."""
        return replace(self, settings={**self.settings, service: {**self.settings.get(service, {}), **settings}})


class Stack:
    """Open one with ``Stack.open``; every process it has ends with the block, or with this process."""

    def __init__(self, folder: Path, clock: DevelopmentClock | None, options: StackOptions, report: ReportStep) -> None:
        self.layout = Layout(folder, None if clock is None else folder / "clock")
        self.clock = clock
        self.kafka: EmbeddedKafka | None = None
        self.postgres: EmbeddedPostgres | None = None
        self.children: dict[str, Child] = {}
        self._options = options
        self._report = report
        self._down: set[str] = set()  # killed on purpose

    @staticmethod
    @asynccontextmanager
    async def open(
        name: str = "",
        development_clock: datetime | None = None,
        options: StackOptions | None = None,
        report: ReportStep = lambda _: None,
    ) -> AsyncIterator["Stack"]:
        """Start everything, wait until it is ready, and end it with the block.

        ``development_clock`` is the instant at which business time starts; without one it is the machine's. Raises
        ProcessFailed with the end of the log of a process that did not start, Misconfigured for a name in use.
        """
        folder = RUN / (name or _DEFAULT_NAME)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            announcement(name).unlink(missing_ok=True)
            await _clean(folder, report)
            clock = DevelopmentClock.create(folder / "clock", development_clock) if development_clock else None
            stack = Stack(folder, clock, options or StackOptions(), report)
            try:
                await stack._start()
                yield stack
            finally:
                await stack._stop()
                shutil.rmtree(folder / "data", ignore_errors=True)

    @property
    def neighbours(self) -> Neighbours:
        kafka = self.kafka.bootstrap if self.kafka else os.environ["STET_KAFKA_BOOTSTRAP"]
        postgres = self.postgres.dsn if self.postgres else os.environ["STET_POSTGRES_DSN"]
        return Neighbours(kafka, postgres)

    @property
    def virtual_clock(self) -> VirtualClock:
        """Moves this stack's business time. Raises RuntimeError where it runs on the real clock."""
        if self.clock is None:
            raise RuntimeError("this stack runs on the real clock")
        names = (*self._options.simulators, *self._options.services)
        return VirtualClock(self.clock, {name: self.layout.idle_url(name) for name in names}, self.check)

    def document(self) -> dict[str, object]:
        health = {service: self.layout.health_url(service) for service in self._options.services}
        pids = {name: child.pid for name, child in self.children.items()}
        environments = {service: self._environment(service) for service in self._options.services}
        settings = self.layout.settings(self.neighbours)
        reached = {"health_urls": health, "environments": environments, "settings": settings, "pids": pids}
        return self.layout.document(self.neighbours) | reached

    def check(self) -> None:
        """Raises ProcessFailed when a process has ended that was not killed on purpose."""
        for name, child in self.children.items():
            if name not in self._down:
                child.check()

    async def kill(self, name: str) -> None:
        """SIGKILL to one process, ``kafka`` and ``postgres`` among them."""
        self._down.add(name)
        await self.children[name].kill()

    async def start(self, name: str) -> None:
        """Start a killed process again; returns when it is ready."""
        if name == "kafka" and self.kafka:
            await self.kafka.start()
        elif name == "postgres" and self.postgres:
            await self.postgres.start()
        else:
            await self.children[name].start()
            await _until_ready(self.children[name], self.layout.ready_url(name), self._options.ready_seconds)
        self._down.discard(name)

    async def _start(self) -> None:
        options = self._options
        self._report("starting Kafka, PostgreSQL and the simulators")
        simulators = [self._start_simulator(name) for name in options.simulators]
        await _run_all(self._start_kafka(), self._start_postgres(), *simulators)
        if options.services:
            self._report("creating topics and migrating the database")
            await self._prepare()
            self._report("starting " + ", ".join(options.services))
            await _run_all(*(self._start_service(name) for name in options.services))
            if "whatsapp" in options.simulators and "rules" in options.services:
                await register_templates(self.layout.whatsapp_url, ROOT / "rules")

    async def _stop(self) -> None:
        """The services first: they still talk to the others when they stop."""
        for names in (SERVICES, SIMULATORS, ("kafka", "postgres")):
            await asyncio.gather(*(self.children[name].stop() for name in names if name in self.children))

    async def _start_kafka(self) -> None:
        if "STET_KAFKA_BOOTSTRAP" not in os.environ:
            self.kafka = EmbeddedKafka(self._data / "kafka", self.layout.folder)
            self.children["kafka"] = self.kafka.child
            await self.kafka.start()

    async def _start_postgres(self) -> None:
        if "STET_POSTGRES_DSN" not in os.environ:
            self.postgres = EmbeddedPostgres(self._data / "postgres", self.layout.folder)
            self.children["postgres"] = self.postgres.child
            await self.postgres.start()

    async def _start_simulator(self, name: str) -> None:
        await self._start_child(self.layout.simulator(name, self._options.arguments.get(name, ())))

    async def _start_service(self, name: str) -> None:
        await self._start_child(self._service(name))

    def _service(self, name: str) -> Command:
        return self.layout.service(name, self.neighbours, self._options.settings.get(name, {}))

    def _environment(self, name: str) -> dict[str, str]:
        """The settings of one service, as the operators' command line reads them."""
        return {key: value for key, value in self._service(name).environment.items() if key.startswith("STET_")}

    async def _start_child(self, command: Command) -> None:
        self.children[command.name] = Child(command, self.layout.folder)
        await self.start(command.name)

    async def _prepare(self) -> None:
        topics = preparation("topics", self.neighbours, "topics", "create")
        migrations = preparation("migrate", self.neighbours, "migrate")
        await _run_all(*(Child(tool, self.layout.folder).run() for tool in (topics, migrations)))
        await give_passwords(self.neighbours.postgres_dsn)

    @property
    def _data(self) -> Path:
        return self.layout.folder / "data"


def announcement(name: str) -> Path:
    """The path of the document of the stack called ``name``; it exists while that stack runs and is ready."""
    return RUN / name / "stack.json"


async def _clean(folder: Path, report: ReportStep) -> None:
    """End and remove what an earlier stack of this name left when it was killed."""
    for name in await end_leftovers(folder):
        report(f"ended {name}, left running by an earlier stack")
    for remains in ("data", "logs"):
        shutil.rmtree(folder / remains, ignore_errors=True)


async def _run_all(*jobs: Coroutine[object, object, None]) -> None:
    """Run all at once; the first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _until_ready(child: Child, address: str, seconds: float) -> None:
    async with aiohttp.ClientSession() as session:
        await child.wait_until(lambda: _is_ready(session, address), seconds)


async def _is_ready(session: aiohttp.ClientSession, address: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(address, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.ok
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock ``folder`` for the block; the lock ends with this process. Raises Misconfigured when it is locked."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured("RUN", f"a stack named {folder.name} is running already; choose another name") from None
        yield
