"""``python -m dev.cluster.database_job dump|restore FILE`` and ``digests``: a backup, and a comparison.

It runs in a pod beside the database, whose password is a variable of the pod.
"""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Annotated

import asyncpg
import orjson
import typer

from dev.cluster.in_cluster import neighbours
from dev.postgres import binaries

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
BackupFile = Annotated[Path, typer.Argument(help="The backup, in the format of pg_dump's custom archives.")]

_TABLES = """
select quote_ident(schemaname) || '.' || quote_ident(tablename) as name
from pg_tables where schemaname not in ('pg_catalog', 'information_schema') order by 1
"""
_DIGEST = "select count(*) as rows, coalesce(md5(string_agg(t::text, '|' order by t::text)), '') as digest from {} t"


@app.command()
def dump(file: BackupFile) -> None:
    _run("pg_dump", "--format=custom", "--file", str(file))


@app.command()
def restore(file: BackupFile) -> None:
    """Into an empty database that has the services' logins."""
    _run("pg_restore", "--exit-on-error", "--single-transaction", "--dbname", neighbours().postgres_dsn, str(file))


@app.command()
def digests() -> None:
    """Print a JSON object: by table, the number of its rows and a hash of their contents."""
    print(orjson.dumps(asyncio.run(_digests())).decode())


async def _digests() -> dict[str, str]:
    connection = await asyncpg.connect(neighbours().postgres_dsn)
    try:
        names = [row["name"] for row in await connection.fetch(_TABLES)]
        rows = {name: await connection.fetchrow(_DIGEST.format(name)) for name in names}
    finally:
        await connection.close()
    return {name: f"{row['rows']} rows {row['digest']}" for name, row in rows.items()}


def _run(program: str, *arguments: str) -> None:
    dsn = () if "--dbname" in arguments else ("--dbname", neighbours().postgres_dsn)
    subprocess.run([str(binaries() / program), *dsn, *arguments], check=True, env=dict(os.environ))


if __name__ == "__main__":
    app()
