"""``python -m dev.chaos [--seed N] [--minutes M] [--name NAME]``: one run and its judgement.

Exit codes: 0 the promise held, 1 it was broken (the run's folder is kept and named), 2 the run failed.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from dev.chaos.checks.verdict import judge
from dev.chaos.report import show
from dev.chaos.run import run_chaos
from shared.contracts.errors import StetError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument(
        "--name", default="chaos", help="of the stack; two runs at a time need two (default: %(default)s)"
    )
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="judge the files of an earlier run once more")
    chosen = parser.parse_args()
    try:
        folder = chosen.judge or asyncio.run(run_chaos(chosen.name, chosen.seed, chosen.minutes))
    except (StetError, OSError, RuntimeError) as failure:
        print(f"the run failed: {failure}", file=sys.stderr)
        return 2
    return show(judge(folder), folder)


if __name__ == "__main__":
    sys.exit(main())
