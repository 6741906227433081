"""``python -m dev.demo`` is ``make demo``; its exit code is 0 only if every story ended as it should."""

import sys

from dev.demo.evening import main

if __name__ == "__main__":
    sys.exit(main())
