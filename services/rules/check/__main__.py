"""``python -m services.rules.check FOLDER``."""

import sys

from services.rules.check.command import main

sys.exit(main(sys.argv[1:]))
