"""``python -m shared.topics create|check``."""

import sys

from shared.topics_check import main

sys.exit(main())
