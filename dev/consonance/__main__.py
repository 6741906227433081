"""``python -m dev.consonance``."""

import asyncio
import sys

from dev.consonance.app import parse, serve

if __name__ == "__main__":
    asyncio.run(serve(parse(sys.argv[1:])))
