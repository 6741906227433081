"""``python -m dev.whatsapp``."""

import sys

import uvloop

from dev.whatsapp.app import parse, serve

if __name__ == "__main__":
    uvloop.run(serve(parse(sys.argv[1:])))
