"""``python -m dev.consonance``."""

import asyncio
import sys

from dev.consonance.app import serve
from dev.consonance.options import parse

if __name__ == "__main__":
    asyncio.run(serve(parse(sys.argv[1:])))
