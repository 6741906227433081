"""``python -m services.writeback.evidence show RECORD``: the evidence of each write of a record, as JSON lines."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import asyncpg
import orjson

from services.writeback.commands import CommandSettings, database
from services.writeback.store import fetch_evidence
from shared.contracts.errors import Misconfigured
from shared.runtime.settings import load_settings


async def _show(record: str) -> int:
    async with database(load_settings(CommandSettings)) as pool:
        rows = await fetch_evidence(pool, record)
    sys.stdout.writelines(f"{orjson.dumps(row).decode()}\n" for row in rows)
    return 0 if rows else 1


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
