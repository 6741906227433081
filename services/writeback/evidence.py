"""``python -m services.writeback.evidence show RECORD``: what proves each write of a record, as JSON, one a line."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import asyncpg
import orjson

from services.writeback.commands import CommandSettings, database
from shared.contracts.errors import Misconfigured
from shared.contracts.values import format_instant
from shared.runtime.postgres import Connection, load_queries
from shared.runtime.settings import load_settings

queries = load_queries(__file__, "evidence.sql")
_JSON = ("asked", "proof", "read_back")


async def lines_of(connection: Connection, record: str) -> list[str]:
    """Holds personal data, as evidence must."""
    rows = await connection.fetch(queries.of_record, record)
    return [
        orjson.dumps(
            {
                **row,
                **{name: orjson.loads(row[name]) for name in _JSON},
                "recorded_at": format_instant(row["recorded_at"]),
            }
        ).decode()
        for row in rows
    ]


async def _show(record: str) -> int:
    async with database(load_settings(CommandSettings)) as pool:
        lines = await lines_of(pool, record)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0 if lines else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.writeback.evidence", description=__doc__)
    showing = parser.add_subparsers(dest="verb", required=True).add_parser("show", help="of one record")
    showing.add_argument("record", help="as writes name it, for instance rights/R-9 or works/61417")
    chosen = parser.parse_args(argv)
    try:
        return asyncio.run(_show(chosen.record))
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"STET_POSTGRES_DSN: {type(error).__name__}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
