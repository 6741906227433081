"""``python -m dev.database``: the database of ``make up`` as a server of its own, for a container or a pod."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from dev.foreground import run_in_foreground
from dev.postgres import SUPERUSER, EmbeddedPostgres, create_logins
from shared.contracts.topics import SERVICES
from shared.runtime.postgres import role_name


def main(
    data: Annotated[Path, typer.Option(help="The folder of its data; it is made where it is missing.")],
    password: Annotated[str, typer.Option(help="The password of postgres and of each service's login.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where clients come in.")] = 5432,
) -> None:
    """Run one PostgreSQL server until SIGTERM, with a login for each service. For development alone."""
    asyncio.run(_prepare(EmbeddedPostgres(data), password))
    sys.exit(run_in_foreground(EmbeddedPostgres(data, listener=(host, port)).command))


async def _prepare(server: EmbeddedPostgres, password: str) -> None:
    """Create the cluster and its logins on loopback, before anything from elsewhere can connect."""
    await server.start()
    try:
        await create_logins(server.dsn, password, (SUPERUSER, *map(role_name, (*SERVICES, "operator"))))
    finally:
        await server.stop()


if __name__ == "__main__":
    typer.run(main)
