"""``python -m dev.whatsapp``."""

import sys

import uvloop

from dev.whatsapp.app import serve
from dev.whatsapp.options import parse

if __name__ == "__main__":
    uvloop.run(serve(parse(sys.argv[1:])))
