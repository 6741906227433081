"""``python -m dev`` is ``make up``; the name of the stack comes from RUN."""

import os
import sys

from dev.up import main

if __name__ == "__main__":
    sys.exit(main(os.environ.get("RUN", "")))
